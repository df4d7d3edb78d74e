"""A data directory that one server wrote and left by kill -9 is the same tree on the other.

Each test goes there and back: A writes and is killed, B has to show every znode with the same
data, ACL and Stat, writes more and is killed, and A has to show all of that. Sessions come along.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.compat import raw
from tests.compat.conftest import Start
from tests.compat.gardener import SUPER, Garden, Znode, grow, look
from tests.compat.raw import Client
from tests.compat.servers import SERVERS, Server, Settings, java_tool

# Apache's there and back shows that what differs is not the test's own doing.
_THERE_AND_BACK = [("coterie", "apache"), ("apache", "coterie"), ("apache", "apache")]
_LOG_TOOL = "org.apache.zookeeper.server.persistence.TxnLogToolkit"
_SNAPSHOT_TOOL = "org.apache.zookeeper.server.SnapshotFormatter"
_WAIT_S_MAX = 30.0

pytestmark = pytest.mark.timeout(240)


@contextmanager
def _serving(start: Start, kind: str, directory: Path, settings: Settings) -> Iterator[Server]:
    """A server that ends by kill -9."""
    with start(kind, {**SUPER, **settings}, directory) as server:
        yield server


def _same(before: dict[str, Znode], after: dict[str, Znode]) -> None:
    assert before.keys() == after.keys()
    different = [
        f"{path}:\n  {before[path]}\n  {after[path]}"
        for path in before
        if before[path] != after[path]
    ]
    assert not different, "\n".join(different)


def _mismatches(server: Server) -> int:
    """Each txn in the log carries a digest of the tree: a server compares it as it replays."""
    numbers = dict(line.split("\t") for line in raw.word(server.port, b"mntr").splitlines())
    return int(numbers["zk_digest_mismatches_count"])


def _mismatches_to_apache(start: Start, files: Path, settings: Settings) -> int:
    """What Apache's server finds in a copy of a directory.

    It writes a snapshot while txns come in, and seldom, under load, the digest in a snapshot is
    not that of what it holds: then Apache's server counts that itself when it starts.
    """
    with _serving(start, "apache", files, settings) as server:
        return _mismatches(server)


def _owned(tree: dict[str, Znode], session_id: int) -> set[str]:
    return {path for path, znode in tree.items() if znode.stat.ephemeral_owner == session_id}


def _sessions_live(server: Server, garden: Garden, seasons: tuple[str, ...]) -> None:
    """Sessions of these seasons can be had again, and own what they made."""
    tree = look(server.port)
    for season in seasons:
        session_id, password = garden.sessions[season]
        with Client(server.port, session_id=session_id, password=password) as client:
            assert client.session_id == session_id
            reader = raw.Reader(client.ok(raw.GET_EPHEMERALS, raw.string("/")).body)
            assert set(reader.strings()) == _owned(tree, session_id) != set()


def _a_session_ends(server: Server, garden: Garden, season: str) -> None:
    """Closed on a server that did not make it, a session takes its ephemerals along."""
    session_id, password = garden.sessions.pop(season)
    before = look(server.port)
    with Client(server.port, session_id=session_id, password=password) as client:
        client.close_session()
    after = look(server.port)
    assert before.keys() - after.keys() == _owned(before, session_id)


@pytest.mark.parametrize("how", ["log", "restart", "snapshots"])
@pytest.mark.parametrize(("first", "second"), _THERE_AND_BACK)
def test_there_and_back(first: str, second: str, how: str, start: Start, tmp_path: Path) -> None:
    """`log`: all is replayed; `restart`: there is a snapshot of a part; `snapshots`: of many."""
    settings: Settings = {"snapCount": 50} if how == "snapshots" else {}
    garden = Garden()
    with _serving(start, first, tmp_path, settings) as server:
        grow(server.port, "spring", garden)
        if how == "restart":
            server.stop()
            server.start()
        grow(server.port, "summer", garden)
        grown = look(server.port)
    copy = tmp_path.with_name(f"{tmp_path.name}-copy")
    if first == "apache":
        shutil.copytree(tmp_path, copy)
    with _serving(start, second, tmp_path, settings) as server:
        found = look(server.port)
        _same(grown, found)
        assert len(found) > 500
        if mismatches := _mismatches(server):
            assert first == "apache"
            assert _mismatches_to_apache(start, copy, settings) >= mismatches
        shutil.rmtree(copy, ignore_errors=True)
        _sessions_live(server, garden, ("spring", "summer"))
        grow(server.port, "autumn", garden)
        if how == "restart":
            server.stop()
            server.start()
        _a_session_ends(server, garden, "summer")
        grown = look(server.port)
    with _serving(start, first, tmp_path, settings) as server:
        _same(grown, look(server.port))
        assert _mismatches(server) == 0
        _sessions_live(server, garden, ("spring", "autumn"))
        grow(server.port, "winter", garden)
        assert look(server.port)["/shared"].stat.version == 4


@pytest.mark.parametrize(("first", "second"), _THERE_AND_BACK)
def test_time_goes_on(first: str, second: str, start: Start, tmp_path: Path) -> None:
    """Sessions expire, TTL znodes and empty containers go, though another server made them."""
    quick: Settings = {
        "tickTime": 500,
        "minSessionTimeout": 1000,
        "znode.container.checkIntervalMs": 500,
    }
    with _serving(start, first, tmp_path, {"tickTime": 500, "minSessionTimeout": 1000}) as server:
        with Client(server.port, timeout_ms=1500) as client:
            short = raw.create("/ttl", b"", raw.PERSISTENT_TTL, ttl_ms=1000)
            client.ok(raw.CREATE_TTL, short)
            kept = raw.create("/kept", b"", raw.PERSISTENT_TTL, ttl_ms=3_600_000)
            client.ok(raw.CREATE_TTL, kept)
            client.ok(raw.CREATE_CONTAINER, raw.create("/box", b"", raw.CONTAINER))
            client.ok(raw.CREATE, raw.create("/box/in"))
            client.ok(raw.DELETE, raw.path_int("/box/in", -1))
            client.ok(raw.CREATE, raw.create("/e", b"", raw.EPHEMERAL))
        server.kill()
    with _serving(start, second, tmp_path, quick) as server, Client(server.port) as client:
        session = (client.session_id, client.password)
        deadline = time.monotonic() + _WAIT_S_MAX
        for path in ("/e", "/ttl", "/box"):
            while client.call(raw.EXISTS, raw.path_watch(path)).error == 0:
                assert time.monotonic() < deadline, f"{path} stays"
                time.sleep(0.1)
        client.ok(raw.EXISTS, raw.path_watch("/kept"))
    with _serving(start, first, tmp_path, {}) as server:
        tree = look(server.port)
        assert {path for path in tree if not path.startswith("/zookeeper")} == {"/", "/kept"}
        with Client(server.port, session_id=session[0], password=session[1]) as client:
            assert client.session_id == session[0]


@pytest.mark.parametrize("kind", SERVERS)
def test_apaches_tools_read_the_files(kind: str, start: Start, tmp_path: Path) -> None:
    """Its log tool checks every checksum; its snapshot tool reads whole snapshots."""
    if reason := SERVERS["apache"].missing():
        pytest.skip(reason)
    with _serving(start, kind, tmp_path, {"snapCount": 50}) as server:
        grow(server.port, "spring", Garden())
        snapshots = _snapshots_of_now(server)
        server.stop()
    logs = sorted(server.data.glob("version-2/log.*"))
    assert len(logs) > 1
    for log in logs:
        done = java_tool(_LOG_TOOL, "--dump", "--verbose", str(log))
        assert done.returncode == 0, done
        assert "CRC" not in done.stdout + done.stderr
        assert re.search(r"EOF reached after [1-9]\d* txns", done.stdout), done
    for snapshot in snapshots:
        done = java_tool(_SNAPSHOT_TOOL, "-d", str(snapshot))
        assert done.returncode == 0, done
        assert "Last zxid: 0x" in done.stdout
    text = java_tool(_SNAPSHOT_TOOL, str(snapshots[-1])).stdout
    assert "/spring/bulk/199\n" in text
    # A container's owner, and a TTL's of an hour, as they are stored.
    assert "ephemeralOwner = 0x8000000000000000" in text
    assert "ephemeralOwner = 0xff0000000036ee80" in text


def _snapshots_of_now(server: Server) -> list[Path]:
    """Write until a snapshot has all that is there now; all that are whole, the newest last.

    Apache's server writes under the final name: only what has a newer one behind it is whole.
    """
    with Client(server.port) as client:
        now_zxid = client.ping().zxid
        found: list[Path] = []
        for _ in range(1000):
            client.ok(raw.CREATE, raw.create("/more-", b"", raw.PERSISTENT_SEQUENTIAL))
            found = sorted(server.data.glob("version-2/snapshot.*"), key=_zxid_of)
            if len(found) > 2 and _zxid_of(found[-2]) >= now_zxid:
                return found[:-1]
    raise AssertionError(f"1000 txns and no snapshot: {found}")


def _zxid_of(file: Path) -> int:
    return int(file.suffix[1:], 16)
