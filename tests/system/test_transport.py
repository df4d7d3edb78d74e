"""Listening and connecting on loopback, and the one line that says why it cannot be done."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import cast

import pytest
import trustme

from coterie.system import transport
from coterie.system.tls import client_context
from coterie.system.transport import PortTakenError, bind


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.close()


async def _ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"ruok")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_each_connection_gets_a_protocol_of_its_own() -> None:
    made: list[_Echo] = []

    def factory() -> _Echo:
        made.append(_Echo())
        return made[-1]

    async def main() -> list[bytes]:
        listener = bind("127.0.0.1", 0, 10)
        port = listener.getsockname()[1]
        server = await transport.serve(listener, factory, 10)
        answers = [await _ask(port), await _ask(port)]
        server.close()
        await cast(asyncio.AbstractServer, server).wait_closed()
        return answers

    loop = transport.new_event_loop()
    try:
        assert loop.run_until_complete(asyncio.wait_for(main(), 10)) == [b"ruok", b"ruok"]
    finally:
        loop.close()
    assert len(made) == 2


class _Hello(asyncio.Protocol):
    def __init__(self, heard: asyncio.Future[bytes]) -> None:
        self._heard = heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(b"hello")

    def data_received(self, data: bytes) -> None:
        self._heard.set_result(data)


def test_dialling_reaches_who_listens_and_tells_when_nobody_does() -> None:
    async def main() -> bytes:
        heard = asyncio.get_running_loop().create_future()
        listener = bind("127.0.0.1", 0, 10)
        address = listener.getsockname()
        server = await transport.serve(listener, _Echo, 10)
        await transport.dial(address, lambda: _Hello(heard))
        answer: bytes = await heard
        server.close()
        await cast(asyncio.AbstractServer, server).wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await transport.dial(address, lambda: _Hello(heard))
        return answer

    loop = transport.new_event_loop()
    try:
        assert loop.run_until_complete(asyncio.wait_for(main(), 10)) == b"hello"
    finally:
        loop.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, transport.new_event_loop])
@pytest.mark.parametrize("host", ["x" * 300, "a\0b", "a..b", ".", "127.0.0.1"])
def test_what_is_no_host_or_no_port_is_nobody(
    loop: Callable[[], asyncio.AbstractEventLoop], host: str
) -> None:
    """So another member may say where it can be dialled."""

    async def main() -> None:
        for tls in (None, ssl.create_default_context()):
            for port in (99_999, 1 << 40, 0):
                with pytest.raises(OSError):  # noqa: PT011
                    await transport.dial((host, port), _Echo, tls)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_a_reset_leaves_nothing_to_the_system_that_it_would_go_on_to_offer() -> None:
    """Who reads at last hears of the reset: after an abort it would read on to an end."""

    async def main() -> None:
        made: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

        class Talker(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                cast(asyncio.Transport, transport).write(bytes(2**24))
                made.set_result(cast(asyncio.Transport, transport))

        loop = asyncio.get_running_loop()
        listener = bind("127.0.0.1", 0, 10)
        server = await transport.serve(listener, Talker, 10)
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, listener.getsockname())
            transport.reset(await made)
            try:
                while await loop.sock_recv(client, 2**20):
                    pass
            finally:
                server.close()

    loop = transport.new_event_loop()
    try:
        with pytest.raises(ConnectionResetError):
            loop.run_until_complete(asyncio.wait_for(main(), 10))
    finally:
        loop.close()


def test_port_0_takes_a_free_one_on_the_address_that_was_asked_for() -> None:
    with bind("127.0.0.1", 0, 10) as one, bind("127.0.0.1", 0, 10) as two:
        assert one.getsockname()[0] == "127.0.0.1"
        assert 0 < one.getsockname()[1] != two.getsockname()[1] > 0
        assert not one.getblocking()


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with bind("127.0.0.1", 0, 10) as first:
        port = first.getsockname()[1]
        with pytest.raises(PortTakenError) as raised:
            bind("127.0.0.1", port, 10)
    reason = os.strerror(errno.EADDRINUSE)
    assert str(raised.value) == f"cannot listen on 127.0.0.1:{port}: {reason}"


def test_an_address_that_is_not_ours_is_one_clear_line() -> None:
    # 192.0.2.0/24 is for documents: no machine has it.
    with pytest.raises(PortTakenError, match=r"^cannot listen on 192\.0\.2\.1:2181: \w"):
        bind("192.0.2.1", 2181, 10)


def test_a_port_can_be_had_again_right_after_a_connection_on_it() -> None:
    """A server that is started again must not wait until TIME_WAIT is over."""
    with bind("127.0.0.1", 0, 10) as first:
        address = first.getsockname()
        with socket.create_connection(address):
            first.setblocking(True)
            first.accept()[0].close()
    bind(address[0], address[1], 10).close()


class _Recorded:
    """Stands in for a socket: nothing here may listen beyond loopback."""

    def __init__(self, family: int, kind: int) -> None:
        if family == socket.AF_INET6 and not self.has_ipv6:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        self.calls: list[tuple[object, ...]] = [(family, kind)]

    has_ipv6 = True

    def setsockopt(self, *option: int) -> None:
        self.calls.append(option)

    def bind(self, address: tuple[str, int]) -> None:
        self.calls.append(address)

    def listen(self, backlog: int) -> None: ...

    def setblocking(self, blocking: bool) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("host", "has_ipv6", "family", "only_ipv6"),
    [
        ("", True, socket.AF_INET6, 0),
        ("::1", True, socket.AF_INET6, 1),
        # A kernel that was started without IPv6 has every address of IPv4 all the same.
        ("", False, socket.AF_INET, None),
        ("127.0.0.1", False, socket.AF_INET, None),
    ],
)
def test_which_addresses_are_listened_at(
    monkeypatch: pytest.MonkeyPatch, host: str, has_ipv6: bool, family: int, only_ipv6: int | None
) -> None:
    monkeypatch.setattr(socket, "socket", _Recorded)
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: has_ipv6)
    monkeypatch.setattr(_Recorded, "has_ipv6", has_ipv6)
    made = bind(host, 2181, 10)
    assert isinstance(made, _Recorded)
    assert made.calls[0] == (family, socket.SOCK_STREAM)
    assert (host, 2181) in made.calls
    v6_only = [each[2] for each in made.calls if each[:2] == (41, socket.IPV6_V6ONLY)]
    assert v6_only == ([] if only_ipv6 is None else [only_ipv6])


def test_no_ipv6_for_an_address_that_needs_it_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "socket", _Recorded)
    monkeypatch.setattr(_Recorded, "has_ipv6", False)
    with pytest.raises(PortTakenError, match=r"^cannot listen on ::1:2181: "):
        bind("::1", 2181, 10)


def test_a_server_that_ends_the_handshake_of_tls_is_told_from_one_that_is_not_there() -> None:
    async def main() -> None:
        listener = bind("127.0.0.1", 0, 10)
        server = await asyncio.start_server(lambda _, writer: writer.close(), sock=listener)
        network, address = transport.SystemNetwork(), listener.getsockname()
        with pytest.raises(ConnectionResetError, match="is this its port for TLS"):
            await network.dial(address, asyncio.Protocol, client_context(), "localhost")
        server.close()
        await cast(asyncio.AbstractServer, server).wait_closed()
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            await network.dial(address, asyncio.Protocol, client_context(), "localhost")

    for make in (asyncio.new_event_loop, transport.new_event_loop):
        with asyncio.Runner(loop_factory=make) as runner:
            runner.run(main())


class _End(asyncio.Protocol):
    def __init__(self, ended: asyncio.Future[None]) -> None:
        self._ended = ended

    def connection_lost(self, error: Exception | None) -> None:
        self._ended.set_result(None)


@pytest.mark.parametrize("host", ["zk.example", "zk.example."])
def test_the_host_is_named_to_the_server_and_has_to_be_in_its_certificate(host: str) -> None:
    ca = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("zk.example").configure_cert(serving)
    asked: list[str | None] = []
    serving.sni_callback = lambda _, name, context: asked.append(name)
    trusting = ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())

    async def main() -> None:
        listener = bind("127.0.0.1", 0, 10)
        server = await asyncio.start_server(
            lambda _, writer: writer.close(), sock=listener, ssl=serving
        )
        network, address = transport.SystemNetwork(), listener.getsockname()
        with pytest.raises(ssl.SSLCertVerificationError):
            await network.dial(address, asyncio.Protocol, trusting, "other.example")
        ended = asyncio.get_running_loop().create_future()
        await network.dial(address, lambda: _End(ended), trusting, host)
        await ended
        server.close()
        await cast(asyncio.AbstractServer, server).wait_closed()
        listener.close()

    asyncio.run(main())
    assert asked == ["other.example", "zk.example"]
