"""The client: one coroutine for each of ZooKeeper's operations.

    async with coterie.connect("host1:2181,host2:2181/app") as zk:
        await zk.create("/name", b"value", ephemeral=True)
        data, stat = await zk.get("/name")

Rules: a read is repeated by itself over a lost connection, a write never is; every call ends
within `call_timeout_s`; every error names the operation and the path. Times that callers give are
seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from coterie import paths
from coterie.client import calls
from coterie.client.cache import Cache
from coterie.client.calls import Call
from coterie.client.carrier import Carrier, OnEvent
from coterie.client.session import Settings
from coterie.client.transaction import Transaction
from coterie.client.watch import Watch
from coterie.ensemble import Ensemble
from coterie.errors import (
    ApiError,
    BadArgumentsError,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    OutcomeUnknown,
    SessionExpiredError,
    ZooKeeperError,
)
from coterie.system.clock import dice as system_dice
from coterie.system.tls import TLSFiles, wanted
from coterie.system.transport import Network, SystemNetwork
from coterie.values import (
    ACL,
    OPEN_ACL,
    ACLs,
    AddWatchMode,
    Children,
    Created,
    CreateMode,
    Id,
    Stat,
    Znode,
)
from coterie.wire import requests
from coterie.wire.requests import Op

if TYPE_CHECKING:
    from random import Random
    from ssl import SSLContext

    from coterie.client.kerberos import Kerberos

_CONFIG: Final = paths.CONFIG
_ATTEMPTS: Final = 3
_PAUSE_S: Final = 0.1
_PROTECTED: Final = "_c_"
"""How a name begins by which its maker finds it again: as Curator's, so that both know it."""


class Client(Carrier):
    """A session with an ensemble. Use it within one event loop; make it with `connect`."""

    async def _read(
        self,
        call: Call,
        place: bytes,
        watch: OnEvent | None,
        after: int | None,
        linearizable: bool,
    ) -> Any:
        """A read, from wherever it may come to be as new as is asked for."""
        if watch is not None:
            calls.watching(call, place, self._watcher(watch))
        if linearizable:
            first = self._ask(calls.check_all())
        elif after is not None and after > self.session.last_zxid:
            first = self._ask(calls.sync(place, call.path or ""))
        else:
            return await self._ask(call)
        # Both leave at once; the server answers them in this order.
        second = self._ask(call)
        try:
            await first
        except BaseException:
            second.cancel()
            raise
        return await second

    # Reading

    async def get(
        self,
        path: str,
        *,
        watch: OnEvent | None = None,
        after: int | None = None,
        linearizable: bool = False,
    ) -> Znode:
        """What a znode holds, and its `Stat`. Raises `NoNodeError`.

        By itself it is answered by the server at hand from what it knows: never older than what
        this client has seen, but maybe older than what others have written. `after=zxid` makes it
        at least as new as that txn, at the cost of a round trip to the leader if this client has
        not seen it yet; `linearizable=True` as new as anything that was written before the call,
        at the cost of a write. `watch` is called once, when what was read has changed.
        """
        place = self._place(path, "get")
        read: Znode = await self._read(calls.get(place, path), place, watch, after, linearizable)
        return read

    async def exists(
        self,
        path: str,
        *,
        watch: OnEvent | None = None,
        after: int | None = None,
        linearizable: bool = False,
    ) -> Stat | None:
        """The `Stat` of a znode, or None. The arguments are those of `get`."""
        place = self._place(path, "exists")
        call = calls.exists(place, path)
        stat: Stat | None = await self._read(call, place, watch, after, linearizable)
        return stat

    async def children(
        self,
        path: str,
        *,
        watch: OnEvent | None = None,
        after: int | None = None,
        linearizable: bool = False,
    ) -> list[str]:
        """The names of a znode's children, sorted. The arguments are those of `get`."""
        found = await self.children_with_stat(
            path, watch=watch, after=after, linearizable=linearizable
        )
        return found.names

    async def children_with_stat(
        self,
        path: str,
        *,
        watch: OnEvent | None = None,
        after: int | None = None,
        linearizable: bool = False,
    ) -> Children:
        """The names of a znode's children and its `Stat`. The arguments are those of `get`."""
        place = self._place(path, "children")
        call = calls.children(place, path)
        found: Children = await self._read(call, place, watch, after, linearizable)
        return found

    async def get_many(self, paths: Sequence[str]) -> list[Znode | ZooKeeperError]:
        """Several znodes in one request: each, or the error that it came to."""
        operations: list[calls.Operation] = [
            (Op.GET_DATA, requests.PathWatchRequest(self._place(path, "get"), False), path, "get")
            for path in paths
        ]
        found: list[Znode | ZooKeeperError] = (
            await self._ask(calls.multi_read(operations)) if operations else []
        )
        return found

    async def get_acl(self, path: str) -> tuple[ACLs, Stat]:
        """Who may do what with a znode."""
        found: tuple[ACLs, Stat] = await self._ask(
            calls.get_acl(self._place(path, "get_acl"), path)
        )
        return found

    async def ephemerals(self, prefix: str = "/") -> list[str]:
        """The paths of this session's ephemerals that begin with `prefix`."""
        found = await self._ask(calls.ephemerals(self._place(prefix, "ephemerals"), prefix))
        return [self._shown(place) for place in found]

    async def count_descendants(self, path: str) -> int:
        """How many znodes are below this one, at all depths."""
        place = self._place(path, "count_descendants")
        count: int = await self._ask(calls.count_descendants(place, path))
        return count

    async def who_am_i(self) -> list[Id]:
        """The identities that the server has found this connection to have."""
        found: list[Id] = await self._ask(calls.who_am_i())
        return found

    async def sync(self, path: str = "/") -> None:
        """Let the server at hand catch up with the leader: reads after this see at least that."""
        await self._ask(calls.sync(self._place(path, "sync"), path))

    async def config(self) -> Ensemble:
        """The ensemble's members, as it has them in /zookeeper/config.

        Raises `ApiError` where a server stands alone.
        """
        data, _ = await self._ask(calls.get(_CONFIG, _CONFIG.decode()))
        if not data:
            raise ApiError(_CONFIG.decode(), "config (no ensemble: the server stands alone)")
        return Ensemble.parse(data.decode())

    # Writing

    async def create(
        self,
        path: str,
        data: bytes = b"",
        *,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl_ms: int | None = None,
        acl: Sequence[ACL] = OPEN_ACL,
        parents: bool = False,
        protected: bool = False,
    ) -> str:
        """Make a znode, and say under which path.

        `ephemeral` ones go with the session, `sequential` ones get a number behind their name,
        `container` ones go after their last child, `ttl_ms` ones when they were not changed for
        that long. `parents` makes what is missing above, too. `protected` marks the name so that
        the znode is found again if the connection is lost at the wrong moment; it is for
        ephemeral and sequential ones, and spares the caller `OutcomeUnknown`.

        Raises `NodeExistsError`, `NoNodeError` (no parent), `OutcomeUnknown`.
        """
        created = await self.create_with_stat(
            path,
            data,
            ephemeral=ephemeral,
            sequential=sequential,
            container=container,
            ttl_ms=ttl_ms,
            acl=acl,
            parents=parents,
            protected=protected,
        )
        return created.path

    async def create_with_stat(
        self,
        path: str,
        data: bytes = b"",
        *,
        ephemeral: bool = False,
        sequential: bool = False,
        container: bool = False,
        ttl_ms: int | None = None,
        acl: Sequence[ACL] = OPEN_ACL,
        parents: bool = False,
        protected: bool = False,
    ) -> Created:
        """As `create`, with the new znode's `Stat`."""
        mode = _mode(path, ephemeral, sequential, container, ttl_ms)
        if protected:
            if not (ephemeral or sequential):
                raise BadArgumentsError(path, "create (protected, but not ephemeral)")
            return await self._create_protected(path, data, mode, acl, ttl_ms or 0, parents)
        return await self._create(path, data, mode, acl, ttl_ms or 0, parents)

    async def _create(
        self,
        path: str,
        data: bytes,
        mode: CreateMode,
        acl: Sequence[ACL],
        ttl_ms: int,
        parents: bool,
    ) -> Created:
        place = self._place(path, "create", mode.sequential)
        try:
            created = await self._ask(calls.create(place, path, data, acl, mode, ttl_ms))
        except NoNodeError:
            if not parents:
                raise
            await self.ensure(_above(path), acl)
            created = await self._ask(calls.create(place, path, data, acl, mode, ttl_ms))
        found: Created = created
        return found._replace(path=self._shown(found.path)) if self.chroot else found

    async def _create_protected(
        self,
        path: str,
        data: bytes,
        mode: CreateMode,
        acl: Sequence[ACL],
        ttl_ms: int,
        parents: bool,
    ) -> Created:
        """A create that may be repeated: what came of an earlier try is looked for first."""
        above, _, name = path.rpartition("/")
        above = above or "/"
        mark = f"{_PROTECTED}{self.dice.getrandbits(128):032x}-" if mode.sequential else ""
        marked = f"{above.rstrip('/')}/{mark}{name}"
        session_id = self.session.id
        unknown = False
        try:
            for _ in range(_ATTEMPTS):
                try:
                    return await self._create(marked, data, mode, acl, ttl_ms, parents)
                except OutcomeUnknown:
                    unknown = True
                except NodeExistsError:
                    if not unknown:
                        raise
                try:
                    found = await self._find(above, mark or name, bool(mark))
                except ZooKeeperError as error:
                    gone = mode.ephemeral and isinstance(error, SessionExpiredError)
                    if gone or isinstance(error, NoAuthError):
                        raise
                    # Not `error`: to whoever reads that, nothing has been made.
                    raise OutcomeUnknown(path, "create") from error
                if found is not None and (
                    not mode.ephemeral or found.stat.ephemeral_owner == self.session.id
                ):
                    return found
                if mode.ephemeral and self.session.id != session_id:
                    raise SessionExpiredError(path, "create")
            raise OutcomeUnknown(path, "create")
        except BaseException:
            if unknown and mark and mode.ephemeral and not self.over:
                # Whoever waits for it to go would wait as long as this session lives.
                self._remove_later(above, mark, self.session.id)
            raise

    def _remove_later(self, above: str, mark: str, session_id: int) -> None:
        """Nobody knows of an ephemeral that may have been made, or may yet be: delete it."""
        task = asyncio.get_running_loop().create_task(self._remove(above, mark, session_id))
        self._removing.add(task)
        task.add_done_callback(self._removing.discard)

    async def _remove(self, above: str, mark: str, session_id: int) -> None:
        while not self.over and self.session.id == session_id:
            try:
                while (found := await self._find(above, mark, True)) is not None:
                    await self.delete(found.path)
                return
            except (NoNodeError, NoAuthError, SessionExpiredError):
                return
            except ZooKeeperError:
                await asyncio.sleep(_PAUSE_S)

    async def _find(self, above: str, name: str, is_mark: bool) -> Created | None:
        """The child of that name, or whose name begins so.

        What an old connection carried is before the write of a linearizable read in the leader's
        order, or refused. A sync will not do: a leader answers those of its own clients at once,
        while what they wrote before is still on its way to the disks.
        """
        if not is_mark:
            path = f"{above.rstrip('/')}/{name}"
            stat = await self.exists(path, linearizable=True)
            return None if stat is None else Created(path, stat)
        try:
            names = await self.children(above, linearizable=True)
        except NoNodeError:
            return None
        for child in names:
            if child.startswith(name):
                path = f"{above.rstrip('/')}/{child}"
                stat = await self.exists(path)
                if stat is not None:
                    return Created(path, stat)
        return None

    async def ensure(self, path: str, acl: Sequence[ACL] = OPEN_ACL) -> None:
        """Make a znode, and what is missing above it, unless it is there."""
        self._place(path, "ensure")
        missing: list[str] = []
        while path != "/" and await self.exists(path) is None:
            missing.append(path)
            path = _above(path)
        for each in reversed(missing):
            try:
                await self._create(each, b"", CreateMode.PERSISTENT, acl, 0, False)
            except NodeExistsError:
                continue
            except OutcomeUnknown:
                # Whoever made it, it has to be there.
                if await self.exists(each) is None:
                    raise

    async def set(self, path: str, data: bytes, version: int = -1) -> Stat:
        """Change what a znode holds; with a version, only if it still has that one.

        Raises `NoNodeError`, `BadVersionError`, `OutcomeUnknown`.
        """
        stat: Stat = await self._ask(calls.set_data(self._place(path, "set"), path, data, version))
        return stat

    async def delete(self, path: str, version: int = -1) -> None:
        """Delete a znode without children; with a version, only if it still has that one.

        Raises `NoNodeError`, `NotEmptyError`, `BadVersionError`, `OutcomeUnknown`.
        """
        await self._ask(calls.delete(self._place(path, "delete"), path, version))

    async def delete_tree(self, path: str) -> None:
        """Delete a znode and all below it, from the leaves up; what is gone already is no error.

        It is not one change: others may see it half done, and what they make meanwhile goes, too.
        """
        for _ in range(_ATTEMPTS):
            try:
                for name in await self.children(path):
                    await self.delete_tree(f"{path.rstrip('/')}/{name}")
                if path != "/":
                    await self.delete(path)
            except NoNodeError:
                return
            except NotEmptyError:
                continue
            return
        raise NotEmptyError(path, "delete_tree")

    async def set_acl(self, path: str, acl: Sequence[ACL], version: int = -1) -> Stat:
        """Change who may do what with a znode; `version` is that of its ACL."""
        stat: Stat = await self._ask(
            calls.set_acl(self._place(path, "set_acl"), path, acl, version)
        )
        return stat

    def transaction(self) -> Transaction:
        """Several changes that all happen or none: see `Transaction`."""
        return Transaction(self._place, self._result, self._ask)

    async def add_auth(self, scheme: str, credential: str | bytes) -> None:
        """Say who this client is; it is said again after every reconnect.

        Raises `AuthFailedError`, after which the client can do nothing more.
        """
        secret = credential.encode() if isinstance(credential, str) else credential
        await self._ask(calls.auth(scheme, secret))

    async def reconfig(
        self, *, joining: str = "", leaving: str = "", members: str = "", version: int = -1
    ) -> Ensemble:
        """Change who the members of the ensemble are. Not every server can."""
        data, _ = await self._ask(calls.reconfig(joining, leaving, members, version))
        return Ensemble.parse(data.decode())

    # Watching

    def watch(self, path: str, *, recursive: bool = False) -> Watch:
        """Every change of a znode, or of its whole subtree, as an async iterator: see `Watch`."""
        self._place(path, "watch")
        return Watch(self, path, recursive=recursive)

    def cache(self, path: str, *, depth: int | None = None) -> Cache:
        """A copy of a znode and what is below it, kept up to date: see `Cache`.

        `depth` 0 is the znode alone, 1 its children as well, None the whole subtree.
        """
        self._place(path, "cache")
        return Cache(self, path, depth)

    def unwatch(self, path: str, watch: OnEvent) -> None:
        """Forget the one-shot watch that a read has set, or will when its answer comes."""
        self.session.watches.forget(self._place(path, "unwatch"), self._watcher(watch))

    async def add_watch(self, path: str, mode: AddWatchMode, watch: OnEvent) -> None:
        """Call back at every change, until `remove_watch`. `watch` is easier to use."""
        place = self._place(path, "watch")
        watcher = self._watchers[path, watch] = self._watcher(watch)
        # It is there before the first event can come.
        self.session.watches.add(mode, place, watcher)
        try:
            await self._ask(calls.add_watch(place, path, mode))
        except BaseException:
            self.session.watches.drop(mode, place, watcher)
            self._watchers.pop((path, watch), None)
            raise

    async def remove_watch(self, path: str, mode: AddWatchMode, watch: OnEvent) -> None:
        """Undo `add_watch`. The server is told when nobody here watches the path any more."""
        place = self._place(path, "watch")
        watcher = self._watchers.pop((path, watch), None)
        if watcher is None or not self.session.watches.drop(mode, place, watcher):
            return
        if self.session.expects_watch(place):
            return  # It would be removed, too.
        if self.state.connected:
            try:
                await self._ask(calls.remove_watches(place, path))
            except ZooKeeperError:
                return  # What is not watched over this connection will not be over the next.


def _above(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _mode(
    path: str, ephemeral: bool, sequential: bool, container: bool, ttl_ms: int | None
) -> CreateMode:
    """Raises `BadArgumentsError` for kinds that do not go together."""
    if (container and (ephemeral or sequential)) or (
        ttl_ms is not None and (ephemeral or container)
    ):
        raise BadArgumentsError(path, "create (kinds that exclude each other)")
    if container:
        return CreateMode.CONTAINER
    if ttl_ms is not None:
        if ttl_ms <= 0:
            raise BadArgumentsError(path, "create (a TTL is some milliseconds)")
        return CreateMode.PERSISTENT_SEQUENTIAL_TTL if sequential else CreateMode.PERSISTENT_TTL
    return CreateMode(1 * ephemeral + 2 * sequential)


def connect(
    hosts: str,
    *,
    session_timeout_s: float = 10.0,
    call_timeout_s: float = 30.0,
    connect_timeout_s: float | None = None,
    auth: Sequence[tuple[str, str | bytes]] = (),
    read_only: bool = False,
    tls: SSLContext | TLSFiles | bool | None = None,
    sasl: tuple[str, str] | Kerberos | None = None,
    request_bytes_max: int | None = None,
    network: Network | None = None,
    dice: Random | None = None,
) -> Client:
    """A client for the ensemble at `host1:port,host2:port/root`; connect it with `async with`.

    `session_timeout_s` is how long the session outlives a lost connection; `call_timeout_s` ends
    every call; `connect_timeout_s` is for one try at one server. `auth` are schemes and
    credentials. `read_only` lets a server without a quorum serve reads. `tls` is True (the
    system's trust), `TLSFiles` or a context; a connect string that begins with `tls://` asks for
    it, too. `sasl` are a user and a password, for DIGEST-MD5, or a
    `coterie.client.kerberos.Kerberos`, for GSSAPI.
    `request_bytes_max` is the servers' jute.maxbuffer. `network` and `dice` are for simulations.

    Raises `HostsError` (a `ValueError`) for a connect string that makes no sense, and `TLSError`
    (another) for a file of `tls` that cannot be used.
    """
    from coterie.client.session import REQUEST_BYTES_MAX

    if session_timeout_s <= 0 or call_timeout_s <= 0:
        raise ValueError("a time-out is longer than nothing")
    bare = hosts.removeprefix("tls://")
    if bare != hosts and not tls:
        tls = True
    if connect_timeout_s is None:
        connect_timeout_s = min(session_timeout_s / 3, 3.0)
    settings = Settings(
        timeout_ms=round(session_timeout_s * 1000),
        connect_ms=connect_timeout_s * 1000,
        read_only=read_only,
        auth=[(scheme, c.encode() if isinstance(c, str) else c) for scheme, c in auth],
        sasl=sasl,
        request_bytes_max=REQUEST_BYTES_MAX if request_bytes_max is None else request_bytes_max,
    )
    return Client(
        bare,
        settings,
        call_timeout_s=call_timeout_s,
        tls=wanted(tls),
        network=SystemNetwork() if network is None else network,
        dice=system_dice() if dice is None else dice,
    )
