"""The client for plain threads: every operation of `Client`, waited for.

    with coterie.connect_blocking("host1:2181,host2:2181/app") as zk:
        zk.create("/name", b"value", ephemeral=True)

It may be used from many threads at once. Callbacks run in a thread of their own and may use it.
This file is written by tools/blocking.py.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from coterie.client.carrier import OnEvent
from coterie.client.client import Client, connect
from coterie.client.portal import Portal
from coterie.client.twins import BlockingCache, BlockingTransaction, BlockingWatch
from coterie.ensemble import Ensemble
from coterie.errors import ZooKeeperError
from coterie.values import ACL, OPEN_ACL, ACLs, Children, Created, Id, SessionState, Stat, Znode

if TYPE_CHECKING:
    from ssl import SSLContext

    from coterie.client.kerberos import Kerberos
    from coterie.system.tls import TLSFiles

T = TypeVar("T")


class BlockingClient:
    """A session with an ensemble, for threads; make it with `connect_blocking`."""

    def __init__(self, client: Client) -> None:
        self.client = client
        """The client that does the work, in the portal's event loop."""
        self.chroot = client.chroot
        self.portal = Portal()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Connect, and wait until a server has taken the session: see `Client.start`."""
        try:
            self.portal.call(self.client.start())
        except BaseException:
            self.portal.close()
            raise

    def close(self) -> None:
        """End the session, with its ephemerals and watches. To close twice does nothing."""
        if not self.portal.loop.is_closed():
            self.portal.call(self.client.close())
            self.portal.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run any coroutine in the client's event loop, for example a recipe's."""
        return self.portal.call(coroutine)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """As `run`, without waiting: many calls at once over one connection."""
        return self.portal.start(coroutine)

    def on_state(self, callback: Callable[[SessionState], None]) -> Callable[[], None]:
        """Call back at every change of state, in the thread of callbacks."""
        return self.client.on_state(self.portal.outside(callback))

    def _event(self, watch: OnEvent | None) -> OnEvent | None:
        return None if watch is None else self.portal.outside(watch)

    def transaction(self) -> BlockingTransaction:
        """Several changes that all happen or none, at the end of a `with` block."""
        return BlockingTransaction(self.client.transaction(), self.portal)

    def watch(self, path: str, *, recursive: bool = False) -> BlockingWatch:
        """Every change of a znode, or of its whole subtree: iterate over it within `with`."""
        return BlockingWatch(self.client.watch(path, recursive=recursive), self.portal)

    def cache(self, path: str, *, depth: int | None = None) -> BlockingCache:
        """A copy of a znode and what is below it, kept up to date: see `Cache`."""
        return BlockingCache(self.client.cache(path, depth=depth), self.portal)

    @property
    def state(self) -> SessionState:
        return self.client.state

    @property
    def over(self) -> bool:
        """Whether the client will never be connected again."""
        return self.client.over

    @property
    def session_id(self) -> int:
        """The session's number; 0 while there is none."""
        return self.client.session_id

    @property
    def session_timeout_ms(self) -> int:
        """How long the session outlives its connection, as the server has granted it."""
        return self.client.session_timeout_ms

    @property
    def last_zxid(self) -> int:
        """The newest txn that this client has seen any sign of."""
        return self.client.last_zxid

    def get(
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
        return self.portal.call(
            self.client.get(path, watch=self._event(watch), after=after, linearizable=linearizable)
        )

    def exists(
        self,
        path: str,
        *,
        watch: OnEvent | None = None,
        after: int | None = None,
        linearizable: bool = False,
    ) -> Stat | None:
        """The `Stat` of a znode, or None. The arguments are those of `get`."""
        return self.portal.call(
            self.client.exists(
                path, watch=self._event(watch), after=after, linearizable=linearizable
            )
        )

    def children(
        self,
        path: str,
        *,
        watch: OnEvent | None = None,
        after: int | None = None,
        linearizable: bool = False,
    ) -> list[str]:
        """The names of a znode's children, sorted. The arguments are those of `get`."""
        return self.portal.call(
            self.client.children(
                path, watch=self._event(watch), after=after, linearizable=linearizable
            )
        )

    def children_with_stat(
        self,
        path: str,
        *,
        watch: OnEvent | None = None,
        after: int | None = None,
        linearizable: bool = False,
    ) -> Children:
        """The names of a znode's children and its `Stat`. The arguments are those of `get`."""
        return self.portal.call(
            self.client.children_with_stat(
                path, watch=self._event(watch), after=after, linearizable=linearizable
            )
        )

    def get_many(self, paths: Sequence[str]) -> list[Znode | ZooKeeperError]:
        """Several znodes in one request: each, or the error that it came to."""
        return self.portal.call(self.client.get_many(paths))

    def get_acl(self, path: str) -> tuple[ACLs, Stat]:
        """Who may do what with a znode."""
        return self.portal.call(self.client.get_acl(path))

    def ephemerals(self, prefix: str = "/") -> list[str]:
        """The paths of this session's ephemerals that begin with `prefix`."""
        return self.portal.call(self.client.ephemerals(prefix))

    def count_descendants(self, path: str) -> int:
        """How many znodes are below this one, at all depths."""
        return self.portal.call(self.client.count_descendants(path))

    def who_am_i(self) -> list[Id]:
        """The identities that the server has found this connection to have."""
        return self.portal.call(self.client.who_am_i())

    def sync(self, path: str = "/") -> None:
        """Let the server at hand catch up with the leader: reads after this see at least that."""
        self.portal.call(self.client.sync(path))

    def config(self) -> Ensemble:
        """The ensemble's members, as it has them in /zookeeper/config.

        Raises `ApiError` where a server stands alone.
        """
        return self.portal.call(self.client.config())

    def create(
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
        return self.portal.call(
            self.client.create(
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
        )

    def create_with_stat(
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
        return self.portal.call(
            self.client.create_with_stat(
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
        )

    def ensure(self, path: str, acl: Sequence[ACL] = OPEN_ACL) -> None:
        """Make a znode, and what is missing above it, unless it is there."""
        self.portal.call(self.client.ensure(path, acl))

    def set(self, path: str, data: bytes, version: int = -1) -> Stat:
        """Change what a znode holds; with a version, only if it still has that one.

        Raises `NoNodeError`, `BadVersionError`, `OutcomeUnknown`.
        """
        return self.portal.call(self.client.set(path, data, version))

    def delete(self, path: str, version: int = -1) -> None:
        """Delete a znode without children; with a version, only if it still has that one.

        Raises `NoNodeError`, `NotEmptyError`, `BadVersionError`, `OutcomeUnknown`.
        """
        self.portal.call(self.client.delete(path, version))

    def delete_tree(self, path: str) -> None:
        """Delete a znode and all below it, from the leaves up; what is gone already is no error.

        It is not one change: others may see it half done, and what they make meanwhile goes, too.
        """
        self.portal.call(self.client.delete_tree(path))

    def set_acl(self, path: str, acl: Sequence[ACL], version: int = -1) -> Stat:
        """Change who may do what with a znode; `version` is that of its ACL."""
        return self.portal.call(self.client.set_acl(path, acl, version))

    def add_auth(self, scheme: str, credential: str | bytes) -> None:
        """Say who this client is; it is said again after every reconnect.

        Raises `AuthFailedError`, after which the client can do nothing more.
        """
        self.portal.call(self.client.add_auth(scheme, credential))

    def reconfig(
        self, *, joining: str = "", leaving: str = "", members: str = "", version: int = -1
    ) -> Ensemble:
        """Change who the members of the ensemble are. Not every server can."""
        return self.portal.call(
            self.client.reconfig(
                joining=joining, leaving=leaving, members=members, version=version
            )
        )


def connect_blocking(
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
) -> BlockingClient:
    """A client for threads: see `connect` for the arguments."""
    return BlockingClient(
        connect(
            hosts,
            session_timeout_s=session_timeout_s,
            call_timeout_s=call_timeout_s,
            connect_timeout_s=connect_timeout_s,
            auth=auth,
            read_only=read_only,
            tls=tls,
            sasl=sasl,
            request_bytes_max=request_bytes_max,
        )
    )
