"""The recent committed txns, and the choice of DIFF, TRUNC or SNAP for a learner.

A learner tells its last zxid. It is brought to this history by the txns that it lacks (DIFF), by
having the end of its log cut off first (TRUNC), or by the whole tree (SNAP). What that rests on:
- a zxid is given once, and whoever has logged one has logged before it all that its leader had.
  So a learner that is at a txn of this history, or beyond it in the same epoch, has this history
  up to that txn;
- the zxid with which an epoch begins (its low half is 0) is no txn. A learner is there only when
  that epoch's leader was established: it has all that was committed in earlier epochs, and no
  more.
The rules are ZooKeeper's (`LearnerHandler.syncFollower`) but where it has lost data, or where it
knows less of what it has sent away from memory:
- txns that leave a gap are never sent (ZOOKEEPER-4925): one that does not follow the txn before it
  makes this history begin anew;
- a log on the disk may have a gap that no zxid shows, where a server was sent a whole tree and
  went on in a new epoch (ZOOKEEPER-2846). So it is believed from one epoch to another only where
  this history has seen the one end and the other begin;
- a learner is never told to cut its log off in an earlier epoch than its own: it may have nothing
  of that any more but a snapshot, and ZooKeeper's learner then ends its process;
- one whose end of a log was never committed is sent TRUNC and what it lacks also when an epoch
  has begun since; ZooKeeper sends the whole tree.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from coterie.wire.numbered import Txn, follows
from coterie.wire.peers import Kind

READ_LOG: Final = 0
"""A plan's kind: the learner is behind what is in memory, but perhaps not behind the log."""
_EPOCH: Final = 2**32


class Plan(NamedTuple):
    """What a learner is sent: a packet of this kind with this zxid, then these txns, committed."""

    kind: int
    zxid: int
    txns: list[Txn]


class History:
    """The last committed txns, those beyond `min_zxid` and up to `max_zxid`.

    It begins behind `zxid`: the last txn in the tree, or an epoch's beginning.
    """

    def __init__(self, zxid: int, count_max: int = 500, bytes_max: int = 64 * 2**20) -> None:
        self.min_zxid = self.max_zxid = zxid
        self._begin_zxid = zxid
        """All that was committed beyond this was added here, so the log has it without a gap."""
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._txns: deque[Txn] = deque()
        self._bytes = 0
        self._held_zxid: int | None = None
        """While the log is read up to here, what is beyond stays, as far as there is room."""

    def add(self, txn: Txn) -> None:
        """The next txn was committed."""
        assert txn.zxid >= self.max_zxid
        if follows(txn.zxid, self.max_zxid):
            self._txns.append(txn)
            self._bytes += len(txn.encoded)
        else:
            self._txns.clear()
            self._bytes = 0
            self.min_zxid = self._begin_zxid = txn.zxid
        self.max_zxid = txn.zxid
        while self._is_full():
            oldest = self._txns.popleft()
            self._bytes -= len(oldest.encoded)
            self.min_zxid = oldest.zxid

    def _is_full(self) -> bool:
        if self._bytes > self._bytes_max:
            return True
        if len(self._txns) <= self._count_max:
            return False
        return self._held_zxid is None or self._txns[0].zxid <= self._held_zxid

    def plan(self, peer_zxid: int, applied_zxid: int, *, log_allowed: bool) -> Plan:
        """What to send to a learner whose last zxid is `peer_zxid`.

        `applied_zxid` is the last one in the tree. The answer is `READ_LOG` only where the log
        may be read; `plan_with_log` has to follow.
        """
        if peer_zxid == applied_zxid:
            return Plan(Kind.DIFF, peer_zxid, [])
        if peer_zxid < self.min_zxid:
            if not log_allowed:
                return Plan(Kind.SNAP, applied_zxid, [])
            self._held_zxid = self.max_zxid
            return Plan(READ_LOG, 0, [])
        lacks = self._beyond(peer_zxid)
        common = self._last_until(peer_zxid)
        if common == peer_zxid or peer_zxid % _EPOCH == 0:
            return Plan(Kind.DIFF, max(self.max_zxid, peer_zxid), lacks)
        if common // _EPOCH == peer_zxid // _EPOCH and common % _EPOCH:
            return Plan(Kind.TRUNC, common, lacks)
        return Plan(Kind.SNAP, applied_zxid, [])

    def plan_with_log(self, peer_zxid: int, applied_zxid: int, logged: list[Txn] | None) -> Plan:
        """The same once the log was read.

        `logged` is what it has beyond `peer_zxid`, or None if it does not have that txn itself.
        """
        self._held_zxid = None
        last_zxid = peer_zxid
        txns: list[Txn] = []
        for txn in logged or ():
            if txn.zxid > self.min_zxid:
                break
            if not self._follows_in_log(txn.zxid, last_zxid):
                return Plan(Kind.SNAP, applied_zxid, [])
            txns.append(txn)
            last_zxid = txn.zxid
        if last_zxid != self.min_zxid:
            return Plan(Kind.SNAP, applied_zxid, [])
        return Plan(Kind.DIFF, self.max_zxid, txns + list(self._txns))

    def _follows_in_log(self, zxid: int, last_zxid: int) -> bool:
        """Whether there was surely nothing between two txns of the log."""
        if zxid == last_zxid + 1:
            return True
        return last_zxid >= self._begin_zxid and follows(zxid, last_zxid)

    def _last_until(self, zxid: int) -> int:
        """The last txn of this history up to `zxid`."""
        found = self.min_zxid
        for txn in self._txns:
            if txn.zxid > zxid:
                break
            found = txn.zxid
        return found

    def _beyond(self, zxid: int) -> list[Txn]:
        return [txn for txn in self._txns if txn.zxid > zxid]
