"""Errands: each is run to its end by programs, and notices what must not come of it."""

from __future__ import annotations

import pytest

from coterie.testing.errands import ERRANDS, Telling, Writing
from coterie.testing.history import Violation
from tests.testing.quiet import quiet


@pytest.mark.parametrize("kind", sorted(ERRANDS))
def test_all_is_done_where_nothing_fails(kind: str) -> None:
    simulation = quiet(ERRANDS[kind])
    simulation.run()
    assert all(program.served for program in simulation.programs)
    told = {mark.rpartition(" ")[2] for mark in simulation.marks if "was told" in mark}
    # Some have no patience, and a lease that is not renewed is lost.
    assert told <= {"TimeoutError", "GrantLostError" if kind == "leasing" else ""}


def test_what_was_said_to_be_written_has_to_be_there() -> None:
    simulation = quiet(Writing)
    simulation.run()
    errand = simulation.errand
    assert isinstance(errand, Writing)
    assert errand.done == {value for value in simulation.written if value}
    simulation.written.pop(min(errand.done))
    with pytest.raises(Violation, match="is nowhere"):
        errand.end()


def test_what_was_said_not_to_be_written_is_not() -> None:
    simulation = quiet(Writing)
    simulation.run()
    simulation.written[b"c1-99"] = 99
    with pytest.raises(Violation, match="was not written, it was said"):
        simulation.errand.end()
    assert isinstance(simulation.errand, Writing)
    simulation.errand.unknown.add(b"c1-99")
    simulation.errand.end()


def test_who_has_not_heard_the_last_news_is_not_settled() -> None:
    simulation = quiet(Telling)
    simulation.run()
    assert all(program._work.settled() for program in simulation.programs)
    simulation.last_written = b"later"
    assert not any(program._work.settled() for program in simulation.programs)
