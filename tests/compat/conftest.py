"""Servers for the tests: every test here is marked `compat`, and runs where Apache's server is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.compat.servers import SERVERS, Server, Settings

Start = Callable[..., Server]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Hooks see all items of the session: only those of this folder are marked."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.compat)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server of a kind by name; it is killed at the end of the test."""
    with ExitStack() as stack:

        def start_one(
            kind: str, settings: Settings | None = None, directory: Path | None = None
        ) -> Server:
            if reason := SERVERS[kind].missing():
                pytest.skip(reason)
            where = tmp_path / kind if directory is None else directory
            return stack.enter_context(SERVERS[kind](where, settings))

        yield start_one
