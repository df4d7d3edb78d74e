"""Ensembles for the tests: all here are marked `interop`, and run where Apache's server is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.compat.servers import Settings
from tests.interop.ensembles import CASES, KINDS, MIXES, Ensemble

Gather = Callable[..., Ensemble]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Hooks see all items of the session: only those of this folder are marked."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.interop)


@pytest.fixture
def gather(tmp_path: Path) -> Iterator[Gather]:
    """Make an ensemble of kinds by name, of which none runs yet; its members end with the test."""
    with ExitStack() as stack:

        def one(kinds: Sequence[str], settings: Settings | None = None) -> Ensemble:
            _need(kinds)
            return stack.enter_context(Ensemble(tmp_path, kinds, settings))

        yield one


@pytest.fixture(scope="module", params=CASES, ids=[f"{mix} led by {n}" for mix, n in CASES])
def standing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ensemble]:
    """Each mix, led by each kind, for all tests of a module: they leave it as it is."""
    mix, leader = request.param
    _need(MIXES[mix])
    with Ensemble(tmp_path_factory.mktemp("standing"), MIXES[mix]) as ensemble:
        yield ensemble.start_led_by(leader)


def _need(kinds: Sequence[str]) -> None:
    for kind in kinds:
        if reason := KINDS[kind].missing():
            pytest.skip(reason)
