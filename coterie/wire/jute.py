"""Records of jute: `record` declares the fields once, and gives encode and decode.

Jute (ZooKeeper's serialization) is big-endian and untagged. A null string, buffer or vector is
the length -1. The primitives are in `wire/cursor.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Self,
    TypeVar,
    dataclass_transform,
    get_args,
    get_type_hints,
)

from coterie.values import ACL, OPEN_ACL, ACLs, Id
from coterie.wire.cursor import (
    Reader,
    write_boolean,
    write_buffer,
    write_int,
    write_long,
    write_string,
)


def read_acls(reader: Reader) -> ACLs:
    """vector<ACL>; null reads as empty, which every caller refuses alike.

    The open ACL, which nearly every znode has, is known by its bytes and is one object.
    """
    if reader.data.startswith(_OPEN_BYTES, reader.pos, reader.end):
        reader.pos += len(_OPEN_BYTES)
        return OPEN_ACL
    return tuple(
        ACL(reader.int32(), Id(reader.string(), reader.string())) for _ in range(reader.count())
    )


def write_acls(out: bytearray, acls: ACLs) -> None:
    if acls is OPEN_ACL:
        out += _OPEN_BYTES
    else:
        _write_each(out, acls)


def _write_each(out: bytearray, acls: ACLs) -> None:
    write_int(out, len(acls))
    for perms, (scheme, name) in acls:
        write_int(out, perms)
        write_string(out, scheme)
        write_string(out, name)


def _encoded(acls: ACLs) -> bytes:
    out = bytearray()
    _write_each(out, acls)
    return bytes(out)


_OPEN_BYTES: Final = _encoded(OPEN_ACL)


@dataclass(frozen=True, slots=True)
class _Field:
    """How one field travels."""

    read: Callable[[Reader], Any]
    write: Callable[[bytearray, Any], None]


def _read_paths(reader: Reader) -> list[bytes]:
    return [reader.path() for _ in range(reader.count())]


def _write_paths(out: bytearray, paths: list[bytes]) -> None:
    write_int(out, len(paths))
    for path in paths:
        write_buffer(out, path)


Int = Annotated[int, _Field(Reader.int32, write_int)]
Long = Annotated[int, _Field(Reader.int64, write_long)]
Bool = Annotated[bool, _Field(Reader.boolean, write_boolean)]
Buffer = Annotated[bytes | None, _Field(Reader.buffer, write_buffer)]
Path = Annotated[bytes, _Field(Reader.path, write_buffer)]
Text = Annotated[str, _Field(Reader.string, write_string)]
Paths = Annotated[list[bytes], _Field(_read_paths, _write_paths)]
Acls = Annotated[ACLs, _Field(read_acls, write_acls)]


class Record:
    """A jute struct; subclasses are made with `record` and declare their fields in wire order."""

    __slots__ = ()
    _codecs: ClassVar[tuple[tuple[str, _Field], ...]] = ()

    def write(self, out: bytearray) -> None:
        for name, codec in self._codecs:
            codec.write(out, getattr(self, name))

    def encode(self) -> bytes:
        out = bytearray()
        self.write(out)
        return bytes(out)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Raises `MarshallingError` where the bytes end too early or a length lies."""
        return cls(*[codec.read(reader) for _, codec in cls._codecs])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        return cls.read(Reader(data))


R = TypeVar("R", bound=Record)


@dataclass_transform()
def record(cls: type[R]) -> type[R]:
    """Class decorator: a slots dataclass whose annotated fields are the wire format, in order."""
    made = dataclass(slots=True)(cls)
    hints = get_type_hints(made, include_extras=True)
    made._codecs = tuple(
        (field.name, next(a for a in get_args(hints[field.name]) if isinstance(a, _Field)))
        for field in fields(made)  # type: ignore[arg-type]
    )
    return made
