"""Who dials whom, what is kept of what could not be said, and what is refused."""

from __future__ import annotations

import struct
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.core.courier import Courier
from coterie.core.effects import Effects
from coterie.core.link import ELECTION, Link
from coterie.ensemble import Ensemble
from coterie.wire.peers import MAX_LONG, Initial

THREE = Ensemble.of({f"server.{each}": f"m{each}:2888:3888" for each in (1, 2, 3)})


class _Post:
    """The courier of one member, and what it asks of its driver."""

    def __init__(self, my_id: int, **settings: Any) -> None:
        self.effects = Effects()
        self.courier = Courier(my_id, THREE, lambda: self.effects, Random(1), **settings)

    def take(self) -> Effects:
        effects, self.effects = self.effects, Effects()
        for link in effects.link_outputs:
            link.touched = False
        return effects

    def dialled(self) -> Link:
        """The one link that is to be dialled."""
        (link,) = self.take().dials
        return link

    def accept(self, server_id: int, more: bytes = b"", now_ms: float = 0) -> Link:
        """A link on which a member introduces itself, from its address in the ensemble."""
        link = Link(ELECTION)
        self.courier.accepted(link, now_ms)
        self.courier.heard(link, _initial(server_id) + more, now_ms)
        return link

    def lost(self, link: Link, now_ms: float = 0) -> None:
        self.courier.lost(link, now_ms)


def _initial(server_id: int) -> bytes:
    return Initial(server_id, ((f"m{server_id}", 3888),)).encode()


def _framed(*payloads: bytes) -> bytes:
    return b"".join(struct.pack(">i", len(each)) + each for each in payloads)


def _sent(link: Link) -> bytes:
    """What goes out on a link; a segment at a time."""
    sent = b"".join(link.out)
    link.out.clear()
    return sent


# Who dials


def test_the_higher_id_keeps_what_it_dialled() -> None:
    post = _Post(3)
    post.courier.send(1, b"vote", 0)
    link = post.dialled()
    assert (link.kind, link.peer, link.addresses) == (ELECTION, 1, (("m1", 3888),))
    post.courier.opened(link, 5)
    effects = post.take()
    assert effects.link_outputs == [link]
    assert link.out[0] == _initial(3), "in one segment"
    assert _sent(link) == _initial(3) + _framed(b"vote")
    assert not effects.link_closes
    assert post.courier.connected == [1]


def test_the_lower_id_says_who_it_is_and_is_dialled_back() -> None:
    post = _Post(1)
    post.courier.send(3, b"vote", 0)
    link = post.dialled()
    post.courier.opened(link, 5)
    effects = post.take()
    assert effects.link_outputs == effects.link_closes == [link]
    assert _sent(link) == _initial(1)
    post.courier.heard(link, b"ignored", 5)
    post.lost(link, 6)
    back = post.accept(3, _framed(b"hello"), 20)
    assert post.courier.inbox == [(3, b"hello")]
    assert _sent(back) == _framed(b"vote")
    assert post.courier.connected == [3]
    assert not post.take().dials


def test_a_lower_id_that_dials_is_dialled_back() -> None:
    post = _Post(3)
    link = post.accept(1)
    effects = post.take()
    assert effects.link_closes == [link]
    (back,) = effects.dials
    assert back.peer == 1
    # While that is under way nothing else is dialled.
    assert post.take().dials == []
    post.accept(1)
    post.courier.send(1, b"vote", 0)
    assert not post.take().dials
    post.courier.opened(back, 10)
    assert _sent(back) == _initial(3) + _framed(b"vote")


def test_a_lower_id_that_dials_has_lost_its_connection() -> None:
    post = _Post(3)
    post.courier.send(1, b"vote", 0)
    link = post.dialled()
    post.courier.opened(link, 5)
    post.take()
    again = post.accept(1, now_ms=6)
    effects = post.take()
    assert effects.link_closes == [again, link]
    (back,) = effects.dials
    post.lost(link, 7)
    post.courier.opened(back, 8)
    assert _sent(back) == _initial(3) + _framed(b"vote"), "said again: it may have been lost"


def test_a_lower_id_that_dialled_before_it_was_dialled_keeps_its_connection() -> None:
    post = _Post(3)
    post.courier.send(1, b"vote", 0)
    link = post.dialled()
    crossing = Link(ELECTION)
    post.courier.accepted(crossing, 4)
    post.courier.opened(link, 5)
    post.courier.heard(crossing, _initial(1), 6)
    effects = post.take()
    assert effects.link_closes == [crossing]
    assert not effects.dials
    assert post.courier.connected == [1]


def test_a_higher_id_that_dials_replaces_what_there_is() -> None:
    post = _Post(1)
    first = post.accept(3)
    second = post.accept(3)
    assert post.take().link_closes == [first]
    post.lost(first)
    assert post.courier.connected == [3]
    post.courier.send(3, b"vote", 0)
    assert _sent(second) == _framed(b"vote")
    assert not first.out


def test_a_higher_id_that_dials_ends_our_own_attempt() -> None:
    post = _Post(1)
    post.courier.send(3, b"vote", 0)
    mine = post.dialled()
    link = post.accept(3)
    assert post.take().link_closes == [mine]
    assert _sent(link) == _framed(b"vote")
    post.courier.opened(mine, 5)
    assert not mine.out
    post.lost(mine, 6)
    assert post.courier.connected == [3]


def test_the_address_that_a_member_tells_is_tried_after_the_known_one() -> None:
    post = _Post(3)
    link = Link(ELECTION)
    post.courier.accepted(link, 0)
    post.courier.heard(link, Initial(1, (("10.0.0.1", 3888),)).encode(), 0)
    assert post.dialled().addresses == (("m1", 3888), ("10.0.0.1", 3888))


# What is said


def test_of_the_addresses_that_a_member_tells_few_are_tried() -> None:
    post = _Post(2)
    link = Link(ELECTION)
    post.courier.accepted(link, 0)
    told = tuple((f"10.9.9.{number}", 1) for number in range(90))
    text = "|".join(f"{host}:{port}" for host, port in told).encode()
    post.courier.heard(link, struct.pack(">qqi", -65535, 1, len(text)) + text, 0)
    assert post.dialled().addresses == (("m1", 3888), *told[:4])


def test_of_what_waits_only_the_newest_is_kept() -> None:
    post = _Post(3)
    for payload in (b"old", b"new"):
        post.courier.send(1, payload, 0)
    link = post.dialled()
    post.courier.send(1, b"newest", 1)
    post.courier.opened(link, 5)
    assert _sent(link) == _initial(3) + _framed(b"newest")
    for payload in (b"a", b"b"):
        post.courier.send(1, payload, 6)
    assert _sent(link) == _framed(b"a", b"b")
    assert post.take().link_outputs == [link]


def test_the_last_that_was_said_is_said_again_on_a_new_connection() -> None:
    post = _Post(1)
    link = post.accept(3)
    assert _sent(link) == b""
    post.courier.send(3, b"first", 0)
    post.courier.send(3, b"last", 0)
    post.lost(link)
    assert post.courier.connected == []
    assert _sent(post.accept(3)) == _framed(b"last")
    # What waits is newer than that.
    post = _Post(1)
    link = post.accept(3)
    post.courier.send(3, b"last", 0)
    post.lost(link)
    post.courier.send(3, b"newer", 0)
    assert _sent(post.accept(3)) == _framed(b"newer")


def test_messages_come_out_whole_however_they_come_in() -> None:
    post = _Post(1)
    link = Link(ELECTION)
    post.courier.accepted(link, 0)
    stream = _initial(3) + _framed(b"a", b"bcd" * 100, b"e")
    for at in range(len(stream)):
        post.courier.heard(link, stream[at : at + 1], 0)
    assert post.courier.inbox == [(3, b"a"), (3, b"bcd" * 100), (3, b"e")]


# What is refused


@pytest.mark.parametrize("length", [-1, 0, 512 * 1024 + 1])
def test_a_length_that_lies_closes_the_connection(length: int) -> None:
    post = _Post(1)
    link = post.accept(3, struct.pack(">i", length))
    effects = post.take()
    assert effects.link_closes == [link]
    assert len(effects.notes) == 1
    assert post.courier.connected == []
    post.courier.send(3, b"vote", 0)
    assert not link.out


def test_the_longest_message_is_taken() -> None:
    post = _Post(1)
    post.accept(3, _framed(bytes(512 * 1024)))
    assert len(post.courier.inbox[0][1]) == 512 * 1024


def test_who_is_not_of_the_ensemble_is_refused() -> None:
    post = _Post(2)
    notes: list[str] = []
    for stranger in (9, 2, 0):
        link = post.accept(stranger, _framed(b"vote"))
        effects = post.take()
        assert effects.link_closes == [link]
        assert not effects.dials
        notes += effects.notes
    assert not post.courier.inbox
    # A scanner does not fill the disk with what is said of it.
    assert notes == ["Refusing a connection from a member with the id 9"]
    post.accept(8, now_ms=20_000)
    assert post.take().notes == [f"{notes[0][:-1]}8 (and 2 more since this was last said)"]


def test_who_may_join_is_heard() -> None:
    post = _Post(2, joiners=True)
    link = post.accept(9, _framed(b"vote"))
    assert post.courier.inbox == [(9, b"vote")]
    post.lost(link)
    post.accept(1 << 40)
    post.accept(0)
    assert post.dialled().addresses == (("m0", 3888),)


def test_an_observer_without_an_id_gets_one() -> None:
    post = _Post(2)
    links = [post.accept(MAX_LONG, _framed(b"who leads?")) for _ in range(2)]
    assert post.courier.inbox == [(-1, b"who leads?"), (-2, b"who leads?")]
    assert not post.take().link_closes
    post.courier.send(-2, b"3", 0)
    assert _sent(links[1]) == _framed(b"3")
    # There is no way to dial it.
    post.lost(links[1])
    post.courier.send(-2, b"3", 0)
    assert not post.take().dials
    assert post.courier.next_due_ms() is None


def test_what_is_no_initial_message_closes_the_connection() -> None:
    post = _Post(2)
    link = Link(ELECTION)
    post.courier.accepted(link, 0)
    post.courier.heard(link, b"\xff" * 20, 0)
    assert post.take().link_closes == [link]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=5), st.booleans())
def test_nonsense_harms_nobody_but_its_own_connection(pieces: list[bytes], known: bool) -> None:
    post = _Post(1)
    good = post.accept(2)
    bad = post.accept(3) if known else Link(ELECTION)
    if not known:
        post.courier.accepted(bad, 0)
    for piece in pieces:
        post.courier.heard(bad, piece, 0)
    post.courier.tick(1)
    assert 2 in post.courier.connected
    assert not good.closing


def test_who_never_says_who_it_is_is_closed() -> None:
    post = _Post(2, introduce_ms_max=300)
    link = Link(ELECTION)
    post.courier.accepted(link, 50)
    post.courier.heard(link, _initial(3)[:20], 60)
    assert post.courier.next_due_ms() == 350
    post.courier.tick(349)
    assert not post.take().link_closes
    post.courier.tick(350)
    assert post.take().link_closes == [link]
    assert post.courier.next_due_ms() is None
    post.courier.heard(link, _initial(3)[20:], 360)
    assert post.courier.connected == []


def test_those_who_do_not_say_who_they_are_are_few() -> None:
    post = _Post(2)
    links = [Link(ELECTION) for _ in range(100)]
    for link in links:
        post.courier.accepted(link, 0)
    assert post.take().link_closes == links[:36]


# Time


def test_dialling_is_repeated_ever_more_seldom_for_as_long_as_the_message_is_worth_it() -> None:
    post = _Post(3)
    post.courier.send(1, b"vote", 0)
    times: list[float] = []
    now: float | None = 0.0
    while now is not None:
        post.courier.tick(now)
        for link in post.take().dials:
            times.append(now)
            post.lost(link, now)
        now = post.courier.next_due_ms()
    gaps = [after - before for before, after in pairwise(times)]
    for gap, longest in zip(gaps, [200, 400, 800, 1600] + [2000] * 100, strict=False):
        assert longest / 2 <= gap <= longest
    assert 57_000 < times[-1] < 60_000
    # With what was too old to be said nothing is begun.
    post.courier.tick(100_000)
    assert not post.take().dials
    post.courier.send(1, b"again", 100_000)
    assert post.dialled().peer == 1


def test_an_attempt_without_an_answer_is_given_up() -> None:
    post = _Post(3, connect_ms_max=700)
    post.courier.send(1, b"vote", 0)
    link = post.dialled()
    assert post.courier.next_due_ms() == 700
    post.courier.tick(700)
    effects = post.take()
    assert effects.link_closes == [link]
    due = post.courier.next_due_ms()
    assert due is not None
    post.courier.tick(max(due, 701))
    assert post.dialled() is not link
    post.courier.opened(link, 800)
    assert not link.out


def test_who_dials_back_gets_the_time_it_takes() -> None:
    post = _Post(1)
    post.courier.send(3, b"vote", 0)
    link = post.dialled()
    post.courier.opened(link, 400)
    post.take()
    post.lost(link, 401)
    due = post.courier.next_due_ms()
    assert due is not None
    assert due >= 400 + 3 * 400


def test_nothing_is_dialled_when_there_is_nothing_to_say() -> None:
    post = _Post(3)
    post.courier.send(1, b"vote", 0)
    link = post.dialled()
    post.courier.opened(link, 1)
    post.lost(link, 2)
    post.courier.tick(100_000)
    assert not post.take().dials
    assert post.courier.next_due_ms() is None


def _dialled_in_vain(post: _Post, now: float = 0) -> float:
    """Try for so long that the next attempt is far off."""
    post.courier.send(1, b"vote", now)
    while len(links := post.take().dials) and now < 6000:
        post.lost(links[0], now)
        now = post.courier.next_due_ms() or 0
        post.courier.tick(now)
    post.lost(links[0], now)
    assert (post.courier.next_due_ms() or 0) >= now + 1000
    return now


def test_who_dials_us_is_dialled_back_at_once_and_soon_again() -> None:
    post = _Post(3)
    now = _dialled_in_vain(post) + 1
    post.accept(1, now_ms=now)
    post.lost(post.dialled(), now)
    assert (post.courier.next_due_ms() or 0) <= now + 200


def test_who_was_heard_is_dialled_soon_again() -> None:
    for hears in (True, False):
        post = _Post(3)
        now = _dialled_in_vain(post) + 2000
        post.courier.tick(now)
        link = post.dialled()
        post.courier.opened(link, now)
        if hears:
            post.courier.heard(link, _framed(b"hello"), now)
        post.lost(link, now)
        post.courier.send(1, b"vote", now + 2000)
        post.lost(post.dialled(), now + 2000)
        assert ((post.courier.next_due_ms() or 0) <= now + 2200) == hears
