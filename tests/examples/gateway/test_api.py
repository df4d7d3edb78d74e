"""What users get from an API server: answers, and errors that say what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from coterie.recipes.key_store import StaleError
from examples.gateway.api import Api, Bounded, Settings, make
from examples.gateway.application import Application, Input, Output
from examples.gateway.files import DataStore
from examples.gateway.store import Store
from examples.gateway.tokens import Checker, Issuer, Signed, TokenError
from tests.examples.gateway.direct import Direct

pytestmark = pytest.mark.gateway

SORT = Application(
    name="sort",
    version="1.0",
    command=("sort", "-o", "{sorted.txt}", "{lines}"),
    inputs=(Input("lines", "file"),),
    outputs=(Output("sorted.txt", "text"),),
)
LINES = {"lines": ("lines.txt", b"b\na\n")}
AT = "/api/v1/experiments"


class Names:
    """Signs and checks by the name alone: tokens have tests of their own."""

    def issue(self, user: str, ttl_s: float) -> Signed:
        return Signed(f"token of {user}", ttl_s)

    def user(self, token: str) -> str:
        if token == "old keys":
            raise StaleError("/keys", "read")
        if not token.startswith("token of "):
            raise TokenError("this is no token of this gateway")
        return token.removeprefix("token of ")


class World:
    """An API server, and what is behind it."""

    def __init__(self, path: Path) -> None:
        self.settings = Settings()
        self.store = Store(path / "db")
        self.store.write(1, "register", {"application": SORT.as_json(), "user": "gateway"})
        self.metadata = Direct(self.store)
        self.files = DataStore(path / "files")
        self.cancelled: list[tuple[str, str]] = []
        names = Names()
        api = Api(
            lambda: self.settings,
            self.metadata,
            self.files,
            cast(Issuer, names),
            cast(Checker, names),
            self._cancel_at,
        )
        app = Bounded(make(api, "1.0.0"), lambda: self.settings.upload_bytes_max)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(
            transport=transport,
            base_url="http://api",
            headers={"Authorization": "Bearer token of ada"},
        )

    async def _cancel_at(self, manager: str, job_id: str) -> None:
        self.cancelled.append((manager, job_id))

    async def submit(self, key: str | None = None, **fields: str) -> httpx.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        data = {"application": "sort", **fields}
        return await self.http.post(AT, data=data, files=LINES, headers=headers)

    def stored(self) -> list[str]:
        return [path.name for path in self.files.folder.iterdir()]


@asynccontextmanager
async def world(path: Path) -> AsyncIterator[World]:
    made = World(path)
    async with made.http:
        yield made
    made.store.close()


def error(answer: httpx.Response) -> tuple[int, str, bool]:
    told = answer.json()["error"]
    assert told["message"]
    assert ("retry-after" in answer.headers) is told["retry"]
    return answer.status_code, told["code"], told["retry"]


async def test_an_experiment_from_its_form_to_its_result(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        made = await gateway.submit()
        assert made.status_code == 201
        id = made.json()["id"]
        assert gateway.files.input_path(id, "lines").read_bytes() == b"b\na\n"
        at = f"{AT}/{id}"
        found = (await gateway.http.get(at)).json()
        assert (found["state"], found["inputs"]) == ("queued", {"lines": {"file": "lines.txt"}})
        result = f"{at}/outputs/sorted.txt"
        assert error(await gateway.http.get(result)) == (404, "not_yet", False)
        source = tmp_path / "sorted"
        source.write_bytes(b"a\nb\n")
        gateway.files.put_output(id, 7, "sorted.txt", source)
        outputs = [{"name": "sorted.txt", "size": 4, "type": "text"}]
        await gateway.metadata.record(id, 7, "done", "", outputs)
        answer = await gateway.http.get(result)
        assert answer.content == b"a\nb\n"
        assert answer.headers["content-type"] == "application/octet-stream"
        assert (await gateway.http.get(at)).json()["outputs"] == outputs
        other = await gateway.http.get(f"{at}/outputs/other")
        assert error(other) == (404, "unknown_output", False)


async def test_a_key_makes_one_experiment_and_keeps_one_set_of_files(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        first = (await gateway.submit("k")).json()
        again = await gateway.submit("k")
        assert (again.status_code, again.json()) == (201, first)
        assert error(await gateway.submit("k", version="1.0")) == (422, "key_reused", False)
        assert gateway.stored() == [first["id"]]
        assert (await gateway.submit()).json()["id"] != first["id"]


async def test_what_belongs_to_others_stays_theirs(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        id = (await gateway.submit()).json()["id"]
        grace = {"Authorization": "Bearer token of grace"}
        for path in (f"{AT}/{id}", f"{AT}/{id}/outputs/sorted.txt"):
            assert error(await gateway.http.get(path, headers=grace))[:2] == (403, "not_yours")
        cancel = await gateway.http.post(f"{AT}/{id}/cancel", headers=grace)
        assert error(cancel)[:2] == (403, "not_yours")
        listed = (await gateway.http.get(AT, headers=grace)).json()["experiments"]
        assert [one["id"] for one in listed] == [id]
        assert "inputs" not in listed[0]


async def test_a_cancelled_experiment_is_told_to_its_manager(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        id = (await gateway.submit()).json()["id"]
        await gateway.metadata.assign(id, 1, "m1")
        answer = await gateway.http.post(f"{AT}/{id}/cancel")
        assert answer.json()["state"] == "cancelled"
        assert gateway.cancelled == [("m1", id)]


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ("", (401, "no_token", False)),
        ("Basic x", (401, "no_token", False)),
        ("Bearer x", (401, "token", False)),
        ("Bearer old keys", (503, "stale_keys", True)),
    ],
)
async def test_who_asks_has_to_be_known(
    tmp_path: Path, authorization: str, expected: tuple[int, str, bool]
) -> None:
    async with world(tmp_path) as gateway:
        headers = {"Authorization": authorization}
        for method, path in (("GET", AT), ("POST", AT), ("GET", "/api/v1/applications")):
            answer = await gateway.http.request(method, path, headers=headers)
            assert error(answer) == expected


async def test_an_outage_says_when_the_same_may_be_sent_again(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        gateway.metadata.away = True
        assert error(await gateway.http.get(AT)) == (503, "unavailable", True)
        assert error(await gateway.submit("k")) == (503, "unavailable", True)
        # Without a key nobody can tell whether it was made.
        assert error(await gateway.submit()) == (503, "unavailable", False)


async def test_too_much_is_refused_and_not_stored(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        gateway.settings = replace(gateway.settings, upload_bytes_max=3)
        assert error(await gateway.submit())[:2] == (413, "too_large")

        async def endless() -> AsyncIterator[bytes]:
            for part in (b"--x\r\n", *[b"a" * 1000] * 1000):
                yield part
            pytest.fail("it has read all of it")

        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = await gateway.http.post(AT, content=endless(), headers=headers)
        assert error(answer)[:2] == (413, "too_large")
        assert not gateway.files.folder.exists() or not gateway.stored()


@pytest.mark.parametrize(
    ("method", "path", "sent", "expected"),
    [
        ("POST", "/api/v1/sign-in", {"json": {"user": "No One"}}, (422, "invalid", False)),
        ("POST", "/api/v1/sign-in", {"content": b"{"}, (422, "invalid", False)),
        ("POST", AT, {"data": {"application": "x"}}, (404, "unknown_application", False)),
        ("POST", AT, {"data": {"application": "sort"}}, (422, "invalid_input", False)),
        ("POST", AT, {"data": {}}, (422, "invalid", False)),
        ("GET", f"{AT}?limit=0", {}, (422, "invalid", False)),
        ("GET", f"{AT}/unknown", {}, (404, "unknown_experiment", False)),
        ("GET", "/nowhere", {}, (404, "http", False)),
        ("POST", "/api/v1/applications", {"json": {"name": "x"}}, (422, "invalid", False)),
    ],
)
async def test_errors_are_json_and_clear(
    tmp_path: Path, method: str, path: str, sent: dict[str, Any], expected: tuple[int, str, bool]
) -> None:
    async with world(tmp_path) as gateway:
        assert error(await gateway.http.request(method, path, **sent)) == expected


async def test_users_register_applications(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        at = "/api/v1/applications"
        mine = replace(SORT, name="mine").as_json()
        for _ in range(2):
            assert (await gateway.http.post(at, json=mine)).status_code == 201
        names = [one["name"] for one in (await gateway.http.get(at)).json()]
        assert names == ["mine", "sort"]
        theirs = await gateway.http.post(at, json=replace(SORT, version="2.0").as_json())
        assert error(theirs) == (409, "exists", False)
        clash = replace(SORT, name="clash", inputs=(Input("version"),), command=("x",))
        assert error(await gateway.http.post(at, json=clash.as_json()))[:2] == (422, "invalid")


async def test_samples_come_along_and_can_be_submitted(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        samples = (await gateway.http.get("/api/v1/samples")).json()
        assert {one["application"] for one in samples} == {"align", "outbreak"}


async def test_the_page_of_the_api_fetches_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as gateway:
        page = (await gateway.http.get("/")).text
        assert "/api/v1/experiments/{id}/outputs/{name}" in page
        assert not {"src=", "<script", "@import", "<link"} & {
            word for word in ("src=", "<script", "@import", "<link") if word in page
        }
        openapi = (await gateway.http.get("/api/v1/openapi.json")).json()
        assert openapi["openapi"].startswith("3.")
        assert (await gateway.http.get("/docs")).status_code == 404
