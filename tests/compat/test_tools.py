"""Our tools and Apache's say the same of the same files; either server takes what we mend."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.compat.conftest import Start
from tests.compat.gardener import SUPER, Garden, grow, look
from tests.compat.servers import PROJECT, SERVERS, java_tool

_LOG_TOOL = "org.apache.zookeeper.server.persistence.TxnLogToolkit"
_SNAPSHOT_TOOL = "org.apache.zookeeper.server.SnapshotFormatter"
_TXN = re.compile(r"session (0x\w+) cxid (0x\w+) zxid (0x\w+) (\w+)")

pytestmark = pytest.mark.timeout(240)


def _coterie(*words: str | Path, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "coterie", *map(str, words)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done
    return done.stdout


def _objects(*words: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _coterie(*words, "--json").splitlines()]


@pytest.fixture
def data(start: Start, tmp_path: Path) -> Path:
    """A data directory of Apache's server, with logs and snapshots, left by kill -9."""
    with start("apache", {**SUPER, "snapCount": 50}, tmp_path) as server:
        grow(server.port, "spring", Garden())
        server.kill()
        return server.data


def test_the_txns_of_a_log(data: Path) -> None:
    logs = sorted(data.glob("version-2/log.*"), key=lambda file: int(file.suffix[1:], 16))
    assert len(logs) > 1
    for log in logs:
        theirs = _TXN.findall(java_tool(_LOG_TOOL, "--dump", str(log)).stdout)
        ours = [
            (
                one["session_id"],
                f"{one['cxid'] & (2**64 - 1):#x}",
                one["zxid"],
                one["type"].lower(),
            )
            for one in _objects("log", "show", log)
        ]
        # What 3.8 calls createTtl is createTTL later.
        assert ours == [(*numbers, kind.lower()) for *numbers, kind in theirs]
    assert all(one["state"] == "whole" for one in _objects("log", "verify", data))


def test_the_znodes_of_a_snapshot(data: Path) -> None:
    _coterie("snapshot", "take", data)
    path = max(data.glob("version-2/snapshot.*"), key=lambda file: int(file.suffix[1:], 16))
    text = java_tool(_SNAPSHOT_TOOL, str(path)).stdout
    count = re.search(r"ZNode Details \(count=(\d+)\)", text)
    assert count is not None
    summary, *znodes = _objects("snapshot", "show", path, "--znodes")
    # The root has two names there.
    assert summary["znodes"] == int(count[1]) - 1 == len(znodes)
    theirs = re.findall(
        r"----\n(/.*)\n  cZxid = (\w+)\n.*\n  mZxid = (\w+)\n.*\n  pZxid = (\w+)\n"
        r"  cversion = .*\n  dataVersion = (-?\d+)\n  aclVersion = (-?\d+)\n",
        text,
    )
    assert len(theirs) == len(znodes)
    ours = {znode["path"]: znode["stat"] for znode in znodes}
    for name, czxid, mzxid, pzxid, version, aversion in theirs:
        stat = ours[name]
        zxids = [int(stat[key], 16) for key in ("czxid", "mzxid", "pzxid")]
        assert zxids == [int(zxid, 16) for zxid in (czxid, mzxid, pzxid)], name
        assert (stat["version"], stat["aversion"]) == (int(version), int(aversion)), name
    sessions = re.findall(r"^0x\w+, \d+, \d+$", text, re.MULTILINE)
    assert summary["sessions"] == len(sessions)


@pytest.mark.parametrize("kind", SERVERS)
def test_either_server_starts_with_what_was_mended_restored_or_imported(
    kind: str, data: Path, start: Start, tmp_path: Path
) -> None:
    lines = _coterie("export", "--from", data)
    paths = {json.loads(line)["path"] for line in lines.splitlines()}
    (tmp_path / "all.jsonl").write_text(lines)
    logs = sorted(data.glob("version-2/log.*"), key=lambda file: int(file.suffix[1:], 16))
    changed = bytearray(logs[-1].read_bytes())
    changed[2] ^= 4
    logs[-1].write_bytes(changed)
    assert "no header of a log file" in _coterie("doctor", data, status=1)
    for name in ("restored", "imported"):
        (tmp_path / name).mkdir()
    _coterie("doctor", "--repair", data)
    _coterie("snapshot", "restore", data, tmp_path / "restored" / "data")
    _coterie("import", tmp_path / "all.jsonl", "--into", tmp_path / "imported" / "data")
    ephemerals = {
        one["path"] for one in map(json.loads, lines.splitlines()) if one["mode"] == "ephemeral"
    }
    for where, gone in (("", set()), ("restored", set()), ("imported", ephemerals)):
        with start(kind, SUPER, tmp_path / where) as server:
            found = look(server.port).keys()
            assert paths - gone - found == set(), where
            server.kill()


def test_a_living_server_of_apaches_is_seen(start: Start, tmp_path: Path) -> None:
    """It takes no lock."""
    with start("apache", {}, tmp_path) as server:
        grow(server.port, "spring", Garden())
        _coterie("snapshot", "take", server.data, "--to", tmp_path / "backup")
        assert _objects("doctor", server.data)[0]["used_by"]
        _coterie("doctor", "--repair", server.data, status=2)
