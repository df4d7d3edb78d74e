"""What could be typed next in the shell: names of commands, their options, and paths of znodes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import click

_LAST_WORD = re.compile(r"(?:[^\s\\]|\\.)*\Z", re.DOTALL)
_SPECIAL = re.compile(r"""([\s'"\\#])""")

Children = Callable[[str], list[str]]


class Completion(NamedTuple):
    """Words that could stand where `begun` was begun."""

    begun: str
    words: list[str]


def complete(line: str, commands: Mapping[str, click.Command], children: Children) -> Completion:
    """What could stand at the end of what was typed so far; `children` may ask a server.

    >>> complete("get /a", {}, lambda path: ["app", "b"])
    Completion(begun='/a', words=['/app'])
    """
    found = _LAST_WORD.search(line)
    assert found is not None
    begun = found[0]
    before = line[: found.start()].split()
    if not before or (before == ["help"] and "help" in commands):
        names = sorted({str(one.name) for one in commands.values()} | {*commands} & {begun})
        return Completion(begun, [n for n in names if n.lower().startswith(begun.lower())])
    if begun.startswith("-"):
        command = commands.get(before[0].lower())
        return Completion(begun, _options(command, begun) if command is not None else [])
    return Completion(begun, _paths(begun, children))


def _options(command: click.Command, begun: str) -> list[str]:
    names = [name for param in command.params for name in param.opts if name.startswith("-")]
    return sorted(name for name in names if name.startswith(begun))


def _paths(begun: str, children: Children) -> list[str]:
    typed = re.sub(r"\\(.)", r"\1", begun, flags=re.DOTALL)
    above, slash, rest = typed.rpartition("/")
    names = children(above + slash or ".")
    found = sorted(name for name in names if name.startswith(rest))
    return [_SPECIAL.sub(r"\\\1", above + slash + name) for name in found]
