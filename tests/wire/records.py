"""Hypothesis strategies for records, made from the fields that they declare."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

import hypothesis.strategies as st

from coterie.values import ACL, OPEN_ACL, ACLs, Id
from coterie.wire.jute import (
    Acls,
    Bool,
    Buffer,
    Int,
    Long,
    Path,
    Paths,
    Record,
    Text,
    declared,
)

_PATHS: Final = st.sampled_from([b"", b"/", b"/a", b"/a/b-0000000001"]) | st.binary(max_size=6)
IDS: Final = st.builds(Id, st.sampled_from(["world", "ip", ""]), st.text(max_size=4))
ACLS: Final[st.SearchStrategy[ACLs]] = st.just(OPEN_ACL) | st.lists(
    st.builds(ACL, st.integers(0, 31), IDS), max_size=3
).map(tuple)
_BY_TYPE: Final[dict[Any, st.SearchStrategy[Any]]] = {
    Int: st.integers(-(2**31), 2**31 - 1),
    Long: st.integers(-(2**63), 2**63 - 1),
    Bool: st.booleans(),
    Buffer: st.none() | st.binary(max_size=12),
    Path: _PATHS,
    Text: st.text(max_size=8),
    Paths: st.lists(_PATHS, max_size=4),
    Acls: ACLS,
}
_BY_CODEC: Final = {
    codec: values for type, values in _BY_TYPE.items() for _, codec in declared(field=type)
}


def of(cls: type[Record]) -> st.SearchStrategy[Record]:
    """Records of one class, with anything in their fields that can travel."""
    return st.builds(cls, *(_BY_CODEC[codec] for _, codec in cls._codecs))


def declared_in(module: ModuleType) -> list[type[Record]]:
    """The records of a module whose fields are declared, in order of their names."""
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Record) and value is not Record
    ]
    return sorted(found, key=lambda cls: cls.__name__)
