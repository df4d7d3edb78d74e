"""The client's side of GSSAPI, by hand and in a session: whom it trusts, and that nothing waits
where it is computed."""

from __future__ import annotations

import asyncio
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest

import coterie
from coterie.client.hosts import Host
from coterie.client.kerberos import Kerberos, TicketExchange
from coterie.client.session import Session, Settings, taken
from coterie.core.kerberos import Tickets
from coterie.errors import AuthFailedError, NotConnectedError, ZooKeeperError
from coterie.system import kerberos
from coterie.system.kerberos import KerberosError
from coterie.values import SessionState
from coterie.wire.gssapi import OFFER, ContextError
from coterie.wire.requests import Op
from tests.compat.raw import buffer
from tests.core.contexts import FakeContext


def _exchange() -> TicketExchange:
    return TicketExchange(lambda: FakeContext("bob@A"))


def test_both_ends_of_ours_come_to_an_end_together() -> None:
    client, server = _exchange(), Tickets(FakeContext, str).handshake()
    token = client.first()
    while not client.done:
        token = client.answer(server.answer(token))
    assert server.user == "bob@A"


def _until_the_offer() -> TicketExchange:
    client = _exchange()
    client.first()
    assert client.answer(b"proof") == b""
    return client


@pytest.mark.parametrize(
    ("offer", "why"),
    [
        (b"\6\0\xff\xff", "protected"),
        (b"\1\0\0", "protected"),
        (b"", "protected"),
    ],
)
def test_a_server_that_wants_more_than_there_is_is_refused(offer: bytes, why: str) -> None:
    with pytest.raises(AuthFailedError, match=why):
        _until_the_offer().answer(FakeContext().wrap(offer))


def test_a_server_that_has_other_layers_as_well_will_do() -> None:
    # Java's says 7 where it may protect what follows, and the client takes the least.
    client = _until_the_offer()
    assert client.answer(FakeContext().wrap(b"\7\0\xff\xff")) == FakeContext("x").wrap(OFFER)


@pytest.mark.parametrize(
    ("challenges", "why"),
    [
        ([None], "has no Kerberos, or refuses"),
        ([b"x"], "no proof"),
        ([b""], "no proof"),
        ([bytes(200_000)], "too long"),
        ([b"proof", None], "has no Kerberos, or refuses"),
        ([b"proof", OFFER], "of another key"),
        ([b"proof", b"0:" + OFFER, b"more"], "more than there is"),
    ],
)
def test_a_server_that_does_not_keep_to_it_is_refused(
    challenges: list[bytes | None], why: str
) -> None:
    client = _exchange()
    client.first()
    *before, last = challenges
    for challenge in before:
        client.answer(challenge)
    with pytest.raises(AuthFailedError, match=why):
        client.answer(last)
    assert not client.done


@pytest.mark.parametrize(
    ("passing", "kind"), [(False, AuthFailedError), (True, NotConnectedError)]
)
def test_a_kdc_that_is_away_is_no_refusal(passing: bool, kind: type[ZooKeeperError]) -> None:
    def begin() -> FakeContext:
        raise ContextError("no luck", passing)

    with pytest.raises(kind, match=r"sasl \(no luck\)"):
        TicketExchange(begin).first()


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kerberos that is there; what was asked of it: servers, users, keytabs."""
    asked: list[str] = []

    def initiate(server: str, user: str | None, keytab: str | None) -> FakeContext:
        asked.append(f"{server} {user} {keytab}")
        return FakeContext("bob@A")

    monkeypatch.setattr(kerberos, "initiate", initiate)
    monkeypatch.setattr(kerberos, "check", lambda keytab: None)
    return asked


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (Kerberos, "zookeeper@h None None"),
        (lambda: Kerberos(service="zk", host="other"), "zk@other None None"),
        (lambda: Kerberos("k", "bob", principal="zk/o@B"), "zk/o@B bob k"),
    ],
)
def test_each_server_has_a_name_of_its_own(
    begin: list[str], given: Callable[[], Kerberos], asked: str
) -> None:
    given().exchange("h").first()
    assert begin == [asked]


def test_a_client_that_has_no_kerberos_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(KerberosError, match=r"pip install 'coterie\[kerberos\]'"):
        coterie.Kerberos()


# In a session


class _Server:
    """A server of one session, by hand."""

    def __init__(self) -> None:
        self.session = Session((Host("a", 1),), Settings(sasl=Kerberos()), Random(1), 0.0)
        self.connect()

    def connect(self) -> None:
        self.session.tick(self.session.next_due_ms())
        assert self.session.take().dial
        self.session.opened()
        self.session.take()
        self.session.receive(buffer(struct.pack(">iiq", 0, 9000, 7) + buffer(bytes(16)) + b"\0"))

    def step(self) -> Callable[[], bytes]:
        """What is to be computed, when nothing was said yet."""
        wishes = self.session.take()
        assert not wishes.output
        assert wishes.step is not None
        return wishes.step

    def heard(self) -> list[tuple[int, bytes]]:
        return [(op, body) for op, body in map(self._request, self.session.take().output)]

    def _request(self, packet: bytes) -> tuple[int, bytes]:
        self._xid, op = struct.unpack_from(">4xii", packet)
        return op, packet[12:]

    def says(self, body: bytes, error: int = 0) -> None:
        self.session.receive(buffer(struct.pack(">iqi", self._xid, 0, error) + body))


def test_a_session_computes_elsewhere_and_goes_on_when_that_is_done(begin: list[str]) -> None:
    server = _Server()
    session, other = server.session, Tickets(FakeContext, str).handshake()
    for _ in range(3):
        step = server.step()
        assert not session.state.connected
        session.thought(step, taken(step))
        ((op, body),) = server.heard()
        assert op == Op.SASL
        server.says(buffer(other.answer(body[4:])))
    assert begin == ["zookeeper@a None None"]
    step = server.step()
    session.thought(step, taken(step))
    assert session.state is SessionState.CONNECTED
    assert other.user == "bob@A"


def test_a_step_that_ends_when_its_connection_is_gone_is_nothing(begin: list[str]) -> None:
    server = _Server()
    late = server.step()
    server.session.lost("cut")
    server.session.thought(late, b"late")
    server.connect()
    now = server.step()
    server.session.thought(late, AuthFailedError())
    assert not server.heard()
    server.session.thought(now, b"ticket")
    assert server.heard() == [(Op.SASL, buffer(b"ticket"))]


def test_a_kdc_that_is_away_is_tried_again_and_a_refusal_ends_the_client(begin: list[str]) -> None:
    server = _Server()
    server.session.thought(server.step(), NotConnectedError(operation="sasl (no KDC)"))
    assert server.session.take().hang_up
    assert server.session.failure == "a:1: sasl (no KDC)"
    server.connect()
    server.session.thought(server.step(), b"ticket")
    server.heard()
    server.says(buffer(None), AuthFailedError.code)
    assert server.session.state is SessionState.AUTH_FAILED
    assert server.session.failure == "a:1: sasl (the server refuses the ticket)"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greet a client, and take its ticket."""
    handshake = Tickets(FakeContext, str).handshake()
    with suppress(asyncio.IncompleteReadError):
        await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
        writer.write(buffer(struct.pack(">iiq", 0, 9000, 7) + buffer(bytes(16)) + b"\0"))
        while True:
            packet = await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
            xid, op = struct.unpack_from(">ii", packet)
            body = buffer(handshake.answer(packet[12:])) if op == Op.SASL else b""
            writer.write(buffer(struct.pack(">iqi", xid, 0, 0) + body))
    writer.close()


async def test_the_loop_goes_on_while_a_ticket_is_waited_for(
    begin: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, asked = threading.Event(), threading.Event()

    def initiate(server: str, user: str | None, keytab: str | None) -> FakeContext:
        asked.set()
        assert there.wait(10)
        return FakeContext("bob@A")

    monkeypatch.setattr(kerberos, "initiate", initiate)
    async with await asyncio.start_server(_serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with asyncio.TaskGroup() as group:
            client = coterie.connect(f"{host}:{port}", sasl=Kerberos())
            starting = group.create_task(client.start())
            assert await asyncio.to_thread(asked.wait, 10)
            assert not starting.done()
            there.set()
            await starting
            assert client.state is SessionState.CONNECTED
            await client.close()


async def test_what_fails_in_an_unforeseen_way_is_told(
    begin: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def initiate(server: str, user: str | None, keytab: str | None) -> FakeContext:
        raise OverflowError("of something")

    monkeypatch.setattr(kerberos, "initiate", initiate)
    async with await asyncio.start_server(_serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(AuthFailedError, match=r"sasl \(OverflowError\('of something'\)\)"):
            await coterie.connect(f"{host}:{port}", sasl=Kerberos()).start()
