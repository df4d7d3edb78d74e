"""`coterie console`: the web console for an ensemble that need not have one of its own.

Exit status: 0 it was ended; 2 what was typed is wrong, or the port is not to be had.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from coterie.cli.options import HOSTS

if TYPE_CHECKING:
    from coterie.console.site import Site

_USAGE: Final = 2
_BACKLOG: Final = 64
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
@click.option("--tls-ca", type=_FILE, envvar="COTERIE_TLS_CA", metavar="FILE", help="Trust these.")
@click.option("--tls-cert", type=_FILE, envvar="COTERIE_TLS_CERT", metavar="FILE", help="Ours.")
@click.option("--tls-key", type=_FILE, envvar="COTERIE_TLS_KEY", metavar="FILE", help="Its key.")
def console(
    servers: str | None,
    host: str,
    port: int,
    read_only: bool | None,
    names: tuple[str, ...],
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
    """
    from coterie.system.tls import TLSFiles

    tls = TLSFiles(tls_cert, tls_key, ca=tls_ca) if tls_ca or tls_cert or tls_key else None
    sys.exit(_serve(servers or HOSTS, host, port, read_only, names, tls))


def _serve(
    servers: str,
    host: str,
    port: int,
    read_only: bool | None,
    names: tuple[str, ...],
    tls: object,
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
        transport.run(_listen(site, host, port))
    except (ValueError, transport.PortTakenError) as error:
        click.echo(f"coterie console: {error}", err=True)
        return _USAGE
    except KeyboardInterrupt:
        pass
    return 0


async def _listen(site: Site, host: str, port: int) -> None:
    import asyncio
    import signal

    from coterie.system import transport

    listener = transport.bind(host, port, _BACKLOG)
    where = f"[{host}]" if ":" in host else host
    server = await transport.serve(listener, site.protocol, _BACKLOG)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    click.echo(f"the console is at http://{where}:{listener.getsockname()[1]}/")
    sys.stdout.flush()
    await ended.wait()
    server.close()
    await site.close()
