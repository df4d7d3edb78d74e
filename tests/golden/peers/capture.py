"""Captures what Apache ZooKeeper says to other members, at its election and its quorum port.

Run as `python -m tests.golden.peers.capture` from the top of the checkout. Rules: one server of
Apache's is member 2 of three on loopback, first as a leader and then as a follower, and this
script plays another member, with nothing but sockets and struct; each message is a line in hex,
`<` for what Apache said and `>` for what it was told, under a line `#` that names it.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from coterie.testing.ports import free_port
from tests.compat.servers import Apache, java_command

_HERE: Final = Path(__file__).parent
_APACHE_MAIN: Final = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
_WAIT_S_MAX: Final = 30.0
_LOOKING: Final = 0
_ZXID: Final = 0x1_0000_0007


class _Ensemble:
    """Three members on loopback, of which number 2 is Apache's."""

    def __init__(self, directory: Path) -> None:
        self.quorum = [free_port() for _ in range(3)]
        self.election = [free_port() for _ in range(3)]
        self.directory = directory
        self.config = "\n".join(
            [
                f"server.{n}=127.0.0.1:{self.quorum[n - 1]}:{self.election[n - 1]}:participant"
                for n in (1, 2, 3)
            ]
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        data = self.directory / "data"
        data.mkdir()
        (data / "myid").write_text("2\n")
        settings = (
            f"dataDir={data}\nclientPort={free_port()}\nclientPortAddress=127.0.0.1\n"
            "tickTime=2000\ninitLimit=10\nsyncLimit=5\nadmin.enableServer=false\n"
        )
        zoo_cfg = self.directory / "zoo.cfg"
        zoo_cfg.write_text(settings + self.config + "\n")
        with (self.directory / "said.txt").open("wb") as said:
            process = subprocess.Popen(
                [*java_command(), _APACHE_MAIN, str(zoo_cfg)], stdout=said, stderr=said
            )
        try:
            yield
        finally:
            process.kill()
            process.wait()


class _Line:
    """One connection to Apache, whose messages are noted."""

    def __init__(self, sock: socket.socket, notes: list[str]) -> None:
        self.sock = sock
        self.notes = notes
        sock.settimeout(_WAIT_S_MAX)

    def tell(self, name: str, data: bytes) -> None:
        self.notes += (f"# {name}", f"> {data.hex()}")
        self.sock.sendall(data)

    def note(self, name: str, data: bytes) -> None:
        self.notes += (f"# {name}", f"< {data.hex()}")

    def read(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            more = self.sock.recv(count - len(got))
            if not more:
                raise EOFError
            got += more
        return got

    def initial(self, name: str) -> None:
        head = self.read(20)
        self.note(name, head + self.read(struct.unpack(">i", head[16:])[0]))

    def notification(self, name: str) -> bytes:
        length = self.read(4)
        payload = self.read(struct.unpack(">i", length)[0])
        self.note(name, length + payload)
        return payload

    def until_state(self, name: str, state: int) -> None:
        """Ask again, as a member that looks does, until Apache has decided."""
        give_up_at = time.monotonic() + _WAIT_S_MAX
        while time.monotonic() < give_up_at:
            payload = self.read(struct.unpack(">i", length := self.read(4))[0])
            if struct.unpack(">i", payload[:4])[0] == state:
                self.note(name, length + payload)
                return
            time.sleep(0.3)
        raise TimeoutError(name)

    def packet(self, name: str) -> bytes:
        """A quorum packet; pings that come between are left out."""
        while True:
            data = self.read(16)
            length = struct.unpack(">i", data[12:])[0]
            data += self.read(max(length, 0) + 4)
            assert data[-4:] == b"\xff" * 4, "no identities are expected here"
            if name == "PING" or data[:4] != struct.pack(">i", 5):
                self.note(name, data)
                return data


def _vote(
    config: str, leader: int, zxid: int, peer_epoch: int, round_: int = 1, state: int = _LOOKING
) -> bytes:
    text = f"{config}\nversion=0".encode()
    head = struct.pack(">iqqqqii", state, leader, zxid, round_, peer_epoch, 2, len(text))
    return struct.pack(">i", len(head + text)) + head + text


def _packet(kind: int, zxid: int, data: bytes | None = None) -> bytes:
    length = -1 if data is None else len(data)
    return struct.pack(">iqi", kind, zxid, length) + (data or b"") + b"\xff" * 4


def _dial(port: int) -> socket.socket:
    """Connect; the server may still be starting."""
    give_up_at = time.monotonic() + _WAIT_S_MAX
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.1)


def _initial(server_id: int, port: int) -> bytes:
    text = f"127.0.0.1:{port}".encode()
    return struct.pack(">qqi", -65536, server_id, len(text)) + text


def _leading(ensemble: _Ensemble) -> list[str]:
    """Apache leads and this is member 1, which it dials."""
    notes: list[str] = []
    with socket.create_server(("127.0.0.1", ensemble.election[0])) as listener:
        listener.settimeout(_WAIT_S_MAX)
        with ensemble.running():
            line = _Line(listener.accept()[0], notes)
            line.initial("initial message to a lower id")
            line.notification("LOOKING, for itself")
            vote = _vote(ensemble.config, 2, 0, 0)
            line.tell("member 1 votes for it", vote)
            time.sleep(1)
            line.sock.sendall(vote)
            line.until_state("LEADING, asked by one that looks", 2)
            quorum = _Line(_dial(ensemble.quorum[1]), notes)
            _follow(quorum)
            line.sock.sendall(vote)
            line.until_state("LEADING, with its new epoch", 2)
    return notes


def _follow(line: _Line) -> None:
    line.tell("FOLLOWERINFO", _packet(11, 0, struct.pack(">qiq", 1, 0x10000, 0)))
    line.packet("LEADERINFO")
    line.tell("ACKEPOCH", _packet(18, 0, struct.pack(">i", 0)))
    line.packet("DIFF")
    newleader = line.packet("NEWLEADER")
    epoch = struct.unpack(">q", newleader[4:12])[0]
    line.tell("ACK of NEWLEADER", _packet(3, epoch))
    line.packet("UPTODATE")
    line.tell("ACK of UPTODATE", _packet(3, epoch))
    line.packet("PING")
    line.tell("PING with a session", _packet(5, epoch, struct.pack(">qi", 77, 4000)))
    line.tell("REVALIDATE", _packet(6, -1, struct.pack(">qi", 77, 4000)))
    line.packet("REVALIDATE of no session")
    line.tell("SYNC as a REQUEST", _packet(1, -1, struct.pack(">qiii", 77, 1, 9, 1) + b"/"))
    line.packet("SYNC")
    session = 0x0100_0000_0000_0001
    line.tell(
        "createSession as a REQUEST", _packet(1, -1, struct.pack(">qiii", session, 0, -10, 4000))
    )
    proposal = line.packet("PROPOSAL of createSession")
    zxid = struct.unpack(">q", proposal[4:12])[0]
    line.tell("ACK", _packet(3, zxid))
    line.packet("COMMIT")


def _following(ensemble: _Ensemble) -> list[str]:
    """Apache follows and this is member 3, which is dialled and dials back."""
    notes: list[str] = []
    with (
        socket.create_server(("127.0.0.1", ensemble.election[2])) as listener,
        socket.create_server(("127.0.0.1", ensemble.quorum[2])) as quorum,
    ):
        listener.settimeout(_WAIT_S_MAX)
        quorum.settimeout(_WAIT_S_MAX)
        with ensemble.running():
            line = _Line(listener.accept()[0], notes)
            line.initial("initial message to a higher id, and nothing else")
            assert line.sock.recv(1) == b""
            line = _Line(_dial(ensemble.election[1]), notes)
            line.tell("initial message of member 3", _initial(3, ensemble.election[2]))
            line.notification("LOOKING, for itself")
            vote = _vote(ensemble.config, 3, _ZXID, 1, 5)
            line.tell("member 3 votes for itself in a later round", vote)
            line.notification("LOOKING, for 3 in its round")
            time.sleep(1)
            line.sock.sendall(vote)
            line.until_state("FOLLOWING, asked by one that looks", 1)
            _lead(_Line(quorum.accept()[0], notes), ensemble.config)
            line.sock.sendall(vote)
            line.until_state("FOLLOWING, with its leader's new epoch", 1)
    return notes


def _lead(line: _Line, config: str) -> None:
    epoch = 2 << 32
    line.packet("FOLLOWERINFO")
    line.tell("LEADERINFO", _packet(17, epoch, struct.pack(">i", 0x10000)))
    line.packet("ACKEPOCH")
    line.tell("DIFF", _packet(13, 0))
    line.tell("NEWLEADER", _packet(10, epoch, f"{config}\nversion=0".encode()))
    line.packet("ACK of NEWLEADER")
    line.tell("UPTODATE", _packet(12, -1))
    line.packet("ACK of UPTODATE")
    line.tell("PING", _packet(5, epoch))
    line.packet("PING")


def main() -> None:
    if missing := Apache.missing():
        sys.exit(missing)
    for name, play in (("leading", _leading), ("following", _following)):
        with tempfile.TemporaryDirectory(prefix="peers-") as directory:
            notes = play(_Ensemble(Path(directory)))
        (_HERE / f"{name}.txt").write_text("\n".join(notes) + "\n")


if __name__ == "__main__":
    main()
