"""A member of an ensemble in a simulation: its links, and what it asks of its disk.

The twin of `runtime/peers.py` and of what `runtime/driver.py` does for members. `Watched` is the
real member, and tells the simulation what it logs and shows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from coterie.core.leader import Leader
from coterie.core.link import ELECTION, QUORUM, Link
from coterie.core.member import Member
from coterie.storage.errors import StorageError, StorageFailedError
from coterie.testing.agreement import Agreement, sound
from coterie.testing.faults import ELECTION_PORT, QUORUM_PORT

if TYPE_CHECKING:
    from coterie.core.effects import Effects
    from coterie.core.election import Vote
    from coterie.core.prepare import Write
    from coterie.testing.host import Host, Life
    from coterie.testing.transport import End
    from coterie.wire.numbered import Txn

_NOTED: Final = {
    ": DIFF ": "a learner got a DIFF",
    ": TRUNC ": "a learner got a TRUNC",
    ": SNAP ": "a learner got a SNAP",
    "finds no leader": "a member served reads without a leader",
}


class Watched(Member):
    """A member whose steps are compared with those of the others."""

    host: Host
    agreement: Agreement

    def log(self, txn: Txn) -> None:
        before_zxid = self.logged_zxid
        super().log(txn)
        if isinstance(self.role, Leader):
            self.agreement.proposes(self.host.name, txn, before_zxid)
        else:
            self.agreement.logs(self.host.name, txn, before_zxid)

    def apply(self, write: Write | None = None) -> Txn:
        # What is committed by this is so before any client hears of it.
        if self.server.serving:
            self.agreement.serves(self.host.name, self.pending[0].zxid)
        txn = super().apply(write)
        sound(self.host.name, self.tree)
        return txn

    def begin_epoch(self, epoch: int) -> None:
        super().begin_epoch(epoch)
        leads = isinstance(self.role, Leader)
        self.agreement.enters(self.host.name, epoch, self.applied_zxid, leads=leads)
        self.host.witness.entered(epoch)
        self.host.witness.note("enters", self.host.name, epoch, self.applied_zxid)

    def note(self, text: str) -> None:
        super().note(text)
        for known, mark in _NOTED.items():
            if known in text and ("leads epoch" in text or known.startswith("finds")):
                self.host.witness.mark(mark)

    def _play(self, vote: Vote) -> None:
        super()._play(vote)
        if isinstance(self.role, Leader):
            self.host.witness.leads(self.host)

    def _leave(self, reason: str) -> None:
        role = self.role
        if isinstance(role, Leader) and role.established:
            self.host.witness.mark("a leader was deposed")
            if self.pending:
                self.host.witness.mark("a leader was deposed with uncommitted proposals")
        super()._leave(reason)


class Links:
    """The links of one life, and the jobs that its disk does for them."""

    def __init__(self, life: Life, member: Watched) -> None:
        self.member = member
        self._life = life
        self._ends: dict[Link, LinkEnd] = {}
        network, name = life.host.network, life.host.name
        for port, kind in ((ELECTION_PORT, ELECTION), (QUORUM_PORT, QUORUM)):
            network.listen((name, port), partial(self._accept, kind))

    def _accept(self, kind: str, end: End) -> LinkEnd:
        link = Link(kind)
        made = self._ends[link] = LinkEnd(self._life, self, link)
        made.end = end
        self._life.begin()
        self.member.accepted(link)
        return made

    def carry_out(self, effects: Effects) -> None:
        """Dial, send, close, and have the disk do what is asked of it."""
        network, name = self._life.host.network, self._life.host.name
        for link in effects.dials:
            made = self._ends[link] = LinkEnd(self._life, self, link)
            made.end = network.connect(name, link.addresses[0], made)
        for link in effects.link_outputs:
            self._with(link, LinkEnd.send)
        for link in effects.link_closes:
            self._with(link, LinkEnd.close)
        self._disk(effects)

    def _with(self, link: Link, action: Callable[[LinkEnd], None]) -> None:
        end = self._ends.get(link)
        if end is not None:
            action(end)

    def forget(self, link: Link) -> None:
        self._ends.pop(link, None)

    def _disk(self, effects: Effects) -> None:
        member, store = self.member, self._life.store
        if effects.save_epochs is not None:
            save = partial(store.save_epochs, effects.save_epochs)
            self._settle(save, lambda _: member.epochs_saved())
        if effects.truncate_after is not None:
            zxid = effects.truncate_after
            truncate = partial(store.truncate_after, zxid)
            self._settle(truncate, lambda tree: member.truncated(zxid, tree))
        if effects.install is not None:
            install = partial(store.install, effects.install)
            self._settle(install, lambda _: member.installed())
        for link, after_zxid, until_zxid in effects.log_reads:
            read = partial(store.log_since, after_zxid, until_zxid, 2**20)
            self._job(read, partial(self._log_was_read, link))

    def _log_was_read(self, link: Link, txns: list[Txn] | None, failed: bool) -> None:
        if txns is not None:
            self._life.host.witness.mark("a learner was brought up to date from the log on disk")
        self.member.log_read(link, txns)

    def _settle(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        life = self._life
        life.drop_snapshot()

        def ended(result: Any, failure: str) -> None:
            if failure:
                life.host.witness.mark("the disk failed at more than an append")
                self.member.log_failed(failure)
                life.after(life.host.plan.retry_ms, partial(self._settle, job, done))
            else:
                done(result)

        self._job(job, ended)

    def _job(self, job: Callable[[], Any], ended: Callable[[Any, Any], None]) -> None:
        """What another thread does: it takes a while, and so does the news of it."""
        life = self._life

        def work() -> None:
            result, failure = None, ""
            try:
                result = job()
            except StorageFailedError as error:
                failure = str(error)
            except StorageError as error:
                # No log for a learner, no tree for this member: the leader's serves both.
                life.host.witness.note("cannot", life.host.name, str(error))
                life.host.witness.mark("what is on the disk did not serve, a whole tree has to")
            life.after(life.pause_ms(), partial(tell, result, failure))

        def tell(result: Any, failure: str) -> None:
            life.begin()
            ended(result, failure)

        life.after(life.pause_ms(), work)


class LinkEnd:
    """This member's end of one link."""

    __slots__ = ("_life", "_links", "end", "link")

    def __init__(self, life: Life, links: Links, link: Link) -> None:
        self.link = link
        self.end: End
        self._life = life
        self._links = links

    def opened(self) -> None:
        if self._life.over:
            return
        if self.link.closing:
            self.close()
            return
        self._life.begin()
        self._links.member.opened(self.link)

    def received(self, data: bytes) -> None:
        if self._life.over or self.link.closing:
            return
        self._life.begin()
        self._life.chunks += 1
        self._links.member.heard(self.link, data)

    def lost(self) -> None:
        if self._life.over:
            return
        self._links.forget(self.link)
        self._life.begin()
        self._links.member.lost(self.link)

    def send(self) -> None:
        link = self.link
        if link.out:
            self.end.send(b"".join(link.out))
            link.out.clear()
        if link.streaming:
            self._life.after(self._life.host.plan.delay_ms, self._drained)

    def _drained(self) -> None:
        if not self.link.gone:
            self._life.begin()
            self._links.member.drained_link(self.link)

    def close(self) -> None:
        self.send()
        self.end.close()
