"""A canned responder in a thread, for the tests that need something to load."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from benchmarks.canned import Canned
from benchmarks.loads import Load

Responder = Callable[[Load, int], AbstractContextManager[Canned]]


@pytest.fixture
def responder() -> Responder:
    """Serves one load on that many connections; leaving waits until all are closed."""

    @contextmanager
    def serving(load: Load, connections: int) -> Iterator[Canned]:
        canned = Canned(load, connections)
        thread = threading.Thread(target=canned.serve, daemon=True)
        thread.start()
        yield canned
        thread.join(10)
        assert not thread.is_alive(), "a connection was left open"

    return serving
