"""A client for one command: it connects, carries out one operation, and says how that ended.

Exit status: 0 fine; 1 the operation was refused, or what was sought is not there; 2 what was typed
is wrong; 3 there was no connection, or the outcome is unknown. Ctrl-C and SIGTERM end the session
cleanly; a command that goes on until then has done what it was to do.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

import click

from coterie.cli import show
from coterie.cli.options import CONNECTION
from coterie.cli.show import Output
from coterie.client.client import Client, connect
from coterie.errors import (
    BadArgumentsError,
    ConnectionLossError,
    NoNodeError,
    OperationTimeoutError,
    SessionExpiredError,
    ZooKeeperError,
)
from coterie.values import AddWatchMode, WatchEvent

REFUSED: Final = 1
USAGE: Final = 2
UNKNOWN: Final = 3
_INTERRUPTED: Final = 128
_SASL: Final = "sasl"
_KERBEROS: Final = "kerberos"
_NO_PARENT: Final = " that is to be its parent (create -p makes it)"

Operation = Callable[..., Coroutine[Any, Any, None]]


class Session:
    """What an operation works with."""

    def __init__(self, zk: Client, out: Output) -> None:
        self.zk = zk
        self.out = out
        self.stays = False
        """Whether the session lives on when the operation is over."""
        self.endless = False
        """Whether only Ctrl-C ends what goes on now."""
        self.watched: dict[str, AddWatchMode] = {}
        """Paths of which this shows what happens while other things go on."""

    def tell(self, event: WatchEvent) -> None:
        """Show an event. To be overridden: only a session that stays has one-shot watches."""
        raise NotImplementedError


def connection(given: dict[str, Any]) -> dict[str, Any]:
    """What `connect` needs of what was given, which is taken out of there.

    `connect` raises `ValueError` for hosts or files that cannot be used.
    """
    hosts, auth, ca, certificate, key = (given.pop(name) for name in CONNECTION)
    wanted: dict[str, Any] = {"hosts": hosts}
    wanted["auth"] = [each for each in auth if each[0] not in (_SASL, _KERBEROS)]
    for scheme, credential in auth:
        if scheme == _SASL:
            user, _, password = credential.partition(":")
            wanted["sasl"] = (user, password)
        if scheme == _KERBEROS:
            from coterie.client.kerberos import Kerberos

            wanted["sasl"] = Kerberos(credential or None)
    if ca or certificate or key:
        from coterie.system.tls import TLSFiles

        wanted["tls"] = TLSFiles(certificate, key, ca=ca)
    return wanted


def find(operation: str) -> Operation:
    """`module:function` of this package."""
    module, _, name = operation.partition(":")
    found: Operation = getattr(import_module(f"coterie.cli.{module}"), name)
    return found


def status_of(error: ZooKeeperError) -> int:
    if isinstance(error, ConnectionLossError | OperationTimeoutError | SessionExpiredError):
        return UNKNOWN
    return USAGE if type(error) is BadArgumentsError else REFUSED


def one_shot(name: str, operation: str, given: dict[str, Any]) -> int:
    """Connect, carry out the operation, and say what went wrong; returns the exit status."""
    out = Output(given.pop("as_json"))
    timeout_s = given.pop("timeout_s")
    try:
        zk = connect(
            **connection(given), call_timeout_s=timeout_s, connect_timeout_s=min(timeout_s, 3.0)
        )
    except ValueError as error:
        out.note(f"coterie {name}: {error}")
        return USAGE
    session = Session(zk, out)
    try:
        signalled = asyncio.run(_carry_out(session, find(operation), given))
    except ZooKeeperError as error:
        complain(out, f"coterie {name}: ", error)
        return status_of(error)
    except KeyboardInterrupt:
        signalled = signal.SIGINT
    if signalled is None or session.endless:
        return 0
    return _INTERRUPTED + signalled


async def _carry_out(
    session: Session, function: Operation, given: dict[str, Any]
) -> signal.Signals | None:
    """Returns the signal that ended it, if it was one."""
    task = asyncio.current_task()
    assert task is not None
    ended_by: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        ended_by.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError, RuntimeError, ValueError):  # Not in the main thread.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end, number)
    try:
        async with session.zk:
            await function(session, **given)
    except asyncio.CancelledError:
        if not ended_by:
            raise
        task.uncancel()
        return ended_by[0]
    return None


def complain(out: Output, prefix: str, error: ZooKeeperError) -> None:
    """One line about what went wrong."""
    if out.as_json:
        click.echo(json.dumps(show.error_fields(error), ensure_ascii=False), err=True)
        return
    is_parent = isinstance(error, NoNodeError) and error.operation == "create"
    out.note(f"{prefix}{error}{_NO_PARENT if is_parent else ''}")
