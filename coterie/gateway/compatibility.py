"""Which versions of each other's kinds components speak, and whether two of them fit.

Rules: a component states for the kinds that it talks to which versions it speaks, as ranges of
PEP 440. Of a kind that it does not name it speaks all. Two fit when each is in the range that the
other states, if it states one. A pre-release is in a range that holds its number: what is spoken
is a matter of fact, not of choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from coterie.recipes.discovery import Instance

SPEAKS = "speaks"
"""Under which key of its metadata an instance states what it speaks."""


class Party(NamedTuple):
    """One of two who may have to talk."""

    who: str
    kind: str
    version: str
    speaks: Mapping[str, str]


class Mismatch(NamedTuple):
    """Who is not in the range that somebody states."""

    speaker: str
    versions: str
    who: str
    version: str

    def __str__(self) -> str:
        return f"{self.speaker} speaks {self.versions}, and {self.who} is {self.version}"


@lru_cache(4096)
def within(versions: str, version: str) -> bool:
    """Whether a version is in a range. Raises `ValueError` for what PEP 440 does not know."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(versions).contains(version, prereleases=True)


def check_ranges(speaks: object) -> dict[str, str]:
    """What is stated, if it can be understood. Raises `ValueError`."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if not isinstance(speaks, Mapping):
        raise ValueError(f"{SPEAKS} is {speaks!r}, and has to name a range for each kind")
    for kind, versions in speaks.items():
        if not isinstance(kind, str) or not kind or not isinstance(versions, str):
            raise ValueError(f"{SPEAKS}: {kind!r}: {versions!r} is no kind with its range")
        try:
            SpecifierSet(versions)
        except InvalidSpecifier as error:
            raise ValueError(f"{SPEAKS}: {kind}: {error}") from None
    return dict(speaks)


def party_of(one: Instance) -> Party:
    """An instance as one of two. Raises `ValueError` if what it states cannot be understood."""
    who = f"{one.name} {one.id} at {one.address}"
    return Party(who, one.name, one.version, check_ranges(one.metadata.get(SPEAKS, {})))


def mismatches(one: Party, other: Party) -> list[Mismatch]:
    """Why two do not fit; nothing if they do."""
    found: list[Mismatch] = []
    for speaker, spoken in ((one, other), (other, one)):
        versions: Any = speaker.speaks.get(spoken.kind)
        if versions is not None and not within(versions, spoken.version):
            named = f"{speaker.who} ({speaker.kind} {speaker.version})"
            found.append(Mismatch(named, f"{spoken.kind} {versions}", spoken.who, spoken.version))
    return found
