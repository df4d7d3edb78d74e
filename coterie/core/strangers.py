"""How a connection begins: its first packet, and the session that it gets or takes up again.

Rules:
- a connection without a session is a stranger, which has so long to ask for one by a
  ConnectRequest; a four-letter word instead is answered even while nobody is served;
- who is not let in is told nothing, so that it tries another server; that a session is over is
  told, and only to who asks for one that does not exist or is not its own;
- nothing behind the ConnectRequest is read before the session is there.
A new session is a write, handed to `submit`. Whether one may be taken up again is asked of
`revalidate`, if there is one: a learner's leader knows. The answer comes back by `revalidated`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from coterie.config import Config
from coterie.core import connection as connections
from coterie.core import sessions as session_rules
from coterie.core.connection import Connection
from coterie.core.prepare import Write
from coterie.core.sessions import Session
from coterie.errors import MarshallingError, ZooKeeperError
from coterie.wire import requests
from coterie.wire.cursor import Reader
from coterie.wire.framing import LENGTH
from coterie.wire.requests import Op
from coterie.wire.txns import CreateSessionTxn

if TYPE_CHECKING:
    from coterie.core.server import Server


class Strangers:
    """Lets the clients of one server in, or turns them away."""

    def __init__(self, config: Config, server: Server, submit: Callable[[Write], None]) -> None:
        self.waiting: dict[Connection, None] = {}
        """Who has no session yet, in order of time."""
        self._server = server
        self._submit = submit
        self._revalidate: Callable[[Connection, int, int], None] | None = None
        self._admits = True
        self._timeout_min_ms = config.min_session_timeout_ms
        self._timeout_max_ms = config.max_session_timeout_ms
        self._frame_bytes_max = config.frame_bytes_max
        self._wait_ms = config.sessionless_timeout_ms

    def open(
        self,
        submit: Callable[[Write], None],
        revalidate: Callable[[Connection, int, int], None] | None,
        admits: bool,
    ) -> None:
        """The server plays another role. A leader may leave clients to its followers: then it
        admits none."""
        self._submit = submit
        self._revalidate = revalidate
        self._admits = admits

    def tick(self, now_ms: float) -> None:
        """Time has passed: close connections that have not said who they are."""
        while self.waiting:
            stranger = next(iter(self.waiting))
            if now_ms - stranger.opened_ms < self._wait_ms:
                break
            self._server.stats.strangers_closed += 1
            self._server.turn_away(stranger)

    def greet(self, connection: Connection, chunk: bytes) -> int:
        """The first packet: a four-letter word or a ConnectRequest. Returns what it took."""
        if len(chunk) < 4:
            return 0
        words = self._server.words
        answer = words(chunk) if words is not None else None
        if answer is not None:
            connection.received += 1
            connection.out.append(answer)
            self._server.turn_away(connection)
            return len(chunk)
        length: int = LENGTH.unpack_from(chunk)[0]
        if not 0 <= length <= self._frame_bytes_max:
            raise MarshallingError
        if len(chunk) < 4 + length:
            return 0
        reader = Reader(chunk, 4, 4 + length)
        request = requests.ConnectRequest.read(reader)
        connection.read_only_known = not reader.at_end()
        asks_read_only = connection.read_only_known and reader.boolean()
        if self._lets_in(connection, request, asks_read_only):
            self._connect(connection, request)
        else:
            self._server.turn_away(connection)
        return 4 + length

    def _lets_in(
        self, connection: Connection, request: requests.ConnectRequest, asks_read_only: bool
    ) -> bool:
        """Whether a client may ask for a session here, now, and with what it has seen."""
        server = self._server
        connection.received += 1
        server.stats.received += 1
        if not (server.serving and self._admits):
            return False
        throttle = server.throttle
        weight = throttle.renewed_weight if request.session_id else throttle.new_weight
        if not throttle.admits(weight, server.now_ms):
            server.stats.rejected += 1
            line = f"turning away {connection}: too many ask for sessions"
            server.remarks.say("throttled", line, server.now_ms)
            return False
        server.stats.greeted += 1
        if server.read_only and not asks_read_only:
            return False
        if request.last_zxid_seen > server.tree.zxid:
            seen, zxid = request.last_zxid_seen, server.tree.zxid
            line = f"it has seen zxid {seen:#x} and this server only {zxid:#x}"
            server.remarks.say("zxid", f"closing {connection}: {line}", server.now_ms)
            return False
        return True

    def _connect(self, connection: Connection, request: requests.ConnectRequest) -> None:
        """Give a client a new session, or find out about the one that it has."""
        server = self._server
        timeout_ms = min(max(request.timeout_ms, self._timeout_min_ms), self._timeout_max_ms)
        connection.hold |= connections.HOLD_CONNECT
        if request.session_id == 0:
            session_id = server.sessions.new_id()
            body = CreateSessionTxn(timeout_ms).encode()
            write = Write(
                connection, session_id, 0, Op.CREATE_SESSION, body, connection.ids, server.now_ms
            )
            server.outstanding += 1
            connection.fifo.append(write)
            try:
                self._submit(write)
            except ZooKeeperError as error:
                server.refuse(write, error)
        elif request.password != session_rules.password(request.session_id):
            self.welcome(connection, None)
        elif self._revalidate is not None:
            self._revalidate(connection, request.session_id, timeout_ms)
        else:
            self.revalidated(connection, request.session_id, timeout_ms)

    def revalidated(self, connection: Connection, session_id: int, timeout_ms: int) -> None:
        """Let a connection have the session that it asks for, if there is such a session."""
        server = self._server
        if connection.gone:
            return
        session = server.sessions.by_id.get(session_id)
        if session is None or session.closing:
            self.welcome(connection, None)
            return
        server.drop_session(session)
        server.stats.renewed += 1
        session.owner = None
        server.sessions.retime(session, timeout_ms, server.now_ms)
        self.welcome(connection, session)

    def admit(self, write: Write, session: Session) -> None:
        """Let in a client whose session needs no txn."""
        connection = write.connection
        assert connection is not None
        connection.fifo.remove(write)
        self._server.outstanding -= 1
        self.welcome(connection, session)

    def welcome(self, connection: Connection, session: Session | None) -> None:
        """Send the ConnectResponse; without a session it says that there is none any more."""
        server = self._server
        if session is None:
            body = requests.ConnectResponse(0, 0, 0, bytes(16)).encode()
        else:
            proof = session_rules.password(session.id)
            body = requests.ConnectResponse(0, session.timeout_ms, session.id, proof).encode()
        if connection.read_only_known:
            body += b"\1" if server.read_only else b"\0"
        connection.out.append(LENGTH.pack(len(body)) + body)
        server.stats.sent += 1
        server.touch(connection)
        self.waiting.pop(connection, None)
        if session is None:
            server.turn_away(connection)
            return
        session.connection = connection
        connection.session = session
        connection.answered("SESS", 0, server.tree.zxid, server.now_ms, 0, 1)
        connection.hold &= ~connections.HOLD_CONNECT
        server.effects.resumes.append(connection)
