"""Handshakes on loopback, in asyncio's loop and in the one that servers use."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest
import trustme

from coterie.system import handshakes, transport
from coterie.system.certificates import Certificates
from coterie.system.handshakes import Secure, SecureListener

_CA = trustme.CA()
_SERVER = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
_CA.issue_cert("127.0.0.1").configure_cert(_SERVER)
_CLIENT = ssl.create_default_context()
_CA.configure_trust(_CLIENT)

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, transport.new_event_loop])


class _Echo(asyncio.Protocol):
    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        type(self).made += 1
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def _run(
    loop: Callable[[], asyncio.AbstractEventLoop],
    test: Callable[[SecureListener, int], Awaitable[None]],
    both: bool = False,
) -> None:
    async def main() -> None:
        bound = transport.bind("127.0.0.1", 0, 10)
        port = bound.getsockname()[1]
        secure = Secure(Certificates((), lambda: _SERVER), 0.3, both)
        listener = await transport.serve(bound, _Echo, 10, secure)
        assert isinstance(listener, SecureListener)
        try:
            await asyncio.wait_for(test(listener, port), 20)
        finally:
            listener.close()
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


async def _echoes(port: int, tls: ssl.SSLContext | None, ip: str = "127.0.0.1") -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, local_addr=(ip, 0))
    writer.write(b"hello")
    heard = await reader.read(5)
    writer.close()
    return heard == b"hello"


async def _ends(port: int, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    with suppress(ConnectionError):
        await reader.read()
    writer.close()


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@LOOPS
def test_a_protocol_is_given_what_has_done_its_handshake(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def test(listener: SecureListener, port: int) -> None:
        made = _Echo.made
        assert all(await asyncio.gather(*(_echoes(port, _CLIENT) for _ in range(5))))
        await _ends(port, b"hello, there")
        assert _Echo.made == made + 5
        assert listener.refused == 1
        await _until(lambda: listener.under_way == 0)

    _run(loop, test)


@LOOPS
def test_one_port_for_both_tells_by_the_first_byte(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def test(listener: SecureListener, port: int) -> None:
        assert await _echoes(port, _CLIENT)
        assert await _echoes(port, None)
        # Who is silent for too long for a handshake is one in the clear.
        made = _Echo.made
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _until(lambda: _Echo.made > made)
        writer.write(b"hello")
        assert await reader.read(5) == b"hello"
        writer.close()

    _run(loop, test, both=True)


@LOOPS
def test_a_handshake_that_hangs_is_ended_and_said_once(
    loop: Callable[[], asyncio.AbstractEventLoop], caplog: pytest.LogCaptureFixture
) -> None:
    async def test(listener: SecureListener, port: int) -> None:
        await asyncio.gather(*(_ends(port, b"\x16\x03\x01") for _ in range(5)))
        await _until(lambda: listener.refused == 5)

    caplog.set_level(logging.WARNING, "coterie.server")
    _run(loop, test)
    (said,) = [text for text in caplog.messages if text.startswith("no TLS with 127.0.0.1:")]
    assert said.endswith(": its handshake was not done after 0.3 s")


def test_only_so_many_are_under_way_and_the_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "_UNDER_WAY_MAX", 2)

    async def test(listener: SecureListener, port: int) -> None:
        slow = [asyncio.create_task(_ends(port, b"\x16\x03\x01")) for _ in range(2)]
        await _until(lambda: listener.under_way == 2)
        assert await _echoes(port, _CLIENT)
        assert listener.refused >= 1
        await asyncio.gather(*slow)

    _run(transport.new_event_loop, test)


@contextmanager
def _slow(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections that begin nothing."""
    with ExitStack() as held:
        yield [
            held.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)
        ]


def test_an_address_that_begins_many_keeps_no_other_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "_UNDER_WAY_MAX", 4)
    monkeypatch.setattr(handshakes, "_OF_ADDRESS_MAX", 2)

    async def test(listener: SecureListener, port: int) -> None:
        with _slow(port, 10):
            await _until(lambda: listener.under_way == 10)
            assert await _echoes(port, _CLIENT, "127.0.0.2")
            # Two at a time, 0.3 s each: it did not wait for them.
            assert listener.under_way >= 6

    _run(transport.new_event_loop, test)


@LOOPS
@pytest.mark.parametrize("both", [False, True])
def test_of_those_who_wait_the_last_of_the_address_with_most_go(
    loop: Callable[[], asyncio.AbstractEventLoop], both: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "_HELD_MAX", 6)

    async def test(listener: SecureListener, port: int) -> None:
        assert await _echoes(port, _CLIENT)
        before = len(os.listdir("/proc/self/fd"))
        with _slow(port, 10) as slow:
            await _until(lambda: listener.refused == 4)
            assert listener.under_way == 6
            assert await _echoes(port, _CLIENT, "127.0.0.2")
            for each in slow[5:9]:
                each.settimeout(5)
                assert each.recv(1) == b""
        await _until(lambda: listener.under_way == 0)
        await _until(lambda: len(os.listdir("/proc/self/fd")) <= before)

    _run(loop, test, both)


def test_closing_ends_handshakes(tmp_path: Path) -> None:
    async def test(listener: SecureListener, port: int) -> None:
        slow = asyncio.create_task(_ends(port, b"\x16\x03\x01"))
        await _until(lambda: listener.under_way == 1)
        listener.close()
        await slow
        with pytest.raises(ConnectionRefusedError):
            await _echoes(port, _CLIENT)

    _run(transport.new_event_loop, test)
