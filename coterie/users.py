"""Users of SASL and their passwords: text in, names and passwords out; a JAAS file or lines.

Rules: a JAAS file is read as Java reads it, and one section of it counts; only DIGEST-MD5 is
served, so a section for Kerberos is refused. A file of lines has `user:password` on each, and `#`
begins a comment. No file is opened here. A password may not be empty, nor a name have an @, which
would be the realm of Kerberos.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_MODULE: Final = "org.apache.zookeeper.server.auth.DigestLoginModule"
_TOKEN: Final = re.compile(
    r"""(?: \s | //[^\n]* | \#[^\n]* | /\*.*?\*/ )*
    (?: "((?:[^"\\\n]|\\.)*)" | ([{};=]) | ([^\s{};="]+) | (\Z) )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


class UsersError(Exception):
    """These users cannot be taken; the message is one line, without a password in it."""


def of_jaas(text: str, section: str) -> dict[str, str]:
    """The users of a section: `Server { ...DigestLoginModule required user_bob="secret"; };`"""
    tokens = list(_tokens(text))
    place = 0
    found: dict[str, str] | None = None
    while place < len(tokens):
        name = tokens[place]
        _expect(tokens, place + 1, "{")
        place += 2
        users: dict[str, str] = {}
        while place < len(tokens) and tokens[place] != "}":
            place = _module(tokens, place, users, counts=name == section)
        _expect(tokens, place, "}")
        _expect(tokens, place + 1, ";")
        place += 2
        if name == section:
            found = users
    if found is None:
        raise UsersError(f"there is no section {section}")
    return _sound(found)


def of_lines(text: str) -> dict[str, str]:
    """The users of lines `user:password`."""
    users: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        user, colon, password = line.partition(":")
        if not colon:
            raise UsersError(f"line {number} is not user:password")
        if user in users:
            raise UsersError(f"line {number}: {user} is there twice")
        users[user] = password
    return _sound(users)


def _module(tokens: list[str], place: int, users: dict[str, str], counts: bool) -> int:
    """Read one login module and its options; where the next one begins."""
    if counts and tokens[place] != _MODULE:
        raise UsersError(f"{tokens[place]} is not served, only {_MODULE}")
    place += 2
    while place < len(tokens) and tokens[place] != ";":
        _expect(tokens, place + 1, "=")
        if place + 2 >= len(tokens):
            break
        option = tokens[place]
        if option.startswith("user_"):
            users[option.removeprefix("user_")] = tokens[place + 2]
        place += 3
    _expect(tokens, place, ";")
    return place + 1


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while True:
        found = _TOKEN.match(text, at)
        if found is None:
            line = text.count("\n", 0, at) + 1
            raise UsersError(f"line {line} cannot be read as JAAS")
        at = found.end()
        if found[4] is not None:
            return
        if found[1] is None:
            yield found[2] or found[3]
        else:
            yield re.sub(r"(?s)\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), found[1])


def _expect(tokens: list[str], place: int, wanted: str) -> None:
    if place >= len(tokens) or tokens[place] != wanted:
        # Whatever else is there may be a password.
        before = tokens[place - 1] if 0 < place <= len(tokens) else ""
        behind = f" behind {before}" if before.startswith("user_") else ""
        raise UsersError(f"{wanted!r} is missing{behind}")


def _sound(users: dict[str, str]) -> dict[str, str]:
    for user, password in users.items():
        if not user or "@" in user:
            raise UsersError(f"{user!r} is no name of a user")
        if not password:
            raise UsersError(f"{user} has no password")
    if not users:
        raise UsersError("there are no users in it")
    return users
