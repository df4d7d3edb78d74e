"""Where the shell's lines come from: prompt-toolkit if it is installed, readline, or a pipe.

The history is kept from one shell to the next, in `$XDG_STATE_HOME/coterie/history`, readable by
its owner alone. Credentials are not in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from coterie.cli import zkcli
from coterie.cli.completion import complete
from coterie.cli.interpreter import Reader, Shell, unfinished

if TYPE_CHECKING:
    from prompt_toolkit.completion import CompleteEvent, Completion
    from prompt_toolkit.document import Document

_LINES_MAX: Final = 1000
_SECRET: Final = "addauth"


def is_secret(line: str) -> bool:
    """Whether this is not to be kept."""
    return line.lstrip().lower().startswith(_SECRET)


def history_file() -> Path | None:
    """Where to keep the history, if there is a place for it."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    file = Path(state) / "coterie" / "history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    except OSError:
        return None
    return file


def reader(shell: Shell) -> Reader:
    """The best that is installed."""
    try:
        import prompt_toolkit  # noqa: F401
    except ImportError:
        return Plain(shell, history_file())
    return Prompt(shell, history_file())


class Pipe:
    """Lines of a script; nobody is prompted."""

    interactive = False

    def __init__(self, source: TextIO) -> None:
        self._source = source

    def read(self, prompt: str) -> str:
        line = self._source.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")


class Plain:
    """`input`, with readline where Python has it."""

    interactive = True

    def __init__(self, shell: Shell, file: Path | None) -> None:
        self._shell = shell
        self._words: list[str] = []
        self._readline: Any = None
        self._file = file
        with suppress(ImportError):
            import readline

            self._readline = readline
            readline.set_auto_history(False)
            readline.set_completer(self.complete)
            readline.set_completer_delims(" \t\n")
            readline.parse_and_bind("tab: complete")
            readline.set_history_length(_LINES_MAX)
            if file is not None:
                with suppress(OSError):
                    readline.read_history_file(file)

    def read(self, prompt: str) -> str:
        try:
            line = input(prompt)
        except EOFError:
            click.echo()
            raise
        except KeyboardInterrupt:
            click.echo()
            raise
        if self._readline is not None and line.strip() and not is_secret(line):
            self._readline.add_history(line)
            if self._file is not None:
                with suppress(OSError):
                    self._readline.append_history_file(1, self._file)
        return line

    def complete(self, text: str, state: int) -> str | None:
        """The `state`-th of the words that could stand there, as readline asks for them."""
        if state == 0:
            line = self._readline.get_line_buffer()[: self._readline.get_endidx()]
            self._words = complete(line, zkcli.COMMANDS, self._shell.children).words
        return self._words[state] if state < len(self._words) else None


class Prompt:
    """prompt-toolkit: editing over several lines, and what is told meanwhile stands above."""

    interactive = True

    def __init__(self, shell: Shell, file: Path | None, **devices: Any) -> None:
        """`devices` are an input and an output, for tests."""
        from prompt_toolkit import PromptSession
        from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
        from prompt_toolkit.completion import Completer, Completion
        from prompt_toolkit.filters import Condition
        from prompt_toolkit.history import FileHistory, History, InMemoryHistory

        class Words(Completer):
            def get_completions(
                self, document: Document, complete_event: CompleteEvent
            ) -> Iterable[Completion]:
                line = document.text_before_cursor
                begun, words = complete(line, zkcli.COMMANDS, shell.children)
                for word in words:
                    shown = word.rpartition("/")[2] or word
                    yield Completion(word, -len(begun), display=shown)

        class Kept(FileHistory):
            def store_string(self, string: str) -> None:
                if not is_secret(string):
                    super().store_string(string)

        history: History = InMemoryHistory() if file is None else Kept(str(file))
        self._session: PromptSession[str] = PromptSession(
            history=history,
            completer=Words(),
            complete_in_thread=True,
            complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(),
            enable_history_search=True,
            multiline=Condition(lambda: unfinished(self._session.default_buffer.text)),
            prompt_continuation="... ",
            **devices,
        )

    def read(self, prompt: str) -> str:
        from prompt_toolkit.patch_stdout import patch_stdout

        with patch_stdout(raw=True):
            return self._session.prompt(prompt)
