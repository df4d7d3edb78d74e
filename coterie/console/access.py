"""Who may come in over HTTP: from which page, at which address, to read or to write.

Rules:
- on a loopback port a request names this machine in `Host`, by a loopback address or `localhost`:
  a name that somebody points at 127.0.0.1 opens nothing (DNS rebinding);
- what changes something bears the header `X-Requested-By`, which no page of another site can send
  without asking first, and the answer to that question is no (CSRF). A browser that says itself
  that another site asks is believed;
- a port that is read-only refuses every change.
"""

from __future__ import annotations

import base64
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from coterie.console.problems import Problem

if TYPE_CHECKING:
    from starlette.datastructures import Headers

ASKED_BY: Final = "x-requested-by"
READS: Final = frozenset({"GET", "HEAD"})
Identity = tuple[str, str]
"""A user and a password of the digest scheme."""


def is_loopback(host: str) -> bool:
    """Whether a name or an address, with or without a port, is this machine's own."""
    name = host.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") <= 1:
        name = name.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


class Access:
    """The rules of one port."""

    def __init__(self, address: str, *, read_only: bool) -> None:
        self.read_only = read_only
        self._loopback = is_loopback(address)
        self._address = address.lower()

    def check(self, method: str, headers: Headers, *, changes: bool) -> None:
        """Raises `Problem` for who may not come in, or not for this."""
        host = headers.get("host", "")
        named = host.lower().rpartition(":")[0] if ":" in host else host.lower()
        if self._loopback and not is_loopback(host) and named != self._address:
            raise Problem(421, "this is served to this machine alone: ask for localhost")
        if method not in READS or changes:
            self._check_change(method, headers, host)

    def _check_change(self, method: str, headers: Headers, host: str) -> None:
        site = headers.get("sec-fetch-site", "none")
        origin = headers.get("origin")
        if site not in ("none", "same-origin") or (
            origin is not None and origin.partition("://")[2].lower() != host.lower()
        ):
            raise Problem(403, "a page of another site may not change anything here")
        if method not in READS and ASKED_BY not in headers:
            raise Problem(403, "what changes something needs the header X-Requested-By")

    def check_write(self) -> None:
        """Raises `Problem` where nothing may be changed."""
        if self.read_only:
            raise Problem(403, "this port is read-only: admin.readOnly=false opens it")


def identity(headers: Headers) -> Identity | None:
    """Who asks, by HTTP Basic; None for nobody in particular. Raises `Problem`."""
    given = headers.get("authorization")
    if given is None:
        return None
    scheme, _, encoded = given.partition(" ")
    if scheme.lower() != "basic":
        raise Problem(401, "only HTTP Basic is understood: a user and a password of digest")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:  # no base64, no ASCII, or no UTF-8
        raise Problem(401, "the credentials cannot be read") from None
    user, colon, password = text.partition(":")
    if not colon or not user:
        raise Problem(401, "the credentials are no user and password")
    return user, password
