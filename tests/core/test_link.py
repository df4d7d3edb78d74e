"""A link knows who opened it."""

from __future__ import annotations

from coterie.core.link import ELECTION, QUORUM, Complaints, Link


def test_a_link_that_is_dialled_is_not_open_yet() -> None:
    link = Link(QUORUM, 3, (("127.0.0.1", 2888),))
    assert link.dialled
    assert not link.open
    assert repr(link) == "<quorum link to 3>"


def test_a_link_from_elsewhere_is_open_and_nobodys_yet() -> None:
    link = Link(ELECTION)
    assert link.open
    assert not link.dialled
    assert link.peer == 0
    assert repr(link) == "<election link from somebody>"


def test_links_are_told_apart_by_identity() -> None:
    assert len({Link(QUORUM), Link(QUORUM)}) == 2


def test_one_line_of_a_kind_is_said_in_ten_seconds() -> None:
    complaints = Complaints()
    said = [complaints.line("speech", f"{number}", now_ms=1000 * number) for number in range(21)]
    told = [line for line in said if line is not None]
    assert told == ["0", "10 (and 9 more of that kind)", "20 (and 9 more of that kind)"]
    assert complaints.line("id", "another kind", 0) == "another kind"


def test_kinds_without_end_take_no_memory_without_end() -> None:
    complaints = Complaints()
    for number in range(1000):
        assert complaints.line(str(number), "text", 0) == "text"
    assert len(complaints._kinds) <= 100
