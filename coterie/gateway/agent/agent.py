"""The host agent: one session for each host, and local files for all programs on it.

    agent = Agent("/etc/gateway/agent.toml", connect=lambda plan: coterie.connect(plan.hosts))
    await agent.run()

Programs read files and know nothing of the ensemble; they start and go on without it. Rules:
- files stay: through an outage, a restart of the agent, a start without any server, and also when
  nobody subscribes to them any more;
- what a host subscribes to may be data in the tree itself (`follow`): it is kept as a file like
  everything else, so that it is known without the ensemble, and one that makes no sense changes
  nothing;
- one agent to a directory.
What may be written when is in rails.py, one file in kept.py.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import posixpath
import socket
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, Final

from coterie import __version__
from coterie.client.client import Client
from coterie.errors import ZooKeeperError
from coterie.gateway.agent.content import ContentError
from coterie.gateway.agent.files import read, replace_file, why
from coterie.gateway.agent.kept import FAILING, HELD, Host, Kept
from coterie.gateway.agent.reload import Reload, Run
from coterie.gateway.agent.status import (
    BEAT_S,
    CommandStatus,
    FileStatus,
    Status,
    decode,
    encode,
)
from coterie.gateway.agent.subscriptions import (
    OWN_FOLDER,
    TOML,
    Plan,
    SettingsFile,
    Subscription,
    SubscriptionError,
    merge,
    parse_plan,
    parse_znode,
)
from coterie.recipes.discovery import Discovery
from coterie.recipes.names import znode_name
from coterie.system.clock import Clock, SystemClock
from coterie.system.clock import dice as system_dice
from coterie.system.command import run_command
from coterie.system.files import Files, Lock, OSFiles

log = logging.getLogger("coterie.agent")

Connect = Callable[[Plan], Client]

STATUS: Final = "status.json"
_HOSTS: Final = "127.0.0.1:2181"
_CONFIRM: Final = "confirm-"
_PAUSE_S: Final = 1.0
_PAUSE_S_MAX: Final = 10.0
_REGISTER_EVERY_S: Final = 30.0


class AgentError(Exception):
    """The agent cannot work here; the message says why, in one line."""


class Agent:
    """All files of one host."""

    def __init__(
        self,
        file: str,
        connect: Connect,
        *,
        hosts: str = "",
        files: Files | None = None,
        clock: Clock | None = None,
        dice: Random | None = None,
        run: Run = run_command,
    ) -> None:
        """Read the subscriptions in `file`. `hosts` are the servers, whatever that says of them.
        Raises `AgentError`."""
        self.file = file
        self._hosts = hosts
        self.port = 0
        """Where the page is, once somebody serves it."""
        self._connect = connect
        self._files: Files = OSFiles() if files is None else files
        self._clock = SystemClock() if clock is None else clock
        self.plan = self._read_plan()
        self.own = own_folder(self.plan)
        self._host = Host(
            files=self._files,
            clock=self._clock,
            dice=system_dice() if dice is None else dice,
            run=run,
            directory=self.plan.directory,
            root=self.plan.root,
            recheck_s=self.plan.recheck_s,
            commands={},
            reloads={},
        )
        self._kept: dict[str, Kept] = {}
        self._tasks: dict[Kept, asyncio.Task[None]] = {}
        self._reloading: dict[str, asyncio.Task[None]] = {}
        self._replan = asyncio.Event()
        self._zk: Client | None = None
        self._trouble = ""
        self._problem = ""
        """Why the local file is not what holds."""
        self._conflicts: tuple[str, ...] = ()
        self._confirmed: dict[tuple[str, str], int] = {}
        self._began_ms = self._clock.wall_ms()
        self._lock: Lock | None = None

    # From outside

    async def run(self) -> None:
        """Keep the files until cancelled. Raises `AgentError`."""
        await self._open()
        beating = asyncio.create_task(self._beat())
        try:
            pause_s = _PAUSE_S
            while True:
                if self._replan.is_set():
                    self._replan.clear()
                    await self._apply(work=True)
                was_there = await self._session()
                pause_s = _PAUSE_S if was_there else min(2 * pause_s, _PAUSE_S_MAX)
                # Many hosts may have lost their servers at the same moment.
                await asyncio.sleep(pause_s * self._host.dice.uniform(0.5, 1.5))
        finally:
            beating.cancel()
            await _end([beating, *self._reloading.values()])
            self._write_status()
            self._close()

    async def once(self) -> list[str]:
        """Write all files now, and run what has to follow; what is wrong. Raises `AgentError`,
        and `ZooKeeperError` without a server."""
        await self._open(work=False)
        zk = self._zk = self._connect(self.plan)
        try:
            await zk.start()
            problems: list[str] = []
            done: set[str] = set()
            while left := [one for path, one in self._kept.items() if path not in done]:
                # Those that are followed come first, and may ask for more.
                for one in left:
                    done.add(one.path)
                    await one.once(zk)
                    if one.state in (HELD, FAILING) or not one.there:
                        problems.append(f"{one.path}: {one.reason}")
                await self._apply()
            waiting = [one for one in self._host.reloads.values() if one.waiting]
            failed = [one for one in waiting if not await one.once()]
            self._write_status()
            commands = [f"command {one.name}: {one.problem}" for one in failed]
            return [*problems, *commands, *self._conflicts]
        finally:
            self._zk = None
            await zk.close()
            self._close()

    def read_again(self) -> None:
        """Read the subscriptions anew, and everything in the tree; what makes no sense changes
        nothing. Directory, page and servers stay as they are until the agent starts anew."""
        try:
            plan = self._read_plan()
        except AgentError as error:
            self._problem = str(error)
            log.error("%s; the old subscriptions stay", error)
            return
        self._problem = ""
        log.info("%s is read anew", self.file)
        self.plan = plan
        self._replan.set()
        for one in self._kept.values():
            one.check_again()

    def status(self) -> Status:
        """How it is."""
        zk = self._zk
        connected = zk is not None and zk.state.connected
        session = f"0x{zk.session_id:x}" if zk is not None and connected else ""
        problems = [self._problem] if self._problem else []
        return Status(
            host=socket.gethostname(),
            pid=os.getpid(),
            software=__version__,
            began_ms=self._began_ms,
            beat_ms=self._clock.wall_ms(),
            hosts=self.plan.hosts,
            connected=connected,
            session=session,
            trouble="" if connected else self._trouble,
            problems=(*problems, *self._conflicts),
            files=tuple(map(_file_status, self._kept.values())),
            commands=tuple(map(_command_status, self._host.reloads.values())),
        )

    def _read_plan(self) -> Plan:
        plan = read_plan(self.file, self._files)
        return replace(plan, hosts=self._hosts or plan.hosts or _HOSTS)

    # The beginning and the end

    async def _open(self, *, work: bool = True) -> None:
        try:
            self._files.make_directory(self.own)
            self._lock = self._files.lock(self.own)
        except BlockingIOError:
            raise AgentError(f"another agent works in {self.plan.directory}") from None
        except OSError as error:
            raise AgentError(why(error)) from None
        with suppress(OSError, ValueError):
            before = decode(read(self._files, self._own(STATUS)) or b"")
            self._confirmed = {(f.path, f.source): f.confirmed_ms for f in before.files}
        await self._apply(work=work)
        # What was followed before names more of them.
        await self._apply(work=work)

    def _close(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _own(self, name: str) -> str:
        return posixpath.join(self.own, name)

    # What is subscribed to

    async def _apply(self, *, work: bool = False) -> None:
        """Keep what the plan and the znodes that it follows say now, and no more."""
        self._host.commands = self.plan.commands
        self._host.root, self._host.recheck_s = self.plan.root, self.plan.recheck_s
        await self._apply_commands(work)
        parts, self._conflicts = self._parts()
        wanted: dict[str, Subscription] = {}
        for one in merge(parts):
            wanted.setdefault(posixpath.join(self._host.directory, one.file), one)
        for path in [p for p, kept in self._kept.items() if wanted.get(p) != kept.one]:
            kept = self._kept.pop(path)
            task = self._tasks.pop(kept, None)
            if task is not None:
                await _end([task])
        new: list[Kept] = []
        for path, one in wanted.items():
            if path not in self._kept:
                kept = self._kept[path] = self._keep(one, path)
                new.append(kept)
        self._kept = {path: self._kept[path] for path in wanted}
        for kept in new:
            try:
                await kept.load()
            except OSError as error:
                log.warning("%s", why(error))

    def _keep(self, one: Subscription, path: str) -> Kept:
        confirmed_ms = self._confirmed.get((path, one.source))
        if isinstance(one, SettingsFile) and one.znode in self.plan.follow and _is_own(one):
            accept = partial(self._accept, one.znode)
            return Kept(one, self._host, confirmed_ms, accept, self._replan.set)
        return Kept(one, self._host, confirmed_ms)

    async def _apply_commands(self, work: bool) -> None:
        reloads = self._host.reloads
        for name in list(reloads):
            if reloads[name].command != self.plan.commands.get(name):
                del reloads[name]
                if name in self._reloading:
                    await _end([self._reloading.pop(name)])
        for name, command in self.plan.commands.items():
            if name not in reloads:
                reloads[name] = Reload(name, command, self._host.run)
                if work:
                    self._reloading[name] = asyncio.create_task(reloads[name].work())

    def _parts(self) -> tuple[list[tuple[Subscription, ...]], tuple[str, ...]]:
        """The subscriptions by where they come from; and what is left out, and why."""
        own = tuple(
            SettingsFile(znode, _followed(znode), check=TOML, may_be_empty=True)
            for znode in self.plan.follow
        )
        parts = [own, self.plan.subscriptions]
        conflicts: list[str] = []
        for one in own:
            try:
                data = read(self._files, posixpath.join(self._host.directory, one.file))
                if data is not None:
                    more = parse_znode(data, self.plan.commands)
                    merge([*parts, more])
                    parts.append(more)
            except SubscriptionError as error:
                conflicts.append(f"{one.znode}: {error}")
            except OSError as error:
                conflicts.append(why(error))
        return parts, tuple(conflicts)

    def _accept(self, znode: str, data: bytes) -> None:
        """Whether a znode that is followed makes sense. Raises `ContentError`."""
        try:
            merge([self.plan.subscriptions, parse_znode(data, self.plan.commands)])
        except SubscriptionError as error:
            raise ContentError(f"{znode}: {error}") from None

    # Following

    async def _session(self) -> bool:
        """Follow the tree with one client, until it is over; whether it was ever connected."""
        changed = asyncio.Event()
        try:
            zk = self._connect(self.plan)
            zk.on_state(lambda state: changed.set())
            await zk.start()
        except (ZooKeeperError, ValueError) as error:
            if str(error) != self._trouble:
                log.warning("%s; the files stay as they are", error)
            self._trouble = str(error)
            return False
        self._zk, self._trouble = zk, ""
        log.info("connected to %s, session 0x%x", self.plan.hosts, zk.session_id)
        registering = asyncio.create_task(self._register(zk))
        try:
            while not zk.over:
                self._replan.clear()
                for kept in self._kept.values():
                    if kept not in self._tasks:
                        self._tasks[kept] = asyncio.create_task(_run(kept, zk))
                await _first(self._replan.wait(), changed.wait())
                if changed.is_set():
                    changed.clear()
                    self._say_state(zk)
                if self._replan.is_set():
                    await self._apply(work=True)
        finally:
            await _end(self._tasks.values())
            self._tasks.clear()
            # The registration goes with the session; without a server it could not be undone.
            await zk.close()
            await _end([registering])
            self._zk = None
        return True

    def _say_state(self, zk: Client) -> None:
        trouble = "" if zk.state.connected else f"no server ({zk.state.name.lower()})"
        if trouble != self._trouble:
            log.log(logging.WARNING if trouble else logging.INFO, trouble or "connected again")
        self._trouble = trouble

    async def _register(self, zk: Client) -> None:
        """Let this host be found, if that is wished."""
        if not self.plan.register or not self.port:
            return
        name = socket.gethostname()
        services = Discovery(zk, f"{self.plan.root.rstrip('/')}/services")
        offer = services.register(
            "agent",
            __version__,
            host=name,
            port=self.port,
            id=name,
            metadata={"state": "serving", "files": len(self._kept), "stale": 0},
        )
        while not zk.over:
            try:
                async with offer:
                    while not zk.over:
                        now = {"files": len(self._kept), "stale": self._stale()}
                        if now.items() - offer.instance.metadata.items():
                            await offer.update(**now)
                        await asyncio.sleep(_REGISTER_EVERY_S)
            except ZooKeeperError as error:
                log.warning("not registered: %s", error)
                await asyncio.sleep(_REGISTER_EVERY_S)

    def _stale(self) -> int:
        return sum(one.stale for one in self._kept.values())

    # The beat

    async def _beat(self) -> None:
        while True:
            try:
                for one in self._kept.values():
                    one.beat()
                self._take_confirmations()
                self._write_status()
            except Exception:
                # Without a beat there is no alarm.
                log.exception("the agent's beat")
            await asyncio.sleep(BEAT_S)

    def _write_status(self) -> None:
        with suppress(OSError):
            replace_file(self._files, self._own(STATUS), encode(self.status()), durable=False)

    def _take_confirmations(self) -> None:
        """What operators have confirmed: each a file of its own, by `confirm`."""
        with suppress(OSError):
            for name in self._files.names(self.own):
                if name.startswith(_CONFIRM):
                    data = read(self._files, self._own(name))
                    self._files.delete(self._own(name))
                    self._confirm(data or b"")

    def _confirm(self, data: bytes) -> None:
        try:
            path, offered = map(str, json.loads(data))
        except (ValueError, TypeError):
            return
        one = self._kept.get(path)
        if one is not None and one.confirm(offered):
            log.info("%s: an operator lets it pass", path)
        else:
            log.warning("%s: it was confirmed, and is another by now", path)


# For the command line


def read_plan(file: str, files: Files) -> Plan:
    """What a file of subscriptions says. Raises `AgentError`."""
    try:
        data = read(files, file)
        if data is None:
            raise AgentError(f"{file} is not there")
        folder = posixpath.dirname(file) or "."
        return parse_plan(data.decode(), folder)
    except OSError as error:
        raise AgentError(why(error)) from None
    except UnicodeDecodeError:
        raise AgentError(f"{file} is no UTF-8 text") from None
    except SubscriptionError as error:
        raise AgentError(f"{file}: {error}") from None


def own_folder(plan: Plan) -> str:
    """Where an agent keeps what is its own."""
    return posixpath.join(plan.directory, OWN_FOLDER)


def read_status(plan: Plan, files: Files) -> Status:
    """What the agent of a plan told last. Raises `AgentError`."""
    path = posixpath.join(own_folder(plan), STATUS)
    try:
        data = read(files, path)
        if data is None:
            raise AgentError(f"no agent has ever worked in {plan.directory}")
        return decode(data)
    except (OSError, ValueError) as error:
        reason = why(error) if isinstance(error, OSError) else str(error)
        raise AgentError(f"{path}: {reason}") from None


def confirm(plan: Plan, files: Files, name: str) -> str:
    """Ask the running agent to let pass what it holds; what that is. Raises `AgentError`."""
    path = posixpath.join(plan.directory, posixpath.normpath(name))
    found = [one for one in read_status(plan, files).files if one.path == path]
    if not found:
        raise AgentError(f"nobody subscribes to {name}")
    (one,) = found
    if not one.offered:
        raise AgentError(f"{name}: there is nothing to confirm")
    asked = posixpath.join(own_folder(plan), f"{_CONFIRM}{one.offered}")
    try:
        replace_file(files, asked, json.dumps([path, one.offered]).encode())
    except OSError as error:
        raise AgentError(why(error)) from None
    return one.reason


def _followed(znode: str) -> str:
    """The file of a znode that says what is subscribed to."""
    return f"{OWN_FOLDER}/{znode_name(znode)}.toml"


def _is_own(one: SettingsFile) -> bool:
    return one.file == _followed(one.znode)


def _file_status(one: Kept) -> FileStatus:
    version = one.version
    return FileStatus(
        file=one.one.file,
        path=one.path,
        source=one.one.source,
        state=one.state,
        reason=one.trouble or one.reason,
        fresh=one.fresh,
        there=one.there,
        confirmed_ms=one.confirmed_wall_ms,
        stale_after_s=one.one.stale_after_s,
        changes=one.changes,
        zxid=None if version is None else version.zxid,
        version=None if version is None or version.version < 0 else version.version,
        members=None if version is None or version.members is None else len(version.members),
        written_ms=None if version is None else version.written_ms,
        command=one.one.reload,
        reload="" if version is None else version.reload,
        offered=one.offered,
    )


def _command_status(one: Reload) -> CommandStatus:
    return CommandStatus(one.name, one.runs, one.failures, one.problem, one.waiting)


async def _run(kept: Kept, zk: Client) -> None:
    """Keep one file. An error of ours must not end it for good, nor the others."""
    while not zk.over:
        try:
            await kept.run(zk)
        except Exception:
            log.exception("%s", kept.path)
            await asyncio.sleep(_PAUSE_S_MAX)


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _first(*steps: Coroutine[Any, Any, object]) -> None:
    """Wait until one of them is done."""
    tasks = [asyncio.create_task(step) for step in steps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
