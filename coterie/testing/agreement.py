"""One order of txns for a whole ensemble: what its members propose, log and serve must agree.

Rules, which are Zab's promises:
- a zxid is one txn, and what went before it in its leader's log is before it in every log;
- an epoch has one leader, and all who enter it before its first txn have the same history;
- what a member serves is committed: it follows all that was committed before, for ever.
A txn counts as committed when the first member shows it. From then on `History` says what it came
to, and every client is judged by that.
"""

from __future__ import annotations

from collections.abc import Callable

from coterie.core.tree import Tree
from coterie.testing.history import Violation
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op

_EPOCH_BITS = 32


class Agreement:
    """What all members have said so far. `committed` is told of each txn once, in order."""

    def __init__(self, committed: Callable[[Txn], None]) -> None:
        self.tip = 0
        """The last committed txn."""
        self._committed = committed
        self._proposed: dict[int, tuple[Txn, int]] = {}
        """Each txn, and the one before it in its leader's log."""
        self._places: dict[int, int] = {0: 0}
        """How many committed txns there are up to each of them."""
        self._starts: dict[int, int] = {}
        """The last txn before an epoch, by the epoch's own zxid."""
        self._leaders: dict[int, str] = {}
        self.closing: set[int] = set()
        """The sessions whose end was proposed, committed or not."""

    def txn(self, zxid: int) -> int:
        """The txn that a zxid means, which may be that of an epoch."""
        while zxid in self._starts:
            zxid = self._starts[zxid]
        return zxid

    def proposes(self, member: str, txn: Txn, before_zxid: int) -> None:
        """A leader has numbered a txn."""
        if txn.zxid in self._proposed:
            raise Violation(f"{member} proposes a second txn {txn.zxid:#x}: {txn!r}")
        if self._leaders.get(txn.zxid >> _EPOCH_BITS) != member:
            raise Violation(f"{member} proposes {txn!r} and does not lead its epoch")
        self._proposed[txn.zxid] = (txn, self.txn(before_zxid))
        if txn.type == Op.CLOSE_SESSION:
            self.closing.add(txn.session_id)

    def logs(self, member: str, txn: Txn, before_zxid: int) -> None:
        """A learner has taken a txn over."""
        known = self._proposed.get(txn.zxid)
        if known is None or known[0].encoded != txn.encoded:
            raise Violation(f"{member} logs {txn!r}, which nobody proposed")
        before = self.txn(before_zxid)
        if known[1] != before:
            raise Violation(
                f"{member} logs {txn.zxid:#x} after {before:#x}, its leader after {known[1]:#x}"
            )

    def enters(self, member: str, epoch: int, zxid: int, *, leads: bool) -> None:
        """A member, with all up to a txn in its tree, enters an epoch and serves its clients."""
        txn = self.txn(zxid)
        start = epoch << _EPOCH_BITS
        if leads and self._leaders.setdefault(epoch, member) != member:
            raise Violation(f"{member} leads epoch {epoch}, as {self._leaders[epoch]} does")
        if txn < start and self._starts.setdefault(start, txn) != txn:
            raise Violation(
                f"{member} enters epoch {epoch} with {txn:#x}, others with "
                f"{self._starts[start]:#x}"
            )
        self.serves(member, txn)

    def serves(self, member: str, zxid: int) -> None:
        """A member shows its clients everything up to a txn."""
        txn = self.txn(zxid)
        new: list[int] = []
        while txn not in self._places:
            new.append(txn)
            if txn not in self._proposed:
                raise Violation(f"{member} shows {txn:#x}, which nobody proposed")
            txn = self._proposed[txn][1]
        if new and txn != self.tip:
            raise Violation(
                f"{member} shows {new[-1]:#x} after {txn:#x}; committed is {self.tip:#x}"
            )
        for zxid in reversed(new):
            self._places[zxid] = self._places[self.tip] + 1
            self.tip = zxid
            self._committed(self._proposed[zxid][0])

    def recovered(self, member: str, zxid: int) -> None:
        """A member has started with a log that ends with this txn."""
        txn = self.txn(zxid)
        if txn not in self._proposed and txn not in self._places:
            raise Violation(f"{member} recovered {txn:#x}, which nobody proposed")

    def behind(self, zxid: int) -> int:
        """How many committed txns are beyond this one."""
        return self._places[self.tip] - self._places.get(self.txn(zxid), 0)


def sound(member: str, tree: Tree) -> None:
    """A tree has to have the digest that every txn since said it should have."""
    if tree.digest_mismatches:
        raise Violation(f"{member}: {tree.digest_mismatches} digests did not match")
