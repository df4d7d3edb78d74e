"""The data store: the files of experiments, in a folder that all components of a host share.

    FOLDER/ID/inputs/NAME            what the user has sent
    FOLDER/ID/outputs/TOKEN/NAME     what an attempt has made

Every attempt at a job writes into a folder of its own, named by its fencing token; which of them
counts is what the metadata server has recorded, never what lies here. Rules:
- a name is one part of a path, and nothing that a user says is one before it was checked;
- a file is written beside its place, then renamed, so whoever finds it finds all of it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from pathlib import Path
from typing import IO, Final

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_COPY_BYTES: Final = 1 << 16


class FileNameError(ValueError):
    """A name that cannot be that of a file here."""


class TooLargeError(ValueError):
    """More than may be stored."""


def checked(name: str) -> str:
    """The name, if it is one part of a path and nothing else. Raises `FileNameError`."""
    if not _NAME.fullmatch(name):
        raise FileNameError(f"{name[:100]!r} cannot be the name of a file")
    return name


class DataStore:
    """The files below a folder. Every method may block on the disk."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    # Inputs

    def input_path(self, job_id: str, name: str) -> Path:
        """Where an input is. Raises `FileNameError`."""
        return self.folder / checked(job_id) / "inputs" / checked(name)

    def put_input(
        self, job_id: str, name: str, source: IO[bytes], bytes_max: int | None = None
    ) -> int:
        """Store what a user sends; how many bytes that is.

        Raises `TooLargeError`, with nothing left behind, and `FileNameError`.
        """
        return _store(self.input_path(job_id, name), source, bytes_max)

    # Outputs

    def output_path(self, job_id: str, token: int, name: str) -> Path:
        """Where the attempt with this token has put an output. Raises `FileNameError`."""
        return self.folder / checked(job_id) / "outputs" / f"{token:x}" / checked(name)

    def put_output(self, job_id: str, token: int, name: str, source_path: Path | str) -> int:
        """Store what an attempt has made; how many bytes that is.

        A symbolic link is refused (`OSError`): a command might point at what it cannot read.
        """
        place = self.output_path(job_id, token, name)
        handle = os.open(source_path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as source:
            return _store(place, source, None)

    def forget(self, job_id: str) -> None:
        """Delete all files of a job; none is no error."""
        shutil.rmtree(self.folder / checked(job_id), ignore_errors=True)


def _store(place: Path, source: IO[bytes], bytes_max: int | None) -> int:
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    size = 0
    try:
        with beside.open("xb") as target:
            while part := source.read(_COPY_BYTES):
                size += len(part)
                if bytes_max is not None and size > bytes_max:
                    raise TooLargeError(f"{place.name} is larger than {bytes_max} bytes")
                target.write(part)
            target.flush()
            os.fsync(target.fileno())
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
    return size
