"""Users of SASL and their passwords: text in, names and passwords out; a JAAS file or lines.

Rules: a JAAS file is read as Java reads it, and one section of it counts; it has users of
DIGEST-MD5, or says where the key of Kerberos is. A file of lines has `user:password` on each, and
`#` begins a comment. No file is opened here. A password may not be empty, nor a name have an @,
which would be the realm of Kerberos.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_MODULE: Final = "org.apache.zookeeper.server.auth.DigestLoginModule"
_KERBEROS_MODULE: Final = "com.sun.security.auth.module.Krb5LoginModule"
_TOKEN: Final = re.compile(
    r"""(?: \s | //[^\n]* | \#[^\n]* | /\*.*?\*/ )*
    (?: "((?:[^"\\\n]|\\.)*)" | ([{};=]) | ([^\s{};="]+) | (\Z) )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


class UsersError(Exception):
    """These users cannot be taken; the message is one line, without a password in it."""


class Module(NamedTuple):
    """A login module of a section: its class, and its options by name."""

    name: str
    options: dict[str, str]


def sections(text: str) -> dict[str, list[Module]]:
    """The sections of a JAAS file by name; of two of one name the last counts."""
    tokens = list(_tokens(text))
    found: dict[str, list[Module]] = {}
    place = 0
    while place < len(tokens):
        modules = found[tokens[place]] = []
        _expect(tokens, place + 1, "{")
        place += 2
        while place < len(tokens) and tokens[place] != "}":
            module, place = _module(tokens, place)
            modules.append(module)
        _expect(tokens, place, "}")
        _expect(tokens, place + 1, ";")
        place += 2
    return found


def of_jaas(text: str, section: str) -> dict[str, str]:
    """The users of a section: `Server { ...DigestLoginModule required user_bob="secret"; };`"""
    return _sound(
        {
            option.removeprefix("user_"): password
            for module in _digest(text, section)
            for option, password in module.options.items()
            if option.startswith("user_")
        }
    )


def login_of_jaas(text: str, section: str) -> tuple[str, str]:
    """Whom a section proves to be: `... required username="bob" password="secret"; };`"""
    options: dict[str, str] = {}
    for module in _digest(text, section):
        options |= module.options
    for option in ("username", "password"):
        if not options.get(option):
            raise UsersError(f"the section {section} has no {option}")
    return options["username"], options["password"]


class Key(NamedTuple):
    """Where a server's key of Kerberos is: None stands for the system's keytab, and for anybody's
    key in it."""

    keytab: str | None
    principal: str | None


def key_of_jaas(text: str, section: str) -> Key | None:
    """The key of a section that has Java's module for Kerberos; None of one that has another:
    `Server { ...Krb5LoginModule required useKeyTab=true keyTab="..." principal="..."; };`"""
    modules = [each for each in sections(text).get(section, ()) if each.name == _KERBEROS_MODULE]
    if not modules:
        return None
    options = modules[0].options
    if options.get("useKeyTab") != "true":
        raise UsersError(
            f"the section {section} has no useKeyTab=true, and a server needs a keytab"
        )
    keytab = options.get("keyTab")
    principal = options.get("principal", "*")
    return Key(
        None if keytab is None else keytab.removeprefix("FILE:").removeprefix("file:"),
        None if principal == "*" else principal,
    )


def _digest(text: str, section: str) -> list[Module]:
    """The modules of a section, which have to be those of DIGEST-MD5."""
    modules = sections(text).get(section)
    if modules is None:
        raise UsersError(f"there is no section {section}")
    for module in modules:
        if module.name != _MODULE:
            raise UsersError(f"{module.name} is not served, only {_MODULE}")
    return modules


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


def _module(tokens: list[str], place: int) -> tuple[Module, int]:
    """Read one login module and its options; where the next one begins."""
    module = Module(tokens[place], {})
    place += 2
    while place < len(tokens) and tokens[place] != ";":
        _expect(tokens, place + 1, "=")
        if place + 2 >= len(tokens):
            break
        module.options[tokens[place]] = tokens[place + 2]
        place += 3
    _expect(tokens, place, ";")
    return module, place + 1


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
