"""A link knows who opened it."""

from __future__ import annotations

from coterie.core.link import ELECTION, QUORUM, Link


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
