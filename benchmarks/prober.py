"""One client at a fixed pace: how long does a server leave it waiting?

Run as a process of its own with a port as argument; SIGTERM ends it, and then it prints its
samples as JSON. It reads and writes in turn, one request at a time, every `PACE_S`. A sample is
[when it was sent, "read" or "write", seconds until the reply, seconds it was sent too late]: what
came too late is the machine's doing, not the server's, and says how far such figures reach.
Moments are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import time
from typing import Final, NamedTuple

from benchmarks import loads, protocol

PACE_S: Final = 0.002


class Sample(NamedTuple):
    sent_at: float
    kind: str
    waited_s: float
    late_s: float


class Prober:
    """Probes until it is told to stop."""

    def __init__(self, session: protocol.Session) -> None:
        self.samples: list[Sample] = []
        self._session = session
        self._stopping = False

    def stop(self, *_signal: object) -> None:
        self._stopping = True

    def run(self) -> None:
        path = loads.data_path(0)
        due = time.monotonic()
        kind = "read"
        while not self._stopping:
            time.sleep(max(0.0, due - time.monotonic()))
            sent_at = time.monotonic()
            if kind == "read":
                self._session.get(path)
            else:
                self._session.set(path, loads.VALUE_1K)
            ended_at = time.monotonic()
            self.samples.append(Sample(sent_at, kind, ended_at - sent_at, sent_at - due))
            kind = "write" if kind == "read" else "read"
            due = max(due + PACE_S, ended_at)


def main() -> int:
    gc.disable()
    with protocol.Session(int(sys.argv[1])) as session:
        prober = Prober(session)
        signal.signal(signal.SIGTERM, prober.stop)
        prober.run()
        session.call(protocol.CLOSE_SESSION)
    json.dump(prober.samples, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
