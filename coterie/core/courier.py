"""The connections that carry notifications between members, as a machine.

Rules: between two members there is one connection, and the higher id dials it: who has the lower
one dials only to say who it is, and is dialled back. Connections are wanted while there is
something to say, not for themselves. Of what waits for a connection only the newest is kept, and
the last that was said on a connection is said again on the next, because it may have been lost
with it; members do not mind hearing things twice.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from coterie.core.link import ELECTION, Endpoint, Link
from coterie.core.remarks import STRANGERS_MS, Remarks
from coterie.errors import MarshallingError
from coterie.wire.framing import Framing, frames
from coterie.wire.peers import MAX_LONG, Initial, read_initial

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from coterie.core.effects import Effects
    from coterie.ensemble import Ensemble

_LENGTH: Final = struct.Struct(">i")
_MESSAGE_BYTES_MAX: Final = 512 * 1024
_INBOX_MAX: Final = 1000
"""Older ones are forgotten, as in Apache's queue of 100; members repeat what matters."""
_STRANGERS_MAX: Final = 64
"""Connections that have not said yet who they are, and members that the ensemble does not know."""
_ADDRESSES_MAX: Final = 4
"""Each costs an attempt, and no other is made meanwhile."""
_BACKOFF_MS: Final = 200.0
_BACKOFF_MS_MAX: Final = 2000.0


class _Peer:
    """What is kept of one other member."""

    __slots__ = (
        "attempts",
        "dial_by",
        "dialled_at",
        "dialling",
        "dials_from",
        "framing",
        "heard_at",
        "last",
        "link",
        "since",
        "unsaid",
        "unsaid_until",
    )

    def __init__(self) -> None:
        self.link: Link | None = None
        """Open, and both ends know who is there."""
        self.since = 0.0
        self.framing = Framing(_MESSAGE_BYTES_MAX)
        self.dialling: Link | None = None
        self.dialled_at = 0.0
        self.dial_by = 0.0
        """When an attempt that got no answer is given up."""
        self.dials_from = 0.0
        """When the next attempt is due."""
        self.attempts = 0
        """Since anything was heard."""
        self.heard_at: tuple[Endpoint, ...] = ()
        """Where it says that it can be dialled."""
        self.unsaid: bytes | None = None
        self.unsaid_until = 0.0
        self.last: bytes | None = None


class _Stranger:
    """What is kept of a connection that has not said who it is."""

    __slots__ = ("data", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.data = b""


class Courier:
    """Carries messages to members by id; what was heard is in `inbox`."""

    __slots__ = (
        "_effects",
        "_observer_ids",
        "_peers",
        "_random",
        "_remarks",
        "_strangers",
        "address",
        "connect_ms_max",
        "ensemble",
        "inbox",
        "introduce_ms_max",
        "joiners",
        "my_id",
        "unsaid_ms_max",
    )

    def __init__(
        self,
        my_id: int,
        ensemble: Ensemble,
        effects: Callable[[], Effects],
        random: Random,
        *,
        address: Endpoint | None = None,
        joiners: bool = False,
        connect_ms_max: float = 5000,
        introduce_ms_max: float = 10_000,
        unsaid_ms_max: float = 60_000,
    ) -> None:
        self.my_id = my_id
        self.ensemble = ensemble
        """Who there is, and where; the owner replaces it."""
        self.address = address
        """Where this member can be dialled, if it is not where the ensemble says."""
        self.joiners = joiners
        """Whether members that the ensemble does not know are heard: so they join one whose
        configuration may change."""
        self.connect_ms_max = connect_ms_max
        self.introduce_ms_max = introduce_ms_max
        self.unsaid_ms_max = unsaid_ms_max
        """How long a message is worth dialling for."""
        self.inbox: list[tuple[int, bytes]] = []
        """Who said what, in order; the owner drains it."""
        self._effects = effects
        self._random = random
        self._peers: dict[int, _Peer] = {}
        self._strangers: dict[Link, _Stranger] = {}
        self._observer_ids = 0
        self._remarks = Remarks(every_ms=STRANGERS_MS)

    # What the owner asks

    def send(self, peer: int, payload: bytes, now_ms: float) -> None:
        """Say this to that member, now or as soon as there is a connection."""
        assert peer != self.my_id
        kept = self._peers.get(peer)
        if kept is None:
            kept = self._peers[peer] = _Peer()
        if kept.link is not None:
            self._say(kept, kept.link, payload)
            return
        kept.unsaid = payload
        kept.unsaid_until = now_ms + self.unsaid_ms_max
        self._dial_if_due(peer, kept, now_ms)

    def tick(self, now_ms: float) -> None:
        for link, stranger in list(self._strangers.items()):
            if now_ms >= stranger.since + self.introduce_ms_max:
                self._close(link)
        for peer in sorted(self._peers):
            kept = self._peers[peer]
            if kept.dialling is not None:
                if now_ms >= kept.dial_by:
                    self._close(kept.dialling)
            elif kept.unsaid is not None and kept.link is None:
                if now_ms >= kept.unsaid_until:
                    kept.unsaid = None
                else:
                    self._dial_if_due(peer, kept, now_ms)

    def next_due_ms(self) -> float | None:
        """When `tick` has something to do."""
        due = [each.since + self.introduce_ms_max for each in self._strangers.values()]
        for kept in self._peers.values():
            if kept.dialling is not None:
                due.append(kept.dial_by)
            elif kept.unsaid is not None and kept.link is None:
                due.append(min(kept.dials_from, kept.unsaid_until))
        return min(due, default=None)

    @property
    def connected(self) -> list[int]:
        """The members with which there is a connection."""
        return sorted(peer for peer, kept in self._peers.items() if kept.link is not None)

    # What happens to connections

    def accepted(self, link: Link, now_ms: float) -> None:
        """Another member dialled."""
        if len(self._strangers) >= _STRANGERS_MAX:
            self._close(next(iter(self._strangers)))
        link.open = True
        self._strangers[link] = _Stranger(now_ms)

    def opened(self, link: Link, now_ms: float) -> None:
        """A connection that was dialled is there."""
        kept = self._peers.get(link.peer)
        if kept is None or kept.dialling is not link:
            self._close(link)
            return
        link.open = True
        address = self.address or self.ensemble.seats[self.my_id].election[0]
        link.out.append(Initial(self.my_id, (address,)).encode())
        self._touch(link)
        if link.peer < self.my_id:
            kept.dialling = None
            self._establish(kept, link, now_ms)
            return
        # It dials back, which takes it about as long as this did. Another attempt has to wait for
        # that: it would tell a member that has just dialled that its connection is not there.
        self._effects().link_closes.append(link)
        link.closing = True
        kept.dials_from = now_ms + 3 * (now_ms - kept.dialled_at) + self._back_off_ms(kept)

    def heard(self, link: Link, data: bytes, now_ms: float) -> None:
        if link.closing or link.gone:
            return
        try:
            stranger = self._strangers.get(link)
            if stranger is not None:
                stranger.data += data
                data = self._introduced(link, stranger, now_ms)
            kept = self._peers.get(link.peer)
            if data and kept is not None and kept.link is link:
                self._take_messages(kept, data)
        except MarshallingError:
            text = f"Closing {link!r}: it does not speak the election protocol"
            self._complain("speech", text, now_ms)
            self._close(link)

    def lost(self, link: Link, now_ms: float) -> None:
        """A connection is gone, or an attempt to make one failed."""
        link.gone = True
        self._strangers.pop(link, None)
        kept = self._peers.get(link.peer)
        if kept is None:
            return
        if kept.dialling is link:
            kept.dialling = None
        if kept.link is link:
            kept.link = None
        self._drop_if_idle(link.peer, kept)

    # How it is done

    def _dial_if_due(self, peer: int, kept: _Peer, now_ms: float) -> None:
        if kept.dialling is None and now_ms >= kept.dials_from:
            self._dial(peer, kept, now_ms)

    def _dial(self, peer: int, kept: _Peer, now_ms: float) -> None:
        seat = self.ensemble.seats.get(peer)
        addresses = tuple(dict.fromkeys((*(seat.election if seat else ()), *kept.heard_at)))
        if not addresses:
            self._drop_if_idle(peer, kept)
            return
        link = kept.dialling = Link(ELECTION, peer, addresses)
        kept.dialled_at = now_ms
        kept.dials_from = now_ms + self._back_off_ms(kept)
        kept.dial_by = now_ms + self.connect_ms_max * len(addresses)
        kept.attempts += 1
        self._effects().dials.append(link)

    def _back_off_ms(self, kept: _Peer) -> float:
        longest = min(_BACKOFF_MS * 2.0 ** min(kept.attempts, 8), _BACKOFF_MS_MAX)
        return longest * self._random.uniform(0.5, 1.0)

    def _introduced(self, link: Link, stranger: _Stranger, now_ms: float) -> bytes:
        """Read who dialled us and decide what becomes of it; returns what follows, if it stays."""
        found = read_initial(stranger.data)
        if found is None:
            return b""
        initial, length = found
        del self._strangers[link]
        peer = initial.server_id
        if peer == MAX_LONG and self._unknown() < _STRANGERS_MAX:
            # An observer without an id. Apache compares the one that it makes up for it, dials it
            # and is dialled back, for ever; as the highest id there is it keeps its connection.
            self._observer_ids -= 1
            peer = self._observer_ids
        elif not self._is_welcome(peer):
            text = f"Refusing a connection from a member with the id {peer}"
            self._complain("id", text, now_ms)
            self._close(link)
            return b""
        link.peer = peer
        kept = self._peers.get(peer)
        if kept is None:
            kept = self._peers[peer] = _Peer()
        kept.attempts = 0
        kept.heard_at = initial.addresses[:_ADDRESSES_MAX]
        if 0 <= peer < self.my_id:
            self._close(link)
            self._dial_back(peer, kept, stranger.since, now_ms)
            return b""
        if kept.dialling is not None:
            self._close(kept.dialling)
        self._establish(kept, link, now_ms)
        return stranger.data[length:]

    def _dial_back(self, peer: int, kept: _Peer, asked_at: float, now_ms: float) -> None:
        """A member with a lower id has no connection, whatever we believe, unless it got ours
        after it dialled."""
        if kept.link is not None:
            if kept.since > asked_at:
                return
            self._close(kept.link)
        if kept.dialling is None:
            self._dial(peer, kept, now_ms)

    def _is_welcome(self, peer: int) -> bool:
        if peer < 0 or peer == self.my_id:
            return False
        if peer in self.ensemble.seats or peer in self._peers:
            return True
        return self.joiners and peer != MAX_LONG and self._unknown() < _STRANGERS_MAX

    def _unknown(self) -> int:
        return sum(1 for each in self._peers if each not in self.ensemble.seats)

    def _establish(self, kept: _Peer, link: Link, now_ms: float) -> None:
        if kept.link is not None:
            self._close(kept.link)
        kept.link = link
        kept.since = now_ms
        kept.framing = Framing(_MESSAGE_BYTES_MAX)
        payload = kept.unsaid if kept.unsaid is not None else kept.last
        kept.unsaid = None
        if payload is not None:
            self._say(kept, link, payload)

    def _take_messages(self, kept: _Peer, data: bytes) -> None:
        assert kept.link is not None
        for payload in frames(kept.framing, data):
            if not payload:
                raise MarshallingError
            kept.attempts = 0
            self.inbox.append((kept.link.peer, payload))
        del self.inbox[:-_INBOX_MAX]

    def _say(self, kept: _Peer, link: Link, payload: bytes) -> None:
        kept.last = payload
        link.out.append(_LENGTH.pack(len(payload)) + payload)
        self._touch(link)

    def _touch(self, link: Link) -> None:
        if not link.touched:
            link.touched = True
            self._effects().link_outputs.append(link)

    def _close(self, link: Link) -> None:
        self._strangers.pop(link, None)
        kept = self._peers.get(link.peer)
        if kept is not None and kept.link is link:
            kept.link = None
        if kept is not None and kept.dialling is link:
            kept.dialling = None
        if not link.closing and not link.gone:
            link.closing = True
            self._effects().link_closes.append(link)

    def _drop_if_idle(self, peer: int, kept: _Peer) -> None:
        """Of a member that the ensemble does not know nothing is kept once it is gone."""
        if peer not in self.ensemble.seats and kept.link is None and kept.dialling is None:
            del self._peers[peer]

    def _complain(self, kind: str, text: str, now_ms: float) -> None:
        line = self._remarks.line(kind, text, now_ms)
        if line is not None:
            self._effects().notes.append(line)
