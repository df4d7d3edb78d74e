"""Services: where one runs, in which version, and one of them to use.

    async with Discovery(zk, "/services") as services:
        async with services.register("align", "2.14.1", host="10.0.0.7", port=8080):
            one = services.choose("align", ">=2.10,<3", flavor="gpu")
            all_of_them = services.find("align")

Each instance is an ephemeral znode below its service's name, made again in a new session when the
old one has expired. The catalogue is a local copy: an answer costs no round trip, an outage of the
ensemble leaves the last one, and `stale_s` says how old it is. Versions are those of PEP 440, and
so are their ranges. Rules: an entry that cannot be read is left out and listed in `unreadable`, so
that one bad program does not hide the others; a service that nobody offers is a `LookupError`,
never an empty answer for want of a connection.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from coterie.client.blocking import BlockingClient
from coterie.client.client import Client
from coterie.recipes import typed_json
from coterie.recipes.following import Changes, View
from coterie.recipes.names import text_of, znode_name
from coterie.recipes.presence import Presence
from coterie.recipes.recipe import Recipe, name_by_chance

if TYPE_CHECKING:
    from random import Random

    from packaging.version import Version

    from coterie.client.cache import Cache

_PORT_MAX: Final = 65_535


@dataclass(frozen=True)
class Instance:
    """One that offers a service."""

    name: str
    version: str
    host: str
    port: int
    flavor: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    id: str = ""

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class _Entry:
    """An instance as it is stored; its name and id are those of its znodes."""

    version: str
    host: str
    port: int
    flavor: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


class _Catalogue(NamedTuple):
    """All that is known: the newest version first, then by id."""

    services: Mapping[str, tuple[Instance, ...]]
    unreadable: tuple[str, ...]


class _Read(NamedTuple):
    """What an entry says, as of a txn."""

    mzxid: int
    version: Any
    instance: Instance | None
    problem: str


Choice = Callable[[Sequence[Instance]], Instance]
"""How one of several is chosen."""


class Registration(Recipe["Registration"]):
    """An entry in the catalogue for the time of a block. Made by `Discovery.register`."""

    def __init__(self, zk: Client | BlockingClient, path: str, instance: Instance) -> None:
        super().__init__(zk, path)
        self.instance = instance
        self._presence = Presence(self.zk, self.path, _encode(instance))

    async def enter(self) -> Registration:
        await self._presence.open()
        return self

    async def leave(self, error: BaseException | None) -> None:
        await self._presence.close()

    @property
    def present(self) -> bool:
        """Whether it is in the catalogue as far as is known; not between two sessions."""
        return self._presence.present

    async def update(self, **metadata: Any) -> None:
        """Change some of its metadata."""
        instance = replace(self.instance, metadata=self.instance.metadata | metadata)
        data = _encode(instance)
        self.instance = instance
        await self._presence.update(data)


class Discovery(Recipe["Discovery"]):
    """The catalogue at `path`. Between `async with` it is kept up to date."""

    def __init__(
        self, zk: Client | BlockingClient, path: str, *, dice: Random | None = None
    ) -> None:
        super().__init__(zk, path)
        self._client = zk
        self._dice = self.zk.dice if dice is None else dice
        self._turns: dict[str, int] = {}
        self._entries: dict[str, _Read] = {}
        """What was read last, by path."""
        self._view: View[_Catalogue] = View(self.zk, self.path, 2, self._read)

    async def enter(self) -> Discovery:
        """Know what there is. Raises what a read raises."""
        await self._view.open()
        return self

    async def leave(self, error: BaseException | None) -> None:
        await self._view.close()

    # Offering

    def register(
        self,
        name: str,
        version: str,
        *,
        host: str,
        port: int,
        flavor: str = "",
        metadata: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> Registration:
        """An entry, to be entered by `with`; the catalogue itself need not be.

        `metadata` is what JSON can say. `id` is one that nobody has, unless it is given. Raises
        `ValueError` for a version that PEP 440 does not know, or metadata that JSON cannot say.
        """
        _version(version)
        if not 0 < port <= _PORT_MAX:
            raise ValueError(f"{port} is no port")
        instance = Instance(
            name=name,
            version=version,
            host=host,
            port=port,
            flavor=flavor,
            metadata=dict(metadata or {}),
            id=name_by_chance(self.zk) if id is None else id,
        )
        place = f"{self.path.rstrip('/')}/{znode_name(name)}/{znode_name(instance.id)}"
        return Registration(self._client, place, instance)

    # Finding

    def names(self) -> list[str]:
        """The services that somebody offers."""
        return sorted(self._view.value.services)

    def find(self, name: str, versions: str = "", *, flavor: str | None = None) -> list[Instance]:
        """All that offer a service, the newest version first; none is an empty list.

        `versions` is a range as in ">=2.10,<3", or nothing for all; pre-releases are in a range
        only if it names one. Raises `ValueError` for one that PEP 440 does not know.
        """
        found = self._view.value.services.get(name, ())
        if versions:
            from packaging.specifiers import SpecifierSet

            wanted = SpecifierSet(versions)
            early = bool(wanted.prereleases)
            found = tuple(o for o in found if wanted.contains(o.version, prereleases=early))
        return [one for one in found if flavor is None or one.flavor == flavor]

    def choose(
        self,
        name: str,
        versions: str = "",
        *,
        flavor: str | None = None,
        by: Choice | None = None,
    ) -> Instance:
        """One of those that `find` gives: any, or the one that `by` chooses.

        `by` is `self.next_one`, `least("load")`, or any function of that kind. Raises
        `LookupError` if there is none.
        """
        found = self.find(name, versions, flavor=flavor)
        if not found:
            what = " ".join(part for part in (name, versions, flavor or "") if part)
            raise LookupError(f"nobody offers {what} at {self.path}")
        return self._dice.choice(found) if by is None else by(found)

    def next_one(self, found: Sequence[Instance]) -> Instance:
        """For `choose`: one after the other."""
        name = found[0].name
        turn = self._turns[name] = self._turns.get(name, -1) + 1
        return found[turn % len(found)]

    def least(self, key: str) -> Choice:
        """For `choose`: the one with the smallest number under this key of its metadata, any of
        them if there are several; those without a number come last."""

        def number(one: Instance) -> float:
            value = one.metadata.get(key)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return float(value) if is_number and value is not None else float("inf")

        def choose(found: Sequence[Instance]) -> Instance:
            smallest = min(map(number, found))
            return self._dice.choice([one for one in found if number(one) == smallest])

        return choose

    # What the answers are worth

    @property
    def fresh(self) -> bool:
        """Whether answers are as new as what this client's server has told of."""
        return self._view.fresh

    @property
    def stale_s(self) -> float:
        """For how many seconds that has not been known; 0 while it is."""
        return self._view.stale_s

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Entries that say nothing that can be understood: their paths, and why."""
        return self._view.value.unreadable

    def changes(self) -> Changes[Mapping[str, tuple[Instance, ...]]]:
        """The whole catalogue, by name, every time that it has changed, from now on."""
        return Changes(self._view, self.portal, lambda catalogue: catalogue.services)

    async def look(self) -> None:
        """Let the next answers be as new as anything that was written before this call. Costs a
        round trip to the leader."""
        await self.zk.sync(self.path)
        await self._view.at_least(0)

    def _read(self, cache: Cache) -> _Catalogue:
        found: dict[str, list[_Read]] = {}
        unreadable: list[str] = []
        # What has not changed is not read again: a catalogue may be large.
        before, self._entries = self._entries, {}
        start = len(self.path.rstrip("/")) + 1
        for path in cache:
            name, slash, child = path[start:].partition("/")
            if not slash:
                continue
            data, stat = cache[path]
            read = before.get(path)
            if read is None or read.mzxid != stat.mzxid:
                read = _read_entry(text_of(name), text_of(child), data, stat.mzxid)
            self._entries[path] = read
            if read.instance is None:
                unreadable.append(f"{path}: {read.problem}")
            else:
                found.setdefault(read.instance.name, []).append(read)
        services: dict[str, tuple[Instance, ...]] = {}
        for name, entries in found.items():
            entries.sort(key=lambda read: read.version, reverse=True)
            services[name] = tuple(e.instance for e in entries if e.instance is not None)
        return _Catalogue(MappingProxyType(services), tuple(unreadable))


def _version(text: str) -> Version:
    """Raises `ValueError` for what PEP 440 does not know."""
    from packaging.version import Version

    return Version(text)


def _encode(instance: Instance) -> bytes:
    entry = asdict(instance)
    del entry["name"], entry["id"]
    try:
        return json.dumps(entry, allow_nan=False).encode()
    except TypeError as error:
        raise ValueError(f"metadata: {error}") from None


def _read_entry(name: str, id: str, data: bytes, mzxid: int) -> _Read:
    try:
        entry = typed_json.decode(_Entry, data)
        version = _version(entry.version)
    except ValueError as error:
        return _Read(mzxid, None, None, str(error))
    return _Read(mzxid, version, Instance(name=name, id=id, **vars(entry)), "")
