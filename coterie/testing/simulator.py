"""A whole service in one thread on virtual time, from one seed: the second driver.

`coterie simulate SEED` shows one, `coterie simulate --seeds N` runs fresh ones (`campaign`). A run
has a phase of faults, in which nothing may go wrong that was promised, and then one in which
all is mended, after which everybody must be served again. At its end the server is stopped and its
data recovered once more. Rule: what the servers are made of, and how a run is told, is
`service.py`.
"""

from __future__ import annotations

from random import Random

from coterie.core.tree import Tree
from coterie.testing.checkers import Leases
from coterie.testing.faults import Faults, Plan
from coterie.testing.history import History, Violation
from coterie.testing.host import Host
from coterie.testing.membership import Watched
from coterie.testing.service import Service
from coterie.testing.workload import Client
from coterie.values import OPEN_ACL
from coterie.wire import requests
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op

_FAULTS_MS_MAX = 60_000.0
_HEALED_MS_MAX = 120_000.0
_STEPS = 8
"""Between two looks at whether a phase is over."""


class Simulation(Service):
    """One run: everything in it, and what is watched about it."""

    def __init__(self, seed: int, plan: Plan | None = None, members: int = 1) -> None:
        if plan is None:
            plan = Plan.draw(Random(f"{seed}:plan"))
            if members > 1:
                plan = plan.for_members(members, Random(f"{seed}:ensemble"))
        super().__init__(seed, plan)
        self.history = History(plan.digest, plan.close_session_paths)
        rate = plan.clock_rate
        slack_ms = (3 * plan.turn_ms + 40) / rate
        self.leases = Leases(plan.tick_ms / rate, slack_ms)
        self.asked: dict[tuple[int, int], tuple[int, Record]] = {}
        """What clients sent, by session and xid."""
        self.told_zxid = 0
        """The last write of which any client was told: what is asked for later comes after it."""
        self.clients: list[Client] = [
            Client(f"c{number + 1}", self, self.dice(f"client {number + 1}"))
            for number in range(plan.clients)
        ]
        self.machines = [host.name for host in self.hosts] + [c.name for c in self.clients]

    # The run

    def run(self) -> None:
        faults = Faults(self, self.plan, self.dice("faults"))
        for host in self.hosts:
            self.time.after(0, host.start)
        for index, client in enumerate(self.clients):
            client.budget = self.plan.operations // len(self.clients) + (index == 0)
        while self.time.now_ms < _FAULTS_MS_MAX and any(c.budget for c in self.clients):
            for _ in range(_STEPS):
                self.step()
        faults.heal()
        self._settle()
        for client in self.clients:
            client.ask_for(Op.CREATE, _last(client))
            client.ask_for(Op.GET_DATA, requests.PathWatchRequest(_last(client).path, False))
        self._settle()
        self._gather()
        self._end()

    def _settle(self) -> None:
        """All is well: everybody must be served before long."""
        until_ms = self.time.now_ms + _HEALED_MS_MAX
        for client in self.clients:
            client.unmute()
        while not all(client.idle for client in self.clients):
            if self.time.now_ms > until_ms:
                waiting = [client.name for client in self.clients if not client.idle]
                raise Violation(f"all is well again, but {', '.join(waiting)} is not served")
            for _ in range(_STEPS):
                self.step()

    def _gather(self) -> None:
        """All is well: every member must come to have the same tree, and serve it."""
        if self.agreement is None:
            return
        until_ms = self.time.now_ms + _HEALED_MS_MAX
        while not all(self._is_up_to_date(host) for host in self.hosts):
            if self.time.now_ms > until_ms:
                late = [host.name for host in self.hosts if not self._is_up_to_date(host)]
                raise Violation(f"all is well again, but {', '.join(late)} is not up to date")
            for _ in range(_STEPS):
                self.step()
        for host in self.hosts:
            assert host.life is not None
            self.history.compare(host.life.member.tree, self.history.zxid)

    def _is_up_to_date(self, host: Host) -> bool:
        assert self.agreement is not None
        if host.life is None or not isinstance(host.life.member, Watched):
            return False
        member = host.life.member
        return (
            member.server.serving
            and not member.server.read_only
            and self.agreement.behind(member.applied_zxid) == 0
        )

    def _end(self) -> None:
        """Stop the servers and look at what they leave behind."""
        for host in self.hosts:
            host.stop()
            while host.life is not None:
                self.step()
            host.start()
            if host.life is None:
                raise Violation(f"{host.name} does not start again")

    # What the hosts tell

    def recovered(self, host: Host, tree: Tree, notes: list[str]) -> None:
        super().recovered(host, tree, notes)
        if self.agreement is not None:
            return
        if tree.zxid > self.history.zxid:
            raise Violation(f"{host.name} recovered {tree.zxid:#x}, which nothing has")
        if tree.zxid < self.history.zxid:
            self.mark("txns that nobody was told of were lost")
        if host.flips:
            self.mark("a flipped bit did no harm")
        self.history.cut(tree.zxid)
        self.history.compare(tree, tree.zxid)
        self.leases.forget_all(self.time.now_ms)
        for session_id, (_, timeout_ms) in self.history.born.items():
            if session_id not in self.history.ended:
                self._grant(session_id, timeout_ms)

    def _grant(self, session_id: int, timeout_ms: int) -> None:
        self.leases.grant(session_id, timeout_ms / self.plan.clock_rate, self.time.now_ms)

    def stopped(self, host: Host, applied_zxid: int) -> None:
        """What is applied may have been read, so it is promised too."""
        if self.agreement is not None:
            return
        self.history.promised = max(self.history.promised, applied_zxid)

    def numbered(self, host: Host, txns: list[Txn]) -> None:
        self.note("numbers", host.name, txns[0].zxid, txns[-1].zxid)
        for txn in txns:
            asked = self._follow(txn)
            if txn.type == Op.CREATE_SESSION:
                self._grant(txn.session_id, self.history.born[txn.session_id][1])
            elif txn.type == Op.CLOSE_SESSION:
                if asked is None:
                    self.mark("a session expired")
                self.leases.ends(txn.session_id, self.time.now_ms, asked=asked is not None)
            elif txn.type == Op.DELETE_CONTAINER:
                self.mark("a container or a TTL znode was reaped")

    def _follow(self, txn: Txn) -> tuple[int, Record] | None:
        """The next txn of the one order; what it came from."""
        asked = self.asked.get((txn.session_id, txn.cxid))
        self.history.follow(txn, asked)
        for client in self.clients:
            if (txn.session_id, txn.cxid) in client.view.refused:
                raise Violation(f"{client.name} was told that {txn!r} was refused")
        return asked

    def committed(self, txn: Txn) -> None:
        self.note("is committed", txn.zxid)
        asked = self._follow(txn)
        if txn.type == Op.CLOSE_SESSION and asked is None:
            self.mark("a session expired")
        elif txn.type == Op.DELETE_CONTAINER:
            self.mark("a container or a TTL znode was reaped")

    def entered(self, epoch: int) -> None:
        self.history.epochs.add(epoch << 32)

    def heard(self, host: Host, session_id: int, timeout_ms: int) -> None:
        self.leases.heard(session_id, self.time.now_ms)

    def unread(self, host: Host, session_id: int) -> None:
        self.leases.unread(session_id, self.time.now_ms)

    def turns(self, host: Host) -> None:
        self.leases.turns(self.time.now_ms)

    def ticked(self, host: Host) -> None:
        self.leases.check(self.time.now_ms)

    def told_expired(self, session_id: int) -> None:
        """A client was told that there is no such session."""
        closing = self.agreement.closing if self.agreement is not None else ()
        if session_id not in self.history.closing and session_id not in closing:
            raise Violation(f"session {session_id:#x} is said to have ended")


def _last(client: Client) -> requests.CreateRequest:
    """What a client makes when all is well again."""
    return requests.CreateRequest(b"/last-" + client.name.encode(), b"served", OPEN_ACL, 0)
