"""What an agent tells of itself: as JSON, as metrics, and as lines for people.

Pure. Rule: whoever reads it judges by his own clock. An agent that has ended, or hangs, says that
all is well for ever; times are those of the last confirmation, and of the last beat.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from coterie.gateway.agent.subscriptions import OWN_FOLDER
from coterie.recipes import typed_json

BEAT_S: Final = 2.0
_MISSED_BEATS_MAX: Final = 10
_GOOD: Final = "good"
_WORDS: Final = {"starting": "old", "waiting": "waiting", "held": "held", "failing": "failing"}


@dataclass(frozen=True)
class FileStatus:
    """One file."""

    file: str
    path: str
    source: str
    state: str
    reason: str
    fresh: bool
    there: bool
    confirmed_ms: int
    stale_after_s: float
    changes: int
    zxid: int | None = None
    version: int | None = None
    members: int | None = None
    written_ms: int | None = None
    command: str = ""
    reload: str = ""
    offered: str = ""
    """What an operator may confirm."""

    def age_s(self, now_ms: int) -> float:
        return max(now_ms - self.confirmed_ms, 0) / 1000.0

    def stale(self, now_ms: int) -> bool:
        return self.age_s(now_ms) > self.stale_after_s

    def word(self, now_ms: int) -> str:
        """How it is, in one word."""
        if self.stale(now_ms):
            return "stale"
        if self.state == _GOOD:
            return _GOOD if self.fresh else "old"
        return _WORDS.get(self.state, self.state)


@dataclass(frozen=True)
class CommandStatus:
    """One command that follows changes."""

    name: str
    runs: int
    failures: int
    problem: str
    waiting: bool


@dataclass(frozen=True)
class Status:
    """All of it."""

    host: str
    pid: int
    software: str
    began_ms: int
    beat_ms: int
    hosts: str
    connected: bool
    session: str
    trouble: str
    problems: tuple[str, ...]
    """What is wrong with the subscriptions."""
    files: tuple[FileStatus, ...]
    commands: tuple[CommandStatus, ...]

    def dead(self, now_ms: int) -> bool:
        """Whether the agent has ended, or hangs."""
        return now_ms - self.beat_ms > _MISSED_BEATS_MAX * BEAT_S * 1000.0

    def red(self, now_ms: int) -> list[str]:
        """What somebody has to look at; nothing if all is well."""
        found = [f"{one.path} is stale" for one in self.files if one.stale(now_ms)]
        if self.dead(now_ms):
            found.append(
                f"no agent runs: the last sign is {age((now_ms - self.beat_ms) / 1000)} old"
            )
        return found


def encode(status: Status) -> bytes:
    return json.dumps(asdict(status), ensure_ascii=False, indent=1).encode() + b"\n"


def decode(data: bytes) -> Status:
    """Raises `ValueError`."""
    return typed_json.decode(Status, data)


def age(seconds: float) -> str:
    """A time for people.

    >>> age(0.2), age(75), age(7300), age(200_000)
    ('0 s', '75 s', '2 h 1 min', '2 d 7 h')
    """
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def shown_name(one: FileStatus) -> str:
    """Its name for people: nobody but the agent reads what it keeps in its own folder."""
    return "subscriptions" if one.file.startswith(f"{OWN_FOLDER}/") else one.file


def detail(one: FileStatus) -> str:
    """What there is to say of a file behind its state and its age."""
    parts: list[str] = []
    if one.reason:
        parts.append(one.reason)
    if not one.there:
        parts.append("there is no file yet")
    if one.members is not None:
        parts.append(f"{one.members} server{'' if one.members == 1 else 's'}")
    if one.zxid is not None:
        parts.append(f"zxid 0x{one.zxid:x}")
    if one.command and one.reload == "pending":
        parts.append(f"{one.command} is still to be run")
    return ", ".join(parts)


def report(status: Status, now_ms: int) -> list[str]:
    """Lines for people."""
    link = f"connected to {status.hosts}" if status.connected else f"no server at {status.hosts}"
    lines = [f"agent {status.pid} on {status.host}, {link}"]
    if status.trouble:
        lines.append(f"  {status.trouble}")
    lines += [f"subscriptions: {problem}" for problem in status.problems]
    for one in status.files:
        word = one.word(now_ms)
        when = "" if word == _GOOD else f", confirmed {age(one.age_s(now_ms))} ago"
        lines.append(f"{word:8} {shown_name(one)}  ({one.source}) {detail(one)}{when}")
        if one.offered:
            lines.append(f"         to let it pass: --confirm {one.file}")
    lines += [f"command {c.name}: {c.problem}" for c in status.commands if c.problem]
    return lines + [f"RED: {what}" for what in status.red(now_ms)]


def metrics(status: Status, now_ms: int) -> str:
    """As Prometheus reads them."""
    lines: list[str] = []

    def family(name: str, kind: str, meaning: str, values: list[tuple[str, float]]) -> None:
        full = f"coterie_agent_{name}"
        lines.extend((f"# HELP {full} {meaning}", f"# TYPE {full} {kind}"))
        lines.extend(f"{full}{label} {value:g}" for label, value in values)

    files = [(f'{{file="{_escaped(one.file)}"}}', one) for one in status.files]
    commands = [(f'{{command="{_escaped(one.name)}"}}', one) for one in status.commands]
    family("connected", "gauge", "Whether there is a session.", [("", status.connected)])
    family(
        "subscription_problems",
        "gauge",
        "Subscriptions that make no sense.",
        [("", len(status.problems))],
    )
    family(
        "file_age_seconds",
        "gauge",
        "How long ago a file was last confirmed.",
        [(label, one.age_s(now_ms)) for label, one in files],
    )
    family(
        "file_stale",
        "gauge",
        "Whether that is too long.",
        [(label, one.stale(now_ms)) for label, one in files],
    )
    family(
        "file_held",
        "gauge",
        "Whether a rail holds a change.",
        [(label, one.state == "held") for label, one in files],
    )
    family(
        "file_failing",
        "gauge",
        "Whether a change cannot be written.",
        [(label, one.state == "failing") for label, one in files],
    )
    family(
        "file_servers",
        "gauge",
        "How many servers are in it.",
        [(label, one.members) for label, one in files if one.members is not None],
    )
    family(
        "file_changes_total",
        "counter",
        "How often it was written.",
        [(label, one.changes) for label, one in files],
    )
    family(
        "command_runs_total",
        "counter",
        "How often a command was run.",
        [(label, one.runs) for label, one in commands],
    )
    family(
        "command_failures_total",
        "counter",
        "How often that was not well.",
        [(label, one.failures) for label, one in commands],
    )
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
