"""What a component asks of the metadata servers: reads from any, writes from the one that leads.

    async with Metadata(component) as metadata:
        if await metadata.started(job_id, token, component.id):
            ...
            await metadata.record(job_id, token, "done", "", outputs)

The servers are found in the directory; which of them leads is what they say: a replica refuses a
write and names the leader. Rules:
- every operation comes to the same when it is made twice, so whatever went wrong on the way is
  tried again, here or there, until `patience_s` is over: then it is `UnavailableError`, and the
  outcome of a write is not known;
- what the servers refuse is an error of its own, and is not tried again.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self

import httpx

from coterie.gateway.component import Component
from coterie.gateway.directory import IncompatibleError
from coterie.gateway.fencing import StaleTokenError
from coterie.recipes.discovery import Instance

KIND: Final = "metadata"
PATIENCE_S: Final = 30.0

_ANSWER_S_MAX: Final = 5.0
_PAUSE_S: Final = 0.1
_PAUSE_S_MAX: Final = 1.0

Ending = Literal["done", "failed"]


class UnavailableError(ConnectionError):
    """No metadata server could do it in time. Whether a write was made is not known."""


class RefusedError(Exception):
    """It cannot be done, and never will be: `code` says why in a word, `status` as HTTP does."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def inside(answer_s_max: float) -> httpx.AsyncClient:
    """A client for what is spoken among the components, which is HTTP without TLS.

    It trusts no certificate at all: to load those of the system takes a third of a second.
    """
    return httpx.AsyncClient(
        timeout=answer_s_max,
        limits=httpx.Limits(max_connections=50, max_keepalive_connections=10),
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        trust_env=False,
    )


class Metadata:
    """The metadata servers, as a component of the gateway sees them."""

    def __init__(self, component: Component[Any], *, patience_s: float = PATIENCE_S) -> None:
        self._component = component
        self._patience_s = patience_s
        self._http: httpx.AsyncClient | None = None
        self._leader = ""
        """The id of the server that led when we last heard of it."""

    async def __aenter__(self) -> Self:
        self._http = inside(_ANSWER_S_MAX)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    # For managers

    async def started(self, job_id: str, token: int, manager: str) -> bool:
        """Say that a manager runs it under its claim; False if it has ended already.

        Raises `StaleTokenError` if somebody with a newer claim has said so.
        """
        return bool(await self.write("started", job_id=job_id, token=token, manager=manager))

    async def progress(self, job_id: str, token: int, text: str) -> None:
        """Replace the last lines of what it says. Raises `StaleTokenError`."""
        await self.write("progress", job_id=job_id, token=token, text=text)

    async def record(
        self,
        job_id: str,
        token: int,
        state: Ending,
        message: str,
        outputs: Sequence[Mapping[str, Any]],
    ) -> str:
        """Record its end, once; the state that it has now.

        That is another one when it was cancelled, or when this token has recorded before. Raises
        `StaleTokenError` if a newer claim was seen.
        """
        told = await self.write(
            "record",
            job_id=job_id,
            token=token,
            state=state,
            message=message,
            outputs=[dict(output) for output in outputs],
        )
        return str(told)

    # For schedulers

    async def work(self) -> dict[str, Any]:
        """`queued`: jobs to be given away, the oldest first; `active`: those given away."""
        return dict(await self.read("work"))

    async def assign(self, job_id: str, scheduler_token: int, manager: str) -> int | None:
        """Give a queued job to a manager; the number of the attempt, None if it is not queued."""
        told = await self.write(
            "assign", job_id=job_id, scheduler_token=scheduler_token, manager=manager
        )
        return None if told is None else int(told)

    async def requeue(
        self, job_id: str, scheduler_token: int, attempt: int, why: str, *, lost: bool
    ) -> bool:
        """Queue a job again whose attempt came to nothing; whether it is queued by this.

        `lost` says that a manager had it: after too many of these it fails.
        """
        told = await self.write(
            "requeue",
            job_id=job_id,
            scheduler_token=scheduler_token,
            attempt=attempt,
            why=why,
            lost=lost,
        )
        return bool(told)

    # For users

    async def create(self, **experiment: Any) -> dict[str, Any]:
        """A new experiment, or the one that was made with the same key before."""
        return dict(await self.write("create", **experiment))

    async def cancel(self, job_id: str, user: str) -> dict[str, Any]:
        """The experiment, which does not go on, unless it has ended already."""
        return dict(await self.write("cancel", job_id=job_id, user=user))

    async def job(self, job_id: str) -> dict[str, Any] | None:
        """All that is known of an experiment; None if there is none."""
        told = await self.read("job", job_id=job_id)
        return None if told is None else dict(told)

    async def jobs(
        self, user: str | None = None, limit: int = 50, before: str | None = None
    ) -> list[dict[str, Any]]:
        """Experiments, the newest first; of one user, or of all."""
        return list(await self.read("jobs", user=user, limit=limit, before=before))

    async def counts(self) -> dict[str, int]:
        """How many experiments there are in each state."""
        return dict(await self.read("counts"))

    async def applications(self) -> list[dict[str, Any]]:
        """The newest version of each application."""
        return list(await self.read("applications"))

    async def application(self, name: str, version: str = "") -> dict[str, Any] | None:
        """One application, in its newest version if none is given."""
        told = await self.read("application", name=name, version=version)
        return None if told is None else dict(told)

    async def register(self, application: Mapping[str, Any], user: str) -> bool:
        """Register an application; False if the same one was there already."""
        return bool(await self.write("register", application=dict(application), user=user))

    # How they are asked

    async def read(self, operation: str, **arguments: Any) -> Any:
        """What any of the servers answers."""
        return await self._ask(operation, arguments, writes=False)

    async def write(self, operation: str, **arguments: Any) -> Any:
        """What the leader answers."""
        return await self._ask(operation, arguments, writes=True)

    async def _ask(self, operation: str, arguments: dict[str, Any], *, writes: bool) -> Any:
        assert self._http is not None, "it is not entered yet: use `async with`"
        content = json.dumps(arguments).encode()
        deadline = time.monotonic() + self._patience_s
        pause_s, why = 0.0, "nobody was asked"
        while time.monotonic() < deadline:
            for server in self._servers(writes=writes):
                url = f"http://{server.address}/{operation}"
                try:
                    answer = await self._http.post(url, content=content)
                except httpx.HTTPError as error:
                    why = f"{server.id}: {type(error).__name__} {error}"
                    self._forget(server)
                    continue
                if answer.status_code == httpx.codes.OK:
                    if writes:
                        self._leader = server.id
                    return answer.json()["result"]
                why = self._refused(server, answer)
            pause_s = min(pause_s + _PAUSE_S, _PAUSE_S_MAX)
            await asyncio.sleep(pause_s)
        raise UnavailableError(f"{operation}: no metadata server could do it: {why}")

    def _servers(self, *, writes: bool) -> list[Instance]:
        """Whom to ask, one after the other: for a write first the one that should lead."""
        try:
            found = self._component.directory.find(KIND)
            found = found or self._component.directory.everyone(KIND)
        except IncompatibleError:
            return []
        # Reads go round, so that every replica has its part of them.
        start = self._component.zk.dice.randrange(len(found)) if found else 0
        found = found[start:] + found[:start]
        if writes:
            found.sort(key=lambda one: one.id != self._leader)
        return found

    def _forget(self, server: Instance) -> None:
        if self._leader == server.id:
            self._leader = ""

    def _refused(self, server: Instance, answer: httpx.Response) -> str:
        """Why it was not done, if that may be better elsewhere or later; else raises."""
        try:
            told = answer.json()["error"]
            code, message = str(told["code"]), str(told["message"])
            if code == "stale_token":
                raise StaleTokenError(message, int(told["token"]), int(told["newest"]))
        except (ValueError, KeyError, TypeError):
            code, message = "unclear", answer.text[:200]
        if answer.status_code == httpx.codes.MISDIRECTED_REQUEST:
            self._leader = str(answer.headers.get("x-leader", ""))
        elif answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
            raise RefusedError(answer.status_code, code, message)
        else:
            self._forget(server)
        return f"{server.id}: {message}"
