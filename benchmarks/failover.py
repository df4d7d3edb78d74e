"""How long writes stand still when the leader is killed: from kill -9 to the next committed write.

Rules: clients write all the while, at every member, each one request at a time; who loses its
connection opens a session anew, where it was. A write counts when it was sent after the kill and
is acknowledged: what was under way before may be committed already.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Self

from benchmarks import loads, protocol
from benchmarks.ensembles import Ensemble
from benchmarks.protocol import ProtocolError

WRITERS_EACH: Final = 2
_PACE_S: Final = 0.002
_RETRY_S: Final = 0.01
_HANDSHAKE_S: Final = 0.5
_REPLY_S_MAX: Final = 5.0
_POLL_S: Final = 0.005
_PATIENCE_S: Final = 60.0


class FailoverError(Exception):
    """No write was committed any more."""


class Written(NamedTuple):
    """An acknowledged write, by the monotonic clock."""

    sent_at: float
    answered_at: float


class Writer(threading.Thread):
    """Writes to one znode at one member until it is told to stop."""

    def __init__(self, port: int, znode: int) -> None:
        super().__init__(daemon=True)
        self.written: list[Written] = []
        self._port = port
        self._path = loads.data_path(znode)
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()
        self.join(2 * _REPLY_S_MAX)

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                with protocol.Session(self._port, _HANDSHAKE_S) as session:
                    session.socket.settimeout(_REPLY_S_MAX)
                    self._write(session)
            except (OSError, ProtocolError):
                self._stopping.wait(_RETRY_S)

    def _write(self, session: protocol.Session) -> None:
        while not self._stopping.is_set():
            sent_at = time.monotonic()
            session.set(self._path, loads.VALUE_1K)
            self.written.append(Written(sent_at, time.monotonic()))
            self._stopping.wait(_PACE_S)


class Load:
    """Writers at every member of an ensemble, within a `with` block."""

    def __init__(self, ensemble: Ensemble) -> None:
        ports = ensemble.ports * WRITERS_EACH
        self.writers = [Writer(port, znode) for znode, port in enumerate(ports)]

    def __enter__(self) -> Self:
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *failure: object) -> None:
        for writer in self.writers:
            writer.stop()

    def first_since(self, moment: float) -> float | None:
        """When the first write that was sent after `moment` was acknowledged."""
        return first_since([writer.written for writer in self.writers], moment)

    def all_write(self) -> None:
        """Wait until every writer has had a write acknowledged from now on."""
        now = time.monotonic()
        _await(
            lambda: all(first_since([writer.written], now) for writer in self.writers),
            "not every client gets through",
        )


def first_since(written: Sequence[Sequence[Written]], moment: float) -> float | None:
    """The earliest answer to a write that was sent after `moment`; newest writes are last."""
    found = None
    for writes in written:
        for write in reversed(writes):
            if write.sent_at <= moment:
                break
            found = write.answered_at if found is None else min(found, write.answered_at)
    return found


def fail_over(ensemble: Ensemble) -> float:
    """Seconds from the death of the leader to the next committed write; it is started again."""
    with Load(ensemble) as load:
        load.all_write()
        leader = ensemble.leader()
        killed_at = time.monotonic()
        leader.kill()
        try:
            _await(
                lambda: load.first_since(killed_at) is not None,
                f"{ensemble.title} commits nothing after its leader",
            )
        finally:
            leader.start()
        load.all_write()
    answered_at = load.first_since(killed_at)
    assert answered_at is not None
    return answered_at - killed_at


def _await(true: Callable[[], bool], complaint: str) -> None:
    give_up_at = time.monotonic() + _PATIENCE_S
    while not true():
        if time.monotonic() > give_up_at:
            raise FailoverError(f"{complaint} within {_PATIENCE_S:.0f} s")
        time.sleep(_POLL_S)
