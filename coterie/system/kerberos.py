"""Kerberos by the GSSAPI of this machine: contexts of either end, keytabs, the realm.

It is the library of the package `gssapi` (`pip install coterie[kerberos]`), which reads krb5.conf,
and is imported only here and only when it is asked for. Rules:
- the server's end asks nobody: the key in its keytab is enough. A keytab is read anew for each
  context, so a new key counts at once;
- the client's end asks the KDC, which may take seconds: call it in a thread;
- whatever cannot be used is one line, a `KerberosError` before there is a context and a
  `ContextError` after that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from coterie.wire.gssapi import ContextError

if TYPE_CHECKING:
    import gssapi

_KDC_UNREACHABLE: Final = -1765328228 & 0xFFFFFFFF
"""What libkrb5 says when no KDC of a realm answers."""


class KerberosError(ValueError):
    """Kerberos cannot be used as it was asked for; the message says why."""


def demand() -> None:
    """Raises `KerberosError` where Kerberos is not to be had."""
    try:
        import gssapi  # noqa: F401
    except ImportError as error:
        told = "" if getattr(error, "name", None) == "gssapi" else f" ({error})"
        raise KerberosError(
            f"Kerberos needs the package gssapi{told}: pip install 'coterie[kerberos]'"
        ) from None


def default_realm() -> str:
    """The realm that krb5.conf says is this machine's; empty if it says none."""
    demand()
    import gssapi

    try:
        name = gssapi.Name("nobody", gssapi.NameType.kerberos_principal)
        return str(name.canonicalize(gssapi.MechType.kerberos)).partition("@")[2]
    except gssapi.exceptions.GSSError:
        return ""


def acceptor(keytab: str | None, principal: str | None) -> Callable[[], Context]:
    """What makes the server's end of a context, with the key of a principal in a keytab.

    Without a keytab it is the system's, without a principal any that is in it. Raises
    `KerberosError` if there is no such key.
    """
    check(keytab)
    import gssapi

    where = "the system's keytab" if keytab is None else keytab
    try:
        name = None
        if principal is not None:
            name = gssapi.Name(principal, gssapi.NameType.kerberos_principal)
        key = gssapi.Credentials(
            usage="accept",
            name=name,
            mechs=[gssapi.MechType.kerberos],
            store=None if keytab is None else {"keytab": keytab},
        )
    except gssapi.exceptions.GSSError as error:
        whose = "no key" if principal is None else f"no key of {principal}"
        raise KerberosError(f"there is {whose} in {where}: {_words(error)}") from None
    return lambda: Context(gssapi.SecurityContext(creds=key, usage="accept"))


def check(keytab: str | None) -> None:
    """Raises `KerberosError` for a client that cannot begin: without the package, or this file."""
    demand()
    if keytab is not None and not os.access(keytab, os.R_OK):
        raise KerberosError(f"the keytab {keytab} cannot be read")


def initiate(server: str, user: str | None, keytab: str | None) -> Context:
    """The client's end of a context: as a user of a keytab, or by what kinit got.

    `server` is `service@host`, or a whole principal. Raises `ContextError`; asks the KDC.
    """
    import gssapi

    # What a keytab got is in memory, and for whoever in this process has the same.
    own = {"client_keytab": keytab, "ccache": f"MEMORY:coterie {user} {keytab}"}
    flags = gssapi.RequirementFlag
    kind = gssapi.NameType.hostbased_service
    if "/" in server:
        kind = gssapi.NameType.kerberos_principal
    try:
        name = None
        if user is not None:
            name = gssapi.Name(user, gssapi.NameType.kerberos_principal)
        mine = gssapi.Credentials(
            usage="initiate",
            name=name,
            mechs=[gssapi.MechType.kerberos],
            store=None if keytab is None else own,
        )
        context = gssapi.SecurityContext(
            usage="initiate",
            name=gssapi.Name(server, kind),
            creds=mine,
            mech=gssapi.MechType.kerberos,
            flags=flags.mutual_authentication | flags.integrity,
        )
    except gssapi.exceptions.GSSError as error:
        raise _failure(error) from None
    return Context(context)


class Context:
    """One end of a context."""

    __slots__ = ("_context",)

    def __init__(self, context: gssapi.SecurityContext) -> None:
        self._context = context
        context.__DEFER_STEP_ERRORS__ = False  # what is wrong with a token is said at once

    def step(self, token: bytes) -> bytes:
        """The token that answers this one; empty if there is nothing to say."""
        return bytes(self._try(self._context.step, token or None) or b"")

    def stands(self) -> bool:
        """Whether no token is awaited any more."""
        return bool(self._try(lambda: self._context.complete))

    def peer(self) -> str:
        """The name that the other end has proved."""
        try:
            name: str | None = self._try(self._named)
        except UnicodeDecodeError:
            raise ContextError("its name is no UTF-8") from None
        if name is None:
            raise ContextError("it is nobody in particular")
        return name

    def _named(self) -> str | None:
        import gssapi

        context = self._context
        if context.actual_flags & gssapi.RequirementFlag.anonymity:
            return None
        name = context.target_name if context.locally_initiated else context.initiator_name
        return None if name is None else str(name)

    def wrap(self, message: bytes) -> bytes:
        return bytes(self._try(self._context.wrap, message, False).message)

    def unwrap(self, token: bytes) -> bytes:
        return bytes(self._try(self._context.unwrap, token).message)

    def _try(self, call: Callable[..., Any], *given: object) -> Any:
        import gssapi

        try:
            return call(*given)
        except gssapi.exceptions.GSSError as error:
            raise _failure(error) from None


def _failure(error: gssapi.exceptions.GSSError) -> ContextError:
    return ContextError(_words(error), passing=error.min_code == _KDC_UNREACHABLE)


def _words(error: gssapi.exceptions.GSSError) -> str:
    """What the mechanism says where it says anything, for GSSAPI's own words are few."""
    detailed = error.min_code != 0
    said = error.get_all_statuses(error.min_code if detailed else error.maj_code, not detailed)
    return "; ".join(each for each in said if each) or str(error)
