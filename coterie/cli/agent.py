"""`coterie agent`: settings and server sets of the tree as files of this host, kept up to date.

Exit status: 0 it was ended, or all is well; 1 something is stale or cannot be written; 2 what was
typed, or the file of subscriptions, is wrong; 3 there was no connection (--once).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from coterie.cli.options import where

if TYPE_CHECKING:
    from coterie.client.client import Client
    from coterie.gateway.agent.agent import Agent
    from coterie.gateway.agent.subscriptions import Plan

_BAD: Final = 1
_USAGE: Final = 2
_NO_CONNECTION: Final = 3


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False))
@click.option("--once", is_flag=True, help="Write all files, and end.")
@click.option("--status", is_flag=True, help="Say how the files are, and end: 1 if one is stale.")
@click.option(
    "--confirm",
    "confirmed",
    metavar="NAME",
    help="Let the running agent write a set that it holds because much is gone.",
)
@click.option("--check", "only_check", is_flag=True, help="Read FILE, say what is wrong, and end.")
@click.option(
    "--page",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Show a status page at this port of 127.0.0.1; 0 takes a free one.",
)
@click.option("--json", "as_json", is_flag=True, help="With --status: for programs.")
@where
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, 86_400, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long an answer may take.",
)
@click.pass_context
def agent(context: click.Context, /, file: str, **given: Any) -> None:
    """Keep settings and server sets as local files, so that programs need no ensemble.

    FILE says, as TOML, which. It writes until SIGTERM or Ctrl-C; SIGHUP lets it read FILE and
    everything else anew. Files stay whatever happens to the servers: none is ever deleted or
    emptied, and a set that has lost half of its servers at once waits.

    \b
    Examples:
      coterie agent agent.toml
      coterie agent agent.toml --hosts a:2181,b:2181 --page 8090
      coterie agent agent.toml --once
      coterie agent agent.toml --status
      coterie agent agent.toml --confirm managers.txt

    \b
    A FILE may be as short as this:
      [[settings]]
      znode = "/gateway/config/api"
      file = "api.json"
      [[servers]]
      kind = "manager"
      versions = ">=2,<3"
      file = "managers.txt"
    """
    modes = ("once", "status", "confirmed", "only_check")
    if sum(bool(given[mode]) for mode in modes) > 1:
        raise click.UsageError("Only one of --once, --status, --confirm and --check.")
    if given["as_json"] and not given["status"]:
        raise click.UsageError("--json is for --status.")
    if context.get_parameter_source("hosts") is ParameterSource.DEFAULT:
        given["hosts"] = ""
    sys.exit(_carry_out(file, given))


def _carry_out(file: str, given: dict[str, Any]) -> int:
    from coterie.gateway.agent.agent import Agent, AgentError, confirm, read_plan
    from coterie.system.files import OSFiles

    try:
        plan = read_plan(file, OSFiles())
        if given["only_check"]:
            number = len(plan.subscriptions)
            click.echo(f"{file}: {number} subscriptions, {len(plan.follow)} znodes with more")
            return 0
        if given["status"]:
            return _show_status(plan, given["as_json"])
        if given["confirmed"] is not None:
            click.echo(f"to be written: {confirm(plan, OSFiles(), given['confirmed'])}")
            return 0
        connect = _connector(given)
        agent = Agent(file, connect, hosts=given["hosts"])
        # What cannot be used is said now, and not when a server is looked for.
        connect(agent.plan)
        return _work(agent, given)
    except (AgentError, ValueError) as error:
        click.echo(f"coterie agent: {error}", err=True)
        return _USAGE


def _connector(given: dict[str, Any]) -> Callable[[Plan], Client]:
    """What makes a client of a plan. Raises `ValueError` for what cannot be used."""
    from coterie.cli.session import connection
    from coterie.client.client import connect

    timeout_s = given["timeout_s"]
    wanted = connection(dict(given))

    def make(plan: Plan) -> Client:
        return connect(
            **(wanted | {"hosts": plan.hosts}),
            call_timeout_s=timeout_s,
            connect_timeout_s=min(timeout_s, 3.0),
        )

    return make


def _show_status(plan: Plan, as_json: bool) -> int:
    from coterie.gateway.agent.agent import read_status
    from coterie.gateway.agent.status import encode, report
    from coterie.system.clock import SystemClock
    from coterie.system.files import OSFiles

    status, now_ms = read_status(plan, OSFiles()), SystemClock().wall_ms()
    click.echo(encode(status).decode() if as_json else "\n".join(report(status, now_ms)))
    return _BAD if status.red(now_ms) else 0


def _work(agent: Agent, given: dict[str, Any]) -> int:
    import logging

    from coterie.errors import ZooKeeperError
    from coterie.system.transport import run

    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        if given["once"]:
            problems = run(agent.once())
            for problem in problems:
                click.echo(f"coterie agent: {problem}", err=True)
            return _BAD if problems else 0
        run(_keep(agent, given["page"]))
    except ZooKeeperError as error:
        click.echo(f"coterie agent: {error}", err=True)
        return _NO_CONNECTION
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        # The port of the page.
        click.echo(f"coterie agent: {error}", err=True)
        return _USAGE
    return 0


async def _keep(agent: Agent, port: int | None) -> None:
    """Keep the files, and show the page, until a signal ends it."""
    import asyncio
    import signal
    from contextlib import suppress

    from coterie.system.clock import SystemClock

    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    with suppress(NotImplementedError, RuntimeError, ValueError):  # Not in the main thread.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ending.set)
        loop.add_signal_handler(signal.SIGHUP, agent.read_again)
    tasks: list[asyncio.Task[Any]] = [loop.create_task(ending.wait())]
    port = agent.plan.page if port is None else port
    if port is not None:
        from coterie.gateway.agent.page import Page

        page = Page(agent.status, SystemClock().wall_ms, port)
        agent.port = page.port
        click.echo(f"page       http://127.0.0.1:{page.port}/")
        tasks.append(loop.create_task(page.serve()))
    click.echo(f"files in   {agent.plan.directory}\nstop       Ctrl-C")
    sys.stdout.flush()
    tasks.append(loop.create_task(agent.run()))
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
