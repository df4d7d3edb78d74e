"""Every event a server machine takes and every effect it asks for: the vocabulary on one page.

Events are method calls on a member (`standalone.Standalone`, `member.Member`):

    of clients   connected, receive, drained, resume, disconnected
    of members   accepted, opened, heard, drained_link, lost
    of the disk  synced, log_failed, epochs_saved, truncated, installed, log_read
    of time      tick

Effects pile up between two `take()`s and need no order among themselves. Rules: effects are
lists, one for each kind, so that nothing is allocated for a request but its reply; a machine
never acts on the outside world by itself. What a driver finds in the `out` of the connection or
link that it just handed over it may send without being asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from coterie.core.audit import Told
    from coterie.core.connection import Connection
    from coterie.core.link import Link
    from coterie.core.tree import Tree
    from coterie.wire.numbered import Txn


class Epochs(NamedTuple):
    """What a member must not forget of Zab: the newest epoch that it has promised to take part
    in, and the one whose leader it has last followed or been."""

    accepted: int
    current: int


class Effects:
    """What a machine wants done since it was last asked."""

    __slots__ = (
        "appends",
        "audits",
        "closes",
        "dials",
        "install",
        "link_closes",
        "link_outputs",
        "log_reads",
        "notes",
        "outputs",
        "resumes",
        "save_epochs",
        "truncate_after",
    )

    def __init__(self) -> None:
        self.appends: list[Txn] = []
        """Write these to the log, in this order; tell `synced(zxid)` when they are durable."""
        self.outputs: list[Connection] = []
        """These connections have bytes in `out`: send them."""
        self.closes: list[Connection] = []
        """Close these once what they have in `out` is sent, then tell `disconnected`."""
        self.resumes: list[Connection] = []
        """These are no longer on hold: read from them again, and tell `resume`."""
        self.audits: list[Told] = []
        """Changes that somebody asked for, and what became of them: for the audit log."""
        self.notes: list[str] = []
        """What an operator should know, one line each: the core's only log."""
        self.dials: list[Link] = []
        """Connect these; tell `opened` or `lost`."""
        self.link_outputs: list[Link] = []
        """These links have bytes in `out`: send them; tell `drained_link` when they are sent."""
        self.link_closes: list[Link] = []
        """Close these once what they have in `out` is sent, then tell `lost`."""
        self.save_epochs: Epochs | None = None
        """Make these durable, then tell `epochs_saved`; before, nothing else is asked."""
        self.truncate_after: int | None = None
        """Delete every txn beyond this zxid from the log, recover the tree anew, then tell
        `truncated` with it. Asked only when all appends are synced."""
        self.install: Tree | None = None
        """A leader sent its whole tree: make a snapshot of it durable and the log begin behind it,
        then tell `installed`. Asked only when all appends are synced."""
        self.log_reads: list[tuple[Link, int, int]] = []
        """Read from the log the txns beyond the first zxid and up to the second, if that is worth
        while, then tell `log_read`."""

    def __bool__(self) -> bool:
        return bool(
            self.appends
            or self.outputs
            or self.closes
            or self.resumes
            or self.notes
            or self.audits
            or self.dials
            or self.link_outputs
            or self.link_closes
            or self.save_epochs is not None
            or self.truncate_after is not None
            or self.install is not None
            or self.log_reads
        )
