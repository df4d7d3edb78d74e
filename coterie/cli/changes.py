"""The changes of a `multi` as people and programs write them: a line each, or JSON.

Lines are taken as a shell takes them, with quotes; what follows a # at the beginning of a word is
a remark. Quoted data may go over several lines. Every message says which change is wrong.
"""

from __future__ import annotations

import base64
import binascii
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import click

from coterie.cli import acls
from coterie.cli.options import DURATION, as_bytes
from coterie.client.transaction import Transaction
from coterie.values import OPEN_ACL, ACLs, CreateMode

_KEYS: Final = {
    "create": {"path", "data", "data_base64", "mode", "ttl_ms", "acl"},
    "set": {"path", "data", "data_base64", "version"},
    "delete": {"path", "version"},
    "check": {"path", "version"},
}
_OTHER_NAMES: Final = {"rm": "delete"}


class ChangeError(ValueError):
    """What was given is no change; the message says where and why."""


@dataclass(frozen=True)
class Change:
    """One operation of a transaction."""

    op: str
    path: str
    data: bytes = b""
    mode: CreateMode = CreateMode.PERSISTENT
    ttl_ms: int = 0
    acl: ACLs = OPEN_ACL
    version: int = -1

    def add_to(self, transaction: Transaction) -> None:
        if self.op == "create":
            transaction.create(self.path, self.data, self.mode, acl=self.acl, ttl_ms=self.ttl_ms)
        elif self.op == "set":
            transaction.set(self.path, self.data, self.version)
        elif self.op == "delete":
            transaction.delete(self.path, self.version)
        else:
            transaction.check(self.path, self.version)


def read(source: bytes) -> list[Change]:
    """Raises `ChangeError`."""
    try:
        text = source.decode()
    except UnicodeDecodeError:
        raise ChangeError("the changes are no UTF-8 text") from None
    found = list(_from_json(text) if text.lstrip()[:1] in ("[", "{") else _from_lines(text))
    if not found:
        raise ChangeError("there are no changes")
    return found


# JSON


def _from_json(text: str) -> Iterator[Change]:
    if text.lstrip().startswith("["):
        members = _load(text, "the list")
    else:
        lines = enumerate(text.split("\n"), 1)
        members = [_load(line, f"line {number}") for number, line in lines if line.strip()]
    for number, member in enumerate(members, 1):
        try:
            yield _from_object(member)
        except (ValueError, TypeError) as error:
            raise ChangeError(f"change {number}: {error}") from None


def _load(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ChangeError(f"{what} is no JSON: {error}") from None


def _from_object(given: Any) -> Change:
    if not isinstance(given, dict):
        raise TypeError("it is no object")
    fields = dict(given)
    op = str(fields.pop("op", None))
    op = _OTHER_NAMES.get(op, op)
    if op not in _KEYS:
        raise ValueError(f'"op" is one of {", ".join(_KEYS)}')
    if unknown := sorted(fields.keys() - _KEYS[op]):
        raise ValueError(f"{op} has no {unknown[0]!r}")
    return Change(
        op,
        _typed(fields, "path", str, None),
        _data(fields),
        _mode(fields),
        _typed(fields, "ttl_ms", int, 0),
        acls.parse(",".join(_acl_texts(fields))) if fields.get("acl") else OPEN_ACL,
        _typed(fields, "version", int, -1),
    )


def _typed(fields: dict[str, Any], key: str, kind: type, default: Any) -> Any:
    value = fields.get(key, default)
    if type(value) is not kind:
        raise TypeError(f'"{key}" is {"text" if kind is str else "a whole number"}')
    return value


def _data(fields: dict[str, Any]) -> bytes:
    if "data_base64" not in fields:
        return as_bytes(_typed(fields, "data", str, ""))
    if "data" in fields:
        raise ValueError('give either "data" or "data_base64"')
    try:
        return base64.b64decode(_typed(fields, "data_base64", str, None), validate=True)
    except binascii.Error:
        raise ValueError('"data_base64" is not in base 64') from None


def _mode(fields: dict[str, Any]) -> CreateMode:
    name = _typed(fields, "mode", str, "persistent").upper()
    if fields.get("ttl_ms") and not name.endswith("_TTL"):
        name += "_TTL"
    try:
        return CreateMode[name]
    except KeyError:
        known = ", ".join(mode.name.lower() for mode in CreateMode)
        raise ValueError(f'"mode" is one of {known}') from None


def _acl_texts(fields: dict[str, Any]) -> list[str]:
    acl = fields["acl"]
    texts = [acl] if isinstance(acl, str) else acl
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TypeError('"acl" is text, or a list of it')
    return texts


# Lines


def _from_lines(text: str) -> Iterator[Change]:
    for number, words in _statements(text):
        try:
            name, *rest = words
            command = _COMMANDS.get(name)
            if command is None:
                raise ChangeError(f"{name!r} is no change; they are {', '.join(_COMMANDS)}")
            change: Change = command.main(rest, prog_name=name, standalone_mode=False)
        except click.ClickException as error:
            raise ChangeError(f"line {number}: {error.format_message()}") from None
        except ValueError as error:
            raise ChangeError(f"line {number}: {error}") from None
        yield change


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """The words of each line, with its number; a line goes on while a quote is open."""
    begun, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if not begun:
            first = number
        begun += line
        try:
            words = shlex.split(begun, comments=True)
        except ValueError:
            begun += "\n"
            continue
        begun = ""
        if words:
            yield first, words
    if begun:
        raise ChangeError(f"line {first}: a quote is not closed")


_VERSION = click.option("-v", "--version", type=int, default=-1)


@click.command(add_help_option=False)
@click.argument("path")
@click.argument("data", default="")
@click.argument("acl", required=False)
@click.option("-e", "--ephemeral", is_flag=True)
@click.option("-s", "--sequential", is_flag=True)
@click.option("-c", "--container", is_flag=True)
@click.option("-t", "--ttl", "ttl_ms", type=DURATION)
def _create(
    path: str,
    data: str,
    acl: str | None,
    ephemeral: bool,
    sequential: bool,
    container: bool,
    ttl_ms: int | None,
) -> Change:
    if (container and (ephemeral or sequential)) or (
        ttl_ms is not None and (ephemeral or container)
    ):
        raise ChangeError("these kinds exclude each other")
    mode = CreateMode(1 * ephemeral + 2 * sequential)
    if container:
        mode = CreateMode.CONTAINER
    elif ttl_ms is not None:
        ttl = CreateMode.PERSISTENT_TTL, CreateMode.PERSISTENT_SEQUENTIAL_TTL
        mode = ttl[sequential]
    entries = OPEN_ACL if acl is None else acls.parse(acl)
    return Change("create", path, as_bytes(data), mode, ttl_ms or 0, entries)


@click.command(add_help_option=False)
@click.argument("path")
@click.argument("data")
@_VERSION
def _set(path: str, data: str, version: int) -> Change:
    return Change("set", path, as_bytes(data), version=version)


@click.command(add_help_option=False)
@click.argument("path")
@_VERSION
def _delete(path: str, version: int) -> Change:
    return Change("delete", path, version=version)


@click.command(add_help_option=False)
@click.argument("path")
@_VERSION
def _check(path: str, version: int) -> Change:
    return Change("check", path, version=version)


_COMMANDS: Final[dict[str, click.Command]] = {
    "create": _create,
    "set": _set,
    "rm": _delete,
    "delete": _delete,
    "check": _check,
}
