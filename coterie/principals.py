"""Names of Kerberos, and what a server calls who has one, as Apache's server does.

`bob/admin@EXAMPLE.ORG` has a first part, a second one (a host, if it is a service) and a realm.
Rules (`security.auth_to_local`) make a short name of it, the first that applies:

    DEFAULT                                   the first part, of who is of the server's own realm
    RULE:[2:$1-$2](bob-.*)s/-.*//             of who has two parts: put these together; if that is
                                              matched as a whole, replace what matches

To the short name the second part and the realm are put again, unless they are to be removed.

Apache's quirks that are kept: a rule whose short name has a / or an @ in it ends the search; a
pattern between the parentheses has no parenthesis in it. Who gets no short name is called by the
whole name as it was proved; Apache's server lets such clients say their own name. Patterns are
Python's: what only Java reads is refused when they are read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

DEFAULT_RULES: Final = "DEFAULT"

_NAME: Final = re.compile(r"([^/@]*)(?:/([^/@]*))?@([^/@]*)")
_RULE: Final = re.compile(
    r"""\s* (?: (DEFAULT)
    | RULE:\[ (\d*) : ([^\]]*) \] (?: \( ([^)]*) \) )? (?: s/([^/]*)/([^/]*)/(g)? )? )""",
    re.ASCII | re.VERBOSE,
)
_PARTS: Final = re.compile(r"([^$]*)(?:\$(\d*))?", re.ASCII)
_SETS: Final = re.compile(r"\[[^\]]*(\[|&&|--|~~|\|\|)")
_REPLACED: Final = re.compile(r"\\(.)|\$(\d)|([^\\$]+)", re.ASCII | re.DOTALL)


class PrincipalError(ValueError):
    """This is no name of Kerberos, or no rule for one; the message says which."""


class Principal(NamedTuple):
    """A name in its parts."""

    first: str
    second: str | None
    realm: str | None

    def __str__(self) -> str:
        second = "" if self.second is None else f"/{self.second}"
        return f"{self.first}{second}" + ("" if self.realm is None else f"@{self.realm}")


def principal(name: str) -> Principal:
    """The parts of a name. Without a realm it is one part, whatever is in it.

    Raises `PrincipalError`.
    """
    found = _NAME.fullmatch(name)
    if found is not None:
        return Principal(found[1], found[2], found[3])
    if "@" in name:
        raise PrincipalError(f"{name!r} is no name of Kerberos with one part or two")
    return Principal(name, None, None)


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to make a short name; `text` is how it was written."""

    text: str
    parts: int | None = None
    """How many parts a name has that it is for; None: those of the server's own realm."""
    format: str = ""
    whole: re.Pattern[str] | None = None
    replaced: re.Pattern[str] | None = None
    replacement: tuple[str | int, ...] = ()
    everywhere: bool = False

    def short(self, name: Principal, own_realm: str) -> str | None:
        """What it makes of a name, if it is for such."""
        if self.parts is None:
            return name.first if name.realm == own_realm else None
        parts = [name.realm or "", name.first, *([] if name.second is None else [name.second])]
        if len(parts) - 1 != self.parts:
            return None
        base = "".join(
            found[1] + (parts[int(found[2])] if found[2] is not None else "")
            for found in _PARTS.finditer(self.format)
        )
        if self.whole is not None and self.whole.fullmatch(base) is None:
            return None
        if self.replaced is None:
            return base
        return self.replaced.sub(self._replace, base, 0 if self.everywhere else 1)

    def _replace(self, found: re.Match[str]) -> str:
        return "".join(
            each if isinstance(each, str) else found[each] or "" for each in self.replacement
        )


def rules(text: str) -> tuple[Rule, ...]:
    """Rules as they are written, one behind the other. Raises `PrincipalError`."""
    read: list[Rule] = []
    rest = text.strip()
    while rest:
        found = _RULE.match(rest)
        if found is None:
            raise PrincipalError(f"{rest!r} is no rule")
        read.append(_rule(found))
        rest = rest[found.end() :]
    if not read:
        raise PrincipalError("there is no rule")
    return tuple(read)


def identity(
    name: str,
    known: Sequence[Rule],
    own_realm: str,
    *,
    without_host: bool = False,
    without_realm: bool = False,
) -> str:
    """What a server calls who has proved to have this name. Raises `PrincipalError`."""
    who = principal(name)
    short = who.first if who.realm is None else _short(who, known, own_realm)
    if short is None:
        return name
    second = "" if without_host or who.second is None else f"/{who.second}"
    called = short + second + ("" if without_realm or who.realm is None else f"@{who.realm}")
    if not called:
        raise PrincipalError(f"nothing is left of {name!r}")
    return called


def _short(who: Principal, known: Sequence[Rule], own_realm: str) -> str | None:
    for rule in known:
        short = rule.short(who, own_realm)
        if short is not None:
            return None if "/" in short or "@" in short else short
    return None


def _rule(found: re.Match[str]) -> Rule:
    text = found[0].strip()
    if found[1] is not None:
        return Rule(text)
    if not found[2]:
        raise PrincipalError(f"{text} does not say for how many parts it is")
    parts = int(found[2])
    for each in _PARTS.finditer(found[3]):
        if each[2] is not None and (not each[2] or int(each[2]) > parts):
            raise PrincipalError(f"{text} puts together ${each[2]}, and there are $0 to ${parts}")
    whole = None if found[4] is None else _pattern(text, found[4])
    if found[5] is None:
        return Rule(text, parts, found[3], whole)
    replaced = _pattern(text, found[5])
    replacement = _replacement(text, found[6], replaced)
    return Rule(text, parts, found[3], whole, replaced, replacement, found[7] is not None)


def _pattern(rule: str, text: str) -> re.Pattern[str]:
    if _SETS.search(re.sub(r"\\.", "", text)):
        raise PrincipalError(f"{rule} has a pattern with a set in a set, which only Java reads")
    try:
        return re.compile(text, re.ASCII)
    except re.error as error:
        raise PrincipalError(f"{rule} has a pattern that cannot be read: {error}") from None


def _replacement(rule: str, text: str, replaced: re.Pattern[str]) -> tuple[str | int, ...]:
    """Text and numbers of groups, as Java reads them: $1, and \\ before what is meant."""
    pieces: list[str | int] = []
    at = 0
    while at < len(text):
        found = _REPLACED.match(text, at)
        group = None if found is None or found[2] is None else int(found[2])
        if found is None or (group is not None and group > replaced.groups):
            raise PrincipalError(f"{rule} puts in {text!r}, which names no group of its pattern")
        at = found.end()
        if group is None:
            pieces.append(found[1] or found[3])
            continue
        while text[at : at + 1].isdigit() and group * 10 + int(text[at]) <= replaced.groups:
            group, at = group * 10 + int(text[at]), at + 1
        pieces.append(group)
    return tuple(pieces)
