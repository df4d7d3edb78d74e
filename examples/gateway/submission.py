"""A form that submits an experiment: its fields, its files into the data store, its digest."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final

from starlette.datastructures import FormData, UploadFile

from examples.gateway.application import Application, InputValue
from examples.gateway.files import DataStore

NAMED: Final = ("application", "version")
"""Fields of the form that are no inputs."""

_CHUNK_BYTES: Final = 1 << 16
_NAME_CHARACTERS_MAX: Final = 200


class FormError(ValueError):
    """A form that makes no sense."""


@dataclass
class Submission:
    """What a form holds."""

    application: str
    version: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, UploadFile] = field(default_factory=dict)

    def inputs(self, application: Application) -> dict[str, InputValue]:
        """The inputs as they are stored. Raises `InvalidInputError`."""
        names = {
            name: (file.filename or name)[-_NAME_CHARACTERS_MAX:]
            for name, file in self.files.items()
        }
        return application.check_inputs(self.texts, names)

    async def digest(self) -> str:
        """What tells this submission from another one; the same for one that is sent again."""
        return await asyncio.to_thread(self._digest)

    def _digest(self) -> str:
        parts: list[tuple[str, ...]] = [(self.application, self.version)]
        parts += [("text", name, text) for name, text in sorted(self.texts.items())]
        for name, file in sorted(self.files.items()):
            parts.append(("file", name, file.filename or "", _digest_of(file.file)))
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    async def store(self, files: DataStore, job_id: str, bytes_max: int) -> None:
        """Put its files into the data store. Raises `TooLargeError`, with none left behind."""
        for name, file in self.files.items():
            try:
                await asyncio.to_thread(_put, files, job_id, name, file.file, bytes_max)
            except BaseException:
                await asyncio.to_thread(files.forget, job_id)
                raise


def _put(files: DataStore, job_id: str, name: str, source: IO[bytes], bytes_max: int) -> None:
    source.seek(0)
    files.put_input(job_id, name, source, bytes_max)


def _digest_of(source: IO[bytes]) -> str:
    source.seek(0)
    found = hashlib.sha256()
    while part := source.read(_CHUNK_BYTES):
        found.update(part)
    return found.hexdigest()


def of_form(form: FormData) -> Submission:
    """Raises `FormError`. An input of a file that was left empty is none."""
    named: dict[str, str] = {}
    found = Submission("")
    seen: set[str] = set()
    for name, value in form.multi_items():
        if name in seen:
            raise FormError(f"{name} is there twice")
        seen.add(name)
        if name in NAMED:
            if not isinstance(value, str):
                raise FormError(f"{name} has to be a text")
            named[name] = value
        elif isinstance(value, str):
            found.texts[name] = value
        elif value.filename or value.size:
            found.files[name] = value
    found.application = named.get("application", "")
    found.version = named.get("version", "")
    if not found.application:
        raise FormError("the field application is missing")
    return found


def clash(application: Application) -> str | None:
    """Why an application cannot be submitted to by a form."""
    taken = sorted({one.name for one in application.inputs} & set(NAMED))
    return f"no input can be called {taken[0]}" if taken else None


def as_given(
    job: Mapping[str, Any], attempt: int, application: Mapping[str, Any]
) -> dict[str, Any]:
    """A job as a scheduler gives it to a manager."""
    return {
        "id": job["id"],
        "application": dict(application),
        "inputs": job["inputs"],
        "attempt": attempt,
    }
