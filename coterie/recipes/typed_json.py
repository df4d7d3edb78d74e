"""Dataclasses as JSON, and back: every value is checked against the type of its field.

Rules: nothing is converted but a whole number where a fraction is wanted; what is not right is a
`ValueError` that says where. Fields may be: None, bool, int, float, str, Any, Literal, enums,
lists, tuples, dicts with str keys, dataclasses, and unions of these. Fields that the class does
not have are ignored, for newer programs may have stored them.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypeVar

T = TypeVar("T")

_PLAIN: Final = (bool, int, float, str, types.NoneType)


def encode(value: object) -> bytes:
    """A dataclass's object as JSON. Raises `ValueError` for what JSON cannot say."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{value!r} is no dataclass")
    try:
        return json.dumps(dataclasses.asdict(value), default=_plain, allow_nan=False).encode()
    except TypeError as error:
        raise ValueError(str(error)) from None


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{value!r} has no place in JSON")


def decode(model: type[T], data: bytes) -> T:
    """A dataclass's object out of JSON. Raises `ValueError`."""
    made: T = build(model, parse(data, model.__name__), model.__name__)
    return made


def parse(data: bytes, where: str) -> Any:
    """What some JSON says. Raises `ValueError` for whatever is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: {error}") from None


def build(wanted: Any, value: Any, where: str) -> Any:
    """What JSON's `value` is as the type `wanted`; `where` it is, for complaints."""
    if wanted is Any:
        return value
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        return _dataclass(wanted, value, where)
    origin = typing.get_origin(wanted)
    if origin is not None:
        return _generic(origin, typing.get_args(wanted), value, where)
    if wanted is None:
        wanted = types.NoneType
    if wanted in _PLAIN:
        return _exact(wanted, value, where)
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        try:
            return wanted(value)
        except ValueError:
            raise _wrong(where, wanted.__name__, value) from None
    builders: dict[Any, tuple[Any, tuple[Any, ...]]] = {
        list: (list, (Any,)),
        tuple: (tuple, (Any, ...)),
        dict: (dict, (str, Any)),
    }
    if wanted in builders:
        return _generic(*builders[wanted], value, where)
    raise TypeError(f"{where}: {wanted!r} is no type that JSON can hold")


def _wrong(where: str, wanted: str, value: object) -> ValueError:
    return ValueError(f"{where} is {value!r}, and has to be {wanted}")


def _exact(wanted: type, value: Any, where: str) -> Any:
    if type(value) is wanted:
        return value
    if wanted is float and type(value) is int:
        return float(value)
    raise _wrong(where, wanted.__name__, value)


def _dataclass(wanted: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    hints = _hints(wanted)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(wanted):
        if not field.init:
            continue
        if field.name in value:
            place = f"{where}.{field.name}"
            found[field.name] = build(hints[field.name], value[field.name], place)
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where} has no field {field.name}")
    try:
        return wanted(**found)
    except (TypeError, ValueError) as error:
        # Its own __post_init__ has looked.
        raise ValueError(f"{where}: {error}") from error


@lru_cache
def _hints(wanted: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(wanted)
    except NameError as error:
        raise TypeError(
            f"{wanted.__name__}: the types of its fields are not known: {error}"
        ) from None


def _generic(origin: Any, of: tuple[Any, ...], value: Any, where: str) -> Any:
    if origin is typing.Literal:
        if any(type(value) is type(each) and value == each for each in of):
            return value
        raise _wrong(where, " or ".join(map(repr, of)), value)
    if origin in (typing.Union, types.UnionType):
        return _union(of, value, where)
    if origin in (typing.Annotated, typing.Required, typing.NotRequired):
        return build(of[0], value, where)
    build_from = _BUILDERS.get(origin)
    if build_from is None:
        raise TypeError(f"{where}: {origin!r} is no type that JSON can hold")
    return build_from(of, value, where)


def _union(of: tuple[Any, ...], value: Any, where: str) -> Any:
    complaints: list[str] = []
    for each in of:
        try:
            return build(each, value, where)
        except ValueError as error:
            complaints.append(str(error))
    raise ValueError("; ".join(complaints))


def _list(of: tuple[Any, ...], value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    return [build(of[0], each, f"{where}[{n}]") for n, each in enumerate(value)]


def _tuple(of: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if len(of) == 2 and of[1] is ...:
        return tuple(_list(of, value, where))
    if not isinstance(value, list) or len(value) != len(of):
        raise _wrong(where, f"a list of {len(of)}", value)
    return tuple(
        build(t, v, f"{where}[{n}]") for n, (t, v) in enumerate(zip(of, value, strict=True))
    )


def _dict(of: tuple[Any, ...], value: Any, where: str) -> dict[str, Any]:
    if of[0] is not str:
        raise TypeError(f"{where}: the keys of JSON are str")
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    return {key: build(of[1], each, f"{where}.{key}") for key, each in value.items()}


_BUILDERS: Final[dict[Any, Callable[[tuple[Any, ...], Any, str], Any]]] = {
    list: _list,
    tuple: _tuple,
    dict: _dict,
}
