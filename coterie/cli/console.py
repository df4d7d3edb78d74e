"""`coterie console`: the web console for an ensemble that need not have one of its own.

Exit status: 0 it was ended; 2 what was typed is wrong, or a port or a file is not to be had.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from coterie.cli.options import HOSTS

if TYPE_CHECKING:
    from coterie.console.site import Site
    from coterie.system.handshakes import Secure
    from coterie.system.tls import TLSFiles

_USAGE: Final = 2
_BACKLOG: Final = 64
_HANDSHAKE_S_MAX: Final = 5.0
_FILE: Final = click.Path(dir_okay=False)


@click.command()
@click.argument(
    "servers", required=False, metavar="[HOST:PORT,...[/ROOT]]", envvar="COTERIE_HOSTS"
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    metavar="PORT",
    help="The port of the pages; 0 takes a free one.",
)
@click.option(
    "--read-only/--writable",
    "read_only",
    default=None,
    help="Whether nothing can be changed.  [default: writable on a loopback address only]",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME",
    help="A name by which browsers may ask for the pages, beyond addresses and localhost; may be "
    "given several times.",
)
@click.option(
    "--https-cert",
    type=_FILE,
    metavar="FILE",
    help="Serve the pages by TLS alone, with this certificate; the key may be in the same file. "
    "Both are read anew when they change.",
)
@click.option("--https-key", type=_FILE, metavar="FILE", help="The key of that certificate.")
@click.option("--tls-ca", type=_FILE, envvar="COTERIE_TLS_CA", metavar="FILE", help="Trust these.")
@click.option("--tls-cert", type=_FILE, envvar="COTERIE_TLS_CERT", metavar="FILE", help="Ours.")
@click.option("--tls-key", type=_FILE, envvar="COTERIE_TLS_KEY", metavar="FILE", help="Its key.")
def console(
    servers: str | None,
    host: str,
    port: int,
    read_only: bool | None,
    names: tuple[str, ...],
    https_cert: str | None,
    https_key: str | None,
    tls_ca: str | None,
    tls_cert: str | None,
    tls_key: str | None,
) -> None:
    """Serve the web console of an ensemble, Apache's too, until SIGTERM or Ctrl-C.

    Nothing is needed of the servers but their client ports. Who asks for znodes is said in the
    page, by signing in.

    \b
    Examples:
      coterie console zk1.example.org:2181,zk2.example.org:2181
      coterie console --port 0 --read-only
      coterie console --host 0.0.0.0 --port 8443 --https-cert console.pem
    """
    from coterie.system.tls import TLSFiles

    tls = TLSFiles(tls_cert, tls_key, ca=tls_ca) if tls_ca or tls_cert or tls_key else None
    https = TLSFiles(https_cert, https_key) if https_cert or https_key else None
    sys.exit(_serve(servers or HOSTS, host, port, read_only, names, tls, https))


def _serve(
    servers: str,
    host: str,
    port: int,
    read_only: bool | None,
    names: tuple[str, ...],
    tls: object,
    https: TLSFiles | None,
) -> int:
    from functools import partial
    from typing import Any, cast

    from coterie.console.access import is_loopback
    from coterie.console.beside import beside
    from coterie.console.site import client_of
    from coterie.system import transport
    from coterie.system.tls import wanted

    given = cast(Any, tls if tls is not None else servers.startswith("tls://") or None)
    try:
        context = wanted(given)
        client_of(servers, None, tls=context)
        site = beside(
            servers,
            partial(client_of, servers, tls=context),
            host,
            read_only=not is_loopback(host) if read_only is None else read_only,
            names=names,
            tls=context,
        )
        transport.run(_listen(site, host, port, None if https is None else _secure(https)))
    except (ValueError, transport.PortTakenError) as error:
        click.echo(f"coterie console: {error}", err=True)
        return _USAGE
    except KeyboardInterrupt:
        pass
    return 0


def _secure(files: TLSFiles) -> Secure:
    """How handshakes are done at the port of the pages. Raises `TLSError`."""
    from functools import partial

    from coterie.system.certificates import Certificates
    from coterie.system.handshakes import Secure
    from coterie.system.tls import CLIENT_CERTIFICATES, TLSError, server_context

    if files.certificate is None:
        raise TLSError(f"{files.key} is of no use without --https-cert")
    paths = tuple(path for path in (files.certificate, files.key) if path is not None)
    make = partial(server_context, files, CLIENT_CERTIFICATES["none"])
    return Secure(Certificates(paths, make), _HANDSHAKE_S_MAX)


async def _listen(site: Site, host: str, port: int, secure: Secure | None) -> None:
    import asyncio
    import signal

    from coterie.system import transport

    listener = transport.bind(host, port, _BACKLOG)
    where = f"[{host}]" if ":" in host else host
    server = await transport.serve(listener, site.protocol, _BACKLOG, secure)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    scheme = "http" if secure is None else "https"
    click.echo(f"the console is at {scheme}://{where}:{listener.getsockname()[1]}/")
    sys.stdout.flush()
    await ended.wait()
    server.close()
    await site.close()
