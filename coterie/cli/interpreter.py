"""The shell: takes one statement after the other, and tells what becomes of its connection.

Rules:
- a statement is a line, or more while a quote is open or a backslash ends the line;
- a failed statement is one line on stderr; in a script it is the last one, unless it is to go on,
  and its exit status is the shell's;
- Ctrl-C ends what runs, or clears what was typed; Ctrl-D ends the shell.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from typing import Any, Final, Protocol

import click

from coterie.cli import show, zkcli
from coterie.cli.options import join
from coterie.cli.session import REFUSED, USAGE, Session, complain, connection, find, status_of
from coterie.cli.show import Output
from coterie.client.blocking import BlockingClient, connect_blocking
from coterie.errors import ZooKeeperError
from coterie.system.clock import SystemClock
from coterie.values import SessionState, WatchEvent

_INTERRUPTED: Final = 130
_SECRET: Final = ("addauth",)
_COMPLETE_S_MAX: Final = 2.0

_TOLD: Final = {
    SessionState.SUSPENDED: "the connection is lost; looking for a server",
    SessionState.CONNECTED_READ_ONLY: "connected to a server without a quorum: it only reads",
    SessionState.LOST: "the session is over, and its ephemeral znodes are gone",
    SessionState.AUTH_FAILED: "a server has refused who this is: nothing can be done any more",
}


class Reader(Protocol):
    """Where statements come from."""

    interactive: bool

    def read(self, prompt: str) -> str:
        """The next line. Raises `EOFError`, and `KeyboardInterrupt` for Ctrl-C."""


class _ShellSession(Session):
    """The one session that all statements of a shell share."""

    def __init__(self, zk: BlockingClient, out: Output) -> None:
        super().__init__(zk.client, out)
        self.stays = True

    def tell(self, event: WatchEvent) -> None:
        wall_ms = SystemClock().wall_ms()
        self.out.record(show.event_fields(event, wall_ms))
        self.out.line(f"-- {show.event_line(event, wall_ms)}")


class Shell:
    """What the commands of a shell find as the object of their context."""

    def __init__(self, zk: BlockingClient, *, as_json: bool) -> None:
        self.here = "/"
        """The znode from which relative paths are seen."""
        self.typed: list[str] = []
        self.over = False
        self._zk = zk
        self._as_json = as_json
        self._session = _ShellSession(zk, Output(as_json))
        self._session_id = zk.client.session_id

    @property
    def prompt(self) -> str:
        client = self._zk.client
        where = f"{client.session.server}{client.chroot}"
        if client.state != SessionState.CONNECTED:
            where += f" {client.state.name}"
        return f"{where} {self.here}> "

    def state_changed(self, state: SessionState) -> None:
        """Tell it. Any thread may call this."""
        told = _TOLD.get(state)
        if state == SessionState.CONNECTED:
            session_id = self._zk.client.session_id
            new = f", in a new session {session_id:#x}" if session_id != self._session_id else ""
            self._session_id = session_id
            told = f"connected again{new}"
        if told is not None:
            click.echo(f"-- {told}", err=True)

    # Statements

    def execute(self, statement: str) -> int:
        """Carry out one statement; returns its exit status."""
        try:
            words = shlex.split(statement, comments=True)
        except ValueError:
            click.echo("A quote is not closed.", err=True)
            return USAGE
        if not words:
            return 0
        name, *arguments = words
        if name.lower() not in _SECRET:
            self.typed.append(statement)
        command = zkcli.find(name)
        if command is None:
            click.echo(f"There is no command {name!r}; type `help`.", err=True)
            return USAGE
        return self._execute(command, name, arguments)

    def _execute(self, command: click.Command, name: str, arguments: list[str]) -> int:
        self._session.endless = False
        try:
            ended = command.main(arguments, prog_name=name, standalone_mode=False, obj=self)
        except click.ClickException as error:
            click.echo(f"{name}: {error.format_message()}", err=True)
            return error.exit_code
        except click.Abort:
            return REFUSED
        except ZooKeeperError as error:
            complain(self._session.out, f"{name}: ", error)
            return status_of(error)
        return ended if isinstance(ended, int) else 0

    def carry_out(self, operation: str, given: dict[str, Any]) -> None:
        """Do `module:function`. Raises what it raises."""
        self._session.out.as_json = given.pop("as_json", False) or self._as_json
        try:
            self._zk.run(find(operation)(self._session, **given))
        except KeyboardInterrupt:
            click.echo(err=True)
            raise click.exceptions.Exit(0 if self._session.endless else _INTERRUPTED) from None

    # Completion

    def children(self, path: str) -> list[str]:
        """The names below a path, as far as they can be had soon."""
        future = self._zk.submit(self._zk.client.children(join(self.here, path)))
        try:
            return future.result(_COMPLETE_S_MAX)
        except (ZooKeeperError, TimeoutError):
            future.cancel()
            return []


def unfinished(text: str) -> bool:
    """Whether a quote is open, or the last line is to go on."""
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False


def next_statement(reader: Reader, prompt: str) -> str:
    """Raises `EOFError` and `KeyboardInterrupt`."""
    text = reader.read(prompt)
    while unfinished(text):
        try:
            text += "\n" + reader.read("... ")
        except EOFError:
            return text
    return text


def converse(shell: Shell, reader: Reader) -> int:
    """Take statements until the end; returns the exit status of the last one."""
    status = 0
    while not shell.over:
        try:
            statement = next_statement(reader, shell.prompt)
        except KeyboardInterrupt:
            continue
        except EOFError:
            break
        status = shell.execute(statement)
    return 0 if reader.interactive else status


def follow(shell: Shell, statements: Iterable[tuple[str, str]], *, keep_going: bool) -> int:
    """Carry out a script, each statement with the place where it stands."""
    first_failure = 0
    for place, statement in statements:
        status = shell.execute(statement)
        if status and not first_failure:
            first_failure = status
        if status and not keep_going:
            click.echo(f"{place}: the script ends here", err=True)
        if shell.over or (status and not keep_going):
            break
    return first_failure


def lines_of(reader: Reader) -> Iterable[tuple[str, str]]:
    """The statements of a script."""
    number = 0
    while True:
        try:
            statement = next_statement(reader, "")
        except EOFError:
            return
        yield f"line {number + 1}", statement
        number += statement.count("\n") + 1


def run(
    *,
    statements: tuple[str, ...],
    keep_going: bool,
    session_timeout_s: float,
    timeout_s: float,
    as_json: bool,
    **given: Any,
) -> int:
    """`coterie shell`; returns the exit status."""
    from coterie.cli import terminal

    try:
        zk = connect_blocking(
            **connection(given), call_timeout_s=timeout_s, session_timeout_s=session_timeout_s
        )
    except ValueError as error:
        click.echo(f"coterie shell: {error}", err=True)
        return USAGE
    try:
        with zk:
            shell = Shell(zk, as_json=as_json)
            zk.on_state(shell.state_changed)
            if statements:
                numbered = enumerate(statements, 1)
                named = ((f"command {number}", each) for number, each in numbered)
                return follow(shell, named, keep_going=keep_going)
            if not sys.stdin.isatty():
                piped = lines_of(terminal.Pipe(sys.stdin))
                return follow(shell, piped, keep_going=keep_going)
            return converse(shell, terminal.reader(shell))
    except ZooKeeperError as error:
        complain(Output(as_json), "coterie shell: ", error)
        return status_of(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
