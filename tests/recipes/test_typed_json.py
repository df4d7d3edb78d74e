"""Dataclasses as JSON, and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import pytest

from coterie.recipes.typed_json import build, decode, encode


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    host: str
    port: int = 80


@dataclass(frozen=True)
class Outer:
    ratio: float = 0.5
    inner: Inner = Inner("a")
    colour: Colour = Colour.RED
    others: list[Inner] = field(default_factory=list)
    pair: tuple[int, str] = (1, "x")
    many: tuple[int, ...] = ()
    names: dict[str, int] = field(default_factory=dict)
    maybe: int | None = None
    mode: Literal["fast", "slow"] = "fast"
    anything: Any = None


def test_there_and_back() -> None:
    outer = Outer(
        1.5, Inner("b", 1), Colour.BLUE, [Inner("c")], (2, "y"), (1, 2), {"n": 1}, 3, "slow", [1]
    )
    assert decode(Outer, encode(outer)) == outer
    assert decode(Outer, b"{}") == Outer()


def test_a_whole_number_is_a_fraction_and_fields_of_others_are_ignored() -> None:
    outer = decode(Outer, b'{"ratio": 2, "new": 1}')
    assert outer == Outer(ratio=2.0)
    assert type(outer.ratio) is float


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"[]", "Outer is .* an object"),
        (b'{"ratio": "2"}', "Outer.ratio is '2', and has to be float"),
        (b'{"ratio": true}', "Outer.ratio"),
        (b'{"inner": {}}', "Outer.inner has no field host"),
        (b'{"inner": {"host": "a", "port": 1.5}}', "Outer.inner.port is 1.5"),
        (b'{"inner": {"host": "a", "port": true}}', "Outer.inner.port is True"),
        (b'{"colour": "green"}', "Outer.colour is 'green', and has to be Colour"),
        (b'{"others": [{"host": 1}]}', r"Outer.others\[0\].host is 1"),
        (b'{"others": {}}', "Outer.others is {}, and has to be a list"),
        (b'{"pair": [1]}', "Outer.pair"),
        (b'{"names": {"a": "b"}}', "Outer.names.a is 'b'"),
        (b'{"maybe": "x"}', "Outer.maybe is 'x'"),
        (b'{"mode": "odd"}', "Outer.mode is 'odd', and has to be 'fast' or 'slow'"),
        (b"{", "Outer: "),
        (b"\xff", "Outer: "),
        (b"[" * 100_000, "Outer: "),
    ],
)
def test_what_is_wrong_is_told(text: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decode(Outer, text)


def test_a_class_that_looks_for_itself() -> None:
    @dataclass
    class Positive:
        number: int

        def __post_init__(self) -> None:
            if self.number <= 0:
                raise ValueError("not positive")

    assert decode(Positive, b'{"number": 1}').number == 1
    with pytest.raises(ValueError, match=r"Positive: not positive"):
        build(Positive, {"number": 0}, "Positive")


def test_what_json_cannot_say() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode(Outer(ratio=float("nan")))
    with pytest.raises(ValueError, match="JSON"):
        encode(Outer(anything=object()))
    with pytest.raises(TypeError, match="no dataclass"):
        encode({"a": 1})
    with pytest.raises(TypeError, match="no type"):
        build(bytes, "x", "Outer")


def test_types_that_nobody_finds() -> None:
    class Hidden:
        pass

    @dataclass
    class Open:
        hidden: Hidden

    with pytest.raises(TypeError, match=r"Open: .*Hidden"):
        decode(Open, b"{}")
