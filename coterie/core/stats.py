"""What a server counts of the requests that it answers, and how ZooKeeper names them there."""

from __future__ import annotations

from typing import Final

from coterie.wire.requests import Op

LAST_OP: Final[dict[int, str]] = {
    Op.CREATE: "CREA",
    Op.CREATE2: "CREA",
    Op.CREATE_CONTAINER: "CREA",
    Op.CREATE_TTL: "CREA",
    Op.DELETE: "DELE",
    Op.SET_DATA: "SETD",
    Op.SET_ACL: "SETA",
    Op.MULTI: "MULT",
    Op.RECONFIG: "RECO",
    Op.CLOSE_SESSION: "CLOS",
    Op.CREATE_SESSION: "SESS",
    Op.EXISTS: "EXIS",
    Op.GET_DATA: "GETD",
    Op.GET_ACL: "GETA",
    Op.GET_CHILDREN: "GETC",
    Op.GET_CHILDREN2: "GETC",
    Op.GET_ALL_CHILDREN_NUMBER: "GETACN",
    Op.GET_EPHEMERALS: "GETE",
    Op.SYNC: "SYNC",
    Op.PING: "PING",
    Op.SET_WATCHES: "SETW",
    Op.SET_WATCHES2: "STW2",
    Op.ADD_WATCH: "ADDW",
    Op.CHECK_WATCHES: "CHKW",
    Op.REMOVE_WATCHES: "REMW",
    Op.MULTI_READ: "MLTR",
    Op.WHO_AM_I: "HOMI",
}
"""How ZooKeeper's `cons` and `stat` name the last operation of a connection."""


class Stats:
    """What this server has done since it started or since `srst`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.received = 0
        self.sent = 0
        self.latency_min_ms = -1
        self.latency_max_ms = 0
        self.latency_total_ms = 0
        self.latency_count = 0
        self.greeted = 0
        """Sessions that were asked for, opened or taken up again, by who was let in."""
        self.renewed = 0
        """Those that were taken up again."""
        self.rejected = 0
        """Connections that were turned away: one too many, or too many asked for sessions."""
        self.gone = 0
        """Connections that ended, by whomever."""
        self.strangers_closed = 0
        """Connections that did not ask for a session in time."""
        self.cut_off = 0
        """Connections that did not read what they had asked for."""
        self.stale_dropped = 0
        """Requests that waited and whose connection went away."""
        self.throttled_ops = 0
        """Watches that were refused."""
        self.holds = 0
        """How often a connection was not read any more because of what waits."""
        self.requests: dict[int, int] = {}
        """How many requests of each opcode were answered."""

    def answered(self, op: int, latency_ms: int, count: int) -> None:
        self.sent += count
        self.latency_count += count
        self.latency_total_ms += latency_ms
        if latency_ms > self.latency_max_ms:
            self.latency_max_ms = latency_ms
        if latency_ms < self.latency_min_ms or self.latency_min_ms < 0:
            self.latency_min_ms = latency_ms
        self.requests[op] = self.requests.get(op, 0) + count
