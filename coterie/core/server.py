"""A client request from frame to reply: session order, applying commits, firing watches.

Rules:
- each client's replies leave in the order of its requests: what comes behind a write of the same
  connection waits for it, what comes on other connections does not;
- a watch event is put into a connection's output before any reply that shows the change;
- work is paid for by the chunk that came, not by the request; getData of an open znode is
  answered in the loop that cuts the frames, everything else through a table.
A write is handed to `submit`; whoever numbers and logs it calls `commit`, in zxid order. How a
connection comes to its session is in `strangers.py`. Where it is demanded that clients prove who
they are, nothing else is taken from one that has not, not even a ping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from coterie.config import Config
from coterie.core import audit
from coterie.core import connection as connections
from coterie.core.acl import AccessControl
from coterie.core.answer import Answers, changed, parts
from coterie.core.budget import Budget
from coterie.core.connection import Connection, Refusal
from coterie.core.effects import Effects
from coterie.core.gate import Gate
from coterie.core.prepare import Write
from coterie.core.remarks import Remarks
from coterie.core.sessions import Session, Sessions
from coterie.core.stats import LAST_OP, Stats
from coterie.core.strangers import Strangers
from coterie.core.throttle import Throttle
from coterie.core.tree import Event, Outcome, Tree
from coterie.core.watches import ONE_SHOT, Watches
from coterie.errors import (
    BadArgumentsError,
    MarshallingError,
    SessionMovedError,
    ThrottledError,
    UnimplementedError,
    ZooKeeperError,
)
from coterie.values import OPEN_ACL, Perms
from coterie.wire import requests
from coterie.wire.cursor import Reader
from coterie.wire.framing import HEADER
from coterie.wire.numbered import Txn
from coterie.wire.requests import PING_XID, REPLY_HEADER, TABLE, Op, reply

_REPLY: Final = REPLY_HEADER.pack
_HEADER: Final = HEADER.unpack_from
_OUT_BYTES_MAX: Final = 2**20
"""Answers made from one chunk, or behind writes in one turn, before they have to be taken."""
_WRITES: Final = frozenset(op for op, shape in TABLE.items() if shape.writes)
_FROM_CLIENTS: Final = _WRITES - {Op.CREATE_SESSION, Op.CHECK, Op.DELETE_CONTAINER}


class Server:
    """Serves the clients of one member. `submit` takes the writes; see `member`."""

    def __init__(
        self,
        config: Config,
        tree: Tree,
        sessions: Sessions,
        access: AccessControl,
        effects: Effects,
        submit: Callable[[Write], None],
    ) -> None:
        self.tree = tree
        self.sessions = sessions
        self.access = access
        self.effects = effects
        self.watches = Watches(config.own_watches_bound)
        self.stats = Stats()
        self.now_ms = 0.0
        self.words: Callable[[bytes], bytes | None] | None = None
        """Four-letter words: what a connection that starts with these bytes is told, if it is
        one; then it is closed."""
        self.gate = Gate(config, access, self._remark)
        self.throttle = Throttle(config)
        self.remarks = Remarks(self._note)
        self.connections: dict[Connection, None] = {}
        self.outstanding = 0
        """Requests that came and are not answered: writes in flight and what waits for them."""
        self.serving = True
        """Whether there is a role to serve in."""
        self.read_only = False
        """Whether only those are let in who said that they can do with reads."""
        self._submit = submit
        self._through = _FROM_CLIENTS
        """The opcodes that go through the log, or at least to the leader."""
        self._frame_bytes_max = config.frame_bytes_max
        self._budget = Budget(config, self.stats, self.remarks)
        self._outstanding_max = self._budget.all_max
        self._own_max = self._budget.own_max
        self._own_bytes_max = self._budget.own_bytes_max
        self._audits = config.audit_enabled
        self._demands = bool(self.gate.demanded)
        self._strangers = Strangers(config, self, submit)
        self._answers = Answers(tree, self.watches, access, self._budget.unread_bytes_max)
        self._next_number = 1

    def open(
        self,
        tree: Tree,
        sessions: Sessions,
        submit: Callable[[Write], None],
        *,
        revalidate: Callable[[Connection, int, int], None] | None = None,
        sync_goes_through: bool = False,
        read_only: bool = False,
        admits: bool = True,
    ) -> None:
        """Serve from this tree, in another role than before. With `revalidate` there is a leader
        who decides about sessions; then a sync has to reach it as well."""
        assert not self.serving
        self.tree = tree
        self.sessions = sessions
        self.serving = True
        self.read_only = read_only
        self._submit = submit
        self._strangers.open(submit, revalidate, admits)
        self._through = _FROM_CLIENTS | {Op.SYNC} if sync_goes_through else _FROM_CLIENTS
        self._answers = Answers(tree, self.watches, self.access, self._budget.unread_bytes_max)

    def shut(self) -> None:
        """Serve nobody until `open`: the role that this member played is over."""
        self.serving = self.read_only = False
        for connection in list(self.connections):
            if connection.session is not None:
                self.watches.forget(connection)
                connection.session.connection = None
                connection.session = None
            connection.fifo.clear()
            connection.late = 0
            self._close(connection)
        self._budget.held.clear()
        self.outstanding = 0

    def connected(self, ip: str, port: int, now_ms: float, wall_ms: int) -> Connection:
        """A client has connected; the driver keeps what this returns."""
        connection = Connection(
            self._next_number, ip, port, self._frame_bytes_max, now_ms, wall_ms
        )
        self._next_number += 1
        self.connections[connection] = None
        self._strangers.waiting[connection] = None
        return connection

    def disconnected(self, connection: Connection) -> None:
        """The connection is gone; its session lives on until it expires or is taken up again."""
        if connection.gone:
            return
        connection.gone = True
        connection.hold |= connections.HOLD_CLOSED
        self.connections.pop(connection, None)
        self._strangers.waiting.pop(connection, None)
        self.stats.gone += 1
        self._budget.forget(connection)
        self.watches.forget(connection)
        session = connection.session
        if session is not None and session.connection is connection:
            if session.held:
                # What it said until now was never read.
                session.heard_ms = self.now_ms
            session.connection = None
        connection.session = None
        stale = sum(not isinstance(entry, Write) for entry in connection.fifo)
        self.outstanding -= stale - connection.late
        self.stats.stale_dropped += stale
        connection.fifo.clear()
        connection.late = 0
        self._relieve()

    def tick(self, now_ms: float) -> None:
        """Time has passed: close connections that have not said who they are."""
        self.now_ms = now_ms
        self._strangers.tick(now_ms)

    def receive(self, connection: Connection, data: bytes, now_ms: float) -> None:
        """Bytes have come. Replies to what can be answered now are in the connection's `out`."""
        self.now_ms = now_ms
        if connection.hold:
            if not connection.hold & connections.HOLD_CLOSED:
                connection.backlog += data
            return
        try:
            chunk = connection.framing.feed(data)
            if not chunk:
                return
            pos = self._strangers.greet(connection, chunk) if connection.session is None else 0
            if self._demands and connection.session is not None and not connection.hold:
                pos = self._prove(connection, connection.session, chunk, pos)
            if connection.session is not None and not connection.hold:
                pos = self._serve(connection, connection.session, chunk, pos)
            if connection.hold:
                connection.backlog = chunk[pos:]
            else:
                connection.framing.keep(chunk[pos:])
        except MarshallingError:
            self._remark("nonsense", f"closing {connection}: it sent what is no packet")
            self._close(connection)

    def drained(self, connection: Connection, now_ms: float) -> None:
        """The client has taken what waited for it; go on with what it has sent meanwhile."""
        connection.hold &= ~connections.HOLD_OUTPUT
        connection.turn_bytes = 0
        if connection.late:
            self._drain(connection)
            self._relieve()
        self.resume(connection, now_ms)

    def resume(self, connection: Connection, now_ms: float) -> None:
        """Take what came while the connection was on hold, unless it still is."""
        if not connection.hold and connection.backlog:
            data, connection.backlog = connection.backlog, b""
            self.receive(connection, data, now_ms)

    def _prove(self, connection: Connection, session: Session, chunk: bytes, pos: int) -> int:
        """Take the frames from `pos` on of a client that has to prove who it is before it is
        served, until it has. Returns where that was."""
        proved = self.gate.proved
        while len(chunk) - pos >= 12 and not connection.hold and not proved(connection):
            length, xid, op = _HEADER(chunk, pos)
            if length > self._frame_bytes_max or length < 8:
                raise MarshallingError
            end = pos + 4 + length
            if end > len(chunk):
                break
            session.heard_ms = self.now_ms
            connection.received += 1
            self.stats.received += 1
            if op == Op.AUTH or op == Op.SASL:
                self._identify(connection, xid, op, Reader(chunk, pos + 12, end))
            else:
                self._end(connection, self.gate.refusal(connection, xid))
            pos = end
        return pos

    def _serve(self, connection: Connection, session: Session, chunk: bytes, pos: int) -> int:
        """Take the whole frames of a chunk from `pos` on, and say where it stopped."""
        session.heard_ms = self.now_ms
        nodes = self.tree.nodes.get
        zxid = self.tree.zxid
        out = connection.out
        fifo = connection.fifo
        limit = self._frame_bytes_max
        begin = pos
        end = len(chunk)
        if not fifo:
            connection.taken_bytes = 0
        count = reads = size = xid = 0
        while end - pos >= 12:
            length, xid, op = _HEADER(chunk, pos)
            if length > limit or length < 8:
                raise MarshallingError
            frame_end = pos + 4 + length
            if frame_end > end:
                break
            count += 1
            if op == 4 and length > 12 and not fifo:
                node = nodes(chunk[pos + 16 : frame_end - 1])
                if (
                    node is not None
                    and node.acl is OPEN_ACL
                    and chunk[pos + 12 : pos + 16] == (length - 13).to_bytes(4, "big")
                ):
                    if chunk[frame_end - 1]:
                        path = chunk[pos + 16 : frame_end - 1]
                        try:
                            self.watches.data.add(path, connection, ONE_SHOT)
                        except ThrottledError as error:
                            self._refuse_read(connection, xid, op, error)
                            pos = frame_end
                            continue
                    body = node.reply or self.tree.data_reply(node)
                    out.append(_REPLY(16 + len(body), xid, zxid, 0))
                    out.append(body)
                    reads += 1
                    size += len(body)
                    pos = frame_end
                    if size > _OUT_BYTES_MAX:
                        connection.hold |= connections.HOLD_OUTPUT
                        break
                    continue
            before = len(out)
            self._dispatch(connection, xid, op, chunk, pos + 12, frame_end)
            pos = frame_end
            if len(out) > before:
                size += sum(map(len, out[before:]))
                if size > _OUT_BYTES_MAX:
                    connection.hold |= connections.HOLD_OUTPUT
            if connection.hold:
                break
        connection.received += count
        self.stats.received += count
        if reads:
            self.stats.answered(Op.GET_DATA, 0, reads)
            connection.answered("GETD", xid, zxid, self.now_ms, 0, reads)
        if fifo:
            connection.taken_bytes += pos - begin
            if connection.taken_bytes > self._own_bytes_max:
                self._hold(connection)
        return pos

    def _dispatch(
        self, connection: Connection, xid: int, op: int, chunk: bytes, pos: int, end: int
    ) -> None:
        if op in self._through:
            self._write(connection, xid, op, chunk[pos:end])
        elif op == Op.AUTH or op == Op.SASL:
            self._identify(connection, xid, op, Reader(chunk, pos, end))
        elif connection.fifo:
            self.outstanding += 1
            connection.fifo.append((xid, op, chunk[pos:end]))
            if self.outstanding > self._outstanding_max or len(connection.fifo) > self._own_max:
                self._hold(connection)
        else:
            self._read(connection, xid, op, Reader(chunk, pos, end))

    def _write(self, connection: Connection, xid: int, op: int, payload: bytes) -> None:
        assert connection.session is not None
        write = Write(
            connection, connection.session.id, xid, op, payload, connection.ids, self.now_ms
        )
        self.outstanding += 1
        connection.fifo.append(write)
        try:
            self._submit(write)
        except ZooKeeperError as error:
            self.refuse(write, error)
        if self.outstanding > self._outstanding_max or len(connection.fifo) > self._own_max:
            self._hold(connection)

    def _hold(self, connection: Connection) -> None:
        self._budget.hold(connection, self.outstanding, self.now_ms)

    def _relieve(self) -> None:
        """Fewer requests wait: read again from those for whom there is room now."""
        if self._budget.held:
            self.effects.resumes += self._budget.relieved(self.outstanding, self.now_ms)

    def refuse(self, write: Write, error: ZooKeeperError) -> None:
        """A write that came to no txn: its connection is told, in order."""
        if self._audits:
            self._tell(audit.of_refusal(write, error.code))
        connection = write.connection
        if connection is None:
            return
        if connection.gone:
            self.outstanding -= 1
        elif write.op == Op.CREATE_SESSION:
            connection.fifo.remove(write)
            self.outstanding -= 1
            self._close(connection)
        else:
            connection.fifo[connection.fifo.index(write)] = Refusal(write.cxid, error.code)
            self._drain(connection)
        self._relieve()

    def _remark(self, kind: str, line: str) -> None:
        self.remarks.say(kind, line, self.now_ms)

    def _note(self, line: str) -> None:
        self.effects.notes.append(line)

    def _tell(self, told: audit.Told | None) -> None:
        if told is not None:
            self.effects.audits.append(told)

    def _identify(self, connection: Connection, xid: int, op: int, reader: Reader) -> None:
        """Add identities at once; the reply keeps its place behind earlier requests."""
        answer, last = self.gate.answer(connection, xid, op, reader)
        if last:
            self._end(connection, answer)
        else:
            self._say(connection, answer)

    def _say(self, connection: Connection, answer: bytes) -> None:
        """An answer that is finished, behind those of earlier requests."""
        connection.fifo.append(answer)
        self.outstanding += 1
        self._drain(connection)
        over = self.outstanding > self._outstanding_max or len(connection.fifo) > self._own_max
        if over and connection.fifo:
            self._hold(connection)

    def _end(self, connection: Connection, answer: bytes) -> None:
        """The last answer to a connection: then it is closed."""
        connection.hold |= connections.HOLD_ENDING
        connection.fifo.extend((answer, None))
        self.outstanding += 2
        self._drain(connection)

    def _read(self, connection: Connection, xid: int, op: int, reader: Reader) -> None:
        answer = self._answers.table.get(op)
        out = connection.out
        if answer is None:
            if op == Op.DELETE_CONTAINER:
                out.append(reply(xid, self.tree.zxid, BadArgumentsError.code))
                return
            out.append(reply(xid, -1, UnimplementedError.code))
            self._close(connection)
            return
        if op == Op.PING:
            xid = PING_XID
        try:
            body = answer(connection, reader)
        except ZooKeeperError as error:
            self._refuse_read(connection, xid, op, error)
        else:
            out.append(_REPLY(16 + len(body), xid, self.tree.zxid, 0) + body)
        self.stats.answered(op, 0, 1)
        connection.answered(LAST_OP[op], xid, self.tree.zxid, self.now_ms, 0, 1)

    def _refuse_read(
        self, connection: Connection, xid: int, op: int, error: ZooKeeperError
    ) -> None:
        connection.out.append(reply(xid, self.tree.zxid, error.code))
        if isinstance(error, ThrottledError):
            self._budget.throttled(connection, op, self.now_ms)
            if op == Op.SET_WATCHES or op == Op.SET_WATCHES2:
                # No client looks at this answer; it would go on without the watches that it had.
                self._close(connection)

    def commit(self, txn: Txn, write: Write | None) -> None:
        """Apply the next txn and answer the write that it came from, if that was made here."""
        connection = write.connection if write is not None else None
        if connection is not None and connection.late:
            self._drain(connection, hurry=True)
        watched = self.watches.data.by_path or self.watches.children.by_path
        events: list[Event] | None = [] if watched else None
        ended: list[bytes] = []
        if self._audits and txn.type == Op.CLOSE_SESSION:
            ended = sorted(self.tree.ephemerals.get(txn.session_id, ()))
        outcome = self.tree.apply(txn, events)
        if self._audits and write is not None:
            self._tell(audit.of_commit(write, outcome, txn.zxid, ended))
        if events:
            self._fire(events, txn.zxid)
        if txn.type == Op.CLOSE_SESSION:
            self._end_session(txn.session_id)
        if write is None or connection is None:
            return
        if connection.gone:
            self.outstanding -= 1
            return
        assert connection.fifo[0] is write
        connection.fifo.popleft()
        self.outstanding -= 1
        if outcome.error == SessionMovedError.code:
            self._close(connection)
            return
        if txn.type == Op.CREATE_SESSION:
            self._strangers.welcome(connection, self.sessions.by_id.get(txn.session_id))
            return
        self._reply(connection, write, outcome)
        self._drain(connection)

    def caught_up(self, write: Write) -> None:
        """All that was committed when a client's sync reached the leader is applied here."""
        connection = write.connection
        self.outstanding -= 1
        if connection is not None and connection.late:
            self._drain(connection, hurry=True)
        if connection is not None and not connection.gone:
            assert connection.fifo[0] is write
            connection.fifo.popleft()
            self._read(connection, write.cxid, write.op, Reader(write.payload))
            self.touch(connection)
            self._drain(connection)
        self._relieve()

    def _reply(self, connection: Connection, write: Write, outcome: Outcome) -> None:
        zxid = self.tree.zxid
        if write.op == Op.MULTI and outcome.type == Op.MULTI:
            body = b"".join(parts(write.payload, outcome.parts)) + requests.MULTI_END
            connection.out.append(reply(write.cxid, zxid, 0, body))
        elif outcome.error:
            connection.out.append(reply(write.cxid, zxid, outcome.error))
        else:
            body = changed(write.op, outcome)
            connection.out.append(_REPLY(16 + len(body), write.cxid, zxid, 0) + body)
        self.touch(connection)
        latency_ms = int(self.now_ms - write.arrived_ms)
        self.stats.answered(write.op, latency_ms, 1)
        connection.answered(LAST_OP[write.op], write.cxid, zxid, self.now_ms, latency_ms, 1)
        if write.op == Op.CLOSE_SESSION:
            self._close(connection)

    def _drain(self, connection: Connection, hurry: bool = False) -> None:
        """Answer what waited, up to the next write that is still in flight. Of much the client
        has to take the first part first; unless that write is due now: then all is answered from
        the state before it, taken or not, and who would be owed too much is cut off."""
        fifo, out = connection.fifo, connection.out
        if hurry:
            self.touch(connection)
            connection.turn_bytes = sum(map(len, out))
        while fifo and not isinstance(fifo[0], Write):
            if connection.hold & connections.HOLD_OUTPUT and not hurry:
                self.outstanding -= self._budget.put_off(connection, self.now_ms)
                break
            entry = fifo.popleft()
            if connection.late:
                connection.late -= 1
            else:
                self.outstanding -= 1
            if entry is None:
                self._close(connection)
                break
            self.touch(connection)
            before = len(out)
            if isinstance(entry, tuple):
                xid, op, payload = entry
                self._read(connection, xid, op, Reader(payload))
            elif isinstance(entry, Refusal):
                out.append(reply(entry.xid, self.tree.zxid, entry.code))
            elif isinstance(entry, bytes):
                out.append(entry)
            one = len(out) - before == 1
            connection.turn_bytes += len(out[-1]) if one else sum(map(len, out[before:]))
            if connection.turn_bytes > _OUT_BYTES_MAX:
                connection.hold |= connections.HOLD_OUTPUT
                if hurry and self._budget.cuts_off(connection, self.now_ms):
                    out.clear()
                    self._close(connection)
                    self.disconnected(connection)

    def committed(self) -> None:
        """A batch of txns is applied: those who had to wait for the log may go on."""
        self._relieve()

    def _fire(self, events: list[Event], zxid: int) -> None:
        for event, path, acl in events:
            frame = b""
            for watcher in self.watches.fire(event, path):
                if not self.access.allows(acl, Perms.READ, watcher.ids):
                    continue
                frame = frame or requests.notification(event, path, zxid)
                watcher.out.append(frame)
                self.touch(watcher)

    def _end_session(self, session_id: int) -> None:
        session = self.sessions.forget(session_id)
        if session is None or session.connection is None:
            return
        connection = session.connection
        self.watches.forget(connection)
        writes = (entry for entry in connection.fifo if isinstance(entry, Write))
        if all(write.op != Op.CLOSE_SESSION for write in writes):
            self._close(connection)

    def touch(self, connection: Connection) -> None:
        """Have what is in a connection's `out` sent at the end of this turn."""
        if not connection.touched:
            connection.touched = True
            connection.turn_bytes = 0
            self.effects.outputs.append(connection)

    def _close(self, connection: Connection) -> None:
        """Close a connection once its output is sent; nothing more is read from it."""
        if not connection.hold & connections.HOLD_CLOSED:
            connection.hold |= connections.HOLD_CLOSED
            connection.backlog = b""
            self._strangers.waiting.pop(connection, None)
            self.effects.closes.append(connection)

    def revalidated(self, connection: Connection, session_id: int, timeout_ms: int) -> None:
        """Who was asked knows now whether a client may have its session."""
        self._strangers.revalidated(connection, session_id, timeout_ms)

    def admit(self, write: Write, session: Session) -> None:
        """Let in a client whose session needs no txn."""
        self._strangers.admit(write, session)

    def turn_away(self, connection: Connection) -> None:
        """Close a connection that is not served here."""
        self._close(connection)

    def drop_session(self, session: Session) -> None:
        """Close the connection of a session whose time is over, if it still has one."""
        if session.connection is not None:
            self._close(session.connection)
