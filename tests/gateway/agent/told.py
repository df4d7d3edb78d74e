"""What an agent tells of itself when all is well, for tests of those who show it."""

from __future__ import annotations

from typing import Final

from coterie.gateway.agent.status import CommandStatus, FileStatus, Status

NOW: Final = 1_000_000_000
FILE: Final = FileStatus(
    file="api",
    path="/etc/api",
    source="/a",
    state="good",
    reason="",
    fresh=True,
    there=True,
    confirmed_ms=NOW,
    stale_after_s=600,
    changes=3,
)


def status(file: FileStatus) -> Status:
    """Of an agent that keeps this one file."""
    return Status(
        host="host1",
        pid=17,
        software="1",
        began_ms=NOW - 5000,
        beat_ms=NOW,
        hosts="a:2181",
        connected=True,
        session="0x1",
        trouble="",
        problems=(),
        files=(file,),
        commands=(CommandStatus("tell", 4, 1, "", False),),
    )
