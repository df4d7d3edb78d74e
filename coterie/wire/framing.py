"""Length-prefixed frames: feed bytes, get whole frames, refuse over-long ones.

Every packet of the client and election ports is an int32 length and that many bytes. The server
parses frames in place, so `Framing` does not cut them out: it hands over a chunk that starts at a
frame and holds at least one whole, and keeps what is left of the last. Bytes that wait for the
rest of their frame are joined once, however small the pieces in which they come.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from coterie.errors import MarshallingError

LENGTH: Final = struct.Struct(">i")
HEADER: Final = struct.Struct(">iii")
"""length, xid and type (of a request) in one go."""


class Framing:
    """The bytes of one connection that do not make a whole frame yet."""

    __slots__ = ("_have", "_need", "_parts", "frame_bytes_max")

    def __init__(self, frame_bytes_max: int) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 4

    def feed(self, data: bytes) -> bytes:
        """Bytes from a frame's start on, with at least one whole frame; or b"" when that waits."""
        if not self._parts:
            return data
        self._parts.append(data)
        self._have += len(data)
        if self._have < self._need:
            return b""
        joined = b"".join(self._parts)
        self._parts.clear()
        self._have = 0
        return joined

    def keep(self, rest: bytes) -> None:
        """Keep the start of an unfinished frame (or nothing) until `feed` brings more.

        Raises `MarshallingError` when the length it announces is negative or over the limit, so
        that nobody waits for, or holds memory for, a frame that will be refused.
        """
        assert not self._parts
        if not rest:
            return
        self._need = 4
        if len(rest) >= 4:
            length: int = LENGTH.unpack_from(rest)[0]
            if not 0 <= length <= self.frame_bytes_max:
                raise MarshallingError
            self._need = 4 + length
        self._parts.append(rest)
        self._have = len(rest)

    @property
    def waiting_bytes(self) -> int:
        return self._have


def frames(framing: Framing, data: bytes) -> Iterator[bytes]:
    """The whole frames (without their length) that are there once `data` has come."""
    chunk = framing.feed(data)
    if not chunk:
        return
    pos, end = 0, len(chunk)
    while end - pos >= 4:
        length: int = LENGTH.unpack_from(chunk, pos)[0]
        if not 0 <= length <= framing.frame_bytes_max:
            raise MarshallingError
        if end - pos < 4 + length:
            break
        yield chunk[pos + 4 : pos + 4 + length]
        pos += 4 + length
    framing.keep(chunk[pos:])
