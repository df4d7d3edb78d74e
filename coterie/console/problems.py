"""Errors as JSON problem documents (RFC 9457), with ZooKeeper's code where it has one.

What ZooKeeper refuses is told by the HTTP status that means the same, so that a client that knows
nothing of ZooKeeper does the right thing: 409 what is in the way, 412 another version, 503 what
may be tried again. `outcome` is `unknown` where a write may have taken effect.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from starlette.responses import JSONResponse

from coterie import errors
from coterie.errors import OutcomeUnknown, UnknownError, ZooKeeperError

CONTENT_TYPE: Final = "application/problem+json"

_STATUSES: Final[dict[type[ZooKeeperError], int]] = {
    errors.NoNodeError: 404,
    errors.NodeExistsError: 409,
    errors.NotEmptyError: 409,
    errors.NoChildrenForEphemeralsError: 409,
    errors.BadVersionError: 412,
    errors.NoAuthError: 403,
    errors.AuthFailedError: 403,
    errors.AuthenticationRequiredError: 403,
    errors.TooLargeError: 413,
    errors.BadArgumentsError: 400,
    errors.InvalidACLError: 400,
    errors.MarshallingError: 400,
    errors.UnimplementedError: 501,
    errors.QuotaExceededError: 507,
    errors.ConnectionLossError: 503,
    errors.OperationTimeoutError: 504,
    errors.RequestTimeoutError: 504,
    errors.SessionExpiredError: 503,
    errors.SessionMovedError: 503,
    errors.NotReadOnlyError: 503,
    errors.ThrottledError: 503,
    errors.ServerFailureError: 503,
}


class Problem(Exception):  # noqa: N818
    """Something that HTTP itself is about: the status, and one line for people."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def status_of(error: ZooKeeperError) -> int:
    for kind in type(error).__mro__:
        if kind in _STATUSES:
            return _STATUSES[kind]
    return 500


def document(error: ZooKeeperError) -> dict[str, Any]:
    """What ZooKeeper said."""
    code = error.unknown_code if isinstance(error, UnknownError) else error.code
    name = type(error).__name__.removesuffix("Error")
    found = {"type": "about:blank", "title": name, "code": code, "detail": str(error)}
    if error.path is not None:
        found["path"] = error.path
    if isinstance(error, OutcomeUnknown):
        found["outcome"] = "unknown"
    return found


def answer(error: ZooKeeperError | Problem, more: dict[str, Any] | None = None) -> JSONResponse:
    """The response that tells of an error."""
    headers = None
    if isinstance(error, Problem):
        status, headers = error.status, error.headers
        told: dict[str, Any] = {"title": HTTPStatus(status).phrase, "detail": error.detail}
    else:
        status, told = status_of(error), document(error)
    told = {**told, "status": status, **(more or {})}
    return JSONResponse(told, status, headers, media_type=CONTENT_TYPE)
