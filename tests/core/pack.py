"""Several members wired back to back, on virtual time and with disks that do what they are told.

It is for tests of the roles, step by step and without chance; what chance does to them is the
simulator's. A `Pack` delivers everything in rounds: a turn for each member, then its effects.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from coterie.config import Config
from coterie.core.connection import Connection
from coterie.core.effects import Effects, Epochs
from coterie.core.image import ImageReader, ImageWriter
from coterie.core.leader import Leader
from coterie.core.learner import Learner
from coterie.core.link import ELECTION, Link
from coterie.core.member import Member
from coterie.core.tree import Tree
from coterie.ensemble import Ensemble
from coterie.values import OPEN_ACL
from coterie.wire import entries, requests
from coterie.wire.cursor import Reader
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op


def config(ensemble: Ensemble, server_id: int) -> Config:
    return Config(
        data_dir="data",
        tick_time_ms=100,
        init_limit=20,
        sync_limit=10,
        ensemble=ensemble,
        server_id=server_id,
        extended_types_enabled=True,
    )


def copy_of(tree: Tree) -> Tree:
    """Another tree of the same state, by way of the bytes that a leader sends."""
    writer, reader = ImageWriter(tree), ImageReader()
    while not writer.done:
        reader.feed(writer.step(1000))
    made = reader.tree(tree.zxid)
    made.checks_digest = True
    return made


FRESH = Epochs(0, 0)


@dataclass
class Disk:
    """What a member has made durable: snapshot, log, epochs. `slow` keeps syncs waiting."""

    snapshot: Tree = field(default_factory=Tree)
    log: list[Txn] = field(default_factory=list)
    epochs: Epochs = FRESH
    slow: bool = False
    waiting: list[Txn] = field(default_factory=list)

    def recover(self) -> tuple[Tree, int]:
        tree = copy_of(self.snapshot)
        for txn in self.log:
            tree.apply(entries.decode(txn.encoded))
        return tree, self.log[-1].zxid if self.log else self.snapshot.zxid


class Client:
    """A client's connection to one member, by frames."""

    def __init__(
        self, pack: Pack, server_id: int, session_id: int = 0, password: bytes = b""
    ) -> None:
        self.pack = pack
        self.member = pack.members[server_id]
        self.connection: Connection = self.member.connected("127.0.0.1", 1, pack.now_ms)
        self.frames: list[bytes] = []
        self.closed = False
        self._xid = 0
        pack.clients.append(self)
        hello = requests.ConnectRequest(0, 0, 4000, session_id, password or bytes(16)).encode()
        self._send(hello + b"\0")
        pack.run(50)
        answer = self.frames.pop(0) if self.frames else b""
        self.session_id = self.timeout_ms = 0
        if answer:
            response = requests.ConnectResponse.decode(answer)
            self.session_id = response.session_id
            self.password = response.password or b""
            self.timeout_ms = response.timeout_ms

    def _send(self, body: bytes) -> None:
        data = len(body).to_bytes(4, "big") + body
        self.member.receive(self.connection, data, self.pack.now_ms)
        self.drain()

    def drain(self) -> None:
        """Take the frames that were sent."""
        data = b"".join(self.connection.out)
        self.connection.out.clear()
        while data:
            length = int.from_bytes(data[:4], "big")
            self.frames.append(data[4 : 4 + length])
            data = data[4 + length :]

    def ask(self, op: int, body: bytes) -> int:
        """Send a request and say its xid."""
        self._xid += 1
        header = requests.RequestHeader(self._xid, op).encode()
        self._send(header + body)
        return self._xid

    def call(self, op: int, body: bytes = b"", ms: int = 50) -> tuple[int, int, bytes]:
        """Send a request and run until it is answered: its error, zxid and body."""
        xid = self.ask(op, body)
        self.pack.run(ms)
        for frame in self.frames:
            reader = Reader(frame)
            if reader.int32() == xid:
                self.frames.remove(frame)
                zxid, error = reader.int64(), reader.int32()
                return error, zxid, frame[reader.pos :]
        raise AssertionError(f"no answer to {op}")

    def create(self, path: bytes, data: bytes = b"", flags: int = 0) -> int:
        """The error of a create."""
        return self.call(Op.CREATE, requests.CreateRequest(path, data, OPEN_ACL, flags).encode())[
            0
        ]

    def get(self, path: bytes) -> bytes | None:
        error, _, body = self.call(Op.GET_DATA, requests.PathWatchRequest(path, False).encode())
        return None if error else Reader(body).buffer()


class Pack:
    """An ensemble in one thread. Members are made by `start` and gone by `kill`."""

    def __init__(self, ensemble: Ensemble, seed: int = 1) -> None:
        self.ensemble = ensemble
        self.now_ms = 1000.0
        self.dice = Random(seed)
        self.disks: dict[int, Disk] = {seat: Disk() for seat in ensemble.seats}
        self.members: dict[int, Member] = {}
        self.clients: list[Client] = []
        self.cut: set[frozenset[int]] = set()
        self.notes: list[str] = []
        self._links: dict[Link, tuple[int, Link, int]] = {}
        """Each link's member, the other end of it, and the member there."""

    def start(self, *server_ids: int, **settings: object) -> None:
        for server_id in server_ids or self.ensemble.seats:
            disk = self.disks[server_id]
            disk.waiting.clear()
            tree, zxid = disk.recover()
            made = replace(config(self.ensemble, server_id), **settings)  # type: ignore[arg-type]
            self.members[server_id] = Member(
                made, tree, zxid, disk.epochs, self.now_ms, self.wall_ms, self.dice
            )

    @property
    def wall_ms(self) -> int:
        return int(self.now_ms) + 1_700_000_000_000

    def kill(self, server_id: int) -> None:
        del self.members[server_id]
        for link, (owner, _, _) in list(self._links.items()):
            if owner == server_id:
                self._break(link)
        for client in self.clients:
            client.closed = client.closed or client.member not in self.members.values()

    def separate(self, one: int, other: int) -> None:
        """Break what there is between two members, and let nothing new come about."""
        self.cut.add(frozenset((one, other)))
        for link, (owner, _, peer) in list(self._links.items()):
            if {owner, peer} == {one, other}:
                self._break(link)

    def _break(self, link: Link) -> None:
        owner, other, peer = self._links.pop(link, (0, link, 0))
        for end, who in ((link, owner), (other, peer)):
            self._links.pop(end, None)
            if who in self.members and not end.gone:
                self.members[who].lost(end)

    def run(self, ms: int = 1000) -> None:
        """Let this much time pass, ten milliseconds a step."""
        for _ in range(max(ms // 10, 1)):
            self.now_ms += 10
            for member in list(self.members.values()):
                member.tick(self.now_ms, self.wall_ms)
            for _ in range(1000):
                busy = [self._turn(server_id) for server_id in list(self.members)]
                if not any(busy):
                    break
            else:
                raise AssertionError("the members never come to rest")

    def _turn(self, server_id: int) -> bool:
        member = self.members.get(server_id)
        if member is None or not member.effects:
            return False
        effects = member.take()
        self.notes += [f"{server_id}: {note}" for note in effects.notes]
        self._links_out(server_id, effects)
        self._disk(member, effects)
        for connection in effects.resumes:
            member.resume(connection, self.now_ms)
        for client in self.clients:
            if client.member is member:
                client.drain()
                if client.connection in effects.closes and not client.closed:
                    client.closed = True
                    member.disconnected(client.connection)
        return True

    def _links_out(self, server_id: int, effects: Effects) -> None:
        for link in effects.dials:
            self._dial(server_id, link)
        for link in effects.link_outputs:
            data = b"".join(link.out)
            link.out.clear()
            if link in self._links and data:
                _, other, peer = self._links[link]
                if not other.closing:
                    self.members[peer].heard(other, data)
            if link.streaming and link in self._links:
                self.members[server_id].drained_link(link)
        for link in effects.link_closes:
            self._break(link)

    def _dial(self, server_id: int, link: Link) -> None:
        member = self.members[server_id]
        port = link.addresses[0][1]
        for seat in self.ensemble.seats.values():
            ports = seat.election if link.kind == ELECTION else seat.quorum
            there = self.members.get(seat.id)
            if ports[0][1] != port or frozenset((server_id, seat.id)) in self.cut:
                continue
            if there is not None:
                other = Link(link.kind)
                self._links[link] = (server_id, other, seat.id)
                self._links[other] = (seat.id, link, server_id)
                there.accepted(other)
                member.opened(link)
                return
        member.lost(link)

    def _disk(self, member: Member, effects: Effects) -> None:
        disk = self.disks[member.id]
        disk.waiting += effects.appends
        if disk.waiting and not disk.slow:
            self.sync(member.id)
        if effects.save_epochs is not None:
            disk.epochs = effects.save_epochs
            member.epochs_saved()
        if effects.truncate_after is not None:
            zxid = effects.truncate_after
            disk.log = [txn for txn in disk.log if txn.zxid <= zxid]
            member.truncated(zxid, disk.recover()[0])
        if effects.install is not None:
            disk.snapshot, disk.log = copy_of(effects.install), []
            member.installed()
        for link, after, until in effects.log_reads:
            known = [txn.zxid for txn in disk.log]
            found = [txn for txn in disk.log if after < txn.zxid <= until]
            member.log_read(link, found if after in known else None)

    def sync(self, server_id: int) -> None:
        """Make durable what a slow disk has."""
        disk, member = self.disks[server_id], self.members[server_id]
        disk.log += disk.waiting
        disk.waiting = []
        if disk.log:
            member.synced(disk.log[-1].zxid, self.now_ms)

    @property
    def leader(self) -> int:
        """Who leads, established."""
        leaders = [
            server_id
            for server_id, member in self.members.items()
            if isinstance(member.role, Leader) and member.role.established
        ]
        assert len(leaders) == 1, f"{leaders} lead:\n" + "\n".join(self.notes[-30:])
        return leaders[0]

    @property
    def serving(self) -> list[int]:
        return sorted(each for each, member in self.members.items() if member.server.serving)

    def follower(self) -> int:
        return next(
            each
            for each, member in self.members.items()
            if isinstance(member.role, Learner) and member.votes
        )

    def same(self) -> None:
        """Every member that serves has the same tree."""
        found = {
            each: (self.members[each].tree.digest, len(self.members[each].tree.nodes))
            for each in self.serving
        }
        assert len(set(found.values())) == 1, found


def three(observers: int = 0) -> Pack:
    lines = [f"server.{i}=h:{2000 + i}:{3000 + i}:participant" for i in (1, 2, 3)]
    lines += [f"server.{i}=h:{2000 + i}:{3000 + i}:observer" for i in range(4, 4 + observers)]
    return Pack(Ensemble.parse("\n".join([*lines, "version=0"])))
