"""Who may come in over HTTP: from which page, at which address, to read or to write.

Rules:
- on a loopback port a request names this machine in `Host`, by a loopback address or `localhost`;
  elsewhere by any address, or by a name that is known here. A name that somebody else points at
  this machine opens nothing (DNS rebinding): an address cannot be pointed elsewhere;
- what changes something bears the header `X-Requested-By`, which no page of another site can send
  without asking first, and the answer to that question is no (CSRF). Who asks as Apache's admin
  commands are asked (`Authorization: digest user:password`) need not: a browser sends that of
  itself as little. A browser that says itself that another site asks is believed;
- a port that is read-only refuses every change.
"""

from __future__ import annotations

import base64
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from coterie.console.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.datastructures import Headers

ASKED_BY: Final = "x-requested-by"
READS: Final = frozenset({"GET", "HEAD"})
Identity = tuple[str, str]
"""A user and a password of the digest scheme."""


def _without_port(host: str) -> str:
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0] if name.count(":") <= 1 else name


def is_loopback(host: str) -> bool:
    """Whether a name or an address, with or without a port, is this machine's own."""
    name = _without_port(host)
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _of_root(name: str) -> str:
    """Names are the same with and without the dot at their end."""
    return name.lower().removesuffix(".")


class Access:
    """The rules of one port, which may be asked for by `names`, and by its address."""

    def __init__(self, address: str, *, read_only: bool, names: Iterable[str] = ()) -> None:
        self.read_only = read_only
        self.loopback = is_loopback(address)
        self._names = {_of_root(name) for name in (address, *names) if name}

    def check(self, method: str, headers: Headers, *, changes: bool) -> None:
        """Raises `Problem` for who may not come in, or not for this."""
        host = headers.get("host", "")
        if not self._is_named(host):
            here = "this is served to this machine alone: ask for localhost"
            elsewhere = "this name is not known here: ask for an address, or see admin.hostNames"
            raise Problem(421, here if self.loopback else elsewhere)
        if method not in READS or changes:
            self._check_change(method, headers, host)

    def _is_named(self, host: str) -> bool:
        name = _without_port(host)
        if is_loopback(host) or _of_root(name) in self._names:
            return True
        # A browser always names a host; what asks whether a server lives need not.
        return not self.loopback and (_is_address(name) or not name)

    def _check_change(self, method: str, headers: Headers, host: str) -> None:
        site = headers.get("sec-fetch-site", "none")
        origin = headers.get("origin")
        if site not in ("none", "same-origin") or (
            origin is not None and origin.partition("://")[2].lower() != host.lower()
        ):
            raise Problem(403, "a page of another site may not change anything here")
        if method not in READS and ASKED_BY not in headers and not _is_apaches(headers):
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
    if _is_apaches(headers):
        return _user(encoded.strip())
    if scheme.lower() != "basic":
        raise Problem(401, "only HTTP Basic is understood: a user and a password of digest")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:  # no base64, no ASCII, or no UTF-8
        raise Problem(401, "the credentials cannot be read") from None
    return _user(text)


def _is_apaches(headers: Headers) -> bool:
    """Whether who asks says so as for Apache's admin commands: not by the Digest of HTTP, which
    names its parts."""
    scheme, _, named = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "digest" and "=" not in named.partition(":")[0]


def _user(text: str) -> Identity:
    user, colon, password = text.partition(":")
    if not colon or not user:
        raise Problem(401, "the credentials are no user and password")
    return user, password
