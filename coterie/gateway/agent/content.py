"""What a file is to hold: the data of a znode or a set of servers, as bytes.

Pure. Rules:
- the same in the tree is the same in the file, byte for byte, on every host: servers are in the
  order of their addresses, and what changes all the time (load, health, state) is left out;
- templates are those of Python's `string.Template`. They put values into places and do nothing
  else: no expression, no attribute, no file can be reached from one, so a template may come from
  people who may not run programs here. A list is made of one line for each server (`each`);
- a place for which there is no value is an error, and the old file stays.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any, Final

from coterie.gateway.agent.files import Version, digest
from coterie.gateway.agent.rails import Members
from coterie.gateway.agent.subscriptions import JSON, TOML, ServersFile, SettingsFile
from coterie.recipes import typed_json
from coterie.recipes.discovery import Instance

_VOLATILE: Final = ("load", "healthy", "state")


class ContentError(ValueError):
    """What the tree says cannot be in the file; the message says why, in one line."""


class _Places(Template):
    """`$name` and `${name}`, where a name may have parts: `${database.host}`."""

    flags = re.RegexFlag(0)
    idpattern = r"[_a-zA-Z][_a-zA-Z0-9]*"
    # Outside of braces a dot ends a sentence, and a dash a word.
    braceidpattern = r"[_a-zA-Z][_a-zA-Z0-9-]*(?:\.[_a-zA-Z0-9-]+)*"


def settings_content(one: SettingsFile, data: bytes, template: str | None) -> bytes:
    """The file for the data of a znode. Raises `ContentError`."""
    if not data and not one.may_be_empty:
        raise ContentError("the znode is empty")
    if template is None:
        return data
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ContentError("the data is no UTF-8 text, so no template can hold it") from None
    values: dict[str, str] = {}
    try:
        _flatten(typed_json.parse(data, one.znode), "", values)
    except ValueError:
        # Not JSON: it has one value.
        values.clear()
    return fill(template, {**values, "data": text}).encode()


def servers_content(one: ServersFile, found: Sequence[Instance], template: str | None) -> bytes:
    """The file for a set of servers. Raises `ContentError`."""
    ordered = sorted(found, key=lambda each: (each.host, each.port, each.id))
    if one.format == JSON:
        shown = [_as_json(each) for each in ordered]
        text = json.dumps({"kind": one.kind, "servers": shown}, ensure_ascii=False, indent=1)
    else:
        line = one.each or "$address"
        text = "\n".join(fill(line, _values(each)) for each in ordered)
    if template is None:
        return f"{text}\n".encode()
    values = {"servers": text, "kind": one.kind, "count": str(len(ordered))}
    return fill(template, values).encode()


def fitting(one: ServersFile, found: Sequence[Instance]) -> tuple[list[Instance], str]:
    """Those for whom there is a line, and who is left out and why: one program that does not say
    all must not keep the others out. Raises `ContentError` when there is a line for nobody."""
    fit: list[Instance] = []
    problem = ""
    for each in found:
        try:
            fill(one.each, _values(each))
            fit.append(each)
        except ContentError as error:
            problem = f"{each.id} is left out: {error}"
    if problem and not fit:
        raise ContentError(problem)
    return fit, problem


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with its values. Raises `ContentError`."""
    try:
        return _Places(template).substitute(values)
    except KeyError as error:
        raise ContentError(f"the template has a place for {error}, and there is none") from None
    except ValueError as error:
        raise ContentError(f"the template: {error}") from None


def check_syntax(check: str, data: bytes) -> None:
    """Raises `ContentError` for what is not of the kind that it has to be."""
    try:
        if check == JSON:
            json.loads(data)
        elif check == TOML:
            tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ContentError(f"it is no {check.upper()}: {error}") from None


def members_of(found: Sequence[Instance]) -> Members:
    """A set of servers as its rail sees it."""
    return frozenset(f"{each.id} {each.version} {each.address}" for each in found)


def lasting(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What does not change all the time."""
    return {key: value for key, value in metadata.items() if key not in _VOLATILE}


def _as_json(one: Instance) -> dict[str, Any]:
    return {
        "id": one.id,
        "host": one.host,
        "port": one.port,
        "version": one.version,
        "flavor": one.flavor,
        "metadata": one.metadata,
    }


def _values(one: Instance) -> dict[str, str]:
    values: dict[str, str] = {}
    _flatten(one.metadata, "metadata.", values)
    for key in ("id", "host", "version", "flavor", "address"):
        values[key] = getattr(one, key)
    return values | {"port": str(one.port), "kind": one.name}


def _flatten(value: Any, name: str, values: dict[str, str]) -> None:
    """Values by their places in a JSON object: `a.b` for what is in `b` of `a`."""
    if name and not name.endswith("."):
        values[name] = _plain(value)
        name += "."
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(inner, f"{name}{key}", values)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def members_in(one: SettingsFile | ServersFile, data: bytes, version: Version | None) -> Members:
    """What a file held that was there before: as it was noted, or as it looks."""
    if isinstance(one, SettingsFile):
        return frozenset({digest(data)})
    if version is not None and version.members is not None:
        return frozenset(version.members)
    if one.format == JSON and not one.template:
        try:
            return frozenset(str(each["id"]) for each in json.loads(data)["servers"])
        except (ValueError, LookupError, TypeError, RecursionError):
            return frozenset()
    # A template has lines that are no servers: then a few are too many, which errs on the side
    # of waiting.
    return frozenset(line for line in data.decode(errors="replace").splitlines() if line.strip())
