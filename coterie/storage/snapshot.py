"""Snapshots: written in slices while the server serves, read and verified at the start.

The format is ZooKeeper's (`FileSnap`): header, the tree as in an image (`core/image.py`), seal;
then a digest with a seal of its own and the last zxid with another. A seal is the Adler-32 of all
before it. Rules:
- a snapshot is fuzzy: a znode is written as it is when its turn comes. The log is replayed over
  it from the zxid in its name. Its digest is the tree's when the last znode was written, with the
  zxid of that moment: only there can a replay be compared with it;
- the table of ACLs stands before the znodes but is complete only after them. So the znodes go to
  a file of their own first, which `finish` copies behind the rest;
- nothing bears the name of a snapshot before it is whole and durable.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple
from zlib import adler32

from coterie.core.image import END_PATH, OPEN_ACL_ID, TreeReader, write_head, write_node
from coterie.core.tree import Tree
from coterie.errors import MarshallingError, NoNodeError
from coterie.storage.errors import DamagedSnapshotError, StorageFailedError, describe
from coterie.system.files import File, Files
from coterie.values import OPEN_ACL, ACLs
from coterie.wire.cursor import Reader
from coterie.wire.numbered import DIGEST_VERSION

UNFINISHED: Final = "unfinished."
"""What the names of files begin with that a crash may leave behind. ZooKeeper would take
`snapshot.5.tmp` for a snapshot, so this is in front."""

HEADER: Final = b"ZKSN" + (2).to_bytes(4, "big") + b"\xff" * 8
"""Magic number, version of the format, database id."""
_LONG: Final = struct.Struct(">q")
_DIGEST: Final = struct.Struct(">qiq")
_SEAL: Final = struct.Struct(">q5s")
_VALUE_BYTES_MAX: Final = 2**31 - 1
"""Whatever was written to the log once: no more than its length can say."""

_NAME: Final = re.compile(r"snapshot\.([0-9a-fA-F]{1,16})(?:\.(gz|snappy))?\Z").match
_GZIP_WINDOW: Final = 31
_READ_BYTES: Final = 2**20
_WRITE_BYTES: Final = 2**18
_COPY_BYTES: Final = 2**20
_SETTLE_BYTES: Final = 2**21


def name(zxid: int) -> str:
    return f"snapshot.{zxid:x}"


def zxid_of(name: str) -> int | None:
    """The zxid at which a snapshot was begun, from its name; None if it is no snapshot."""
    match = _NAME(name)
    return int(match[1], 16) if match else None


def snapshots(files: Files, directory: str) -> dict[int, str]:
    """The paths of the snapshots in a directory by their zxid, newest first."""
    found = ((zxid_of(name), name) for name in files.names(directory))
    known = [(zxid, name) for zxid, name in found if zxid is not None]
    return {zxid: f"{directory}/{name}" for zxid, name in sorted(known, reverse=True)}


def looks_whole(files: Files, path: str) -> bool:
    """Whether a snapshot was written to its end, judged as ZooKeeper does: by its last bytes.

    For deciding what may be deleted; reading is what verifies a snapshot.
    """
    if path.endswith(".gz"):
        return files.read(path, 0, 2) == b"\x1f\x8b"
    size = files.size(path)
    return size > len(HEADER) and files.read(path, size - 5, 5) == END_PATH


class SnapshotWriter:
    """Writes one snapshot: `step` until it says True, then `finish`, or at any time `abort`.

    `step` belongs to the thread that changes the tree. `finish` takes long and does not look at
    the tree: call it from another thread. Both raise `StorageFailedError`, after which only
    `abort` is left to do.
    """

    def __init__(self, files: Files, directory: str, tree: Tree, digest: bool = True) -> None:
        self.zxid = tree.zxid
        self._files = files
        self._directory = directory
        self._tree = tree
        self._has_digest = digest
        self._walk = tree.walk()
        self._sessions = dict(tree.sessions)
        self._acl_ids: dict[ACLs, int] = {OPEN_ACL: OPEN_ACL_ID}
        self.end_zxid = 0
        self._end_digest = 0
        self._buffer = bytearray()
        self._nodes_bytes = 0
        self._settled_bytes = 0
        self._nodes: File | None = None
        base = f"{directory}/{UNFINISHED}{name(self.zxid)}"
        self._path = base
        self._nodes_path = f"{base}.nodes"

    def step(self, count: int) -> bool:
        """Write up to `count` more znodes, fewer if they are large; True when that was all."""
        buffer = self._buffer
        wrote = 0
        for path, node in islice(self._walk, count):
            wrote += 1
            acl = node.acl
            acl_id = OPEN_ACL_ID if acl is OPEN_ACL else self._acl_id(acl)
            write_node(buffer, path, node, acl_id)
            if len(buffer) >= _WRITE_BYTES:
                self._flush()
                return False
        if wrote == count:
            return False
        self.end_zxid, self._end_digest = self._tree.zxid, self._tree.digest
        self._flush()
        return True

    @property
    def wants_settling(self) -> bool:
        """Whether enough was written to be given to the disk before more is."""
        return self._nodes_bytes - self._settled_bytes >= _SETTLE_BYTES

    def settle(self) -> None:
        """Wait until the disk has what was written so far; like `finish`, not for the loop.

        One sync of a whole large file would keep the log from being synced for as long.
        """
        assert self._nodes is not None
        try:
            self._nodes.sync()
        except OSError as error:
            raise self._failed(error) from error
        self._settled_bytes = self._nodes_bytes

    def _acl_id(self, acl: ACLs) -> int:
        known = self._acl_ids.get(acl)
        if known is None:
            known = self._acl_ids[acl] = len(self._acl_ids)
        return known

    def _flush(self) -> None:
        try:
            if self._nodes is None:
                self._nodes = self._files.open(self._nodes_path)
                self._nodes.truncate(0)
            self._nodes.write(self._nodes_bytes, bytes(self._buffer))
        except OSError as error:
            raise self._failed(error) from error
        self._nodes_bytes += len(self._buffer)
        self._buffer.clear()

    def _failed(self, error: OSError) -> StorageFailedError:
        return StorageFailedError(f"snapshot {self.zxid:x} cannot be written: {describe(error)}")

    def finish(self) -> str:
        """Put the parts together and make the snapshot durable; its path."""
        path = f"{self._directory}/{name(self.zxid)}"
        try:
            file = self._files.open(self._path)
            try:
                file.truncate(0)
                self._assemble(file)
                file.sync()
            finally:
                file.close()
            self._drop_nodes()
            self._files.rename(self._path, path)
            self._files.sync_directory(self._directory)
        except OSError as error:
            raise self._failed(error) from error
        return path

    def _assemble(self, file: File) -> None:
        out = bytearray(HEADER)
        write_head(out, self._sessions, self._acl_ids)
        head = bytes(out)
        file.write(0, head)
        checksum = adler32(head)
        offset = len(head)
        for start in range(0, self._nodes_bytes, _COPY_BYTES):
            count = min(_COPY_BYTES, self._nodes_bytes - start)
            data = self._files.read(self._nodes_path, start, count)
            assert len(data) == count
            checksum = adler32(data, checksum)
            file.write(offset, data)
            file.sync()
            offset += count
        end = bytearray(END_PATH)
        checksum = _seal(end, 0, checksum)
        if self._has_digest:
            start = len(end)
            # ZooKeeper's way to say that nothing was ever written: zxid 0, digest 0.
            digest = self._end_digest if self.end_zxid else 0
            end += _DIGEST.pack(self.end_zxid, DIGEST_VERSION, digest)
            checksum = _seal(end, start, checksum)
            start = len(end)
            end += _LONG.pack(self.end_zxid)
            _seal(end, start, checksum)
        file.write(offset, bytes(end))

    def abort(self) -> None:
        """Leave nothing behind, as far as the disk lets us."""
        with suppress(OSError):
            self._drop_nodes()
        with suppress(OSError):
            self._files.delete(self._path)

    def _drop_nodes(self) -> None:
        nodes, self._nodes = self._nodes, None
        if nodes is not None:
            nodes.close()
            self._files.delete(self._nodes_path)


def _seal(out: bytearray, start: int, checksum: int) -> int:
    """Add the seal over what came before and `out[start:]`; the checksum behind it."""
    sealed = adler32(out[start:], checksum)
    seal = _SEAL.pack(sealed, END_PATH)
    out += seal
    return adler32(seal, sealed)


class Snapshot(NamedTuple):
    """A snapshot as it was read. `digest` holds once the log has been replayed to `digest_zxid`.

    Both are None when the snapshot has no digest that could be compared.
    """

    tree: Tree
    digest_zxid: int | None
    digest: int | None


def read(files: Files, path: str) -> Snapshot:
    """Read and verify a snapshot. Raises `DamagedSnapshotError`, and `OSError` of the disk.

    The tree's `checks_digest` is off: it may be fuzzy.
    """
    reader = SnapshotReader(files, path)
    for _ in reader.steps():
        pass
    return reader.result()


class SnapshotReader:
    """Reads one snapshot, in steps that leave room for showing how far it got."""

    def __init__(self, files: Files, path: str) -> None:
        zxid = zxid_of(path.rpartition("/")[2])
        assert zxid is not None
        self._path = path
        self._zxid = zxid
        self._reader = TreeReader(_VALUE_BYTES_MAX)
        self._digest: tuple[int, int] | None = None
        if path.endswith(".snappy"):
            raise DamagedSnapshotError(
                f"{path} is compressed with snappy, which Coterie does not read; take a snapshot "
                f"with snapshot.compression.method unset or gz"
            )
        self._chunks = _chunks(files, path)
        self._checksum = 1
        """Of all up to the end of the tree."""

    def steps(self) -> Iterator[int]:
        """Read to the end, yielding now and then how many znodes there are so far."""
        try:
            yield from self._read_tree()
            self._read_rest()
        except (MarshallingError, struct.error, zlib.error) as error:
            raise self._damaged("it ends too early or makes no sense") from error
        self._reader.tree.zxid = self._zxid

    def result(self) -> Snapshot:
        """What was read, once `steps` has come to its end."""
        zxid, digest = self._digest or (None, None)
        return Snapshot(self._reader.tree, zxid, digest)

    def _damaged(self, reason: str) -> DamagedSnapshotError:
        return DamagedSnapshotError(f"{self._path} is damaged: {reason}")

    def _read_tree(self) -> Iterator[int]:
        reader = self._reader
        data = self._next()
        while len(data) < len(HEADER):
            data += self._next()
        if data[:8] != HEADER[:8]:
            raise self._damaged("it does not begin as a snapshot")
        self._checksum = adler32(data[: len(HEADER)])
        data = data[len(HEADER) :]
        try:
            while not reader.feed(data):
                self._checksum = adler32(data, self._checksum)
                yield reader.count
                data = self._next()
        except NoNodeError as error:
            raise self._damaged(f"the parent of {error.path} is missing") from error
        except MarshallingError as error:
            raise self._damaged(f"znode {reader.count} makes no sense") from error
        end = len(data) - len(reader.rest)
        self._checksum = adler32(memoryview(data)[:end], self._checksum)

    def _next(self) -> bytes:
        chunk = next(self._chunks, b"")
        if not chunk:
            raise self._damaged("it ends too early")
        return chunk

    def _verify(self, checksum: int, seal: bytes) -> None:
        if seal != _SEAL.pack(checksum, END_PATH):
            raise self._damaged("a checksum does not match")

    def _read_rest(self) -> None:
        """The seal, the digest and the last zxid: older servers wrote no digest, or only that."""
        rest = b"".join([self._reader.rest, *islice(self._chunks, 2)])
        reader = Reader(rest)
        self._check_rest(reader)
        if len(rest) - reader.pos not in (0, _LONG.size + _SEAL.size):
            zxid, version = reader.int64(), reader.int32()
            if version == DIGEST_VERSION:
                digest = reader.int64()
                # One that is older than the snapshot says nothing about it; 0 says nothing at all.
                if zxid >= max(self._zxid, 1):
                    self._digest = (zxid, digest)
            else:
                reader.buffer()
            self._check_rest(reader)
        if not reader.at_end():
            reader.int64()
            self._check_rest(reader)

    def _check_rest(self, reader: Reader) -> None:
        checksum = adler32(memoryview(reader.data)[: reader.pos], self._checksum)
        self._verify(checksum, reader.raw(_SEAL.size))


def _chunks(files: Files, path: str) -> Iterator[bytes]:
    unzip = zlib.decompressobj(_GZIP_WINDOW) if path.endswith(".gz") else None
    offset = 0
    while data := files.read(path, offset, _READ_BYTES):
        offset += len(data)
        if unzip is not None:
            data = unzip.decompress(data)
        if data:
            yield data
