"""Forms: what is read from them, and what makes two of them the same."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from starlette.datastructures import FormData, UploadFile

from examples.gateway.application import Application, Input
from examples.gateway.files import DataStore, TooLargeError
from examples.gateway.submission import FormError, Submission, clash, of_form

SORT = Application("sort", "1.0", ("sort", "{lines}"), inputs=(Input("lines", "file"),))


def upload(data: bytes, name: str = "lines.txt") -> UploadFile:
    return UploadFile(io.BytesIO(data), filename=name, size=len(data))


def submission(*items: tuple[str, str | UploadFile]) -> Submission:
    return of_form(FormData([("application", "sort"), *items]))


def test_a_form_has_an_application_and_its_inputs() -> None:
    found = submission(("version", "1.0"), ("n", "3"), ("lines", upload(b"b\na\n")))
    assert (found.application, found.version, found.texts) == ("sort", "1.0", {"n": "3"})
    assert submission(("lines", upload(b"b\na\n"))).inputs(SORT) == {
        "lines": {"file": "lines.txt"}
    }


def test_a_file_that_was_not_chosen_is_none() -> None:
    assert submission(("lines", upload(b"", name=""))).files == {}


@pytest.mark.parametrize(
    "items", [[], [("application", upload(b"x"))], [("application", "a"), ("n", "1"), ("n", "2")]]
)
def test_forms_that_make_no_sense(items: list[tuple[str, str | UploadFile]]) -> None:
    with pytest.raises(FormError):
        of_form(FormData(items))


def test_the_same_again_has_the_same_digest_and_nothing_else_has() -> None:
    async def digest(*items: tuple[str, str | UploadFile]) -> str:
        return await submission(*items).digest()

    async def all_of_them() -> list[str]:
        lines = upload(b"b\na\n")
        await lines.read()
        return [
            await digest(("n", "1"), ("lines", lines)),
            await digest(("lines", upload(b"b\na\n")), ("n", "1")),
            await digest(("n", "2"), ("lines", upload(b"b\na\n"))),
            await digest(("n", "1"), ("lines", upload(b"b\nb\n"))),
            await digest(("n", "1"), ("lines", upload(b"b\na\n", "other"))),
            await digest(("n", "1"), ("lines", "b\na\n")),
            await digest(("n", "1"), ("version", "1"), ("lines", upload(b"b\na\n"))),
        ]

    first, second, *others = asyncio.run(all_of_them())
    assert first == second
    assert len({first, *others}) == 1 + len(others)


def test_files_are_stored_whole_or_none_is(tmp_path: Path) -> None:
    store = DataStore(tmp_path)
    sent = submission(("a", upload(b"1234")), ("b", upload(b"12345678")))
    asyncio.run(sent.digest())
    with pytest.raises(TooLargeError):
        asyncio.run(sent.store(store, "job", 5))
    assert not list(tmp_path.iterdir())
    asyncio.run(sent.store(store, "job", 8))
    assert store.input_path("job", "b").read_bytes() == b"12345678"


def test_fields_of_the_form_are_no_inputs() -> None:
    assert clash(SORT) is None
    other = Application("x", "1", ("x",), inputs=(Input("version", "text"),))
    assert clash(other) == "no input can be called version"
