"""TLS with the same zoo.cfg and certificates for Apache's server and ours, by other clients.

The C client is not among them: Debian builds it without TLS.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import subprocess
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Final, TypeVar

import kazoo.security
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError

import coterie
from coterie.cli.issuing import Issuer
from coterie.errors import NotConnectedError
from coterie.system.subjects import subject
from coterie.system.tls import TLSFiles, client_context
from coterie.system.transport import new_event_loop
from coterie.testing.ports import free_port
from coterie.values import ACL, Id, Perms
from tests.compat.conftest import Start
from tests.compat.servers import SERVERS, TOOL_S_MAX, Server, java_command
from tests.runtime.certificates import Authority

_T = TypeVar("_T")
_WAIT_S: Final = 60.0
_NETTY: Final = {"serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory"}


class Secured:
    """A server of a kind that speaks TLS on one port only and wants certificates."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.authority = Authority(directory / "tls")
        self.kind = kind
        self.port = free_port()
        self.server: Server = SERVERS[kind](
            directory,
            {
                **_NETTY,
                "secureClientPort": self.port,
                "secureClientPortAddress": "127.0.0.1",
                "ssl.keyStore.location": str(self.authority.issue("server")),
                "ssl.trustStore.location": str(self.authority.trust),
            },
        )

    @property
    def hosts(self) -> str:
        return f"127.0.0.1:{self.port}"

    def own(self, name: str) -> str:
        """The file of a client whose subject is CN=name,OU=Ops,O=Example."""
        return str(self.authority.issue(name, f"{name}.test"))


@pytest.fixture(scope="module", params=sorted(SERVERS))
def secured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    if reason := SERVERS[request.param].missing():
        pytest.skip(reason)
    held = Secured(request.param, tmp_path_factory.mktemp(request.param))
    with held.server:
        yield held


def _kazoo(secured: Secured, name: str) -> KazooClient:
    own = secured.own(name)
    return KazooClient(
        secured.hosts,
        use_ssl=True,
        ca=str(secured.authority.trust),
        certfile=own,
        keyfile=own,
        timeout=20,
    )


def test_kazoo_is_known_by_its_certificate(secured: Secured) -> None:
    ann, bob = _kazoo(secured, "ann"), _kazoo(secured, "bob")
    ann.start(_WAIT_S)
    bob.start(_WAIT_S)
    try:
        who = kazoo.security.Id("x509", "CN=ann,OU=Ops,O=Example")
        acl = [kazoo.security.ACL(kazoo.security.Permissions.ALL, who)]
        ann.create("/kazoo", b"hers", acl=acl)
        with pytest.raises(NoAuthError):
            bob.get("/kazoo")
        assert ann.get("/kazoo")[0] == b"hers"
        assert ann.get_acls("/kazoo")[0] == acl
        ann.delete("/kazoo")
    finally:
        for client in (ann, bob):
            client.stop()
            client.close()


def test_javas_shell_comes_in_by_tls(secured: Secured) -> None:
    java, *rest = java_command("off")
    defines = {
        "zookeeper.clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty",
        "zookeeper.client.secure": "true",
        "zookeeper.ssl.keyStore.location": secured.own("java"),
        "zookeeper.ssl.trustStore.location": str(secured.authority.trust),
    }
    script = "whoami\ncreate /java hers auth::cdrwa\ngetAcl /java\nget /java\ndelete /java\nquit\n"
    done = subprocess.run(
        [
            java,
            *(f"-D{key}={value}" for key, value in defines.items()),
            *rest,
            "org.apache.zookeeper.ZooKeeperMain",
            "-server",
            secured.hosts,
        ],
        input=script,
        capture_output=True,
        text=True,
        timeout=TOOL_S_MAX,
        check=False,
    )
    assert "x509: CN=java,OU=Ops,O=Example" in done.stdout, done.stdout + done.stderr
    # The shell writes the commas of an identity as %2C.
    assert "'x509,'CN=java%2COU=Ops%2CO=Example" in done.stdout
    assert "\nhers\n" in done.stdout


# What needs care in a subject, the most general part first, as it is in a certificate.
_SUBJECTS: Final = {
    "specials": [(NameOID.COMMON_NAME, 'a,b=c+d<e>f#g;h"i\\j')],
    "blanks": [(NameOID.ORGANIZATION_NAME, " two  "), (NameOID.COMMON_NAME, "#hash")],
    "letters": [(NameOID.LOCALITY_NAME, "Zürich"), (NameOID.COMMON_NAME, "zoë \u4e2d\u6587")],
    "numbered": [
        (NameOID.EMAIL_ADDRESS, "a@b.c"),
        (NameOID.SERIAL_NUMBER, "17"),
        (NameOID.TITLE, "Dr."),
    ],
    "named": [
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.STATE_OR_PROVINCE_NAME, "Berlin"),
        (NameOID.STREET_ADDRESS, "Here 1"),
        (NameOID.DOMAIN_COMPONENT, "example"),
        (NameOID.USER_ID, "u1"),
    ],
}


def _with_subject(secured: Secured, parts: list[tuple[x509.ObjectIdentifier, str]]) -> Path:
    """A client's key and certificate, whose subject has these parts."""
    ca = secured.authority.ca
    ca_key = load_pem_private_key(ca.private_key_pem.bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(kind, value) for kind, value in parts]))
        .issuer_name(x509.load_pem_x509_certificate(ca.cert_pem.bytes()).subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .sign(ca_key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = secured.authority.directory / "subject.pem"
    path.write_bytes(pem + certificate.public_bytes(Encoding.PEM))
    return path


async def _who(secured: Secured, own: Path) -> str:
    """Whom the server takes a client for; who can be in an ACL, too."""
    async with coterie.connect(secured.hosts, tls=_context(secured, str(own))) as zk:
        (name,) = [each.id for each in await zk.who_am_i() if each.scheme == "x509"]
        await zk.create("/own", acl=[ACL(Perms.ALL, Id("x509", name))])
        assert (await zk.get("/own")).data == b""
        await zk.delete("/own")
        return name


def _context(secured: Secured, own: str | None = None) -> ssl.SSLContext:
    return client_context(TLSFiles(certificate=own, ca=str(secured.authority.trust)))


def _run(test: Coroutine[None, None, _T]) -> _T:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(asyncio.wait_for(test, _WAIT_S))


@pytest.mark.parametrize("name", _SUBJECTS)
def test_a_subject_is_what_java_makes_of_it(secured: Secured, name: str) -> None:
    own = _with_subject(secured, _SUBJECTS[name])
    pem = own.read_text()
    expected = subject(ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERT") :]))
    assert _run(_who(secured, own)) == expected


def test_who_shows_no_certificate_is_not_let_in(secured: Secured) -> None:
    """Apache's server tells the client why; an event loop of Python closes without a word."""
    why = {
        "apache": "it refuses this client's certificate, or wants one",
        "coterie": "does it want another certificate, or any?",
    }

    async def main() -> None:
        with pytest.raises(NotConnectedError) as caught:
            await coterie.connect(secured.hosts, tls=_context(secured), call_timeout_s=5).start()
        assert why[secured.kind] in str(caught.value)

    _run(main())
    if secured.kind == "coterie":
        assert ": it shows no certificate" in secured.server.said()


@pytest.mark.parametrize("suffix", ["pem", "p12"])
@pytest.mark.parametrize("kind", sorted(SERVERS))
def test_what_coterie_certs_makes_serves(
    start: Start, tmp_path: Path, kind: str, suffix: str
) -> None:
    issuer = Issuer(str(tmp_path / "made"), 1, "changeit", False)
    own, store = issuer.client("ann"), Path(issuer.server(["127.0.0.1", "localhost"]))
    port = free_port()
    start(
        kind,
        {
            **_NETTY,
            "secureClientPort": port,
            "secureClientPortAddress": "127.0.0.1",
            "ssl.keyStore.location": str(store.with_suffix(f".{suffix}")),
            **({"ssl.keyStore.password": "changeit"} if suffix == "p12" else {}),
            "ssl.trustStore.location": issuer.trust,
        },
    )

    async def main() -> None:
        tls = client_context(TLSFiles(certificate=own, ca=issuer.trust))
        async with coterie.connect(f"127.0.0.1:{port}", tls=tls) as zk:
            assert Id("x509", "CN=ann") in await zk.who_am_i()

    _run(main())
