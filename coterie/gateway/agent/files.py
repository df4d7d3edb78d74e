"""Local files that are whole at every moment, and what is known of each: its version.

Rules:
- a file is written beside its place, made durable, checked if need be, and put there in one step:
  who reads it reads the old one or the new one, also after a loss of power;
- what is known of it is in `NAME.version` beside it, written after it. A version that does not fit
  the file (its SHA-256 says so) counts for nothing: the agent, or the machine, ended in between;
- nothing here ever deletes a file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import posixpath
from dataclasses import asdict, dataclass, replace
from typing import Final

from coterie.gateway.agent.subscriptions import VERSION_SUFFIX
from coterie.recipes import typed_json
from coterie.system.files import Files

PENDING: Final = "pending"
DONE: Final = "done"


@dataclass(frozen=True)
class Version:
    """What is known of a file."""

    sha256: str
    zxid: int
    """The txn as of which it is so."""
    source: str
    written_ms: int
    """By the wall clock, in milliseconds since 1970."""
    version: int = -1
    """The znode's, if it is one znode."""
    members: tuple[str, ...] | None = None
    """Of a set of servers, those that are in it."""
    reload: str = ""
    """Whether the command that follows a change has been done."""


class LocalFile:
    """One file, by its path."""

    def __init__(self, files: Files, path: str) -> None:
        self.path = path
        self._files = files
        folder, name = posixpath.split(path)
        self._folder = folder or "."
        self.candidate = posixpath.join(self._folder, f".{name}.new")
        """Where it is written before it is put in its place."""

    def read(self) -> tuple[bytes | None, Version | None]:
        """What it holds, None if it is not there; and what is known of that."""
        data = read(self._files, self.path)
        if data is None:
            return None, None
        try:
            told = read(self._files, self.path + VERSION_SUFFIX)
            version = None if told is None else typed_json.decode(Version, told)
        except (OSError, ValueError):
            version = None
        if version is not None and version.sha256 != digest(data):
            version = None
        return data, version

    def prepare(self, data: bytes) -> None:
        """Write the candidate, durably."""
        self._files.make_directory(self._folder)
        _write(self._files, self.candidate, data)

    def put(self, version: Version) -> None:
        """Put the candidate in its place."""
        self._files.rename(self.candidate, self.path)
        self._files.sync_directory(self._folder)
        self.tell(version)

    def tell(self, version: Version) -> None:
        """Write what is known of it."""
        told = json.dumps(asdict(version), ensure_ascii=False, indent=1).encode() + b"\n"
        replace_file(self._files, self.path + VERSION_SUFFIX, told)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def reloaded(version: Version) -> Version:
    """As it is known once the command has been done."""
    return replace(version, reload=DONE)


def read(files: Files, path: str) -> bytes | None:
    """All of a file; None if it is not there."""
    try:
        return files.read(path, 0, files.size(path))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None


def replace_file(files: Files, path: str, data: bytes, *, durable: bool = True) -> None:
    """Put a whole file in the place of another, in one step."""
    folder, name = posixpath.split(path)
    candidate = posixpath.join(folder, f".{name}.new")
    _write(files, candidate, data, durable=durable)
    files.rename(candidate, path)
    if durable:
        files.sync_directory(folder or ".")


def why(error: OSError) -> str:
    """What went wrong with a file, in one line."""
    reason = error.strerror or errno.errorcode.get(error.errno or 0, str(error))
    return f"{error.filename}: {reason}" if error.filename else reason


def _write(files: Files, path: str, data: bytes, *, durable: bool = True) -> None:
    file = files.open(path)
    try:
        # It may have been left there, longer than this.
        file.truncate(0)
        file.write(0, data)
        if durable:
            file.sync()
    finally:
        file.close()
