"""Who is there: what is right passes, and what is wrong is noticed."""

from __future__ import annotations

from typing import Any

import pytest

from coterie.recipes.membership import Member
from coterie.testing.history import Violation
from coterie.testing.standing_errands import Discovering, Grouping, Partitioning, Standing
from tests.testing.quiet import quiet, ran


class Present:
    """A place of which a test says everything."""

    present = True


@pytest.mark.parametrize("kind", [Grouping, Discovering])
def test_everybody_knows_who_is_there_and_what_they_said(kind: type[Standing]) -> None:
    simulation = quiet(kind)
    lists: list[Any] = []
    ended = simulation._until_all

    def noted(done: Any, failing: str) -> None:
        ended(done, failing)
        if failing == "is not served":
            errand: Any = simulation.errand
            lists.append((errand.expected(), [s.listed() for s in errand.standers.values()]))

    simulation._until_all = noted  # type: ignore[method-assign]
    simulation.run()
    expected, listed = lists[0]
    assert listed == [(True, expected)] * 3
    assert simulation.marks["one who was there has left"]


def test_one_that_says_something_else_than_all_know_is_not_settled() -> None:
    simulation = ran(Grouping)
    errand: Any = simulation.errand
    stander = errand.standers["c1"]
    stander._group._view._cache._open, stander._group._view._cache._fresh_ms = True, None
    stander._group._view._values = [{"c2": Member("c2", b"news", 1, 1)}]
    for each in errand.standers.values():
        each.place = None
    assert not stander.settled(), "there is one who has left"
    errand.standers["c2"].place, errand.standers["c2"].says = Present(), b"news"
    assert stander.settled()
    errand.standers["c2"].says = b"later news"
    assert not stander.settled()


def test_no_name_is_two_programs() -> None:
    simulation = ran(Grouping)
    errand: Any = simulation.errand
    standers = list(errand.standers.values())
    for stander in standers:
        stander.places.clear()
        stander.look = lambda: None
        stander.program._work.client.session.id = 70 + standers.index(stander)
    standers[0].places["chief"] = standers[1].places["chief"] = Present()
    with pytest.raises(Violation, match="are both chief"):
        errand.look()
    simulation.sessions.ended(70, 0.0)
    errand.look()


def test_a_list_does_not_go_back() -> None:
    errand: Any = ran(Grouping).errand
    stander = errand.standers["c1"]
    stander._since = {"c2": 5}
    stander._group._view._values = [{"c2": Member("c2", b"", 1, 4)}]
    with pytest.raises(Violation, match="as it was before"):
        stander.look()


@pytest.mark.parametrize(
    ("held", "right"),
    [
        (["0", "1", "2"], True),
        (["01", "2", ""], False),
        (["01", "2"], True),
        (["0", "1", "12"], False),
        (["0", "1"], False),
        ([], True),
    ],
)
def test_partitions_are_shared_out_evenly_and_once(held: list[str], right: bool) -> None:
    errand: Any = ran(Partitioning).errand
    for sharer in errand.sharers.values():
        sharer._partitioner = None
    for sharer, names in zip(errand.sharers.values(), held, strict=False):

        class Holder:
            held = dict.fromkeys(names)

        sharer._partitioner = Holder
    assert errand.shared_out() is right
