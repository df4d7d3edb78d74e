"""The benchmark's own encoders, compared with the server's records: two hands, one protocol."""

from __future__ import annotations

import socket
import threading

import pytest

from benchmarks import protocol
from benchmarks.protocol import ProtocolError, Session
from coterie.values import OPEN_ACL
from coterie.wire import requests
from coterie.wire.cursor import Reader
from coterie.wire.requests import Op


def test_requests_are_what_the_server_reads() -> None:
    create = requests.CreateRequest(b"/a", b"data", OPEN_ACL, 0)
    assert protocol.create_body(b"/a", b"data") == create.encode()
    assert protocol.delete_body(b"/a") == requests.DeleteRequest(b"/a", -1).encode()
    assert protocol.get_data_body(b"/a") == requests.PathWatchRequest(b"/a", False).encode()
    assert protocol.set_data_body(b"/a", b"x") == requests.SetDataRequest(b"/a", b"x", -1).encode()
    multi = protocol.multi_body(protocol.DELETE, [protocol.delete_body(b"/a")] * 2)
    assert requests.read_multi(Reader(multi)) == [
        (Op.DELETE, requests.DeleteRequest(b"/a", -1)),
        (Op.DELETE, requests.DeleteRequest(b"/a", -1)),
    ]


def test_handshake_is_what_the_server_reads() -> None:
    asked = requests.ConnectRequest(0, 0, protocol.SESSION_TIMEOUT_MS, 0, bytes(16))
    assert protocol.connect_request() == protocol.frame(asked.encode() + b"\0")
    assert len(protocol.connect_reply()) == protocol.CONNECT_REPLY_BYTES


def test_a_request_is_framed_behind_its_header() -> None:
    header = requests.RequestHeader(7, Op.CLOSE_SESSION)
    assert protocol.request(7, protocol.CLOSE_SESSION) == protocol.frame(header.encode())


def _answering(*replies: bytes) -> int:
    """A port where one connection gets these, one for each thing that it sends."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with listener, listener.accept()[0] as connection:
            for reply in replies:
                connection.recv(4096)
                connection.sendall(reply)

    threading.Thread(target=answer, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def test_session_reads_data() -> None:
    port = _answering(protocol.connect_reply(), protocol.get_data_reply(1, b"data"))
    with Session(port) as session:
        assert session.get(b"/a") == b"data"


def test_session_raises_an_error_code_that_is_not_allowed() -> None:
    no_node = protocol.frame(b"\0\0\0\1" + bytes(8) + (-101).to_bytes(4, signed=True))
    port = _answering(protocol.connect_reply(), no_node)
    with Session(port) as session, pytest.raises(ProtocolError, match="error -101"):
        session.get(b"/a")


def test_session_notices_a_reply_to_another_request() -> None:
    port = _answering(protocol.connect_reply(), protocol.set_data_reply(5))
    with Session(port) as session, pytest.raises(ProtocolError, match="xid 5"):
        session.set(b"/a", b"")


def test_session_that_is_refused_or_cut_off() -> None:
    refusal = protocol.frame(bytes(8) + bytes(8) + protocol.buffer(bytes(16)) + b"\0")
    with pytest.raises(ProtocolError, match="refused"):
        Session(_answering(refusal))
    with pytest.raises(ConnectionResetError):
        Session(_answering())
