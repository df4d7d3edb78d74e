"""Settings that programs share: a typed object, kept as JSON in a znode and followed.

    @dataclass(frozen=True)
    class Settings:
        workers: int = 4

    async with Configuration(zk, "/app/settings", Settings) as config:
        print(config.current.workers)
        await config.update(workers=8)
        async for settings in config.changes():
            ...

All fields are in one znode: they change together, so nobody reads half of an update, and a whole
configuration is one request and one watch. Rules: what is stored and is not valid is never
`current`, the last good one stays and `problem` says why; an update is made from what is stored
at that moment, and only if nobody has changed it meanwhile (compare-and-set).

A model is a dataclass, or a pydantic model, or anything that has `model_validate_json` and
`model_dump_json` as these have.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.errors import (
    BadVersionError,
    NodeExistsError,
    NoNodeError,
    OutcomeUnknown,
    ZooKeeperError,
)
from coterie.recipes import typed_json
from coterie.recipes.following import Changes, View
from coterie.recipes.recipe import Recipe

if TYPE_CHECKING:
    from coterie.client.cache import Cache

S = TypeVar("S")

_MISSING_VERSION = -1


class _Stored(NamedTuple, Generic[S]):
    """What became of what is stored."""

    current: S
    version: int
    problem: str | None


class Configuration(Recipe["Configuration[S]"], Generic[S]):
    """The settings at `path`, as objects of the class `model`."""

    def __init__(
        self,
        zk: Client | BlockingClient,
        path: str,
        model: type[S],
        *,
        default: S | None = None,
    ) -> None:
        """`default` holds while nothing valid was ever read; without one it is `model()`."""
        super().__init__(zk, path)
        self._model = model
        self._default = default
        self._good: S | None = None
        """The last that was valid."""
        self._view: View[_Stored[S]] = View(self.zk, self.path, 0, self._make)

    def _fallback(self) -> S:
        if self._good is not None:
            return self._good
        return self._model() if self._default is None else self._default

    def _make(self, cache: Cache) -> _Stored[S]:
        znode = cache.get(self.path)
        if znode is None or not znode.data:
            self._good = None
            return _Stored(self._fallback(), _MISSING_VERSION, None)
        try:
            good = self._good = _decode(self._model, znode.data)
        except (ValueError, TypeError) as error:
            return _Stored(self._fallback(), znode.stat.version, str(error))
        return _Stored(good, znode.stat.version, None)

    async def enter(self) -> Configuration[S]:
        """Read it. Raises what a read raises, and `TypeError` if there is nothing to fall back
        on: no default, and fields that have none."""
        self._fallback()
        await self._view.open()
        return self

    async def leave(self, error: BaseException | None) -> None:
        await self._view.close()

    @property
    def current(self) -> S:
        """The settings that hold. Costs no round trip."""
        return self._view.value.current

    @property
    def version(self) -> int:
        """The version of what is stored; -1 while nothing is."""
        return self._view.value.version

    @property
    def problem(self) -> str | None:
        """Why what is stored is not `current`, if it is not."""
        return self._view.value.problem

    @property
    def fresh(self) -> bool:
        """Whether `current` is as new as what this client's server has told of."""
        return self._view.fresh

    @property
    def stale_s(self) -> float:
        """For how many seconds that has not been known; 0 while it is."""
        return self._view.stale_s

    def changes(self) -> Changes[S]:
        """The settings that hold, every time that something else was stored, from now on.

        By `async for`, or a plain `for` over a blocking client. They are the same as before when
        there is a `problem`.
        """
        return Changes(self._view, self.portal, lambda stored: stored.current)

    async def update(self, change: Callable[[S], S] | None = None, /, **fields: Any) -> S:
        """Store what `change` makes of what is stored, or that with other `fields`.

        `change` may be called several times, when others were faster. What is stored and not
        valid counts as the last good one. Raises `ValueError` for what would not be valid, and
        `OutcomeUnknown` when the connection was lost and what is stored now does not tell.
        """
        while True:
            try:
                data, stat = await self.zk.get(self.path)
                version = stat.version
            except NoNodeError:
                data, version = b"", _MISSING_VERSION
            base = self._base(data)
            new = _with_fields(base, fields) if change is None else change(base)
            written = _encode(new, data)
            stored = _decode(self._model, written)
            if await self._swap(written, version):
                if self._view.number:
                    await self._view.at_least(self.zk.last_zxid)
                return stored

    def _base(self, data: bytes) -> S:
        try:
            return _decode(self._model, data) if data else self._fallback()
        except ValueError:
            return self._fallback()

    async def _swap(self, data: bytes, version: int) -> bool:
        """Whether it was stored; not if somebody was faster."""
        session_id = self.zk.session_id
        try:
            if version == _MISSING_VERSION:
                await self.zk.create(self.path, data, parents=True)
            else:
                await self.zk.set(self.path, data, version)
        except (BadVersionError, NodeExistsError):
            return False
        except NoNodeError:
            if version == _MISSING_VERSION:
                raise
            return False
        except OutcomeUnknown:
            try:
                return await self._was_stored(data, version, session_id)
            except ZooKeeperError:
                raise OutcomeUnknown(self.path, "update") from None
        return True

    async def _was_stored(self, data: bytes, version: int, session_id: int) -> bool:
        """What a write has come to, of which nothing was heard."""
        found, found_version = b"", _MISSING_VERSION
        # Behind a write: a leader may answer a sync before what is on its way to the disk.
        if await self.zk.exists(self.path, linearizable=True) is not None:
            found, stat = await self.zk.get(self.path)
            found_version = stat.version
        if found_version == version + 1 and found == data:
            return True
        if found_version == version and self.zk.session_id == session_id:
            # In one session what was sent before has happened, or never will.
            return False
        raise OutcomeUnknown(self.path, "update")


def _decode(model: type[S], data: bytes) -> S:
    validate = getattr(model, "model_validate_json", None)
    if validate is None:
        return typed_json.decode(model, data)
    made: S = validate(data)
    return made


def _encode(settings: object, before: bytes) -> bytes:
    """Settings as JSON, with the fields that were there before and only others know."""
    dump = getattr(settings, "model_dump_json", None)
    encoded: str | bytes = typed_json.encode(settings) if dump is None else dump()
    fields = json.loads(encoded)
    try:
        others = typed_json.parse(before, "before")
    except ValueError:
        others = None
    if isinstance(others, dict):
        fields = {key: value for key, value in others.items() if key not in fields} | fields
    return json.dumps(fields, ensure_ascii=False, indent=1).encode()


def _with_fields(settings: S, fields: dict[str, Any]) -> S:
    copy = getattr(settings, "model_copy", None)
    if copy is None:
        made: S = dataclasses.replace(settings, **fields)  # type: ignore[type-var]
        return made
    unknown = fields.keys() - type(settings).model_fields.keys()  # type: ignore[attr-defined]
    if unknown:
        raise TypeError(f"{type(settings).__name__} has no field {min(unknown)}")
    validated: S = type(settings).model_validate(copy(update=fields).model_dump())  # type: ignore[attr-defined]
    return validated
