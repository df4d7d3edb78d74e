"""Znodes as JSON, in both directions."""

from __future__ import annotations

import pytest

from coterie.console import shapes
from coterie.console.problems import Problem
from coterie.values import ACL, OPEN_ACL, READ_ACL, Id, Perms, Stat


def test_numbers_of_64_bits_are_text() -> None:
    stat = Stat(2**60 + 1, 2, 3, 4, 5, 6, 7, -1, 9, 10, 11)
    told = shapes.stat_json(stat)
    assert told["czxid"] == "0x1000000000000001"
    assert told["ephemeral_owner"] == "0xffffffffffffffff"
    assert (told["version"], told["ctime"]) == (5, 3)


def test_an_acl_is_read_as_it_is_told() -> None:
    acl = (ACL(Perms.READ | Perms.ADMIN, Id("digest", "me:x")), ACL(Perms.ALL, Id("ip", "::1")))
    told = shapes.acl_json(acl)
    assert [each["perms"] for each in told] == ["ra", "cdrwa"]
    assert shapes.read_acl(told) == acl
    assert shapes.read_acl(None) == OPEN_ACL
    assert shapes.read_acl("read") == READ_ACL


@pytest.mark.parametrize(
    "given",
    [
        [],
        "none",
        [1],
        [{"scheme": "world", "id": "anyone"}],
        [{"scheme": "world", "id": "anyone", "perms": "x"}],
        [{"scheme": "world", "id": "anyone", "perms": ""}],
        [{"scheme": 1, "id": "anyone", "perms": "r"}],
    ],
)
def test_what_is_no_acl(given: object) -> None:
    with pytest.raises(Problem):
        shapes.read_acl(given)


@pytest.mark.parametrize("data", [b"", b"text", "é".encode(), b"\xff\0"])
def test_data_is_read_as_it_is_told(data: bytes) -> None:
    assert shapes.read_data(dict(shapes.data_json(data))) == data


@pytest.mark.parametrize(
    "given", [{"data": 1}, {"data_base64": "!"}, {"data": "a", "data_base64": "YQ=="}]
)
def test_what_is_no_data(given: dict[str, object]) -> None:
    with pytest.raises(Problem):
        shapes.read_data(given)


@pytest.mark.parametrize(
    ("text", "version"), [(None, -1), ("*", -1), ('"3"', 3), ("3", 3), ('W/"4"', 4)]
)
def test_versions(text: str | None, version: int) -> None:
    assert shapes.read_version(text) == version


@pytest.mark.parametrize("text", ["", '"-1"', "x", "9999999999", '"1", "2"', "\u0661"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(Problem):
        shapes.read_version(text)


def test_what_is_no_json() -> None:
    for body in (b"", b"{", b"[" * 100_000, b"\xff"):
        with pytest.raises(Problem):
            shapes.read_json(body)
