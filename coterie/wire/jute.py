"""Records of jute: `record` declares the fields once, and gives encode and decode.

Jute (ZooKeeper's serialization) is big-endian and untagged. A null string, buffer or vector is
the length -1. The primitives are in `wire/cursor.py`, what every record can do in
`wire/record.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import (
    Annotated,
    Any,
    TypeVar,
    dataclass_transform,
    get_args,
    get_type_hints,
)

from coterie.values import ACLs
from coterie.wire.cursor import (
    Reader,
    read_acls,
    write_acls,
    write_boolean,
    write_buffer,
    write_int,
    write_long,
    write_string,
)
from coterie.wire.record import Codecs, Field, Record

__all__ = ["Record"]


def _read_paths(reader: Reader) -> list[bytes]:
    return [reader.path() for _ in range(reader.count())]


def _write_paths(out: bytearray, paths: list[bytes]) -> None:
    write_int(out, len(paths))
    for path in paths:
        write_buffer(out, path)


Int = Annotated[int, Field(Reader.int32, write_int)]
Long = Annotated[int, Field(Reader.int64, write_long)]
Bool = Annotated[bool, Field(Reader.boolean, write_boolean)]
Buffer = Annotated[bytes | None, Field(Reader.buffer, write_buffer)]
Path = Annotated[bytes, Field(Reader.path, write_buffer)]
Text = Annotated[str, Field(Reader.string, write_string)]
Paths = Annotated[list[bytes], Field(_read_paths, _write_paths)]
Acls = Annotated[ACLs, Field(read_acls, write_acls)]


def declared(**fields: Any) -> Codecs:
    """The fields of a record, in wire order, each by its type: `declared(path=Path)`."""
    return tuple(
        (name, next(a for a in get_args(hint) if isinstance(a, Field)))
        for name, hint in fields.items()
    )


R = TypeVar("R", bound=Record)


@dataclass_transform()
def record(cls: type[R]) -> type[R]:
    """Class decorator: a slots dataclass whose annotated fields are the wire format, in order."""
    made = dataclass(slots=True)(cls)
    hints = get_type_hints(made, include_extras=True)
    names = [field.name for field in fields(made)]  # type: ignore[arg-type]
    made._codecs = declared(**{name: hints[name] for name in names})
    return made
