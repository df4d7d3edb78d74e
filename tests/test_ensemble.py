"""Members and quorums: the server lines that Apache's own tests have, and what they make."""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.ensemble import Ensemble, EnsembleError, Role, Seat

THREE = {f"server.{id}": f"host{id}:2888:3888" for id in (1, 2, 3)}


def seat(line: str) -> Seat:
    return Ensemble.of({"server.1": line, "server.2": "other:1:2"}).seats[1]


def complaint(lines: dict[str, str]) -> str:
    with pytest.raises(EnsembleError) as caught:
        Ensemble.of(lines)
    return str(caught.value)


def grouped(groups: dict[str, str], weights: dict[str, str], count: int = 9) -> Ensemble:
    lines = {f"server.{id}": f"host{id}:2888:3888" for id in range(1, count + 1)}
    return Ensemble.of({**lines, **groups, **weights})


# --- server lines


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("127.0.0.1:1234:1236", "127.0.0.1:1234:1236:participant"),
        ("127.0.0.1:1234:1236:participant", "127.0.0.1:1234:1236:participant"),
        ("127.0.0.1:1234:1236: OBSERVER", "127.0.0.1:1234:1236:observer"),
        ("127.0.0.1:1234:1236;0.0.0.0:1237", "127.0.0.1:1234:1236:participant;0.0.0.0:1237"),
        ("a.b:1:2:participant;1237", "a.b:1:2:participant;0.0.0.0:1237"),
        ("a.b:1:2;1.2.3.4:1237", "a.b:1:2:participant;1.2.3.4:1237"),
        ("a.b:1:2;1237;1238", "a.b:1:2:participant;0.0.0.0:1237;0.0.0.0:1238"),
        ("a.b:1:2;;1.2.3.4:1237", "a.b:1:2:participant;;1.2.3.4:1237"),
        ("a.b:1:2;1237;", "a.b:1:2:participant;0.0.0.0:1237"),
        ("a.b:1:2;;", "a.b:1:2:participant"),
        ("[::1]:1234:1236:participant", "[0:0:0:0:0:0:0:1]:1234:1236:participant"),
        ("a:1:2;[::1]:1237", "a:1:2:participant;[0:0:0:0:0:0:0:1]:1237"),
        ("[2001:DB8::a%2]:1:2", "[2001:db8:0:0:0:0:0:a%2]:1:2:participant"),
        ("a:1234:1236|a:2234:2236", "a:1234:1236|a:2234:2236:participant"),
        ("b:1:2:observer|a:3:4;1237", "a:3:4|b:1:2:observer;0.0.0.0:1237"),
    ],
)
def test_a_server_line_is_shown_as_apache_shows_it(written: str, shown: str) -> None:
    assert seat(written).text() == shown
    assert seat(shown).text() == shown


def test_what_a_seat_holds() -> None:
    one = seat("a:1:2:observer|[::]:3:4;5;c:6")
    nowhere = "0:0:0:0:0:0:0:0"
    assert one == Seat(
        id=1,
        quorum=(("a", 1), (nowhere, 3)),
        election=(("a", 2), (nowhere, 4)),
        role=Role.OBSERVER,
        client=("0.0.0.0", 5),
        secure=("c", 6),
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "'' is not host:port:port"),
        ("a", "'a' is not host:port:port"),
        ("a:2888", "'a:2888' is not host:port:port"),
        ("a:2888:3888:", "is not host:port:port"),
        ("a:2888:3888:observer:x", "is not host:port:port"),
        ("::1:2888:3888", "an IPv6 address stands in brackets"),
        ("[::1:1234:1236", "an IPv6 address stands in brackets"),
        ("[zoo]:1:2", "'zoo' is not an IPv6 address"),
        ("a:x:3888", "is not host:port:port"),
        ("a:0:3888", "0 is not a port from 1 to 65535"),
        ("a:2888:65536", "65536 is not a port"),
        ("a:" + "9" * 5000 + ":1", "is not a port"),
        ("a:2888:2888", "the quorum and the election port are both 2888"),
        ("a:1:2:leader", "'leader' is not participant or observer"),
        ("a:1:2:observer|b:1:2:participant", "its addresses have two roles"),
        ("a:1:2;x:y", "'x:y' is not a client port, or host:port"),
        ("a:1:2;0", "0 is not a port"),
        ("a:1:2;1;2;3", "has more than two parts for clients"),
        ("other:2:3", "server.2: other:2 is also the address of server.1"),
    ],
)
def test_a_server_line_that_makes_no_sense(line: str, words: str) -> None:
    said = complaint({"server.1": line, "server.2": "other:1:2"})
    assert words in said
    assert said.startswith("server.")


# --- the ensemble


def test_text_and_back() -> None:
    ensemble = Ensemble.of(
        {**THREE, "server.10": "host10:2888:3888:observer"}, version=0x1_0000_000A
    )
    text = (
        "server.1=host1:2888:3888:participant\n"
        "server.2=host2:2888:3888:participant\n"
        "server.3=host3:2888:3888:participant\n"
        "server.10=host10:2888:3888:observer\n"
        "version=10000000a"
    )
    assert ensemble.text() == text
    assert Ensemble.parse(text) == ensemble
    assert ensemble.voters == {1, 2, 3}
    assert ensemble.observers == {10}
    assert list(Ensemble.of({"server.3": "c:1:2", "server.0": "a:1:2"}).seats) == [0, 3]


def test_text_with_groups_and_back() -> None:
    ensemble = grouped({"group.2": "5:4", "group.1": "1:2:3"}, {"weight.4": "0"}, 5)
    assert ensemble.text().split("\n")[5:] == [
        "group.1=1:2:3",
        "group.2=4:5",
        "weight.1=1",
        "weight.2=1",
        "weight.3=1",
        "weight.4=0",
        "weight.5=1",
        "version=0",
    ]
    assert Ensemble.parse(ensemble.text()) == ensemble


def test_text_of_another_hand() -> None:
    text = "# ours\r\n\r\n version = 0 \n server.1 = a:1:2;2181 \n"
    assert Ensemble.parse(text).seats[1].client == ("0.0.0.0", 2181)
    with pytest.raises(EnsembleError, match="'server' has no ="):
        Ensemble.parse("server")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ({}, "there is no server"),
        ({"server.1": "a:1:2:observer"}, "there are only observers"),
        ({"server.256": "a:1:2"}, "server.256: '256' is not a server's number: 0 to 255"),
        ({"server.-1": "a:1:2"}, "server.-1: '-1' is not a server's number"),
        ({"server.": "a:1:2"}, "server.: '' is not a server's number"),
        ({"server.1": "a:1:2", "server.01": "b:1:2"}, "server.01: is there twice"),
        ({**THREE, "version": "x"}, "version: 'x' is not a version"),
        ({**THREE, "colour": "red"}, "colour: is no line of an ensemble"),
        ({**THREE, "weight.1": "1"}, "server.1: is in no group"),
        ({**THREE, "group.1": "1:2"}, "server.3: is in no group"),
        ({**THREE, "group.1": "1:2:3:4"}, "group.1: there is no server.4"),
        ({**THREE, "group.1": "1:2:3", "weight.4": "1"}, "weight.4: there is no server.4"),
        ({**THREE, "group.1": "1:2", "group.2": "2:3"}, "group.2: server 2 is in group 1 already"),
        ({**THREE, "group.1": "1:2:2:3"}, "group.1: server 2 is in group 1 already"),
        ({**THREE, "group.1": "1;2;3"}, "group.1: '1;2;3' is not a server's number"),
        ({**THREE, "group.x": "1"}, "group.x: 'x' is not a group's number"),
        ({**THREE, "group.1": "1:2:3", "weight.1": "-1"}, "weight.1: '-1' is not a weight"),
        (
            {**THREE, "group.1": "1:2:3", **{f"weight.{id}": "0" for id in (1, 2, 3)}},
            "every group has weight 0",
        ),
        (
            {**THREE, "server.4": "d:1:2:observer", "group.1": "1:2:3:4"},
            "group.1: server 4 is an observer: in a group it needs a weight.4",
        ),
    ],
)
def test_lines_that_make_no_ensemble(lines: dict[str, str], said: str) -> None:
    assert complaint(lines).startswith(said)


# --- quorums


def test_a_majority_of_those_who_vote() -> None:
    lines = {f"server.{id}": f"h{id}:1:2" for id in range(1, 6)}
    five = Ensemble.of(lines)
    assert not five.is_quorum([])
    assert not five.is_quorum([1, 2, 6])
    assert not five.is_quorum([1, 1, 2])
    assert five.is_quorum([1, 2, 6, 3])
    observed = Ensemble.of({**lines, "server.4": "h4:1:2:observer", "server.5": "h5:1:2:observer"})
    assert not observed.is_quorum([1, 4, 5])
    assert observed.is_quorum([1, 4, 5, 2])
    assert observed.weight(4) == 1


def test_of_an_even_number_half_is_no_quorum() -> None:
    two = Ensemble.of({"server.1": "a:1:2", "server.2": "b:1:2"})
    assert not two.is_quorum({1})
    assert two.is_quorum({1, 2})


def test_groups_of_equal_weight() -> None:
    three = {"group.1": "1:2:3", "group.2": "4:5:6", "group.3": "7:8:9"}
    ensemble = grouped(three, {})
    assert ensemble.is_quorum({1, 2, 4, 5})
    assert not ensemble.is_quorum({1, 2, 3, 4, 7})
    assert not ensemble.is_quorum({1, 4, 7})


def test_a_group_without_weight_does_not_count() -> None:
    ensemble = grouped(
        {"group.1": "1:2:3", "group.2": "4:5"}, {"weight.4": "0", "weight.5": "0"}, 5
    )
    assert ensemble.is_quorum({1, 2})
    assert not ensemble.is_quorum({1, 4, 5})
    assert (ensemble.weight(1), ensemble.weight(4), ensemble.weight(9)) == (1, 0, 0)


def test_weight_within_a_group() -> None:
    ensemble = grouped({"group.1": "1:2:3"}, {"weight.1": "3"}, 3)
    assert ensemble.is_quorum({1})
    assert not ensemble.is_quorum({2, 3})
    even = grouped({"group.1": "1:2:3"}, {"weight.1": "2"}, 3)
    assert not even.is_quorum({1})
    assert even.is_quorum({1, 3})


@given(st.lists(st.integers(0, 3), min_size=5, max_size=5), st.integers(0, 31))
def test_two_quorums_meet_whatever_the_weights(weights: list[int], cut: int) -> None:
    groups = {
        f"group.{number}": ":".join(ids)
        for number, ids in enumerate(
            [[str(id + 1) for id in range(5) if (cut >> id & 1) == bit] for bit in (0, 1)]
        )
        if ids
    }
    with suppress(EnsembleError):
        ensemble = grouped(groups, {f"weight.{id + 1}": str(w) for id, w in enumerate(weights)}, 5)
        some = [set(ids) for count in range(6) for ids in combinations(range(1, 6), count)]
        quorums = [ids for ids in some if ensemble.is_quorum(ids)]
        assert quorums
        assert all(one & other for one, other in combinations(quorums, 2))


@given(st.text(st.sampled_from("server.group=weight:;|[]123,version\n observer")))
def test_any_text_gives_an_ensemble_or_an_ensemble_error(text: str) -> None:
    with suppress(EnsembleError):
        assert Ensemble.parse(text).voters
