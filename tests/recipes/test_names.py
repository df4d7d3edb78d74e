"""Names as znodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie import paths
from coterie.errors import BadArgumentsError
from coterie.recipes.names import text_of, znode_name


@given(st.text(min_size=1))
def test_every_text_is_a_valid_name_and_comes_back(text: str) -> None:
    name = znode_name(text)
    assert paths.valid(f"/{name}".encode())
    assert "/" not in name
    assert text_of(name) == text


@pytest.mark.parametrize("text", [".", "..", "...", "a/b", "100%", "a%2Fb", "\0", "\U0001f600"])
def test_what_a_path_cannot_hold(text: str) -> None:
    assert paths.valid(f"/{znode_name(text)}".encode())
    assert text_of(znode_name(text)) == text


def test_plain_names_stay_as_they_are() -> None:
    for text in ("web-1", "10.0.0.7:8080", "Großer Rechner", "a.b"):
        assert znode_name(text) == text


def test_two_texts_never_share_a_name() -> None:
    assert len({znode_name(text) for text in ("a/b", "a%2Fb", "a%252Fb")}) == 3


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(BadArgumentsError):
        znode_name("")
