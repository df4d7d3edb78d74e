"""A user in a program: signs in, submits, watches and fetches, over HTTP and nothing else.

Whatever passes is tried again, here and at the other API servers: a submission carries a key, so
that it is one experiment however often it is sent.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import httpx

from examples.gateway.applications.catalogue import problem, samples
from examples.gateway.metadata_client import inside

_ANSWER_S_MAX: Final = 20.0
_PAUSE_S: Final = 0.2
_POLL_S: Final = 0.25
_PATIENCE_S: Final = 60.0
_ENDED: Final = ("done", "failed", "cancelled")


class AnswerError(Exception):
    """An answer that no user should have got."""


class User:
    """One user of the gateway, between `async with`; `urls` are those of API servers."""

    def __init__(
        self, name: str, urls: Callable[[], Sequence[str]], *, patience_s: float = _PATIENCE_S
    ) -> None:
        self.name = name
        self._urls = urls
        self._patience_s = patience_s
        self._http = inside(_ANSWER_S_MAX)
        self._token = ""
        self._turn = 0
        self.retried = 0
        """How many requests had to be sent again."""
        self.answered: Counter[str] = Counter()
        """How many each server has answered well."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def sign_in(self) -> None:
        answer = await self.ask("POST", "/api/v1/sign-in", json={"user": self.name})
        self._token = answer.json()["token"]

    async def submit(
        self,
        application: str,
        fields: Mapping[str, str],
        files: Mapping[str, tuple[str, bytes]],
        key: str | None = None,
    ) -> dict[str, Any]:
        """The new experiment."""
        answer = await self.ask(
            "POST",
            "/api/v1/experiments",
            headers={"Idempotency-Key": key or secrets.token_hex(16)},
            # With a file among them or not, it is a form in parts.
            files={
                "application": (None, application),
                **{name: (None, value) for name, value in fields.items()},
                **files,
            },
        )
        return dict(answer.json())

    async def experiment(self, id: str) -> dict[str, Any]:
        return dict((await self.ask("GET", f"/api/v1/experiments/{id}")).json())

    async def ended(self, id: str, seconds: float) -> dict[str, Any]:
        """The experiment once it has ended. Raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while True:
                found = await self.experiment(id)
                if found["state"] in _ENDED:
                    return found
                await asyncio.sleep(_POLL_S)

    async def output(self, id: str, name: str) -> bytes:
        return (await self.ask("GET", f"/api/v1/experiments/{id}/outputs/{name}")).content

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        """The answer, from whichever server can give it.

        Raises `AnswerError` for one that says that it is final, and `TimeoutError`.
        """
        deadline = time.monotonic() + self._patience_s
        sent = dict(headers or {})
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        why = "no server is known"
        while time.monotonic() < deadline:
            urls = self._urls()
            if urls:
                self._turn += 1
                server = urls[self._turn % len(urls)]
                url = server + path
                try:
                    answer = await self._http.request(method, url, headers=sent, **more)
                except httpx.TransportError as error:
                    why = f"{url}: {type(error).__name__} {error}"
                else:
                    if answer.is_success:
                        self.answered[server] += 1
                        return answer
                    why = _may_be_retried(url, answer)
                self.retried += 1
            await asyncio.sleep(_PAUSE_S)
        raise TimeoutError(f"{method} {path}: {why}")


def _may_be_retried(url: str, answer: httpx.Response) -> str:
    try:
        error = answer.json()["error"]
        retry, told = bool(error["retry"]), f"{error['code']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        raise AnswerError(f"{url}: {answer.status_code} {answer.text[:200]!r}") from None
    if not retry or "retry-after" not in answer.headers:
        raise AnswerError(f"{url}: {answer.status_code} {told}")
    return f"{url}: {answer.status_code} {told}"


async def check(urls: Sequence[str], say: Callable[[str], None], seconds: float = 120.0) -> bool:
    """Run a sample of each application; whether all came to what is right."""
    well = True
    async with User("check", lambda: urls) as user:
        await user.sign_in()
        for sample in samples():
            name = sample["application"]
            began_s = time.monotonic()
            files = {
                field: (file["name"], file["text"].encode())
                for field, file in sample["files"].items()
            }
            made = await user.submit(name, sample["fields"], files)
            ended = await user.ended(made["id"], seconds)
            outputs = {
                output["name"]: await user.output(made["id"], output["name"])
                for output in ended["outputs"]
            }
            wrong = (
                problem(name, outputs)
                if ended["state"] == "done"
                else f"{name}: {ended['state']}: {ended['message']}\n{ended['log']}"
            )
            well = well and wrong is None
            took = f"{time.monotonic() - began_s:.1f} s at {ended['manager']}"
            say(f"{name:10} {'the result is right' if wrong is None else wrong} ({took})")
            first = next(iter(outputs.values()), b"").decode("utf-8", "replace").strip()
            say(f"{'':10} {' '.join(first.split())[:300]}")
    return well
