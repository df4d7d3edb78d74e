"""Captures this folder's bytes anew from Apache ZooKeeper where Debian's package puts it.

Run as `python -m tests.golden.capture` from the top of the checkout. Rules: what could tell of the
machine it ran on (paths, host name, environment) is replaced or left out; the rest is as it came.
"""

from __future__ import annotations

import re
import shutil
import struct
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.compat import raw
from tests.compat.raw import Client, Reply
from tests.compat.servers import Apache

_HERE: Final = Path(__file__).parent
_WORDS: Final = (
    *("conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok"),
    *("srst", "srvr", "stat", "stmk", "wchc", "wchp", "wchs"),
)
_NAMES_ONLY: Final = {"envi": "=", "mntr": "\t"}
"""Of these only the names are kept, what stands before the separator."""
_DIGEST_EVERY: Final = 128


class _Recorder(Client):
    """A client that notes every packet of its connection as a line of `packets.txt`."""

    lines: list[str]

    def send_frame(self, payload: bytes) -> None:
        if not hasattr(self, "lines"):
            self.lines = []
        self.lines.append(f"> {payload.hex()}")
        super().send_frame(payload)

    def receive_frame(self) -> bytes:
        payload = super().receive_frame()
        self.lines.append(f"< {payload.hex()}")
        return payload

    def step(self, name: str, op: int, body: bytes = b"", xid: int | None = None) -> Reply:
        self.lines.append(f"# {name}")
        return self.call(op, body, xid)


def _writes(client: _Recorder) -> None:
    acl = (raw.Acl(raw.ALL, "world", "anyone"), raw.Acl(raw.READ, "ip", "127.0.0.1"))
    step = client.step
    step("create", raw.CREATE, raw.create("/a", b"one"))
    step("create2", raw.CREATE2, raw.create("/a/null", None))
    step("create with an ACL of two", raw.CREATE, raw.create("/a/ümlaut", b"", acl=acl))
    step("create a sequential ephemeral", raw.CREATE2, raw.create("/a/s-", b"mine", 3))
    step("createContainer", raw.CREATE_CONTAINER, raw.create("/box", b"", raw.CONTAINER))
    ttl = raw.create("/ttl", b"", raw.PERSISTENT_TTL, ttl_ms=3_600_000)
    step("createTTL", raw.CREATE_TTL, ttl)
    step("setData", raw.SET_DATA, raw.set_data("/a", b"two", 0))
    step("setData to null", raw.SET_DATA, raw.set_data("/a", None))
    step("setACL", raw.SET_ACL, raw.set_acl("/a", acl, 0))
    step("a create that fails", raw.CREATE, raw.create("/a"))
    step("create what will be deleted", raw.CREATE, raw.create("/gone"))
    step("delete", raw.DELETE, raw.path_int("/gone", -1))
    step("sync", raw.SYNC, raw.string("/a"))
    operations = [
        (raw.CREATE, raw.create("/m")),
        (raw.CREATE2, raw.create("/m/e", b"mine", raw.EPHEMERAL)),
        (raw.CHECK, raw.path_int("/m", 0)),
        (raw.SET_DATA, raw.set_data("/m", b"three")),
        (raw.DELETE, raw.path_int("/m/e", 0)),
    ]
    step("multi", raw.MULTI, raw.multi(operations))
    failing = [*operations[3:4], (raw.CHECK, raw.path_int("/m", 0)), *operations[4:]]
    step("a multi that fails", raw.MULTI, raw.multi(failing))


def _reads(client: _Recorder) -> None:
    step = client.step
    step("exists with a watch", raw.EXISTS, raw.path_watch("/none", True))
    step("getData with a watch", raw.GET_DATA, raw.path_watch("/a", True))
    step("getData of null", raw.GET_DATA, raw.path_watch("/a/null"))
    step("getChildren with a watch", raw.GET_CHILDREN, raw.path_watch("/a", True))
    step("getChildren2", raw.GET_CHILDREN2, raw.path_watch("/a"))
    step("getACL", raw.GET_ACL, raw.string("/a"))
    step("getEphemerals", raw.GET_EPHEMERALS, raw.string("/"))
    step("getAllChildrenNumber", raw.GET_ALL_CHILDREN_NUMBER, raw.string("/"))
    step("whoAmI", raw.WHO_AM_I)
    reads = [
        (raw.GET_DATA, raw.path_watch("/a")),
        (raw.GET_DATA, raw.path_watch("/none")),
        (raw.GET_CHILDREN, raw.path_watch("/a")),
    ]
    step("multiRead", raw.MULTI_READ, raw.multi(reads))
    step("ping", raw.PING, xid=raw.PING_XID)
    step("auth", raw.AUTH, raw.auth("digest", b"me:secret"), raw.AUTH_XID)
    step("addWatch", raw.ADD_WATCH, raw.path_int("/a", 1))
    step("checkWatches", raw.CHECK_WATCHES, raw.path_int("/a", 2))
    step("removeWatches", raw.REMOVE_WATCHES, raw.path_int("/a", 1))
    watched = (["/a"], ["/none"], ["/a"])
    step("setWatches", raw.SET_WATCHES, raw.set_watches(99, *watched), raw.SET_WATCHES_XID)
    step(
        "setWatches2",
        raw.SET_WATCHES2,
        raw.set_watches(99, *watched, ["/m"], ["/box"]),
        raw.SET_WATCHES_XID,
    )
    step("a setData that fires watches", raw.SET_DATA, raw.set_data("/a", b"four"))


def _much(client: _Recorder) -> None:
    """Bring the log to a digest that `hash` shows, and leave watches to look at."""
    for number in range(_DIGEST_EVERY):
        client.call(raw.SET_DATA, raw.set_data("/m", b"%d" % number))
    client.call(raw.EXISTS, raw.path_watch("/none", True))
    client.call(raw.GET_DATA, raw.path_watch("/a", True))


def _scrubbed(word: str, text: str, directory: Path) -> str:
    separator = _NAMES_ONLY.get(word)
    if separator is not None:
        return "".join(f"{line.partition(separator)[0]}\n" for line in text.splitlines())
    text = text.replace(str(directory), "/var/lib/zookeeper")
    return re.sub(r"(Zookeeper version: \S+?)[,\s].*", r"\1", text)


def _words(server: Apache, directory: Path) -> None:
    for word in _WORDS:
        asked = word.encode() + (struct.pack(">q", 306) if word == "stmk" else b"")
        text = _scrubbed(word, raw.word(server.port, asked), directory)
        (_HERE / f"{word}.txt").write_text(text)


def _keep_log(server: Apache) -> None:
    """Copy the log as it is now; all but the last few of the zeros behind it go."""
    data = (server.data / "version-2" / "log.1").read_bytes()
    (_HERE / "log.1").write_bytes(data.rstrip(b"\0") + bytes(64))


def main() -> int:
    reason = Apache.missing()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    directory = Path(tempfile.mkdtemp(prefix="golden-"))
    try:
        _capture(directory)
    finally:
        shutil.rmtree(directory)
    return 0


def _capture(directory: Path) -> None:
    for old in _HERE.glob("snapshot.*"):
        old.unlink()
    with Apache(directory) as server:
        with _Recorder(server.port) as client, _Recorder(server.port) as passing:
            _writes(client)
            _reads(client)
            passing.step("closeSession", raw.CLOSE_SESSION)
            lines = ["# connect", *client.lines, "# connect, as another", *passing.lines]
            with _Recorder(server.port) as lost:
                lost.step("an operation that there is not", 77)
                lines += ["# connect, as a third", *lost.lines]
            (_HERE / "packets.txt").write_text("\n".join(lines) + "\n")
            _much(client)
            _words(server, directory)
            server.kill()
        _keep_log(server)
        for method in ("", "gz", "snappy"):
            _again(server, directory / f"again{method}", method)


def _again(first: Apache, directory: Path, method: str) -> None:
    """Start on a log and `snapshot.0`: it writes a snapshot of all of it, in this compression."""
    (directory / "data" / "version-2").mkdir(parents=True)
    for left in ("snapshot.0", "log.1"):
        there = Path("data", "version-2", left)
        shutil.copy(first.directory / there, directory / there)
    settings = {"snapshot.compression.method": method} if method else {}
    with Apache(directory, settings) as server:
        for path in (server.data / "version-2").glob("snapshot.*"):
            if path.name != "snapshot.0":
                shutil.copy(path, _HERE)


if __name__ == "__main__":
    sys.exit(main())
