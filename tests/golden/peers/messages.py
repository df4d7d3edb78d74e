"""Reads what was captured here: who said what, under its name."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent


class Message(NamedTuple):
    """One message; those at the election port begin with their length."""

    name: str
    by_apache: bool
    data: bytes


def messages(talk: str) -> list[Message]:
    """All of `leading` or `following`, in order."""
    lines = (HERE / f"{talk}.txt").read_text().splitlines()
    pairs = zip(lines[::2], lines[1::2], strict=True)
    return [Message(name[2:], said[0] == "<", bytes.fromhex(said[2:])) for name, said in pairs]
