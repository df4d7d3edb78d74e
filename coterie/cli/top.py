"""`coterie top`: the members of an ensemble, live, in a terminal.

Exit status: 0 it was ended, or all serve (--once); 1 somebody does not serve, or nobody leads
(--once); 2 what was typed is wrong.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from coterie.cli.options import where

_USAGE: Final = 2


@click.command()
@where
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often all are asked.",
)
@click.option("--once", is_flag=True, help="Ask twice, show that, and end.")
@click.option("--json", "as_json", is_flag=True, help="For programs: a line each time.")
def top(every_s: float, once: bool, as_json: bool, **given: Any) -> None:
    """Show who leads, and how every member does: Coterie's servers and Apache's.

    They are asked by the four-letter words srvr and, where that is allowed, mntr. Where the output
    is no terminal, it is shown line by line. Ctrl-C or q ends it.

    \b
    Examples:
      coterie top --hosts zk1.example.org:2181,zk2.example.org:2181
      coterie top --once --json
    """
    from coterie.cli.session import connection
    from coterie.cli.watching import watch

    try:
        status = watch(connection(given), every_s, once=once, as_json=as_json)
    except ValueError as error:
        click.echo(f"coterie top: {error}", err=True)
        status = _USAGE
    sys.exit(status)
