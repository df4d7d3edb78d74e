"""How what servers answer is shown: as text for people, as JSON for programs.

Rules:
- data is shown as text where it is UTF-8 without control characters, so that no znode can write
  to a terminal what its reader did not ask for; else in hexadecimal;
- JSON is one object, or one on each line. Zxids and session ids are hexadecimal text there, for
  they do not fit the numbers of every language; times are ISO 8601 in UTC.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from coterie.errors import ZooKeeperError
from coterie.values import ACL, EventType, Stat, WatchEvent

if TYPE_CHECKING:
    from coterie.cli.walk import Step

_HEX_WIDTH: Final = 16
_INLINE_MAX: Final = 60

_EVENTS: Final = {
    EventType.NODE_CREATED: "created",
    EventType.NODE_DELETED: "deleted",
    EventType.NODE_DATA_CHANGED: "changed",
    EventType.NODE_CHILDREN_CHANGED: "children changed",
    EventType.DATA_WATCH_REMOVED: "not watched any more",
    EventType.CHILD_WATCH_REMOVED: "not watched any more",
    EventType.PERSISTENT_WATCH_REMOVED: "not watched any more",
    EventType.NONE: "the connection was away: what happened meanwhile was not told",
}


class Output:
    """Where a command says what it found: people get lines, programs get JSON."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def line(self, text: str) -> None:
        """A line for people; programs do not get it."""
        if not self.as_json:
            click.echo(text)

    def record(self, fields: Mapping[str, Any]) -> None:
        """An object for programs; people do not get it."""
        if self.as_json:
            click.echo(json.dumps(fields, ensure_ascii=False))

    def raw(self, data: bytes) -> None:
        click.echo(data, nl=False)

    def note(self, text: str) -> None:
        """What is not part of the answer."""
        click.echo(text, err=True)


# Data


def as_text(data: bytes) -> str | None:
    """The text that data is; None if it is not, or not fit for a terminal."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if all(one.isprintable() or one in "\n\t\r" for one in text) else None


def data_lines(data: bytes) -> str:
    """Data for people: text, or as `hexdump -C` shows it."""
    text = as_text(data)
    return hexdump(data) if text is None else text


def hexdump(data: bytes) -> str:
    rows: list[str] = []
    for at in range(0, len(data), _HEX_WIDTH):
        part = data[at : at + _HEX_WIDTH]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        rows.append(f"{at:08x}  {part.hex(' '):<{3 * _HEX_WIDTH - 1}}  |{shown}|")
    return "\n".join(rows)


def data_inline(data: bytes) -> str:
    """Data within a line, cut short."""
    text = as_text(data)
    if text is None:
        text = data[:_INLINE_MAX].hex()
        short = f"0x{text}" if len(data) <= _INLINE_MAX else f"0x{text}..."
    else:
        line = " ".join(text.split())
        short = line if len(line) <= _INLINE_MAX else f"{line[:_INLINE_MAX]}..."
    return short


def data_fields(data: bytes) -> dict[str, str]:
    """Data for programs: `data` if it is UTF-8, else `data_base64`."""
    try:
        return {"data": data.decode()}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode()}


def path_text(path: str | bytes) -> str:
    """A path for people: one that was read from a file may have anything in it."""
    if isinstance(path, bytes):
        path = path.decode("utf-8", "backslashreplace")
    return path if path.isprintable() else ascii(path)[1:-1]


# Metadata


def _moment(ms: int) -> dt.datetime | None:
    try:
        return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
    except (OverflowError, ValueError, OSError):
        return None


def time_for_people(ms: int) -> str:
    moment = _moment(ms)
    return f"{ms} ms" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def time_for_programs(ms: int) -> str | None:
    moment = _moment(ms)
    if moment is None:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stat_fields(stat: Stat) -> dict[str, Any]:
    fields: dict[str, Any] = stat._asdict()
    for name in ("czxid", "mzxid", "pzxid", "ephemeral_owner"):
        fields[name] = f"{fields[name] & (2**64 - 1):#x}"
    for name in ("ctime", "mtime"):
        fields[name] = time_for_programs(fields[name])
    return fields


def stat_lines(stat: Stat) -> str:
    owner = f"{stat.ephemeral_owner & (2**64 - 1):#x}"
    rows = {
        "czxid": f"{stat.czxid:#x}",
        "ctime": time_for_people(stat.ctime),
        "mzxid": f"{stat.mzxid:#x}",
        "mtime": time_for_people(stat.mtime),
        "pzxid": f"{stat.pzxid:#x}",
        "version": str(stat.version),
        "cversion": str(stat.cversion),
        "aversion": str(stat.aversion),
        "ephemeralOwner": owner if stat.ephemeral_owner else "-",
        "dataLength": str(stat.data_length),
        "numChildren": str(stat.num_children),
    }
    return "\n".join(f"{name:<15} {value}" for name, value in rows.items())


def table(rows: list[list[str]]) -> str:
    """Columns side by side; the last one as long as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def acl_fields(entry: ACL) -> dict[str, str]:
    from coterie.cli import acls

    scheme, id = entry.id
    return {"scheme": scheme, "id": id, "perms": acls.show_perms(entry.perms)}


def branch(step: Step, hidden: bool) -> str:
    """A znode as a line of a drawn tree; `hidden` is what is below it."""
    bars = "".join("│  " if more else "   " for more in step.more[:-1])
    if step.more:
        bars += "├─ " if step.more[-1] else "└─ "
    what = ""
    if step.stat is None:
        what = "  (may not be read)"
    elif step.stat.ephemeral_owner:
        what = "  (ephemeral)"
    if step.data:
        what += f" = {data_inline(step.data)}"
    if hidden and step.names:
        what += f"  ({len(step.names)} below)"
    return f"{bars}{step.name}{what}"


# Events and errors


def event_line(event: WatchEvent, wall_ms: int) -> str:
    moment = _moment(wall_ms)
    time = "" if moment is None else f"{moment:%H:%M:%S} "
    return f"{time}{event.path} {_EVENTS[event.type]}"


def event_fields(event: WatchEvent, wall_ms: int) -> dict[str, Any]:
    return {
        "event": event.type.name,
        "path": event.path,
        "time": time_for_programs(wall_ms),
    }


def error_fields(error: ZooKeeperError) -> dict[str, Any]:
    return {
        "error": type(error).__name__.removesuffix("Error"),
        "code": error.code,
        "path": error.path,
        "message": str(error),
    }
