"""`coterie lock`, `elect` and `register` as they are typed: a command that runs under something.

What they do is in cli/guarded.py; what each is held by, in cli/holders.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from coterie.cli.options import PATH, where

F = TypeVar("F", bound=Callable[..., Any])

_SECONDS: Final = click.FloatRange(0, 1_000_000)
_MORE_SECONDS: Final = click.FloatRange(0, 1_000_000, min_open=True)


def _guards(command: F) -> F:
    """What all three take."""
    options = [
        click.argument("command", nargs=-1, required=True, metavar="-- COMMAND [ARGUMENT]..."),
        where,
        click.option(
            "--timeout",
            "timeout_s",
            type=_MORE_SECONDS,
            default=30.0,
            show_default=True,
            metavar="SECONDS",
            help="How long an answer may take, and the first connection.",
        ),
        click.option(
            "--session-timeout",
            "session_timeout_s",
            type=_MORE_SECONDS,
            default=30.0,
            show_default=True,
            metavar="SECONDS",
            help="How long others have to wait if this machine is lost: three times --grace or "
            "more, or the command may outlive what it runs under.",
        ),
        click.option(
            "--grace",
            "grace_s",
            type=_SECONDS,
            default=10.0,
            show_default=True,
            metavar="SECONDS",
            help="How long the command has between SIGTERM and SIGKILL.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Say nothing."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _waits(command: F) -> F:
    command = click.option(
        "-w",
        "--wait",
        "wait_s",
        type=_SECONDS,
        metavar="SECONDS",
        help="Give up, with status 124, if it is not to be had in time; 0: do not wait.  "
        "[default: wait for ever]",
    )(command)
    return click.option(
        "--name",
        metavar="TEXT",
        help="What others read of who holds it.  [default: host:process]",
    )(command)


def _on_lost(*choices: str) -> Callable[[F], F]:
    return click.option(
        "--on-lost",
        type=click.Choice(choices),
        default="stop",
        show_default=True,
        help="What to do when it is lost: end with status 123, or run the command again when it "
        "is had again"
        + (", or let it run on and register it again." if "keep" in choices else "."),
    )


@click.command()
@click.argument("path", type=PATH)
@_waits
@_on_lost("stop", "restart")
@_guards
def lock(**given: Any) -> None:
    """Run COMMAND while holding the lock at PATH.

    It is stopped, with all processes that it has started in its group, when the lock is lost.
    Signals go to it, and its exit status is the status of this. It finds in its environment
    COTERIE_TOKEN (an integer that grows from holder to holder: let what it writes to refuse
    smaller ones), COTERIE_PATH and COTERIE_HOSTS.

    Statuses of our own: 123 the lock was lost, 124 not had in time, 125 no connection or refused,
    126 and 127 the command cannot be run.

    \b
    Examples:
      coterie lock /locks/backup -- ./backup.sh
      coterie lock -w 0 /locks/nightly -- make report
      coterie lock --on-lost restart /locks/writer -- ./writer --token-from-env
    """
    _run("lock", given)


@click.command()
@click.argument("path", type=PATH)
@_waits
@_on_lost("stop", "restart")
@_guards
def elect(**given: Any) -> None:
    """Run COMMAND while leading at PATH.

    Of all that run this with the same PATH one leads; when it ends, another does. For the rest it
    is as `coterie lock`.

    \b
    Examples:
      coterie elect /scheduler/leader -- ./scheduler
      coterie elect --on-lost restart --name "$(hostname)" /db/primary -- ./primary.sh
    """
    _run("elect", given)


@click.command()
@click.argument("service")
@click.option(
    "--root",
    type=PATH,
    default="/services",
    show_default=True,
    metavar="PATH",
    help="Where the services are kept.",
)
@click.option("--host", metavar="HOST", help="Where it is reached.  [default: this host's name]")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    required=True,
    metavar="PORT",
    help="And at which port.",
)
@click.option(
    "--version",
    default="0",
    show_default=True,
    metavar="VERSION",
    help="Which version of it this is, as PEP 440 writes them.",
)
@click.option("--flavor", default="", metavar="FLAVOR", help="Which kind of it this is.")
@click.option(
    "--meta",
    multiple=True,
    metavar="KEY=VALUE",
    help="More to know of it; may be given more than once.",
)
@click.option("--zone", metavar="ZONE", help="Where it is; others may prefer what is near.")
@click.option(
    "--speaks",
    multiple=True,
    metavar="KIND=RANGE",
    help="Which versions of a partner it speaks, as in 'store=>=1.4,<2'; may be given more than "
    "once.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Refuse, with status 125, if it does not fit whoever is there: one is not in the range "
    "that the other speaks.",
)
@click.option(
    "--drain",
    "drain_s",
    type=_SECONDS,
    metavar="SECONDS",
    help="Be found by nobody for so long before COMMAND gets SIGTERM, when this gets it, or an "
    "operator asks through the tree.",
)
@_on_lost("stop", "restart", "keep")
@_guards
def register(**given: Any) -> None:
    """Run COMMAND while it is registered as an instance of SERVICE.

    Others find it with the discovery recipe, and with the gateway's directory. It is registered
    before COMMAND starts, and no more when that has ended. For the rest it is as `coterie lock`.

    \b
    Examples:
      coterie register search --port 8080 --version 2.1 -- ./search-server
      coterie register cache --port 6379 --zone eu --on-lost keep -- ./cache
      coterie register store --root /gateway/services --port 5432 --version 1.4 \\
          --speaks 'api=>=2,<4' --check --drain 3 -- ./store
    """
    for option in ("meta", "speaks"):
        for pair in given[option]:
            if "=" not in pair:
                form = "KEY=VALUE" if option == "meta" else "KIND=RANGE"
                raise click.UsageError(f"--{option}: {pair!r} does not have the form {form}")
    from packaging.version import InvalidVersion, Version

    from coterie.gateway.compatibility import check_ranges

    try:
        Version(given["version"])
    except InvalidVersion as error:
        raise click.UsageError(f"--version: {error}") from None
    try:
        given["speaks"] = check_ranges(dict(pair.split("=", 1) for pair in given["speaks"]))
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
    _run("register", given)


def _run(name: str, given: dict[str, Any]) -> None:
    from coterie.cli import holders

    sys.exit(holders.run(name, given))


COMMANDS = (lock, elect, register)
