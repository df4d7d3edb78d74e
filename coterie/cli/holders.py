"""What `coterie lock`, `elect` and `register` are held by: each is a recipe."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from coterie.cli import guarded
from coterie.cli.guarded import Holder, Wishes
from coterie.client.client import Client


def run(name: str, given: dict[str, Any]) -> int:
    """Run the command that was given under what `name` says; returns the exit status."""
    make = _MAKERS[name]
    wishes = Wishes(
        hosts=given["hosts"],
        auth=given["auth"],
        timeout_s=given["timeout_s"],
        session_timeout_s=given["session_timeout_s"],
        wait_s=given.get("wait_s"),
        grace_s=given["grace_s"],
        on_lost=given["on_lost"],
        command=given["command"],
        quiet=given["quiet"],
    )

    async def make_holder(zk: Client) -> Holder:
        return await make(zk, given)

    return guarded.run(name, wishes, make_holder)


def _identifier(given: dict[str, Any]) -> bytes:
    name: str = given["name"] or guarded.default_name()
    return name.encode("utf-8", "surrogateescape")


async def _lock(zk: Client, given: dict[str, Any]) -> Holder:
    from coterie.recipes.lock import Lock

    lock = Lock(zk, given["path"], identifier=_identifier(given))
    return cast(Holder, lock)


_MAKERS: dict[str, Callable[[Client, dict[str, Any]], Awaitable[Holder]]] = {"lock": _lock}
