"""Reads `packets.txt`: what a client said to Apache ZooKeeper, and what it answered."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent


class Exchange(NamedTuple):
    """One request and the packets that came before the next; all without their lengths."""

    name: str
    sent: bytes
    received: list[bytes]

    @property
    def connects(self) -> bool:
        return self.name.startswith("connect")


def exchanges() -> list[Exchange]:
    found: list[Exchange] = []
    name = ""
    for line in (HERE / "packets.txt").read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "#":
            name = rest
        elif kind == ">":
            found.append(Exchange(name, bytes.fromhex(rest), []))
        else:
            found[-1].received.append(bytes.fromhex(rest))
    return found
