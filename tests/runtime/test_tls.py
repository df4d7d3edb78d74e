"""TLS of a real server: who is let in and as whom, who is not and why, and new certificates."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

import coterie
from coterie.config import Config
from coterie.ensemble import Ensemble
from coterie.errors import NotConnectedError
from coterie.runtime import tls
from coterie.runtime.clients import ClientPort
from coterie.runtime.doors import Inside
from coterie.runtime.driver import Driver
from coterie.runtime.process import ServerProcess, StartError
from coterie.settings import NO_PORT
from coterie.system.tls import TLSError, TLSFiles, client_context, server_context
from coterie.system.transport import new_event_loop
from coterie.testing.ports import free_port
from coterie.values import ACL, Id, Perms
from coterie.wire import requests
from coterie.wire.requests import Op
from tests.runtime.certificates import Authority
from tests.runtime.client import Client, word
from tests.runtime.server import Server, until


class Secured:
    """A server with a port for TLS and one for both, and those who connect to it."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory / "tls")
        self.port = free_port()
        self.server = Server(
            directory,
            secureClientPort=self.port,
            secureClientPortAddress="127.0.0.1",
            client__portUnification="true",
            ssl__keyStore__location=self.authority.issue("server"),
            ssl__trustStore__location=self.authority.trust,
            ssl__handshakeDetectionTimeoutMillis=1000,
            X509AuthenticationProvider__superUser="CN=root,OU=Ops,O=Example",
        )

    def context(self, name: str) -> ssl.SSLContext:
        """Of a client with a certificate of its own."""
        return client_context(self.authority.files(self.authority.issue(name, f"{name}.test")))

    def client(self, name: str, port: int | None = None) -> Client:
        return Client(port or self.port, tls=self.context(name))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    held = Secured(tmp_path_factory.mktemp("secured"))
    with held.server:
        yield held


def test_a_certificate_is_an_identity_that_acls_know(secured: Secured) -> None:
    acl = (ACL(Perms.ALL, Id("auth", "")),)
    with secured.client("ann") as ann, secured.client("bob") as bob:
        assert ann.call(Op.CREATE, requests.CreateRequest(b"/anns", b"hers", acl, 0))[2] == 0
        assert b"x509" in ann.call(Op.WHO_AM_I)[3]
        assert b"CN=ann,OU=Ops,O=Example" in ann.call(Op.WHO_AM_I)[3]
        assert bob.get(b"/anns") is None
        assert ann.get(b"/anns") == b"hers"
    with Client(secured.server.port) as nobody, secured.client("root") as root:
        assert b"x509" not in nobody.call(Op.WHO_AM_I)[3]
        assert nobody.get(b"/anns") is None
        assert root.get(b"/anns") == b"hers"
        assert b"super" in root.call(Op.WHO_AM_I)[3]


def test_an_acl_may_name_a_subject(secured: Secured) -> None:
    acl = (ACL(Perms.READ, Id("x509", "CN=bob,OU=Ops,O=Example")),)
    with secured.client("ann") as ann, secured.client("bob") as bob:
        assert ann.call(Op.CREATE, requests.CreateRequest(b"/bobs", b"his", acl, 0))[2] == 0
        assert (ann.get(b"/bobs"), bob.get(b"/bobs")) == (None, b"his")
        acl = (ACL(Perms.READ, Id("x509", "bob")),)
        assert ann.call(Op.CREATE, requests.CreateRequest(b"/other", b"", acl, 0))[2] == -114


def test_one_port_takes_tls_and_the_clear(secured: Secured) -> None:
    port = secured.server.port
    with secured.client("ann", port) as ann, Client(port) as nobody:
        assert ann.create(b"/shared", b"by TLS")[2] == 0
        assert word(port, b"cons").count(b" /127.0.0.1:") == 3
        assert nobody.get(b"/shared") == b"by TLS"
    assert word(port, b"ruok") == b"imok"
    assert b"secureClientPort=%d\n" % secured.port in word(port, b"conf")


def test_much_goes_through_both_ways(secured: Secured) -> None:
    data = bytes(range(256)) * 3900
    with secured.client("ann") as ann:
        assert ann.create(b"/large", data)[2] == 0
        xids = [
            ann.send(Op.GET_DATA, requests.PathWatchRequest(b"/large", False)) for _ in range(50)
        ]
        for xid in xids:
            reply = ann.receive()
            assert reply[0] == xid
            assert reply[3][4 : 4 + len(data)] == data


def _said(secured: Secured, text: str) -> None:
    until(lambda: secured.server.said(text))


def _shut_out(secured: Secured, context: ssl.SSLContext) -> None:
    with pytest.raises(OSError, match=r"closed|reset|alert|certificate|EOF"):
        Client(secured.port, tls=context)


def test_who_has_no_certificate_is_refused(secured: Secured) -> None:
    _shut_out(secured, client_context(secured.authority.files()))
    _said(secured, ": it shows no certificate")


def test_our_client_guesses_why_it_is_refused(secured: Secured) -> None:
    """TLS 1.3 looks at a client's certificate when the handshake is over for the client."""

    async def main() -> None:
        tls = client_context(secured.authority.files())
        client = coterie.connect(f"127.0.0.1:{secured.port}", tls=tls, call_timeout_s=3)
        with pytest.raises(NotConnectedError, match="does it want another certificate, or any"):
            await client.start()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), 20))


def test_a_certificate_of_another_ca_is_refused(secured: Secured, tmp_path: Path) -> None:
    stranger = Authority(tmp_path)
    context = client_context(secured.authority.files(stranger.issue("mallory")))
    _shut_out(secured, context)
    _said(secured, ": no CA that is trusted here has signed its certificate")


def test_a_certificate_that_has_expired_is_refused(secured: Secured) -> None:
    begins = dt.datetime.now(dt.UTC) - dt.timedelta(days=3)
    old = secured.authority.issue("old", begins=begins)
    _shut_out(secured, client_context(secured.authority.files(old)))
    _said(secured, ": its certificate has expired")


def test_a_client_that_distrusts_this_server_is_told_of(secured: Secured, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(secured.port, tls=client_context(Authority(tmp_path).files()))
    _said(secured, ": it does not trust the certificate of this server")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"ruok?\n", ": it does not speak TLS"),
        (b"GET / HTTP/1.1\r\n\r\n", ": it speaks HTTP in the clear"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", ": TLS failed: "),
    ],
)
def test_what_is_no_tls_is_refused(secured: Secured, data: bytes, said: str) -> None:
    with socket.create_connection(("127.0.0.1", secured.port), timeout=10) as sock:
        sock.sendall(data)
        while sock.recv(1000):
            pass
    _said(secured, said)


def test_handshakes_that_hang_are_ended_and_hold_nobody_up(secured: Secured) -> None:
    descriptors = secured.server.descriptors()
    hanging = [socket.create_connection(("127.0.0.1", secured.port)) for _ in range(50)]
    try:
        hanging[0].sendall(b"\x16\x03\x01")
        with secured.client("ann") as ann:
            assert ann.get(b"/zookeeper") is not None
        for sock in hanging:
            sock.settimeout(10)
            assert sock.recv(1) == b""
    finally:
        for sock in hanging:
            sock.close()
    _said(secured, ": its handshake was not done after 1 s")
    until(lambda: secured.server.descriptors() <= descriptors)
    assert not secured.server.said("Traceback")


def test_new_certificates_are_shown_to_who_comes_and_end_no_session(tmp_path: Path) -> None:
    held = Secured(tmp_path / "server")
    with held.server, held.client("ann") as before:
        key = held.authority.directory / "server.pem"
        good = key.read_bytes()
        key.write_bytes(good[:300])
        with held.client("ann") as meanwhile:
            assert meanwhile.get(b"/zookeeper") is not None
        _said(held, "the certificates that were there before stay in use: ")
        other = Authority(tmp_path / "other")
        key.write_bytes(other.issue("server").read_bytes())
        with pytest.raises(ssl.SSLCertVerificationError):
            held.client("ann")
        trusting = client_context(other.files(held.authority.directory / "ann.pem"))
        with Client(held.port, tls=trusting) as after:
            assert after.get(b"/zookeeper") is not None
        assert before.get(b"/zookeeper") is not None
        _said(held, "the certificates were read anew: ")


def test_tls_alone_is_served_without_a_port_in_the_clear(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    key = authority.issue("server")
    (tmp_path / "password").write_text("not needed\n")
    config = Config(
        data_dir="/data",
        client_port=NO_PORT,
        secure_port=0,
        client_key_store=str(key),
        client_key_password_path=str(tmp_path / "password"),
        client_auth="none",
    )
    ((host, port, secure),) = tls.client_ports(config)
    assert (host, port) == ("", 0)
    assert secure is not None
    assert not secure.both
    assert secure.certificates.context().verify_mode is ssl.CERT_NONE


def test_a_server_of_tls_alone_serves(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    config = Config(
        data_dir=str(tmp_path / "data"),
        client_port=NO_PORT,
        secure_port=0,
        secure_port_address="127.0.0.1",
        client_key_store=str(authority.issue("server")),
        client_auth="none",
        four_letter_words=frozenset({"conf"}),
    )

    async def main() -> None:
        server = ServerProcess(config)
        await server.start()
        assert server.port == server.secure_port
        tls = client_context(authority.files())
        async with coterie.connect(f"127.0.0.1:{server.port}", tls=tls) as zk:
            await zk.create("/here", b"by TLS")
            assert [who.scheme for who in await zk.who_am_i()] == ["ip"]
        await server.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"client_key_store": None}, "TLS needs ssl.keyStore.location: a certificate and its key"),
        (
            {"client_auth": "need"},
            "ssl.clientAuth is need, and there is no ssl.trustStore",
        ),
        ({"client_key_store": "/none.pem"}, "cannot read /none.pem: No such file"),
        ({"client_key_password_path": "/none"}, "cannot read /none: No such file"),
        ({"client_cipher_suites": ("TLS_RSA_WITH_NOTHING",)}, "there are no such cipher suites"),
        (
            {"client_cipher_suites": ("TLS_AES_128_GCM_SHA256",), "client_tls_version": "TLSv1.2"},
            "no version of TLS is left",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(
    tmp_path: Path, changes: dict[str, str | None], said: str
) -> None:
    key = str(Authority(tmp_path).issue("server"))
    config = Config(data_dir="/data", secure_port=0, client_key_store=key, client_auth="none")
    assert len(tls.client_ports(config)) == 2
    with pytest.raises(TLSError) as caught:
        tls.client_ports(replace(config, **changes))  # type: ignore[arg-type]
    assert said in str(caught.value)


def _pages_config(authority: Authority, **more: object) -> Config:
    config = Config(
        data_dir=str(authority.directory / "data"),
        client_port=0,
        client_port_address="127.0.0.1",
        admin_port_given=0,
        admin_tls_only=True,
        client_key_store=str(authority.issue("server")),
        client_trust_store=str(authority.trust),
    )
    return replace(config, **more)  # type: ignore[arg-type]


def test_pages_have_the_certificate_for_members_or_that_for_clients(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    config = _pages_config(authority)
    assert tls.of_pages(replace(config, admin_tls_only=False)) is None
    secure = tls.of_pages(config)
    assert secure is not None
    assert not secure.both
    assert secure.certificates.context().verify_mode is ssl.CERT_NONE, (
        "as Apache's, not clientAuth"
    )
    secure = tls.of_pages(replace(config, admin_tls_only=False, admin_port_unified=True))
    assert secure is not None
    assert secure.both
    secure = tls.of_pages(replace(config, admin_client_auth=True))
    assert secure is not None
    assert secure.certificates.context().verify_mode is ssl.CERT_REQUIRED
    with pytest.raises(TLSError, match="/none"):
        tls.of_pages(replace(config, quorum_key_store="/none.pem"))


class _Fine(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        secure = self._transport.get_extra_info("ssl_object") is not None
        self._transport.write(b"https" if secure else b"http")
        self._transport.close()


class _Pages:
    def protocol(self) -> asyncio.Protocol:
        return _Fine()

    async def close(self) -> None:
        return


async def _knock(port: int, context: ssl.SSLContext | None) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(b"GET")
    try:
        return await asyncio.wait_for(reader.read(), 5)
    except OSError:
        return b""  # In TLS 1.3 the server tells after the client's handshake is done.
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("unified", [False, True])
def test_pages_by_tls(tmp_path: Path, unified: bool) -> None:
    authority = Authority(tmp_path)
    mine = str(authority.issue("me"))
    config = _pages_config(
        authority, admin_tls_only=not unified, admin_port_unified=unified, admin_client_auth=True
    )

    async def main() -> None:
        server = ServerProcess(config, pages=lambda inside: _Pages())
        await server.start()
        port = server.doors[0].port
        try:
            who = TLSFiles(certificate=mine, ca=str(authority.trust))
            assert await _knock(port, client_context(who)) == b"https"
            assert await _knock(port, client_context(authority.files())) == b""
            assert await _knock(port, None) == (b"http" if unified else b"")
        finally:
            await server.stop()
        with pytest.raises(ConnectionRefusedError):
            await _knock(port, None)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), 20))


def test_pages_whose_certificate_is_missing_are_one_line(tmp_path: Path) -> None:
    config = _pages_config(Authority(tmp_path), client_key_store=str(tmp_path / "none.pem"))
    server = ServerProcess(config, pages=lambda inside: _Pages())
    with asyncio.Runner() as runner, pytest.raises(StartError, match=r"cannot read .*none.pem"):
        runner.run(server.start())


def _metrics_config(authority: Authority, **more: object) -> Config:
    config = Config(
        data_dir=str(authority.directory / "data"),
        client_port=0,
        client_port_address="127.0.0.1",
        admin_enabled=False,
        metrics_provider="org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
        metrics_tls_port=0,
        metrics_key_store=str(authority.issue("metrics")),
        metrics_trust_store=str(authority.trust),
    )
    return replace(config, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "mode"),
    [
        ({}, ssl.CERT_REQUIRED),
        ({"metrics_client_auth": False}, ssl.CERT_OPTIONAL),
        (
            {"metrics_client_auth": False, "metrics_wants_client_auth": False},
            ssl.CERT_NONE,
        ),
        ({"metrics_client_auth": False, "metrics_trust_store": None}, ssl.CERT_NONE),
    ],
)
def test_metrics_ask_for_certificates_as_apaches_do(
    tmp_path: Path, changes: dict[str, object], mode: ssl.VerifyMode
) -> None:
    secure = tls.of_metrics(_metrics_config(Authority(tmp_path), **changes))
    assert secure is not None
    assert secure.certificates.context().verify_mode is mode


def test_metrics_have_tls_where_it_is_asked_for(tmp_path: Path) -> None:
    config = _metrics_config(Authority(tmp_path))
    assert tls.of_metrics(replace(config, metrics_tls_port=None)) is None
    assert tls.of_metrics(replace(config, metrics_provider="Default")) is None
    for port, both in ((None, False), (1, False), (0, True)):
        secure = tls.of_metrics(replace(config, metrics_port=port))
        assert secure is not None
        assert secure.both is both
    secure = tls.of_metrics(replace(config, metrics_tls_versions=("TLSv1.2",)))
    assert secure is not None
    assert secure.certificates.context().maximum_version is ssl.TLSVersion.TLSv1_2
    with pytest.raises(TLSError, match="/none"):
        tls.of_metrics(replace(config, metrics_key_store="/none.pem"))


async def _serial(port: int, context: ssl.SSLContext) -> bytes:
    """Whose certificate is shown at a port."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return cast(bytes, shown)


def test_metrics_by_tls_whose_certificates_are_read_anew(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    who = client_context(authority.files(authority.issue("prometheus")))
    config = _metrics_config(authority)

    async def main() -> None:
        asked: list[bool] = []

        def make(inside: Inside) -> _Pages:
            asked.append(inside.metrics_only)
            return _Pages()

        server = ServerProcess(config, pages=make)
        await server.start()
        [door] = server.doors
        try:
            assert await _knock(door.port, who) == b"https"
            assert await _knock(door.port, client_context(authority.files())) == b""
            assert await _knock(door.port, None) == b""
            assert asked == [True]
            before = await _serial(door.port, who)
            authority.issue("metrics")
            assert await _serial(door.port, who) != before
        finally:
            await server.stop()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), 20))


async def test_a_server_knows_itself_by_its_certificate_not_by_its_host(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    mine, other = (authority.issue(name, f"{name}.example.org") for name in ("mine", "other"))
    config = Config(
        data_dir="/data", client_port=NO_PORT, client_key_store=str(mine), client_auth="none"
    )
    itself = tls.of_itself(config)
    assert itself is not None
    for certificate, known in ((mine, True), (other, False)):
        context = server_context(TLSFiles(certificate=str(certificate)), ssl.CERT_NONE)
        server = await asyncio.start_server(
            lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
        )
        port = server.sockets[0].getsockname()[1]
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=itself.own())
            writer.transport.abort()
            assert known
        except ssl.SSLCertVerificationError:
            assert not known
        server.close()
    assert tls.of_itself(replace(config, client_port=2181)) is None


def test_who_alone_knows_no_tls_of_members() -> None:
    assert tls.of_members(Config(data_dir="/data", quorum_tls=True)) is None
    ensemble = Ensemble.parse("server.1=a:1:2")
    assert tls.of_members(Config(data_dir="/data", ensemble=ensemble, server_id=1)) is None


def test_a_certificate_that_cannot_be_read_is_nobodys(caplog: pytest.LogCaptureFixture) -> None:
    shown = SimpleNamespace(getpeercert=lambda binary_form: b"\x30\x02\x30")
    facts = {"peername": ("10.1.2.3", 5), "ssl_object": shown}
    ended: list[bool] = []
    transport = SimpleNamespace(get_extra_info=facts.get, abort=lambda: ended.append(True))
    port = ClientPort(cast(Driver, SimpleNamespace(protocols={})), 1, 1)
    port.protocol().connection_made(cast(asyncio.BaseTransport, transport))
    assert ended == [True]
    assert caplog.messages == [
        "no TLS with 10.1.2.3: its certificate cannot be read: it is cut off"
    ]
    assert port.admit("10.1.2.3")
