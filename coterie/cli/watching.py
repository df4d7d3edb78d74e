"""What `coterie top` shows, and how it goes on: ask all members, draw, wait, until it is ended.

Rules:
- what is drawn is a function of what members said and of the room there is (`frame`), and fits;
- the screen is the terminal's other one, and the terminal is as before when this ends, however it
  ends. Where nobody reads keys, only signals end it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from coterie.client.client import Client, connect
from coterie.client.hosts import ConnectString
from coterie.console.members import Finder, Members, Told
from coterie.system.tls import wanted

if TYPE_CHECKING:
    from ssl import SSLContext

_SERVES: Final = frozenset({"leader", "follower", "observer", "standalone"})
_BARS: Final = "▁▂▃▄▅▆▇█"
_KEPT: Final = 60
_COLOURS: Final = {"leader": "33;1", "standalone": "32;1", "down": "31;1", "looking": "31;1"}
_COLUMNS: Final = (
    ("SERVER", 22),
    ("MODE", 11),
    ("ZXID", 14),
    ("REQ/S", 9),
    ("AVG ms", 8),
    ("MAX ms", 8),
    ("CONNS", 7),
    ("WAIT", 6),
    ("ZNODES", 9),
)
_SCREEN: Final = "\x1b[?1049h\x1b[?25l"
_BACK: Final = "\x1b[?25h\x1b[?1049l"


class Rates:
    """Requests in a second, from what members counted before and now."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, int]] = {}
        self.history: dict[str, deque[float]] = {}

    def take(self, members: list[Told], now_s: float) -> None:
        """Add `rate` to who serves and has been asked before."""
        for member in members:
            name, count = named(member), member.get("received")
            if count is None:
                self._before.pop(name, None)
                continue
            before_s, before = self._before.get(name, (now_s, count))
            if now_s > before_s:
                member["rate"] = max(0.0, (count - before) / (now_s - before_s))
                self.history.setdefault(name, deque(maxlen=_KEPT)).append(member["rate"])
            self._before[name] = now_s, count


def named(member: Told) -> str:
    """As the page calls it: by its number, or by where it is."""
    return str(member["address"] if member["id"] is None else f"server {member['id']}")


def standing(members: list[Told]) -> tuple[bool, str]:
    """Whether all is well, and how many serve under whom."""
    serving = [each for each in members if each["mode"] in _SERVES]
    leaders = [each for each in serving if each["mode"] == "leader"]
    alone = len(members) == 1 and bool(serving)
    text = f"{len(serving)} of {len(members)} serve"
    if leaders:
        text += f", {named(leaders[0])} leads"
    elif not alone:
        text += ", nobody leads"
    return len(serving) == len(members) and (bool(leaders) or alone), text


def sparkline(values: list[float], width: int) -> str:
    """Bars from nothing to the largest, the newest at the right."""
    shown = values[-width:] if width > 0 else []
    most = max(shown, default=0.0)
    scale = (len(_BARS) - 1) / most if most else 0.0
    return "".join(_BARS[round(value * scale)] for value in shown)


def frame(
    members: list[Told], rates: Rates, width: int, height: int, *, colour: bool
) -> list[str]:
    """The lines of one picture: no longer than the room is wide, and no more than it is high."""
    well, text = standing(members)
    lines = [_paint(_cut(f"coterie top   {text}", width), "1" if well else "31;1", colour), ""]
    lines.append(_paint(_cut(_row([title for title, _ in _COLUMNS]), width), "2", colour))
    for member in members:
        line = _cut(_row(_cells(member)), width)
        lines.append(_paint(line, _COLOURS.get(member["mode"], ""), colour))
    drawn = [(named(each), list(rates.history.get(named(each), ()))) for each in members]
    if any(values for _, values in drawn):
        lines += ["", _paint(_cut("requests in a second", width), "2", colour)]
        room = min(_KEPT, width - 36)
        for name, values in drawn:
            most = f"  at most {max(values):.0f}" if values else ""
            lines.append(_cut(f"{name[:22]:<23}{sparkline(values, room)}{most}", width))
    return lines[: max(1, height - 1)]


def _cells(member: Told) -> list[str]:
    latency = member.get("latency_ms")
    rate = member.get("rate")
    return [
        named(member),
        member["mode"],
        member.get("zxid", ""),
        "" if rate is None else f"{rate:.1f}",
        "" if latency is None else f"{latency[1]:.2f}",
        "" if latency is None else f"{latency[2]:.0f}",
        str(member.get("connections", "")),
        str(member.get("outstanding", "")),
        str(member.get("znodes", member.get("why", ""))),
    ]


def _row(cells: list[str]) -> str:
    parts: list[str] = []
    for place, (cell, (_, width)) in enumerate(zip(cells, _COLUMNS, strict=True)):
        parts.append(f"{cell[: width - 1]:<{width}}" if place < 3 else f"{cell:>{width}}")
    return "".join(parts).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def _paint(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code else text


@contextmanager
def _screen(live: bool) -> Iterator[None]:
    """The other screen of the terminal, without what keys would print."""
    if not live:
        yield
        return
    kept = None
    with suppress(ImportError, OSError):
        import termios
        import tty

        if sys.stdin.isatty():
            kept = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
    sys.stdout.write(_SCREEN)
    try:
        yield
    finally:
        sys.stdout.write(_BACK)
        sys.stdout.flush()
        if kept is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, kept)


def watch(given: dict[str, Any], every_s: float, *, once: bool, as_json: bool) -> int:
    """Until it is ended; returns the exit status. Raises `ValueError` for what is no server."""
    tls: SSLContext | None = wanted(given.get("tls") or given["hosts"].startswith("tls://"))
    named_hosts = ConnectString.parse(given["hosts"].removeprefix("tls://"))
    client = connect(**given, call_timeout_s=3.0, connect_timeout_s=2.0)
    live = sys.stdout.isatty() and not once and not as_json
    with _screen(live), suppress(KeyboardInterrupt):
        return asyncio.run(_go_on(client, named_hosts, tls, every_s, once, as_json, live))
    return 0


async def _go_on(
    client: Client,
    named_hosts: ConnectString,
    tls: SSLContext | None,
    every_s: float,
    once: bool,
    as_json: bool,
    live: bool,
) -> int:
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    with suppress(NotImplementedError, RuntimeError, ValueError):  # Not in the main thread.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.set)
    if live and sys.stdin.isatty():
        loop.add_reader(sys.stdin, _pressed, ending)
    every = Members(Finder(named_hosts, client.config).find, tls)
    starting = loop.create_task(client.start())
    rates = Rates()
    well = False
    try:
        for turn in range(2 if once else sys.maxsize):
            members = await every.told()
            rates.take(members, loop.time())
            well = standing(members)[0]
            if not once or turn == 1:
                _show(members, rates, as_json, live)
            if turn == 1 and once:
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await ending.wait()
                    break
    finally:
        if live and sys.stdin.isatty():
            loop.remove_reader(sys.stdin)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await client.close()
    return int(once and not well)


def _pressed(ending: asyncio.Event) -> None:
    if os.read(sys.stdin.fileno(), 64).lower().startswith((b"q", b"\x1b")):
        ending.set()


def _show(members: list[Told], rates: Rates, as_json: bool, live: bool) -> None:
    if as_json:
        print(json.dumps({"members": members}), flush=True)
        return
    room = shutil.get_terminal_size((100, 40))
    lines = frame(members, rates, room.columns, room.lines if live else 1000, colour=live)
    if live:
        text = "\r\n".join(f"{line}\x1b[K" for line in lines)
        sys.stdout.write(f"\x1b[H{text}\x1b[J")
    else:
        print("\n".join([*lines, ""]))
    sys.stdout.flush()
