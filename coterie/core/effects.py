"""Every event a server machine takes and every effect it asks for: the vocabulary on one page.

Events are method calls on `member.Standalone`: `connected`, `receive`, `resume`, `disconnected`,
`tick`, `synced` and `log_failed`. Effects pile up between two `take()`s and need no order among
themselves. Rules: effects are lists, one for each kind, so that nothing is allocated for a
request but its reply; a machine never acts on the outside world by itself. What a driver finds in
the `out` of the connection that it just handed over it may send without being asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coterie.core.connection import Connection
    from coterie.wire.txns import Txn


class Effects:
    """What a machine wants done since it was last asked."""

    __slots__ = ("appends", "closes", "notes", "outputs", "resumes")

    def __init__(self) -> None:
        self.appends: list[Txn] = []
        """Write these to the log, in this order; tell `synced(zxid)` when they are durable."""
        self.outputs: list[Connection] = []
        """These connections have bytes in `out`: send them."""
        self.closes: list[Connection] = []
        """Close these once what they have in `out` is sent, then tell `disconnected`."""
        self.resumes: list[Connection] = []
        """These are no longer on hold: read from them again, and tell `resume`."""
        self.notes: list[str] = []
        """What an operator should know, one line each: the core's only log."""

    def __bool__(self) -> bool:
        return bool(self.appends or self.outputs or self.closes or self.resumes or self.notes)
