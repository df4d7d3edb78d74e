"""The shell: statements over several lines, what ends it, and what it tells of its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from coterie.cli import interpreter
from coterie.cli.interpreter import Shell, converse, follow, next_statement, unfinished
from coterie.client.blocking import BlockingClient
from coterie.testing.cluster import Server, until
from coterie.values import SessionState


class Lines:
    """A reader of these lines; an exception among them is raised."""

    interactive = True

    def __init__(self, *lines: str | type[BaseException]) -> None:
        self._lines = list(lines)
        self.prompts: list[str] = []

    def read(self, prompt: str) -> str:
        self.prompts.append(prompt)
        line = self._lines.pop(0) if self._lines else EOFError
        if isinstance(line, str):
            return line
        raise line


@pytest.fixture
def shell(coterie_client: BlockingClient) -> Iterator[Shell]:
    shell = Shell(coterie_client, as_json=False)
    undo = coterie_client.on_state(shell.state_changed)
    yield shell
    undo()


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("ls /", False),
        ("set /a 'x", True),
        ('set /a "x', True),
        ("set /a x\\", True),
        ("set /a 'x\ny'", False),
        ("# it's a remark", False),
        ("", False),
    ],
)
def test_a_statement_goes_on_while_a_quote_is_open(text: str, more: bool) -> None:
    assert unfinished(text) == more


def test_lines_are_put_together() -> None:
    lines = Lines("set /a 'x", "", "y'", "ls /")
    assert next_statement(lines, "> ") == "set /a 'x\n\ny'"
    assert lines.prompts == ["> ", "... ", "... "]


def test_ctrl_c_clears_the_line_and_ctrl_d_ends(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Lines("set / 'x", KeyboardInterrupt, KeyboardInterrupt, "pwd", EOFError, "pwd")
    assert converse(shell, lines) == 0
    assert capsys.readouterr().out == "/\n"


def test_quit_ends(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert converse(shell, Lines("nonsense", "get /nope", "exit", "pwd")) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "There is no command 'nonsense'; type `help`.",
        "get: get /nope: The znode does not exist",
    ]


def test_the_prompt_says_where_one_is(shell: Shell, coterie_server: Server) -> None:
    lines = Lines("create /a", "cd a")
    converse(shell, lines)
    hosts = coterie_server.hosts
    assert lines.prompts == [f"{hosts} /> ", f"{hosts} /> ", f"{hosts} /a> "]
    coterie_server.stop()
    until(lambda: shell.prompt == f"{hosts} SUSPENDED /a> ", "a lost connection")


def test_reconnects_are_told(
    shell: Shell,
    coterie_server: Server,
    coterie_client: BlockingClient,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = ""

    def heard(what: str) -> Callable[[], bool]:
        def look() -> bool:
            nonlocal told
            told += capsys.readouterr().err
            return what in told

        return look

    coterie_server.disconnect()
    until(heard("connected again\n"))
    assert "-- the connection is lost" in told
    coterie_server.expire(coterie_client.client.session_id)
    until(heard("connected again, in a new session 0x"))
    assert "-- the session is over, and its ephemeral znodes are gone" in told


@pytest.mark.parametrize("state", SessionState)
def test_every_state_but_the_quiet_ones_is_told(
    shell: Shell, state: SessionState, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.state_changed(state)
    quiet = (SessionState.CONNECTING, SessionState.CLOSED)
    assert bool(capsys.readouterr().err) == (state not in quiet)


def test_ctrl_c_ends_what_runs(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(coroutine: object) -> None:
        assert asyncio.iscoroutine(coroutine)
        coroutine.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(shell._zk, "run", interrupt)
    assert shell.execute("get /a") == 130


def test_a_script_says_where_it_ended(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    script = [("one", "ls -q"), ("two", "pwd")]
    assert follow(shell, script, keep_going=False) == 2
    assert capsys.readouterr().err.endswith("one: the script ends here\n")
    assert follow(shell, script, keep_going=True) == 2
    assert capsys.readouterr().out == "/\n"


def test_names_for_completion(
    shell: Shell, coterie_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.execute("create /a")
    shell.execute("create /a/b")
    assert shell.children("a/") == ["b"]
    assert shell.children("/nope") == []
    monkeypatch.setattr(interpreter, "_COMPLETE_S_MAX", 0.05)
    coterie_server.pause()
    assert shell.children("/") == []
