"""Public keys by name: which hold now, which follow, and which are revoked.

    async with KeyStore(zk, "/keys") as keys:
        await keys.add("alice", pem)
        await keys.rotate("alice", new_pem, overlap_s=86_400)
        for key in keys.valid("alice", stale_s_max=60):
            ...                                  # try to verify with each
        await keys.revoke("alice", key.id)

All keys of a name are one znode, changed by compare-and-set; reads come from a local copy. Rules:
- a key holds from `valid_from` until before `valid_until`, and never once it is revoked; a revoked
  one stays listed, so that it cannot be added again;
- an answer may be refused for its age: while the ensemble cannot be reached, nobody hears that a
  key was revoked. Who verifies gives `stale_s_max`;
- keys are bytes, or PEM text: nothing here looks into them. Who may write them is the ACL's
  matter;
- times are seconds since 1970, and those of the clock of whoever asks.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

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
from coterie.recipes.names import text_of, znode_name
from coterie.recipes.recipe import PASSING, Recipe
from coterie.system.clock import SystemClock
from coterie.values import ACL, OPEN_ACL

if TYPE_CHECKING:
    from coterie.client.cache import Cache

_MISSING_VERSION: Final = -1


class StaleError(ZooKeeperError):
    """What is known is older than was asked for."""


class KeyRevokedError(ValueError):
    """The key was revoked, and may not be used any more."""


@dataclass(frozen=True)
class Key:
    """One public key of a name."""

    id: str
    """The SHA-256 of its bytes, in hexadecimal."""
    data: bytes
    valid_from: float
    valid_until: float | None = None
    revoked_at: float | None = None
    reason: str = ""

    def holds_at(self, when: float) -> bool:
        if self.revoked_at is not None or when < self.valid_from:
            return False
        return self.valid_until is None or when < self.valid_until


@dataclass(frozen=True)
class _StoredKey:
    key: str
    """PEM as it is, or base64."""
    valid_from: float
    valid_until: float | None = None
    revoked_at: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class _StoredKeys:
    keys: tuple[_StoredKey, ...]


Keys = tuple[Key, ...]
"""The keys of one name, in the order in which they were added."""


class _Entry(NamedTuple):
    """What is stored of a name, as of a txn."""

    mzxid: int
    keys: Keys
    problem: str


class _Known(NamedTuple):
    keys: Mapping[str, Keys]
    unreadable: Mapping[str, str]


def _now_s() -> float:
    return SystemClock().wall_ms() / 1000


class KeyStore(Recipe["KeyStore"]):
    """The keys at `path`. Between `async with` they are kept up to date."""

    def __init__(
        self,
        zk: Client | BlockingClient,
        path: str,
        *,
        acl: Sequence[ACL] = OPEN_ACL,
        now: Callable[[], float] = _now_s,
    ) -> None:
        """`acl` is for the znodes of new names."""
        super().__init__(zk, path)
        self._acl = acl
        self._now = now
        self._entries: dict[str, _Entry] = {}
        """What was read last, by the names of znodes."""
        self._view: View[_Known] = View(self.zk, self.path, 1, self._read)

    async def enter(self) -> KeyStore:
        """Know all keys. Raises what a read raises."""
        await self._view.open()
        return self

    async def leave(self, error: BaseException | None) -> None:
        await self._view.close()

    # Reading

    def all(self, name: str, *, stale_s_max: float | None = None) -> Keys:
        """All keys of a name, those that do not hold, too; none is an empty answer.

        Raises `StaleError` when it has not been known to be fresh for longer than `stale_s_max`,
        and `ValueError` if what is stored under that name makes no sense.
        """
        if stale_s_max is not None and self.stale_s > stale_s_max:
            raise StaleError(self.path, f"read the keys of {name} ({self.stale_s:.1f} s old)")
        known = self._view.value
        if name in known.unreadable:
            raise ValueError(known.unreadable[name])
        return known.keys.get(name, ())

    def valid(
        self, name: str, *, at: float | None = None, stale_s_max: float | None = None
    ) -> list[Key]:
        """The keys that hold, now or at some time, the newest first: for who verifies."""
        when = self._now() if at is None else at
        # Of those of one moment the one that was added last is the newest.
        last_first = reversed(self.all(name, stale_s_max=stale_s_max))
        found = [key for key in last_first if key.holds_at(when)]
        return sorted(found, key=lambda key: key.valid_from, reverse=True)

    def current(self, name: str, *, stale_s_max: float | None = None) -> Key:
        """The newest key that holds: for who encrypts. Raises `LookupError` if there is none."""
        for key in self.valid(name, stale_s_max=stale_s_max):
            return key
        raise LookupError(f"{name} has no key that holds at {self.path}")

    def names(self) -> list[str]:
        """The names that have keys, whether these hold or not."""
        return sorted(self._view.value.keys)

    @property
    def fresh(self) -> bool:
        """Whether answers are as new as what this client's server has told of."""
        return self._view.fresh

    @property
    def stale_s(self) -> float:
        """For how many seconds that has not been known; 0 while it is."""
        return self._view.stale_s

    def changes(self) -> Changes[Mapping[str, Keys]]:
        """All keys, by name, every time that some have changed, from now on."""
        return Changes(self._view, self.portal, lambda known: known.keys)

    async def look(self) -> None:
        """Let the next answers be as new as anything that was written before this call. Costs a
        round trip to the leader."""
        await self.zk.sync(self.path)
        await self._view.at_least(0)

    # Changing

    async def add(
        self,
        name: str,
        key: bytes | str,
        *,
        valid_from: float | None = None,
        valid_until: float | None = None,
    ) -> Key:
        """Add a key to those of a name; from now on, unless another time is given.

        To add one that is there changes its times, if any are given. Raises `KeyRevokedError` for
        one that was revoked.
        """
        new = self._new(key, valid_from, valid_until)
        again = valid_from is not None or valid_until is not None
        keys = await self._change(name, lambda keys: _with(keys, new, again=again), new)
        return next(key for key in keys if key.id == new.id)

    async def rotate(
        self,
        name: str,
        key: bytes | str,
        *,
        overlap_s: float = 0.0,
        valid_until: float | None = None,
    ) -> Key:
        """Add a key, and let those that hold now end after `overlap_s`."""
        new = self._new(key, None, valid_until)
        end = new.valid_from + overlap_s

        def change(keys: Keys) -> Keys:
            ending = tuple(
                replace(old, valid_until=end)
                if old.id != new.id and old.revoked_at is None and _outlasts(old, end)
                else old
                for old in keys
            )
            return _with(ending, new, again=True)

        await self._change(name, change, new)
        return new

    async def revoke(self, name: str, key_id: str, *, reason: str = "") -> None:
        """Let a key never hold again. Raises `LookupError` if the name has no such key."""
        now = self._now()

        def change(keys: Keys) -> Keys:
            if not any(key.id == key_id for key in keys):
                raise LookupError(f"{name} has no key {key_id}")
            return tuple(
                replace(key, revoked_at=now, reason=reason)
                if key.id == key_id and key.revoked_at is None
                else key
                for key in keys
            )

        await self._change(name, change)

    def _new(self, key: bytes | str, valid_from: float | None, valid_until: float | None) -> Key:
        data = key.encode() if isinstance(key, str) else key
        if not data:
            raise ValueError("a key has some bytes")
        start = self._now() if valid_from is None else valid_from
        if valid_until is not None and valid_until <= start:
            raise ValueError("a key ends after it begins")
        return Key(key_id(data), data, start, valid_until)

    async def _change(
        self, name: str, change: Callable[[Keys], Keys], new: Key | None = None
    ) -> Keys:
        """Store what `change` makes of the keys of a name, of which one may be `new`.

        A write of which nothing was heard is looked for before it is tried again: were it made
        twice it would undo what others have made of it. Raises `OutcomeUnknown` if that cannot
        be done, either.
        """
        path = f"{self.path.rstrip('/')}/{znode_name(name)}"
        sent: Keys | None = None
        """What was stored when a write was sent of which nothing was heard."""
        before: Keys = ()
        after: Keys = ()
        while True:
            try:
                if sent is not None:
                    await self.zk.sync(path)
                before, version = await self._stored(path)
                after = before if _was_made(new, sent, before) else change(before)
                if after == before:
                    break
                await self._store(path, after, version)
                break
            except (BadVersionError, NodeExistsError):
                continue
            except OutcomeUnknown:
                sent = before
            except PASSING as error:
                if sent is None:
                    raise
                raise OutcomeUnknown(path, "change keys") from error
        if self._view.number:
            await self._view.at_least(self.zk.last_zxid)
        return after

    async def _stored(self, path: str) -> tuple[Keys, int]:
        try:
            data, stat = await self.zk.get(path)
            return _decode(data), stat.version
        except NoNodeError:
            return (), _MISSING_VERSION
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    async def _store(self, path: str, keys: Keys, version: int) -> None:
        if version != _MISSING_VERSION:
            await self.zk.set(path, _encode(keys), version)
        else:
            await self.zk.ensure(self.path)
            await self.zk.create(path, _encode(keys), acl=self._acl)

    def _read(self, cache: Cache) -> _Known:
        keys: dict[str, Keys] = {}
        unreadable: dict[str, str] = {}
        # What has not changed is not read again: there may be many names.
        before, self._entries = self._entries, {}
        for child in cache.children(self.path):
            path = f"{self.path.rstrip('/')}/{child}"
            data, stat = cache[path]
            entry = before.get(child)
            if entry is None or entry.mzxid != stat.mzxid:
                entry = _read_entry(data, stat.mzxid)
            self._entries[child] = entry
            if entry.problem:
                unreadable[text_of(child)] = f"{path}: {entry.problem}"
            else:
                keys[text_of(child)] = entry.keys
        return _Known(MappingProxyType(keys), MappingProxyType(unreadable))


def key_id(data: bytes) -> str:
    """How a key is named: the SHA-256 of its bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _outlasts(key: Key, end: float) -> bool:
    return key.valid_from < end and (key.valid_until is None or key.valid_until > end)


def _with(keys: Keys, new: Key, *, again: bool) -> Keys:
    """The keys and a new one; one that is there is as new `again`, or stays as it is."""
    for key in keys:
        if key.id == new.id and key.revoked_at is not None:
            raise KeyRevokedError(f"{new.id} was revoked: {key.reason or 'no reason is given'}")
    if any(key.id == new.id for key in keys):
        return tuple(new if again and key.id == new.id else key for key in keys)
    return (*keys, new)


def _was_made(new: Key | None, sent: Keys | None, found: Keys) -> bool:
    """Whether a key has come to be there since a write was sent that was to make it."""

    def has(keys: Keys) -> bool:
        return any(
            new is not None and key.id == new.id and key.valid_from == new.valid_from
            for key in keys
        )

    return sent is not None and has(found) and not has(sent)


def _encode(keys: Keys) -> bytes:
    stored = tuple(
        _StoredKey(_text(k.data), k.valid_from, k.valid_until, k.revoked_at, k.reason)
        for k in keys
    )
    return typed_json.encode(_StoredKeys(stored))


def _text(data: bytes) -> str:
    if data.lstrip().startswith(b"-----BEGIN ") and data.isascii():
        return data.decode()
    return base64.b64encode(data).decode()


def _read_entry(data: bytes, mzxid: int) -> _Entry:
    try:
        return _Entry(mzxid, _decode(data), "")
    except ValueError as error:
        return _Entry(mzxid, (), str(error) or "it makes no sense")


def _decode(data: bytes) -> Keys:
    found: list[Key] = []
    for stored in typed_json.decode(_StoredKeys, data).keys:
        text = stored.key
        if text.lstrip().startswith("-----BEGIN "):
            key = text.encode()
        else:
            key = base64.b64decode(text, validate=True)
        found.append(
            Key(
                key_id(key),
                key,
                stored.valid_from,
                stored.valid_until,
                stored.revoked_at,
                stored.reason,
            )
        )
    return tuple(found)
