"""Which files a command is about: a data directory, a zoo.cfg that names one, or a single file.

What cannot be used is one line and exit status 2; what is wrong with the data itself is status 1.
A long command shows how far it is, on a terminal only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

import click

from coterie.config import Config, ConfigError, dynamic_config_file, parse
from coterie.ensemble import Ensemble
from coterie.storage import epochs, past, segment, snapshot
from coterie.storage.errors import StorageError, describe
from coterie.storage.inspection import VERSION, Place
from coterie.storage.overlay import Overlay
from coterie.system import owners
from coterie.system.clock import SystemClock
from coterie.system.files import OSFiles

BAD: Final = 1
USAGE: Final = 2
_SHOW_EVERY_MS: Final = 200
_SOME_ENSEMBLE: Final = {"server.1": "127.0.0.1:2888:3888"}
_MIB: Final = 2**20


class ToolError(click.ClickException):
    """The command cannot be carried out."""

    exit_code = USAGE

    def __init__(self, message: str) -> None:
        super().__init__(message)
        context = click.get_current_context(silent=True)
        self._command = context.command_path if context is not None else "coterie"

    def show(self, file: Any = None) -> None:
        click.echo(f"{self._command}: {self.format_message()}", err=True)


class DataError(ToolError):
    """The data is not what it should be, or has not what is sought."""

    exit_code = BAD


class Target(NamedTuple):
    """A data directory, with what is known of its server."""

    config: Config
    knows_members: bool
    """Whether `config` was read; otherwise its members stand for some ensemble."""

    @property
    def place(self) -> Place:
        return Place(self.config.data_dir, self.config.data_log_dir)


def find(where: str, log_data: str | None = None) -> Target:
    """`where` is a data directory or a zoo.cfg; `log_data` where the logs are, if apart."""
    path = Path(where)
    if path.is_dir():
        return _directory(where, log_data)
    if not path.is_file():
        raise ToolError(f"{where} is not there")
    if log_data is not None:
        raise ToolError("dataLogDir in the zoo.cfg says where the logs are: no --log-data")
    try:
        text = path.read_text(encoding="utf-8")
        other = dynamic_config_file(text)
        dynamic = None if other is None else Path(other).read_text(encoding="utf-8")
        config, _ = parse(text, dynamic)
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ToolError(f"{where} is neither a data directory nor a zoo.cfg: {error}") from None
    return Target(config, True)


def _directory(where: str, log_data: str | None) -> Target:
    where = os.path.normpath(where)
    if os.path.basename(where) == VERSION:
        where = os.path.dirname(where) or "."
    config = Config(data_dir=where, data_log_dir_given=log_data)
    names = [*os.listdir(where), *OSFiles().names(f"{where}/{VERSION}")]
    if {"myid", epochs.ACCEPTED, epochs.CURRENT} & set(names):
        config = replace(config, ensemble=Ensemble.of(_SOME_ENSEMBLE))
    return Target(config, False)


def is_log(where: str) -> bool:
    return os.path.isfile(where) and segment.first_zxid(os.path.basename(where)) is not None


def is_snapshot(where: str) -> bool:
    return os.path.isfile(where) and snapshot.zxid_of(os.path.basename(where)) is not None


def as_file(where: str) -> str:
    """The path of a file, with the directory in it."""
    return where if "/" in where else f"./{where}"


def as_zxid(text: str, files: Overlay, place: Place) -> int | None:
    """What a zxid was given as: 0x1f, 31, `last` (None), or a time."""
    if text == "last":
        return None
    try:
        return int(text, 0)
    except ValueError:
        pass
    time_ms = as_time(text)
    if time_ms is None:
        raise ToolError(f"{text!r} is no zxid: it is as 0x1f, 31, last, or a time in ISO 8601")
    found = past.before(files, place, time_ms)
    if found is None:
        raise DataError(f"the log does not reach back to {text}")
    return found


def as_time(text: str) -> int | None:
    """Milliseconds since 1970, from ISO 8601; without a zone it is UTC."""
    import datetime as dt

    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return round(moment.timestamp() * 1000)


class Progress:
    """A line on a terminal that says how far a file was read; it goes when the work is done."""

    def __init__(self, stream: TextIO, now_ms: Callable[[], float]) -> None:
        self._stream = stream
        self._now_ms = now_ms
        self._next_ms = now_ms() + _SHOW_EVERY_MS
        self._width = 0

    def tell(self, path: str, done: int, size: int) -> None:
        if self._now_ms() < self._next_ms:
            return
        self._next_ms = self._now_ms() + _SHOW_EVERY_MS
        share = 100 * done // max(size, 1)
        self._show(f"{path}: {share}% of {size / _MIB:.1f} MiB")

    def _show(self, text: str) -> None:
        self._stream.write(f"\r{text:<{self._width}}")
        self._width = len(text)
        self._stream.flush()

    def end(self) -> None:
        if self._width:
            self._show("")
            self._stream.write("\r")
            self._stream.flush()


@contextmanager
def reading() -> Iterator[Overlay]:
    """The files of this machine, only to be read; what is wrong with them ends the command."""
    progress = None
    if sys.stderr.isatty():
        progress = Progress(sys.stderr, SystemClock().monotonic_ms)
    try:
        yield Overlay(OSFiles(), progress.tell if progress is not None else None)
    except StorageError as error:
        raise DataError(str(error)) from None
    except BrokenPipeError:
        # Who read what this says wants no more.
        raise
    except OSError as error:
        raise ToolError(describe(error)) from None
    finally:
        if progress is not None:
            progress.end()


def refuse_old_directory(where: str) -> None:
    """What is to be made must be missing, or have nothing in it."""
    try:
        if os.path.exists(where) and (not os.path.isdir(where) or os.listdir(where)):
            raise ToolError(f"{where} is there, and not empty: name a new directory")
    except OSError as error:
        raise ToolError(describe(error)) from None


def users(place: Place) -> list[int]:
    """The processes that have files of the directories open."""
    found: list[int] = []
    for directory in place.directories():
        if os.path.isdir(directory):
            found += owners.users(directory)
    return sorted(set(found))


@contextmanager
def held(place: Place) -> Iterator[None]:
    """Hold the directories as a server does; refused while one does, or has files of them open."""
    pids = users(place)
    if pids:
        shown = ", ".join(map(str, pids))
        raise ToolError(f"{place.data} is in use by process {shown}: stop that server first")
    with ExitStack() as stack:
        try:
            for directory in filter(os.path.isdir, place.directories()):
                stack.callback(OSFiles().lock(directory).release)
        except BlockingIOError:
            raise ToolError(f"{place.data} is in use by a server: stop it first") from None
        except OSError as error:
            raise ToolError(describe(error)) from None
        yield
