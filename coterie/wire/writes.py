"""The records of setData and create, which nearly all writes are: a module that mypyc compiles.

They are written out, and not made by `record`, because it can compile only that. Where they stand
among the others is said there: `requests.TABLE` and `txns.BODIES`.
"""

from __future__ import annotations

from typing import ClassVar

from coterie.values import ACLs
from coterie.wire.cursor import Reader, read_acls, read_setting
from coterie.wire.jute import Acls, Bool, Buffer, Int, Path, declared
from coterie.wire.record import Codecs, Plain


class _Setting(Plain):
    __slots__ = ("data", "path", "version")
    _codecs: ClassVar[Codecs] = declared(path=Path, data=Buffer, version=Int)

    def __init__(self, path: bytes, data: bytes | None, version: int) -> None:
        self.path = path
        self.data = data
        self.version = version


class SetDataRequest(_Setting):
    """`version` is the expected one."""

    __slots__ = ()

    @classmethod
    def read(cls, reader: Reader) -> SetDataRequest:
        return SetDataRequest(*read_setting(reader))


class SetDataTxn(_Setting):
    """`version` is the new one."""

    __slots__ = ()

    @classmethod
    def read(cls, reader: Reader) -> SetDataTxn:
        return SetDataTxn(*read_setting(reader))


class CreateRequest(Plain):
    __slots__ = ("acl", "data", "flags", "path")
    _codecs: ClassVar[Codecs] = declared(path=Path, data=Buffer, acl=Acls, flags=Int)

    def __init__(self, path: bytes, data: bytes | None, acl: ACLs, flags: int) -> None:
        self.path = path
        self.data = data
        self.acl = acl
        self.flags = flags

    @classmethod
    def read(cls, reader: Reader) -> CreateRequest:
        return CreateRequest(reader.path(), reader.buffer(), read_acls(reader), reader.int32())


class CreateTxn(Plain):
    """create and create2. `parent_cversion` is the parent's stored one after this create."""

    __slots__ = ("acl", "data", "ephemeral", "parent_cversion", "path")
    _codecs: ClassVar[Codecs] = declared(
        path=Path, data=Buffer, acl=Acls, ephemeral=Bool, parent_cversion=Int
    )

    def __init__(
        self, path: bytes, data: bytes | None, acl: ACLs, ephemeral: bool, parent_cversion: int
    ) -> None:
        self.path = path
        self.data = data
        self.acl = acl
        self.ephemeral = ephemeral
        self.parent_cversion = parent_cversion

    @classmethod
    def read(cls, reader: Reader) -> CreateTxn:
        """Also the shorter one of 3.3, which did not have the parent's cversion."""
        path, data, acl = reader.path(), reader.buffer(), read_acls(reader)
        ephemeral = reader.boolean()
        cversion = -1 if reader.at_end() else reader.int32()
        return CreateTxn(path, data, acl, ephemeral, cversion)
