"""How the primitives of jute, and ACLs, are read and written: a cursor over bytes, and functions.

Rules: what was read from outside and does not fit raises `MarshallingError`; nothing here
allocates more than the bytes it was given can justify. mypyc compiles this module, and not
`wire/jute.py`, whose records are made at run time.
"""

from __future__ import annotations

import struct
from typing import Final

from coterie.errors import MarshallingError
from coterie.values import ACL, OPEN_ACL, ACLs, Id

_INT: Final = struct.Struct(">i")
_LONG: Final = struct.Struct(">q")
_INT_AT: Final = _INT.unpack_from


class Reader:
    """A cursor over `data[pos:end]`; every read checks its bounds."""

    __slots__ = ("data", "end", "pos")

    def __init__(self, data: bytes, pos: int = 0, end: int | None = None) -> None:
        self.data = data
        self.pos = pos
        self.end = len(data) if end is None else end

    def _skip(self, count: int) -> int:
        start = self.pos
        if count > self.end - start:
            raise MarshallingError
        self.pos = start + count
        return start

    def byte(self) -> int:
        return self.data[self._skip(1)]

    def boolean(self) -> bool:
        return self.data[self._skip(1)] != 0

    def int32(self) -> int:
        pos = self.pos
        if pos + 4 > self.end:
            raise MarshallingError
        self.pos = pos + 4
        value: int = _INT_AT(self.data, pos)[0]
        return value

    def int64(self) -> int:
        value: int = _LONG.unpack_from(self.data, self._skip(8))[0]
        return value

    def raw(self, count: int) -> bytes:
        start = self._skip(count)
        return self.data[start : self.pos]

    def buffer(self) -> bytes | None:
        """A length-prefixed byte string; None is null. Also how paths are read."""
        start = self.pos + 4
        if start > self.end:
            raise MarshallingError
        length: int = _INT_AT(self.data, self.pos)[0]
        if length < 0:
            if length != -1:
                raise MarshallingError
            self.pos = start
            return None
        stop = start + length
        if stop > self.end:
            raise MarshallingError
        self.pos = stop
        return self.data[start:stop]

    def path(self) -> bytes:
        """A string kept as its bytes; null becomes empty, which no znode is named."""
        return self.buffer() or b""

    def string(self) -> str:
        """A string for people; as in Java, broken UTF-8 becomes U+FFFD and null is empty."""
        return (self.buffer() or b"").decode("utf-8", "replace")

    def count(self) -> int:
        """The length of a vector, null counting as empty; a lie about it is caught here."""
        length = self.int32()
        if length < -1 or length > self.end - self.pos:
            raise MarshallingError
        return max(length, 0)

    def at_end(self) -> bool:
        return self.pos >= self.end


def write_int(out: bytearray, value: int) -> None:
    out += _INT.pack(value)


def write_long(out: bytearray, value: int) -> None:
    out += _LONG.pack(value)


def write_boolean(out: bytearray, value: bool) -> None:
    out.append(1 if value else 0)


def write_buffer(out: bytearray, value: bytes | None) -> None:
    if value is None:
        out += b"\xff\xff\xff\xff"
    else:
        out += _INT.pack(len(value))
        out += value


def write_string(out: bytearray, value: str) -> None:
    write_buffer(out, value.encode("utf-8", "surrogatepass"))


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


def read_setting(reader: Reader) -> tuple[bytes, bytes | None, int]:
    """A path, a buffer and an int, as setData has them, in one go: half of all writes."""
    data, start, end = reader.data, reader.pos, reader.end
    if end - start < 12:
        raise MarshallingError
    length: int = _INT_AT(data, start)[0]
    split = start + 8 + length
    if not start + 8 <= split <= end - 4:
        # A lie, or the path is null.
        return reader.path(), reader.buffer(), reader.int32()
    size: int = _INT_AT(data, split - 4)[0]
    tail = split + max(size, 0)
    if size < -1 or tail > end - 4:
        raise MarshallingError
    reader.pos = tail + 4
    value = None if size == -1 else data[split:tail]
    version: int = _INT_AT(data, tail)[0]
    return data[start + 4 : split - 4], value, version
