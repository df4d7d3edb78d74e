"""`coterie certs`: a CA, and certificates for the servers and clients of a test ensemble.

Rules: what is there stays, so a second run with more hosts adds what is missing, signed by the
same CA; `--renew` makes new certificates of all but the CA's, which running servers take up. Files
that have a key in them are for their owner's eyes only. Nothing here is fit for more than tests:
the key of the CA lies beside what it signs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NoReturn

import click

if TYPE_CHECKING:
    from coterie.cli.issuing import Issuer

_LINES: Final = """\
# {server}: clients by TLS
secureClientPort=2281
ssl.keyStore.location={store}
ssl.trustStore.location={trust}
# {server}: members among themselves
sslQuorum=true
ssl.quorum.keyStore.location={store}
ssl.quorum.trustStore.location={trust}
"""


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False))
@click.option(
    "--hosts",
    required=True,
    metavar="HOST,...",
    help="A certificate for each, as server lines and clients name it; one that has several "
    "names has + between them.",
)
@click.option(
    "--clients",
    default="client",
    show_default=True,
    metavar="NAME,...",
    help="A certificate for each; its subject is CN=NAME.",
)
@click.option(
    "--days", type=click.IntRange(1), default=365, show_default=True, help="How long they hold."
)
@click.option(
    "--password",
    default="changeit",
    show_default=True,
    metavar="WORD",
    help="Of the PKCS12 files; those in PEM have none.",
)
@click.option("--renew", is_flag=True, help="New certificates for those that have one, too.")
def certs(directory: str, hosts: str, clients: str, days: int, password: str, renew: bool) -> None:
    """Make a CA, certificates and stores for a test ensemble, and say what zoo.cfg needs.

    \b
    Examples:
      coterie certs tls --hosts 127.0.0.1
      coterie certs tls --hosts a.example.org,b.example.org+10.0.0.2 --clients ann,bob
      coterie certs tls --hosts 127.0.0.1 --renew --days 30
    """
    servers = _split(hosts)
    people = _split(clients)
    for name in (*servers, *people):
        if "/" in name or name.startswith((".", "+")) or name == "ca":
            raise click.UsageError(f"{name!r} cannot be the name of a file")
    if both := {server.split("+")[0] for server in servers} & set(people):
        raise click.UsageError(f"{', '.join(sorted(both))} cannot be a host and a client")
    try:
        from coterie.cli.issuing import Issuer, IssuingError
    except ImportError:
        _fail("it takes cryptography, which is not installed: pip install coterie[tls]")
    try:
        issuer = Issuer(directory, days, password, renew)
        stores = [issuer.server(server.split("+")) for server in servers]
        for person in people:
            issuer.client(person)
    except IssuingError as error:
        _fail(str(error))
    _tell(issuer, dict(zip(servers, stores, strict=True)), people)


def _split(names: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def _fail(why: str) -> NoReturn:
    print(f"coterie certs: {why}", file=sys.stderr)
    sys.exit(1)


def _tell(issuer: Issuer, stores: dict[str, str], people: list[str]) -> None:
    for path in issuer.made:
        print(path)
    if not issuer.made:
        print("all of it was there: --renew makes it anew")
    for server, store in stores.items():
        print()
        print(_LINES.format(server=server, store=store, trust=issuer.trust), end="")
    for person in people[:1]:
        own = issuer.path(person)
        host = next(iter(stores)).split("+")[0]
        where = f"[{host}]:2281" if ":" in host else f"{host}:2281"
        print(f"\n# a client\ncoterie ls / --hosts {where} --tls-ca {issuer.trust} \\")
        print(f"  --tls-cert {own}")
