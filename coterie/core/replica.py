"""What one member of an ensemble holds whatever its role: tree, place in the log, epochs, links.

Rules:
- a txn is *logged* when it was handed to the disk, *synced* when the disk has it, *applied* when
  it is committed and in the tree; `pending` is what is logged and not applied, in zxid order;
- what a role says to other members it says by `send`, which pays for one output a turn;
- nothing is asked of the disk while another request but an append is under way (`settling`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from coterie.config import Config
from coterie.core.effects import Epochs
from coterie.core.front import Front
from coterie.core.history import History
from coterie.core.link import Link
from coterie.core.prepare import Write
from coterie.core.quota import Quotas
from coterie.core.sessions import Sessions, first_id
from coterie.core.tree import Tree
from coterie.wire.numbered import Txn

if TYPE_CHECKING:
    from coterie.ensemble import Ensemble

EPOCH_SHIFT: Final = 32
"""A zxid is an epoch, and in its low half the number of the txn in that epoch."""


def epoch_of(zxid: int) -> int:
    return zxid >> EPOCH_SHIFT


def counter_of(zxid: int) -> int:
    """How many txns its epoch has up to this one."""
    return zxid & 0xFFFFFFFF


class Replica(Front):
    """The state of a member, and the effects that its roles share."""

    def __init__(
        self,
        config: Config,
        tree: Tree,
        logged_zxid: int,
        epochs: Epochs,
        now_ms: float,
        wall_ms: int,
    ) -> None:
        assert config.ensemble is not None
        super().__init__(config, tree, config.server_id, now_ms, wall_ms)
        self.id = config.server_id
        self.ensemble: Ensemble = config.ensemble
        self.epochs = epochs
        self.pending: deque[Txn] = deque()
        self.logged_zxid = self.synced_zxid = logged_zxid
        self.applied_zxid = logged_zxid
        """The last txn in the tree. `tree.zxid`, which clients see, may be the epoch's own."""
        self.settling = False
        self.starts_anew = False
        """What it has cannot be brought to agree with a leader: it needs the whole tree."""
        self.failing_since_ms: float | None = None
        self.history = History(logged_zxid, config.commit_log_count)
        self.packet_bytes_max = 2 * config.frame_bytes_max + 2**20
        """The longest packet between members: a multi is longer as a txn than as a request."""
        self.log_sync_allowed = config.snapshot_size_factor >= 0
        self.server.serving = False

    @property
    def outstanding_txns(self) -> int:
        return len(self.pending)

    @property
    def votes(self) -> bool:
        """Whether this member is one of those who elect and acknowledge."""
        return self.id in self.ensemble.voters

    @property
    def quiet(self) -> bool:
        """Whether the disk has all that it was given, and works."""
        return self.synced_zxid == self.logged_zxid and not self.settling and self.failure is None

    def note(self, text: str) -> None:
        self.effects.notes.append(text)

    # The disk

    def log(self, txn: Txn) -> None:
        """Have a txn logged; it waits for its commit."""
        assert not self.settling
        self.logged_zxid = txn.zxid
        self.pending.append(txn)
        self.effects.appends.append(txn)

    def save_epochs(self, accepted: int, current: int) -> None:
        """Ask for these to be made durable; `epochs_saved` says that they are."""
        assert not self.settling
        assert accepted >= self.epochs.accepted
        assert current >= self.epochs.current
        self.settling = True
        self.epochs = self.effects.save_epochs = Epochs(accepted, current)

    def apply(self, write: Write | None = None) -> Txn:
        """The oldest pending txn is committed: put it into the tree, and answer its write."""
        txn = self.pending.popleft()
        self.applied_zxid = txn.zxid
        if self.server.serving:
            self.server.commit(txn, write)
        else:
            self.tree.apply(txn)
        self.history.add(txn)
        return txn

    def apply_all(self) -> None:
        """All that is logged belongs to the history that this member is now part of."""
        while self.pending:
            self.apply()

    def replace(self, tree: Tree, zxid: int) -> None:
        """Another tree is this member's state, as it is after txn `zxid`."""
        self.pending.clear()
        self.server.tree = tree
        self.logged_zxid = self.synced_zxid = self.applied_zxid = zxid
        self.history = History(zxid, self.config.commit_log_count)

    def begin_epoch(self, epoch: int) -> None:
        """An epoch is established: clients see its number from its first read on."""
        tree = self.tree
        tree.checks_digest = True
        tree.zxid = max(tree.zxid, epoch << EPOCH_SHIFT)
        text = self.ensemble.text().encode()
        tree.set_config(text, self.ensemble.version, self.wall_ms)
        self.quotas = Quotas(tree, self.config.enforce_quota)

    def new_sessions(self) -> Sessions:
        """The sessions of a new role, none as yet."""
        first = first_id(self.id, self.wall_ms, self.tree.zxid)
        return Sessions(self.config.tick_time_ms, first, self.tree.sessions)

    def fails_too_long(self) -> bool:
        """Whether the disk has not worked for so long that another should do the work."""
        since_ms = self.failing_since_ms
        return since_ms is not None and self.now_ms - since_ms > self.config.sync_limit_ms

    # Other members

    def send(self, link: Link, data: bytes) -> None:
        if link.gone or link.closing:
            return
        link.out.append(data)
        if not link.touched:
            link.touched = True
            self.effects.link_outputs.append(link)

    def dial(self, link: Link) -> None:
        self.effects.dials.append(link)

    def close(self, link: Link) -> None:
        """Close a link once its output is sent; nothing more is heard from it."""
        if not link.closing and not link.gone:
            link.closing = True
            self.effects.link_closes.append(link)
