"""`coterie shell` as it is typed. What it does is in cli/interpreter.py."""

from __future__ import annotations

import sys
from typing import Any

import click

from coterie.cli.options import connects


@click.command()
@click.option(
    "-c",
    "--command",
    "statements",
    multiple=True,
    metavar="COMMAND",
    help="Carry this out and end; may be given more than once.",
)
@click.option("-k", "--keep-going", is_flag=True, help="In scripts: go on after what fails.")
@click.option(
    "--session-timeout",
    "session_timeout_s",
    type=click.FloatRange(0, 1_000_000, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long ephemeral znodes outlive a lost connection.",
)
@connects
def shell(**given: Any) -> None:
    """An interactive shell, with the commands of coterie and those of zkCli.

    Type `help` there. What is piped in is a script: it ends at the first command that fails, with
    its exit status. Tab completes paths and names. For colours, searching in the history and
    editing over several lines install coterie[shell].

    \b
    Examples:
      coterie shell --hosts zk1:2181,zk2:2181
      coterie shell -c 'ls /' -c 'get -s /config'
      coterie shell < commands.txt
    """
    from coterie.cli import interpreter

    sys.exit(interpreter.run(**given))
