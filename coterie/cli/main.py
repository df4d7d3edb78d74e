"""The `coterie` command: what its subcommands are called and take.

Rule: nothing that a subcommand needs is imported before it runs, so that `--help` is quick and a
server holds nothing in memory that it does not use. This module imports click and no more; what
is declared elsewhere is imported when it is asked for.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

import click
from click.core import ParameterSource

from coterie import __version__

_ELSEWHERE: Final = {
    "acl": "znodes:acl",
    "agent": "agent:agent",
    "at": "tools:at",
    "certs": "certs:certs",
    "console": "console:console",
    "create": "znodes:create",
    "doctor": "tools:doctor",
    "elect": "run:elect",
    "export": "tools:export",
    "get": "znodes:get",
    "import": "tools:import_",
    "init": "tools:init",
    "lock": "run:lock",
    "log": "tools:log",
    "ls": "znodes:ls",
    "multi": "znodes:multi",
    "purge": "tools:purge",
    "register": "run:register",
    "rm": "znodes:rm",
    "set": "znodes:set_",
    "shell": "shell:shell",
    "snapshot": "tools:snapshot",
    "stat": "znodes:stat",
    "top": "top:top",
    "tree": "znodes:tree",
    "watch": "znodes:watch",
}
"""The commands that other files of this package declare."""


class _Commands(click.Group):
    """The commands of this file, and those of others, which are imported when they are due."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, _, name = _ELSEWHERE[cmd_name].partition(":")
        found: click.Command = getattr(import_module(f"coterie.cli.{module}"), name)
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="coterie")
def cli() -> None:
    """Coterie, a coordination service for everything that talks to Apache ZooKeeper."""


@cli.command()
@click.argument("file", required=False, metavar="[FILE]")
@click.option(
    "--data",
    default="./data",
    show_default=True,
    metavar="DIR",
    help="Where the data is kept; made if it is missing.",
)
@click.option(
    "--host",
    metavar="ADDRESS",
    help="The address to listen at.  [default: 127.0.0.1, or what FILE says]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="The port for clients; 0 takes a free one.  [default: 2181, or what FILE says]",
)
@click.pass_context
def serve(
    context: click.Context, file: str | None, data: str, host: str | None, port: int | None
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    FILE is a zoo.cfg. Without one, a server for this machine alone is run with its data in DIR.

    \b
    Examples:
      coterie serve
      coterie serve --data /var/lib/coterie --port 2182
      coterie serve /etc/coterie/zoo.cfg
    """
    if file is not None and context.get_parameter_source("data") is not ParameterSource.DEFAULT:
        raise click.UsageError("--data is for serving without FILE: dataDir in it names the data.")
    from coterie.cli import serve as command

    sys.exit(command.serve(file, data, host, port))


@cli.command()
@click.argument("seed", type=int, required=False)
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="Run N seeds, no trace.")
@click.option(
    "--first-seed", type=int, metavar="SEED", help="Where the N begin.  [default: by the clock]"
)
@click.option(
    "--members",
    type=click.IntRange(1, 9),
    metavar="N",
    help="How many servers vote; 1 is one alone.  [default: the seed decides]",
)
@click.option(
    "--jobs", type=click.IntRange(1), metavar="N", help="Processes.  [default: all cores]"
)
@click.option(
    "--recipes", is_flag=True, help="Programs with the client and its recipes, not raw requests."
)
@click.option("--quiet", is_flag=True, help="Show how SEED ends, not what happens.")
def simulate(
    seed: int | None,
    seeds: int | None,
    first_seed: int | None,
    members: int | None,
    jobs: int | None,
    recipes: bool,
    quiet: bool,
) -> None:
    """Run servers, clients and faults on virtual time: SEED with its trace, or N fresh seeds.

    A seed always comes to the same, to the byte.

    \b
    Examples:
      coterie simulate 17
      coterie simulate 17 --recipes --quiet
      coterie simulate --seeds 1000
    """
    if (seed is None) == (seeds is None):
        raise click.UsageError("Name either a SEED or how many --seeds.")
    from coterie.testing import campaign

    first, count = (seed, 1) if seed is not None else (first_seed, seeds or 0)
    if first is None:
        first = campaign.fresh_seed()
    tasks = [
        campaign.Task(each, members or campaign.members_of(each), recipes)
        for each in range(first, first + count)
    ]
    if seed is not None:
        sys.exit(campaign.replay(tasks[0], click.echo, trace=not quiet))
    sys.exit(campaign.campaign(tasks, jobs or campaign.jobs_by_default(), click.echo))


@cli.group()
def ensemble() -> None:
    """Run an ensemble of servers on this machine, all under one directory."""


_DIRECTORY = click.argument("directory", metavar="DIR")


@ensemble.command()
@_DIRECTORY
@click.option(
    "--servers",
    type=click.IntRange(1, 99),
    metavar="N",
    help="How many servers elect a leader.  [default: 3]",
)
@click.option(
    "--observers",
    type=click.IntRange(0, 99),
    metavar="N",
    help="How many more have no vote.  [default: 0]",
)
@click.option(
    "--port",
    type=click.IntRange(1, 63_000),
    metavar="PORT",
    help="The client port of the first server; the others have the next ones.  "
    "[default: 2181, or the next that are free]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the servers may take to serve.",
)
def start(
    directory: str, servers: int | None, observers: int | None, port: int | None, timeout: float
) -> None:
    """Start the servers in DIR; where there are none, lay them out there first.

    Servers of DIR that are running go on. All listen at 127.0.0.1.

    \b
    Examples:
      coterie ensemble start ./three
      coterie ensemble start ./five --servers 5 --observers 1 --port 3181
    """
    from coterie.cli import ensemble as command

    sys.exit(command.start(directory, servers, observers, port, timeout))


@ensemble.command()
@_DIRECTORY
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(directory: str, as_json: bool) -> None:
    """Show what the servers in DIR are doing; exit status 1 if they have no quorum.

    \b
    Examples:
      coterie ensemble status ./three
      coterie ensemble status ./three --json
    """
    from coterie.cli import ensemble as command

    sys.exit(command.status(directory, as_json))


@ensemble.command()
@_DIRECTORY
def stop(directory: str) -> None:
    """Stop the servers in DIR. Their data stays.

    \b
    Example:
      coterie ensemble stop ./three
    """
    from coterie.cli import ensemble as command

    sys.exit(command.stop(directory))


def main() -> None:
    """Run the command that the process's arguments ask for."""
    cli(prog_name="coterie")
