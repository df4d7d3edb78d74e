"""A responder that knows every reply beforehand: what the load generator can do at most.

Run as a process of its own with a load's name and the number of connections as arguments; it
prints its port, serves that many connections and ends when the last one is closed. It reads no
request: it counts their bytes, and sends the ready-made replies of as many.
"""

from __future__ import annotations

import gc
import select
import socket
import sys
from typing import Final

from benchmarks import protocol
from benchmarks.generator import CHUNK_BYTES
from benchmarks.loads import LOADS, Counter, Load, Repeated
from benchmarks.protocol import PATIENCE_S

_FAREWELLS: Final = (protocol.request(1, protocol.CLOSE_SESSION), b"")


class Canned:
    """One listening socket and the connections of one load."""

    def __init__(self, load: Load, connections: int) -> None:
        self.load = load
        self.connections = connections
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=connections)
        self.listener.settimeout(PATIENCE_S)
        self.port: int = self.listener.getsockname()[1]

    def serve(self) -> None:
        poll = select.epoll()
        open_lanes = {}
        for number, connection in enumerate(self._accept()):
            first = self.load.first(number, self.connections)
            requests = Counter(self.load.requests, first)
            replies = Repeated(self.load.replies, first)
            open_lanes[connection.fileno()] = (connection, requests, replies)
            poll.register(connection, select.EPOLLIN)
        while open_lanes:
            for descriptor, _ in poll.poll():
                connection, requests, replies = open_lanes[descriptor]
                data = connection.recv(CHUNK_BYTES)
                if data in _FAREWELLS:
                    poll.unregister(connection)
                    connection.close()
                    del open_lanes[descriptor]
                elif count := requests.count(data):
                    connection.sendall(replies.take(count))

    def _accept(self) -> list[socket.socket]:
        """Every connection, with its handshake answered."""
        accepted = []
        for _ in range(self.connections):
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.recv(len(protocol.connect_request()), socket.MSG_WAITALL)
            connection.sendall(protocol.connect_reply())
            accepted.append(connection)
        self.listener.close()
        return accepted


def main() -> int:
    name, connections = sys.argv[1:]
    gc.disable()
    canned = Canned(LOADS[name], int(connections))
    print(canned.port, flush=True)
    canned.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
