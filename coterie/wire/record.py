"""What every record of jute can do, whether `jute.record` makes it or it is written out.

mypyc compiles this module, so that classes which it compiles can be records, too: those of
`wire/writes.py`. (One with an interpreted base breaks when a weak reference to it is made.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

from coterie.wire.cursor import Reader
from coterie.wire.native import mypyc_attr


class Field:
    """How one field travels."""

    __slots__ = ("read", "write")

    def __init__(
        self, read: Callable[[Reader], Any], write: Callable[[bytearray, Any], None]
    ) -> None:
        self.read = read
        self.write = write


Codecs = tuple[tuple[str, Field], ...]


@mypyc_attr(allow_interpreted_subclasses=True)
class Record:
    """A jute struct; subclasses are made with `record` and declare their fields in wire order."""

    __slots__ = ()
    _codecs: ClassVar[Codecs] = ()

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

    @classmethod
    def field_names(cls) -> list[str]:
        """What the fields are called, in wire order."""
        return [name for name, _ in cls._codecs]


class Plain(Record):
    """A record that is written out, so that mypyc can compile it, with what `record` gives others.

    A subclass says `_codecs = declared(...)` and has an `__init__` of its own.
    """

    __slots__ = ()

    def _values(self) -> list[object]:
        return [getattr(self, name) for name in self.field_names()]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Plain) or type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = (
            f"{name}={value!r}"
            for name, value in zip(self.field_names(), self._values(), strict=True)
        )
        return f"{type(self).__name__}({', '.join(shown)})"
