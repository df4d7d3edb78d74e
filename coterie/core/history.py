"""Recent committed txns, and what brings a peer with another history up to date.

The choice between DIFF, TRUNC and SNAP is that of ZooKeeper's `LearnerHandler.syncFollower`, where
that is safe; where it is not certain that the peer's log agrees with ours, it gets the whole tree.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from coterie.wire.peers import Kind
from coterie.wire.txns import Txn, follows

READ_LOG: Final = 0
"""A plan's kind: what is in memory does not reach back far enough, the log may."""

_COUNTER: Final = 2**32 - 1
_BYTES_MAX: Final = 64 * 2**20


class Plan(NamedTuple):
    """What a peer is sent: a packet of this kind with this zxid, then these txns, committed."""

    kind: int
    zxid: int
    txns: list[Txn]


class History:
    """The last committed txns, without a gap, from behind `zxid` on."""

    def __init__(self, zxid: int, count_max: int = 500, bytes_max: int = _BYTES_MAX) -> None:
        self._base_zxid = zxid
        """The txn (or the epoch) before the first in memory."""
        self._txns: deque[Txn] = deque()
        self._bytes = 0
        self._count_max = count_max
        self._bytes_max = bytes_max

    def add(self, txn: Txn) -> None:
        """The next txn was committed."""
        self._txns.append(txn)
        self._bytes += len(txn.encoded)
        while len(self._txns) > self._count_max or self._bytes > self._bytes_max:
            gone = self._txns.popleft()
            self._base_zxid = gone.zxid
            self._bytes -= len(gone.encoded)

    @property
    def min_zxid(self) -> int:
        return self._txns[0].zxid if self._txns else self._base_zxid

    @property
    def max_zxid(self) -> int:
        return self._txns[-1].zxid if self._txns else self._base_zxid

    def _beyond(self, zxid: int) -> list[Txn]:
        return [txn for txn in self._txns if txn.zxid > zxid]

    def plan(self, peer_zxid: int, applied_zxid: int, *, log_allowed: bool) -> Plan:
        """What to send to a peer whose log ends with `peer_zxid`."""
        whole = Plan(Kind.SNAP, applied_zxid, [])
        last = self.max_zxid
        if peer_zxid == applied_zxid:
            return Plan(Kind.DIFF, peer_zxid, [])
        if not peer_zxid & _COUNTER and self._base_zxid <= peer_zxid:
            # An epoch's beginning: the peer has all that was before it, and nothing since.
            return Plan(Kind.DIFF, max(last, peer_zxid), self._beyond(peer_zxid))
        if peer_zxid > last:
            return Plan(Kind.TRUNC, last, []) if last & _COUNTER else whole
        if peer_zxid < self._base_zxid:
            return Plan(READ_LOG, 0, []) if log_allowed else whole
        known = [self._base_zxid, *(txn.zxid for txn in self._txns)]
        common = max(zxid for zxid in known if zxid <= peer_zxid)
        if common == peer_zxid:
            return Plan(Kind.DIFF, last, self._beyond(common))
        if common >> 32 != peer_zxid >> 32 or not common & _COUNTER:
            # What the peer has of other epochs need not be what we have.
            return whole
        return Plan(Kind.TRUNC, common, self._beyond(common))

    def plan_with_log(self, peer_zxid: int, applied_zxid: int, logged: list[Txn] | None) -> Plan:
        """The same with what the log has beyond `peer_zxid`, or None where it has not."""
        whole = Plan(Kind.SNAP, applied_zxid, [])
        if not logged:
            return whole
        txns = logged + self._beyond(logged[-1].zxid)
        before = peer_zxid
        for txn in txns:
            if not follows(txn.zxid, before):
                return whole
            before = txn.zxid
        return Plan(Kind.DIFF, before, txns) if before == self.max_zxid else whole
