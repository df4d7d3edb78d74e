"""One subscription of a host: what the tree says is in a file, as far as the rails allow it.

Rules:
- whatever goes wrong, the file stays as it is: no server, no znode, a set that the rails hold, a
  check that fails, a disk that is full. What it is, is said, and tried again;
- a file counts as confirmed at the moments at which the tree is known and the file says the same;
  when the last of them is too long ago it is stale, and somebody has to look;
- everything is read anew from time to time, the file as well: what somebody has changed by hand,
  or deleted, is written again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import posixpath
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple, TypeVar

from coterie.client.client import Client
from coterie.errors import ZooKeeperError
from coterie.gateway.agent.content import (
    ContentError,
    check_syntax,
    fitting,
    members_in,
    members_of,
    servers_content,
    settings_content,
)
from coterie.gateway.agent.files import PENDING, LocalFile, Version, digest, read, reloaded, why
from coterie.gateway.agent.rails import Members, SetRail, SettingsRail
from coterie.gateway.agent.reload import Reload, Run
from coterie.gateway.agent.source import Offer, view_of
from coterie.gateway.agent.subscriptions import Command, ServersFile, SettingsFile, Subscription
from coterie.recipes.following import View
from coterie.system.clock import Clock
from coterie.system.files import Files

log = logging.getLogger("coterie.agent")

T = TypeVar("T")
Accept = Callable[[bytes], None]

STARTING: Final = "starting"
GOOD: Final = "good"
WAITING: Final = "waiting"
HELD: Final = "held"
FAILING: Final = "failing"

_PAUSE_S: Final = 1.0
_PAUSE_S_MAX: Final = 15.0
_AGAIN_S: Final = 60.0
_LOOKS_MAX: Final = 3
_RECHECK_SPREAD: Final = 0.1


async def in_thread(step: Callable[[], T]) -> T:
    """Do what may take its time, as a disk does, beside the event loop."""
    return await asyncio.to_thread(step)


@dataclass
class Host:
    """What the agent works with on its machine."""

    files: Files
    clock: Clock
    dice: Random
    run: Run
    directory: str
    root: str
    recheck_s: float
    commands: Mapping[str, Command]
    reloads: dict[str, Reload]
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] = in_thread


class _Wish(NamedTuple):
    """What the tree wants the file to hold."""

    members: Members
    data: bytes
    """Nothing for a set without servers: it is never written."""


class Kept:
    """A file that is kept. `accept` may refuse what it is to hold, by a `ContentError`; `written`
    is called when it holds something else."""

    def __init__(
        self,
        one: Subscription,
        host: Host,
        confirmed_ms: int | None = None,
        accept: Accept | None = None,
        written: Callable[[], None] | None = None,
    ) -> None:
        """`confirmed_ms` is when an earlier agent had it confirmed, by the wall clock."""
        self.one = one
        self.path = posixpath.join(host.directory, one.file)
        self.state = STARTING
        self.reason = ""
        """Why it is not good."""
        self.trouble = ""
        """Why the tree is not followed."""
        self.version: Version | None = None
        self.changes = 0
        self.alarmed = False
        self._host = host
        self._accept = accept
        self._told = written
        self._file = LocalFile(host.files, self.path)
        self._data: bytes | None = None
        self._rail: SetRail | SettingsRail | None = None
        self._wish: _Wish | None = None
        self._view: View[Offer] | None = None
        self._zxid = self._numbered = 0
        """As of which txn a set is known, and which value of the view that was."""
        self._left_out = ""
        self._refused: tuple[str, float] | None = None
        """What a check has refused, and when it is checked again."""
        self._nudged = asyncio.Event()
        self._anew = False
        now_ms = host.clock.wall_ms()
        self._began_ms = host.clock.monotonic_ms()
        self._confirmed_ms = self._began_ms
        if confirmed_ms is not None:
            self._confirmed_ms -= max(now_ms - confirmed_ms, 0)

    # What is known

    @property
    def fresh(self) -> bool:
        """Whether the tree is known as it is now, as far as this client's server has told."""
        return self._view is not None and self._view.fresh

    @property
    def age_s(self) -> float:
        """How long ago the file was last confirmed; since the start, if it never was."""
        return (self._host.clock.monotonic_ms() - self._confirmed_ms) / 1000.0

    @property
    def stale(self) -> bool:
        return self.age_s > self.one.stale_after_s

    @property
    def confirmed_wall_ms(self) -> int:
        return self._host.clock.wall_ms() - round(self.age_s * 1000.0)

    @property
    def there(self) -> bool:
        """Whether there is a file."""
        return self._data is not None

    @property
    def offered(self) -> str:
        """The set that is held, in a word, for who confirms it; nothing where there is none."""
        if self.state != HELD or self._wish is None or not self._wish.members:
            return ""
        return hashlib.sha256("\n".join(sorted(self._wish.members)).encode()).hexdigest()[:16]

    def beat(self) -> None:
        """Note that time has passed: is it still confirmed, is it stale?"""
        if self.state == GOOD and self.fresh:
            self._confirmed_ms = self._host.clock.monotonic_ms()
        if self.stale == self.alarmed:
            return
        self.alarmed = self.stale
        if self.stale:
            why_not = self.trouble or self.reason or "no server has told"
            log.error("%s is stale: not confirmed for %.0f s: %s", self.path, self.age_s, why_not)
        else:
            log.info("%s is confirmed again", self.path)

    def confirm(self, offered: str) -> bool:
        """An operator says that the set which is held is right; False if it is another by now."""
        if not offered or offered != self.offered or self._rail is None:
            return False
        confirmed = self._rail.confirm()
        self._nudged.set()
        return confirmed

    def check_again(self) -> None:
        """Read everything anew, now."""
        self._anew = True
        self._nudged.set()

    # Following

    async def load(self) -> None:
        """Know what the file holds. Raises `OSError`."""
        data, version = await self._in_thread(self._file.read)
        first = self._rail is None
        self._data, self.version = data, version
        if first or data is None:
            members = None if data is None else members_in(self.one, data, version)
            self._rail = self._new_rail(members)
        if version is not None and version.reload == PENDING:
            self._want_reload()

    async def run(self, zk: Client) -> None:
        """Follow the tree by this client, until it is over."""
        pause_s = _PAUSE_S
        while not zk.over:
            view = view_of(zk, self.one, self._host.root)
            try:
                await self.load()
                await view.open()
            except (ZooKeeperError, OSError) as error:
                self._say_trouble(why(error) if isinstance(error, OSError) else str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_S_MAX)
                continue
            pause_s = _PAUSE_S
            self.trouble = ""
            self._view, self._numbered = view, 0
            try:
                await self._follow(zk, view)
            finally:
                self.beat()
                self._view = None
                await view.close()

    async def once(self, zk: Client) -> None:
        """Do all this one time, without the pauses. Raises what a read raises."""
        await self.load()
        view = self._view = view_of(zk, self.one, self._host.root)
        await view.open()
        try:
            await self._settle(await self._look(zk, view), patient=False)
            self.beat()
        finally:
            self._view = None
            await view.close()

    async def _follow(self, zk: Client, view: View[Offer]) -> None:
        """Until it is time to read everything anew, or there is no more to come."""
        loop = asyncio.get_running_loop()
        spread = self._host.dice.uniform(1 - _RECHECK_SPREAD, 1 + _RECHECK_SPREAD)
        recheck_s = loop.time() + self._host.recheck_s * spread
        while True:
            self._nudged.clear()
            number = view.number
            again_s = await self._settle(await self._look(zk, view))
            until_s = recheck_s if again_s is None else min(recheck_s, again_s)
            is_over = await self._wait(view, number, until_s)
            if is_over or self._anew or loop.time() >= recheck_s:
                self._anew = False
                return

    async def _look(self, zk: Client, view: View[Offer]) -> Offer:
        """What the tree says, and as of which txn.

        Events tell no zxid before Apache's 3.9, and a set has none of its own that a departure
        would change. Events of what came before the answer to a read come before it, too.
        """
        if not isinstance(self.one, ServersFile):
            return view.value
        for _ in range(_LOOKS_MAX):
            if view.number == self._numbered:
                break
            self._numbered = view.number
            with suppress(ZooKeeperError):
                await zk.exists("/")
            self._zxid = zk.last_zxid
            # What has changed meanwhile is of a later txn.
            await view.at_least(0)
        # After an outage the copy may know more than the view has made of it.
        return await view.at_least(0)

    async def _wait(self, view: View[Offer], number: int, until_s: float) -> bool:
        """For news, a nudge or a time; whether no news will come any more."""
        loop = asyncio.get_running_loop()
        news = loop.create_task(view.next(number))
        nudged = loop.create_task(self._nudged.wait())
        try:
            await asyncio.wait(
                {news, nudged},
                timeout=max(until_s - loop.time(), 0.0),
                return_when=asyncio.FIRST_COMPLETED,
            )
            return news.done() and news.result() is None
        finally:
            news.cancel()
            nudged.cancel()
            await asyncio.gather(news, nudged, return_exceptions=True)

    # Deciding

    async def _settle(self, offer: Offer, *, patient: bool = True) -> float | None:
        """Let the file be as it should be, if it may; when to try again though nothing changes."""
        assert self._rail is not None
        now_s = asyncio.get_running_loop().time()
        try:
            wish = self._wish = self._wish_of(offer)
        except ContentError as error:
            self._note(FAILING, str(error))
            return None
        self._rail.offer(wish.members, now_s, digest(wish.data))
        if wish.members and wish.data == self._data:
            self._rail.settled(wish.members, now_s)
            self._note(GOOD, self._left_out)
            if self.version is None or self._members(wish) != self.version.members:
                return await self._tell(wish, offer)
            return None
        verdict = self._rail.verdict(now_s)
        if verdict.write and isinstance(self.one, ServersFile) and not self.fresh:
            # It was so when a server was last heard, and may not be any more.
            self._note(WAITING, "no server tells whether it is still so")
            return now_s + _PAUSE_S_MAX
        if not verdict.write and (patient or verdict.held or not wish.members):
            self._note(HELD if verdict.held else WAITING, verdict.reason)
            return verdict.again_s
        return await self._write(wish, offer)

    def _wish_of(self, offer: Offer) -> _Wish:
        """Raises `ContentError`."""
        template: str | None = None
        if self.one.template:
            template = self._template(self.one.template)
        if isinstance(self.one, ServersFile):
            found, self._left_out = fitting(self.one, offer.found)
            if offer.unreadable:
                self._left_out = f"{', '.join(offer.unreadable)}: left out, for it makes no sense"
            members = members_of(found)
            data = servers_content(self.one, found, template) if members else b""
        else:
            if offer.znode is None:
                raise ContentError("the znode is not there")
            data = settings_content(self.one, offer.znode.data, template)
            members = frozenset({digest(data)})
        if members:
            check_syntax(self.one.check, data)
            if self._accept is not None:
                self._accept(data)
        return _Wish(members, data)

    def _template(self, name: str) -> str:
        try:
            data = read(self._host.files, posixpath.join(self._host.directory, name))
        except OSError as error:
            raise ContentError(why(error)) from None
        if data is None:
            raise ContentError(f"the template {name} is not there")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise ContentError(f"the template {name} is no UTF-8 text") from None

    def _new_rail(self, members: Members | None) -> SetRail | SettingsRail:
        dice = self._host.dice
        if isinstance(self.one, SettingsFile):
            return SettingsRail(self.one.jitter_s, dice, members)
        return SetRail(self.one.rails, dice, members, asyncio.get_running_loop().time())

    # Writing

    async def _write(self, wish: _Wish, offer: Offer) -> float | None:
        now_s = asyncio.get_running_loop().time()
        if self._refused is not None:
            refused, again_s = self._refused
            if refused == digest(wish.data) and now_s < again_s:
                return again_s
        version = self._version_of(wish, offer, PENDING if self.one.reload else "")
        try:
            await self._in_thread(lambda: self._file.prepare(wish.data))
            problem = await self._check()
            if problem:
                self._refused = (version.sha256, now_s + _AGAIN_S)
                self._note(FAILING, problem)
                return now_s + _AGAIN_S
            await self._in_thread(lambda: self._file.put(version))
        except OSError as error:
            self._note(FAILING, why(error))
            return now_s + _AGAIN_S
        assert self._rail is not None
        self._refused = None
        self._data, self.version = wish.data, version
        self._rail.written(wish.members, asyncio.get_running_loop().time())
        self.changes += 1
        what = "" if version.members is None else f", {len(version.members)} servers"
        log.info("%s is written, as of zxid 0x%x%s", self.path, version.zxid, what)
        self._note(GOOD, self._left_out)
        self._want_reload()
        if self._told is not None:
            self._told()
        return None

    async def _tell(self, wish: _Wish, offer: Offer) -> float | None:
        """The file is as it should be, but nothing fits that is known of it."""
        # Who had written it may have ended before the command.
        reload = PENDING if self.one.reload and self.version is None else ""
        if self.version is not None:
            reload = self.version.reload
        version = self._version_of(wish, offer, reload)
        try:
            await self._in_thread(lambda: self._file.tell(version))
        except OSError as error:
            self._note(FAILING, why(error))
            return asyncio.get_running_loop().time() + _AGAIN_S
        self.version = version
        self._want_reload()
        return None

    def _version_of(self, wish: _Wish, offer: Offer, reload: str) -> Version:
        znode = offer.znode
        return Version(
            sha256=digest(wish.data),
            zxid=self._zxid if znode is None else znode.stat.mzxid,
            source=self.one.source,
            written_ms=self._host.clock.wall_ms(),
            version=-1 if znode is None else znode.stat.version,
            members=self._members(wish),
            reload=reload,
        )

    def _members(self, wish: _Wish) -> tuple[str, ...] | None:
        return tuple(sorted(wish.members)) if isinstance(self.one, ServersFile) else None

    async def _check(self) -> str:
        """What a command has against the candidate; nothing if it is well."""
        command = self._host.commands.get(self.one.check)
        if command is None:
            return ""
        candidate = self._file.candidate
        outcome = await self._host.run(
            (*command.words, candidate), command.timeout_s, {"COTERIE_FILE": candidate}
        )
        return outcome.problem and f"check {self.one.check}: {outcome.problem}"

    def _want_reload(self) -> None:
        reload = self._host.reloads.get(self.one.reload)
        if reload is not None and self.version is not None and self.version.reload == PENDING:
            reload.want(self.path, self._reloaded)

    async def _reloaded(self) -> None:
        """The command was run for what the file holds."""
        if self.version is None:
            return
        version = self.version = reloaded(self.version)
        try:
            await self._in_thread(lambda: self._file.tell(version))
        except OSError as error:
            log.warning("%s: %s", self.path, why(error))

    async def _in_thread(self, step: Callable[[], T]) -> T:
        """A step that has begun is done when this returns, also if it is cancelled."""
        doing: asyncio.Future[T] = asyncio.ensure_future(self._host.in_thread(step))
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            await asyncio.wait({doing})
            raise

    def _note(self, state: str, reason: str = "") -> None:
        # What was confirmed up to now stays confirmed up to now.
        self.beat()
        if reason and state != WAITING and (state, reason) != (self.state, self.reason):
            log.warning("%s: %s", self.path, reason)
        self.state, self.reason = state, reason
        self.beat()

    def _say_trouble(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("%s: %s", self.path, trouble)
        self.trouble = trouble
