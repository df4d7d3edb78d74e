"""A data directory as a server leaves it, and the commands that look into it."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from click.testing import CliRunner, Result

from coterie.cli.main import cli
from coterie.config import Config
from coterie.storage.segment import HEADER
from coterie.storage.store import Store
from coterie.system.files import OSFiles
from coterie.wire.numbered import Txn
from tests.storage.author import Author


class Kept:
    """Snapshots 0, a and 14 (hexadecimal), each with ten txns behind it, in `top`/version-2."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.files = top / "version-2"
        config = Config(data_dir=str(top), prealloc_bytes=0, snap_count=100)
        store = Store(OSFiles(), config, Random(1))
        author = Author(0, store.recover())
        self.written: list[Txn] = []
        for number in range(3):
            if number:
                writer = store.begin_snapshot(author.tree)
                while not writer.step(100):
                    pass
                writer.finish()
            more = author.some(10, size=40) if number else [author.session(7), *author.some(9)]
            store.append_and_sync(more)
            self.written += more
        store.close()
        self.tree = author.tree

    def flip(self, name: str, offset: int) -> None:
        data = bytearray((self.files / name).read_bytes())
        data[offset] ^= 4
        (self.files / name).write_bytes(data)

    def record_at(self, name: str, number: int) -> int:
        """Where a record of a log begins."""
        first = int(name[4:], 16)
        return len(HEADER) + sum(
            13 + len(txn.encoded) for txn in self.written[first - 1 : first - 1 + number]
        )

    def names(self) -> list[str]:
        return sorted(path.name for path in self.files.iterdir())


def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    """`coterie ARGUMENTS` in this process."""
    words = [str(word) for word in arguments]
    return CliRunner().invoke(cli, words, input=stdin, prog_name="coterie")


def says(*arguments: str | Path, status: int = 0, stdin: str | bytes | None = None) -> str:
    """What it says on its standard output; it has to end with this status."""
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == status, (result.output, result.exception)
    return result.stdout


def objects(*arguments: str | Path, status: int = 0) -> list[Any]:
    """The objects that it says."""
    return [json.loads(line) for line in says(*arguments, "--json", status=status).splitlines()]


def complaint(*arguments: str | Path, status: int = 2) -> str:
    """What it complains of."""
    result = run(*arguments)
    assert result.exit_code == status, (result.output, result.exception)
    return result.stderr
