"""Connect strings, and in which order and after which pauses servers are tried."""

from __future__ import annotations

from random import Random

import pytest

from coterie.client.hosts import ConnectString, Host, HostsError, Rounds

THREE = (Host("a", 1), Host("b", 2), Host("c", 3))


@pytest.mark.parametrize(
    ("text", "hosts", "chroot"),
    [
        ("a", [("a", 2181)], ""),
        ("a:1,b", [("a", 1), ("b", 2181)], ""),
        (" a:1 , b:2 /app", [("a", 1), ("b", 2)], "/app"),
        ("a:1/app/one/", [("a", 1)], "/app/one"),
        ("a:1/", [("a", 1)], ""),
        ("[::1]:7,[fe80::2]", [("::1", 7), ("fe80::2", 2181)], ""),
    ],
)
def test_what_a_connect_string_says(text: str, hosts: list[tuple[str, int]], chroot: str) -> None:
    found = ConnectString.parse(text)
    assert list(found.hosts) == hosts
    assert found.chroot == chroot
    assert ConnectString.parse(str(found)) == found


@pytest.mark.parametrize(
    "text", ["", ",", "/app", "a:b", "a:0", "a:65536", ":1", "::1", "[::1", "[::1]x", "a:1/x//y"]
)
def test_what_makes_no_sense_is_named(text: str) -> None:
    with pytest.raises(HostsError, match=r"."):
        ConnectString.parse(text)


def test_every_server_is_tried_before_any_is_again() -> None:
    rounds = Rounds(THREE, Random(1))
    for _ in range(4):
        assert {rounds.next()[0] for _ in range(3)} == set(THREE)


def test_clients_spread_over_the_servers() -> None:
    first = [Rounds(THREE, Random(seed)).next()[0] for seed in range(300)]
    assert all(70 < first.count(host) < 130 for host in THREE)


def test_rounds_in_which_nobody_answers_come_ever_more_slowly() -> None:
    rounds = Rounds(THREE, Random(1))
    pauses = [[rounds.next()[1] for _ in range(3)] for _ in range(200)]
    longest = [max(pause) for pause in pauses]
    assert longest[0] <= 20
    assert longest[1] <= 100
    assert longest[2] <= 200
    assert 900 < max(longest) <= 1000
    rounds.was_good()
    assert rounds.next()[1] <= 20


def test_who_lost_the_same_server_does_not_come_back_at_the_same_moment() -> None:
    pauses = {Rounds(THREE, Random(seed)).next()[1] for seed in range(100)}
    assert len(pauses) == 100
