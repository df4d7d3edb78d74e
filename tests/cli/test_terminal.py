"""Where lines come from: without a terminal, by prompt-toolkit's pipe and by a pipe of bytes."""

from __future__ import annotations

import builtins
import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from coterie.cli import terminal
from coterie.cli.interpreter import Shell, converse
from coterie.cli.terminal import Pipe, Plain, Prompt
from coterie.client.blocking import BlockingClient
from coterie.testing.cluster import until


@pytest.fixture
def shell(coterie_client: BlockingClient) -> Shell:
    coterie_client.create("/apple", b"red")
    return Shell(coterie_client, as_json=False)


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    with create_pipe_input() as pipe:
        yield pipe


def test_a_pipe_ends() -> None:
    pipe = Pipe(io.StringIO("a\n\nb"))
    assert [pipe.read(""), pipe.read(""), pipe.read("")] == ["a", "", "b"]
    with pytest.raises(EOFError):
        pipe.read("")


def prompt(shell: Shell, keys: PipeInput, typed: str, file: Path | None = None) -> Prompt:
    keys.send_text(typed)
    return Prompt(shell, file, input=keys, output=DummyOutput())


def test_what_is_typed(shell: Shell, keys: PipeInput, capsys: pytest.CaptureFixture[str]) -> None:
    assert converse(shell, prompt(shell, keys, "get /apple\rquit\r")) == 0
    assert capsys.readouterr().out == "red\n"


def test_enter_goes_on_while_a_quote_is_open(shell: Shell, keys: PipeInput) -> None:
    assert prompt(shell, keys, "set /a 'x\ry'\r").read("> ") == "set /a 'x\ny'"


def test_tab_completes_a_path(shell: Shell, keys: PipeInput) -> None:
    at_prompt = prompt(shell, keys, "get /ap\t")

    def accept() -> None:
        until(lambda: at_prompt._session.default_buffer.text == "get /apple", "the completion")
        keys.send_text("\r")

    accepting = threading.Thread(target=accept)
    accepting.start()
    assert at_prompt.read("> ") == "get /apple"
    accepting.join()


def test_ctrl_c_and_ctrl_d(shell: Shell, keys: PipeInput) -> None:
    at_prompt = prompt(shell, keys, "half\x03\x04")
    with pytest.raises(KeyboardInterrupt):
        at_prompt.read("> ")
    with pytest.raises(EOFError):
        at_prompt.read("> ")


def test_the_history_is_kept_without_credentials(
    shell: Shell, keys: PipeInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = terminal.history_file()
    assert file == tmp_path / "coterie" / "history"
    assert file.stat().st_mode & 0o777 == 0o600
    first = prompt(shell, keys, "ls /one\raddauth digest me:secret\r", file)
    first.read("> ")
    first.read("> ")
    assert "secret" not in file.read_text()
    again = prompt(shell, keys, "\x1b[A\r", file)
    assert again.read("> ") == "ls /one"


def test_a_history_without_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    assert terminal.history_file() is None


def test_without_prompt_toolkit_input_is_read(
    shell: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)
    plain = terminal.reader(shell)
    assert isinstance(plain, Plain)
    lines = iter(["get /apple", "addauth digest me:secret", "quit"])
    monkeypatch.setattr(builtins, "input", lambda prompt: next(lines))
    assert converse(shell, plain) == 0
    assert capsys.readouterr().out == "red\n"
    kept = (tmp_path / "coterie" / "history").read_text()
    assert "get /apple" in kept
    assert "secret" not in kept


def test_readline_completes(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    class Readline:
        def get_line_buffer(self) -> str:
            return "get /ap and more"

        def get_endidx(self) -> int:
            return len("get /ap")

    plain = Plain(shell, None)
    monkeypatch.setattr(plain, "_readline", Readline())
    assert [plain.complete("/ap", 0), plain.complete("/ap", 1)] == ["/apple", None]


def test_prompt_toolkit_is_taken_where_it_is(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert isinstance(terminal.reader(shell), Prompt)
