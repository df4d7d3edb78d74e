"""`python -m examples.gateway.api`: an API server, for browsers, curl and programs.

It keeps nothing: what it is asked for it asks the metadata servers, and files are in the data
store. So any number of copies serve, and who was told nothing by one asks another. Rules:
- an error is JSON, `{"error": {"code", "message", "retry"}}`; where `retry` is true the very same
  request may be sent again, after `Retry-After` seconds, here or to another API server;
- a submission with an `Idempotency-Key` makes one experiment, however often it is sent;
- who asks is said by a token that some API server has signed (`tokens.py`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NoReturn

import httpx
from fastapi import Body, Depends, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coterie.gateway.component import Component
from coterie.recipes.key_store import KeyStore, StaleError
from examples.gateway import api_page, submission
from examples.gateway.application import InvalidInputError, of_json
from examples.gateway.applications.catalogue import samples
from examples.gateway.files import DataStore, FileNameError, TooLargeError
from examples.gateway.metadata_client import Metadata, RefusedError, UnavailableError, inside
from examples.gateway.process import Options, Service, main
from examples.gateway.store import ENDED
from examples.gateway.tokens import Checker, Issuer, TokenError, is_user, private_key

KIND: Final = "api"
SPEAKS: Final = {"metadata": ">=1,<3"}

_KEY_CHARACTERS_MAX: Final = 200
_FORM_FILES_MAX: Final = 50
_BEARER: Final = "bearer "
_REPORT_S: Final = 1.0
_INSIDE: Final = ("token", "result_token")
_TELL_S_MAX: Final = 2.0

log = logging.getLogger("gateway.api")


@dataclass(frozen=True)
class Settings:
    """Kept at /gateway/config/api, and followed."""

    upload_bytes_max: int = 10_000_000
    token_s: int = 86_400
    patience_s: float = 12.0
    """For how long a request waits for a metadata server that can do it."""
    retry_after_s: int = 1


class ProblemError(Exception):
    """What a request comes to, if it comes to nothing."""

    def __init__(self, status: int, code: str, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry = retry


class Api:
    """What the endpoints need."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        metadata: Metadata,
        files: DataStore,
        issuer: Issuer,
        checker: Checker,
        cancel_at: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self.settings = settings
        self.metadata = metadata
        self.files = files
        self.issuer = issuer
        self.checker = checker
        self.cancel_at = cancel_at

    async def submit(self, request: Request, user: str, key: str | None) -> dict[str, Any]:
        """A new experiment, or the one that this key has made before."""
        if key is not None and not 0 < len(key) <= _KEY_CHARACTERS_MAX:
            raise ProblemError(400, "invalid", "an Idempotency-Key has 1 to 200 characters")
        bytes_max = self.settings().upload_bytes_max
        _refuse_large(request, bytes_max)
        async with request.form(max_files=_FORM_FILES_MAX, max_fields=_FORM_FILES_MAX) as form:
            try:
                sent = submission.of_form(form)
            except submission.FormError as error:
                raise ProblemError(422, "invalid", str(error)) from None
            told = await self.metadata.application(sent.application, sent.version)
            if told is None:
                what = f"{sent.application} {sent.version}".strip()
                raise ProblemError(404, "unknown_application", f"there is no application {what}")
            inputs = sent.inputs(of_json(told))
            # Until it is known whether this was sent before, the files are those of a new one.
            job_id = secrets.token_hex(8)
            digest = await sent.digest()
            await sent.store(self.files, job_id, bytes_max)
            try:
                made = await self.metadata.create(
                    id=job_id,
                    user=user,
                    key=key or job_id,
                    digest=digest,
                    application=told["name"],
                    version=told["version"],
                    inputs=inputs,
                )
            except RefusedError:
                await asyncio.to_thread(self.files.forget, job_id)
                raise
        if made["id"] != job_id:
            await asyncio.to_thread(self.files.forget, job_id)
        return made

    async def experiment(self, id: str, user: str) -> dict[str, Any]:
        """All of an experiment of this user."""
        found = await self.metadata.job(id)
        if found is None:
            raise ProblemError(404, "unknown_experiment", f"there is no experiment {id}")
        if found["user"] != user:
            raise ProblemError(403, "not_yours", f"{id} is the experiment of another user")
        return found

    async def output(self, id: str, name: str, user: str) -> FileResponse:
        """A result, of the attempt that counts."""
        found = await self.experiment(id, user)
        if found["state"] not in ENDED:
            raise ProblemError(404, "not_yet", f"{id} is {found['state']}: no results yet")
        if name not in [output["name"] for output in found["outputs"]]:
            raise ProblemError(404, "unknown_output", f"{id} has no output {name}")
        path = self.files.output_path(id, found["result_token"], name)
        # What users have made is shown as text or saved, and is never a page of ours.
        headers = {
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        if not await asyncio.to_thread(path.is_file):
            raise ProblemError(404, "lost", f"the file {name} is not in the data store")
        return FileResponse(
            path, filename=name, media_type="application/octet-stream", headers=headers
        )

    async def cancel(self, id: str, user: str) -> dict[str, Any]:
        """Its state after that."""
        before = await self.experiment(id, user)
        made = await self.metadata.cancel(id, user)
        if made["state"] == "cancelled" and before["manager"]:
            await self.cancel_at(before["manager"], id)
        return made


def _refuse_large(request: Request, bytes_max: int) -> None:
    try:
        length = int(request.headers.get("content-length", "0"))
    except ValueError:
        length = 0
    if length > bytes_max:
        raise ProblemError(413, "too_large", f"more than {bytes_max} bytes")


# The endpoints


async def _user_of(request: Request, authorization: Annotated[str, Header()] = "") -> str:
    if not authorization.lower().startswith(_BEARER):
        raise ProblemError(401, "no_token", "Authorization: Bearer TOKEN is missing")
    checker: Checker = request.app.state.checker
    return checker.user(authorization[len(_BEARER) :].strip())


User = Annotated[str, Depends(_user_of)]
"""Who asks, as the token says."""


def make(api: Api, version: str) -> FastAPI:
    """The app."""
    app = FastAPI(
        title="Gateway API",
        version=version,
        description=__doc__.partition("\n\n")[2] if __doc__ else "",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    app.state.checker = api.checker

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> str:
        return api_page.render(app.openapi(), "/api/v1/openapi.json")

    @app.get("/health", include_in_schema=False)
    async def health() -> dict[str, str]:
        return {"status": "serves", "version": version}

    _people(app, api)
    _applications(app, api)
    _experiments(app, api)
    _errors(app, api)
    return app


_SIGN_IN: Final = """curl -H 'Content-Type: application/json' -d '{"user": "ada"}' \\
  URL/api/v1/sign-in"""


def _people(app: FastAPI, api: Api) -> None:
    @app.post(
        "/api/v1/sign-in",
        openapi_extra={"x-example": _SIGN_IN},
    )
    async def sign_in(body: Annotated[dict[str, Any], Body()]) -> dict[str, str]:
        """A token for a user: this is a demonstration, which believes any short name."""
        user = body.get("user")
        if not is_user(user):
            raise ProblemError(422, "invalid", "user has to be a short name of small letters")
        signed = api.issuer.issue(str(user), api.settings().token_s)
        expires = datetime.fromtimestamp(signed.expires_s, UTC)
        return {"token": signed.token, "user": str(user), "expires": expires.isoformat()}


def _applications(app: FastAPI, api: Api) -> None:
    @app.get("/api/v1/applications")
    async def applications(user: User) -> list[dict[str, Any]]:
        """The applications, each in its newest version."""
        return await api.metadata.applications()

    @app.post("/api/v1/applications", status_code=201)
    async def register(user: User, body: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        """Register an application: a command line with typed inputs and outputs.

        To register the same one again changes nothing; another one needs another version.
        """
        try:
            application = of_json(body)
        except ValueError as error:
            raise ProblemError(422, "invalid", str(error)) from None
        if clash := submission.clash(application):
            raise ProblemError(422, "invalid", clash)
        await api.metadata.register(application.as_json(), user)
        return application.as_json()

    @app.get("/api/v1/samples")
    async def the_samples(user: User) -> list[dict[str, Any]]:
        """Small real inputs of the applications that come along."""
        return await asyncio.to_thread(samples)


_FORM: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["application"],
                    "properties": {
                        "application": {"type": "string"},
                        "version": {"type": "string"},
                    },
                    "additionalProperties": {"type": "string"},
                }
            }
        },
    },
    "x-example": (
        'curl -H "Authorization: Bearer $TOKEN" -H "Idempotency-Key: $(uuidgen)" \\\n'
        "  -F application=align -F first=@P69905.fasta -F second=@P68871.fasta"
        " URL/api/v1/experiments"
    ),
}


def _experiments(app: FastAPI, api: Api) -> None:
    at = "/api/v1/experiments"

    @app.post(at, status_code=201, openapi_extra=_FORM)
    async def submit(
        request: Request, user: User, idempotency_key: Annotated[str | None, Header()] = None
    ) -> dict[str, Any]:
        """Submit an experiment: a form with the application's name and a field for each input."""
        return await api.submit(request, user, idempotency_key)

    @app.get(at)
    async def experiments(
        user: User,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        before: str | None = None,
        of: str | None = None,
    ) -> dict[str, Any]:
        """Experiments, the newest first: of all users, or `of` one; what is in them is their
        users' own. `before` is the id of the last one that was seen."""
        return {"experiments": await api.metadata.jobs(of, limit, before)}

    @app.get("/api/v1/counts")
    async def counts(user: User) -> dict[str, int]:
        """How many experiments there are in each state."""
        return await api.metadata.counts()

    @app.get(f"{at}/{{id}}")
    async def experiment(user: User, id: str) -> dict[str, Any]:
        """One experiment, with its inputs, its outputs and the last lines of its log."""
        found = await api.experiment(id, user)
        return {key: value for key, value in found.items() if key not in _INSIDE}

    @app.get(f"{at}/{{id}}/outputs/{{name}}", response_class=FileResponse)
    async def output(user: User, id: str, name: str) -> FileResponse:
        """The file of a result."""
        return await api.output(id, name, user)

    @app.post(f"{at}/{{id}}/cancel")
    async def cancel(user: User, id: str) -> dict[str, Any]:
        """Cancel it, unless it has ended."""
        return await api.cancel(id, user)


# Errors


def _errors(app: FastAPI, api: Api) -> None:
    def answer(status: int, code: str, message: str, *, retry: bool = False) -> JSONResponse:
        headers = {"Retry-After": str(api.settings().retry_after_s)} if retry else {}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        error = {"code": code, "message": message, "retry": retry}
        return JSONResponse({"error": error}, status, headers)

    @app.exception_handler(ProblemError)
    async def problem(request: Request, error: ProblemError) -> JSONResponse:
        return answer(error.status, error.code, str(error), retry=error.retry)

    @app.exception_handler(UnavailableError)
    async def unavailable(request: Request, error: UnavailableError) -> JSONResponse:
        log.warning("%s", error)
        # Of a submission without a key nobody can say whether it was made.
        safe = request.method == "GET" or "idempotency-key" in request.headers
        safe = safe or not request.url.path.endswith("/experiments")
        return answer(503, "unavailable", "the metadata servers do not answer", retry=safe)

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        return answer(error.status, error.code, str(error))

    @app.exception_handler(InvalidInputError)
    async def invalid_input(request: Request, error: InvalidInputError) -> JSONResponse:
        return answer(422, "invalid_input", str(error))

    @app.exception_handler(TooLargeError)
    async def too_large(request: Request, error: TooLargeError) -> JSONResponse:
        return answer(413, "too_large", str(error))

    @app.exception_handler(FileNameError)
    async def no_name(request: Request, error: FileNameError) -> JSONResponse:
        return answer(422, "invalid", str(error))

    @app.exception_handler(TokenError)
    async def no_token(request: Request, error: TokenError) -> JSONResponse:
        return answer(401, "token", str(error))

    @app.exception_handler(StaleError)
    async def stale(request: Request, error: StaleError) -> JSONResponse:
        return answer(503, "stale_keys", "the keys were not heard of for too long", retry=True)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        return answer(422, "invalid", "; ".join(told))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, "http", str(error.detail))

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s", request.method, request.url.path, exc_info=error)
        return answer(500, "internal", "a fault of this server, which is in its log")


class Bounded:
    """An app that reads no more than some bytes of a request; and how many it is at."""

    def __init__(self, app: ASGIApp, bytes_max: Callable[[], int]) -> None:
        self._app = app
        self._bytes_max = bytes_max
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = self._bytes_max()

        async def some() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise ProblemError(413, "too_large", f"more than {self._bytes_max()} bytes")
            return message

        self.requests += 1
        try:
            await self._app(scope, some, send)
        finally:
            self.requests -= 1


async def _report(component: Component[Any], counted: Bounded) -> NoReturn:
    last = -1
    while True:
        if counted.requests != last:
            last = counted.requests
            await component.report(load=float(last))
        await asyncio.sleep(_REPORT_S)


@asynccontextmanager
async def serve(component: Component[Settings], options: Options) -> AsyncIterator[Service]:
    """An API server, between two moments."""
    settings = component.settings
    async with AsyncExitStack() as stack:
        keys = await stack.enter_async_context(KeyStore(component.zk, f"{options.root}/keys"))
        key = await asyncio.to_thread(private_key, options.data / "keys" / f"{options.name}.pem")
        issuer = Issuer(keys, options.name, key)
        await issuer.publish()
        patience_s = settings.current.patience_s
        metadata = await stack.enter_async_context(Metadata(component, patience_s=patience_s))
        http = inside(_TELL_S_MAX)
        await stack.enter_async_context(http)

        async def cancel_at(manager: str, job_id: str) -> None:
            for one in component.directory.everyone("manager"):
                if one.id == manager:
                    try:
                        await http.post(f"http://{one.address}/jobs/{job_id}/cancel")
                    except httpx.HTTPError as error:
                        # It ends unheard: its result will not be recorded.
                        log.info("%s was not told to cancel %s: %s", manager, job_id, error)

        files = DataStore(options.files)
        checker = Checker(keys)
        api = Api(lambda: settings.current, metadata, files, issuer, checker, cancel_at)
        counted = Bounded(make(api, options.version), lambda: settings.current.upload_bytes_max)
        reporting = asyncio.ensure_future(_report(component, counted))
        stack.callback(reporting.cancel)
        yield Service(counted)


if __name__ == "__main__":
    sys.exit(main(KIND, serve, Settings, speaks=SPEAKS))
