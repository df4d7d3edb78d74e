"""What a host subscribes to: the agent's TOML file, and znodes that say more of the same.

Pure: text in, subscriptions out, or an error of one line that says where. Rules:
- an unknown key is an error: a rail that is misspelt would not stand there;
- a znode may subscribe to settings and servers, and no more. Whoever may write it must not run
  commands here or write where he likes: the commands are those that the local file names, files
  and templates are below the agent's directory;
- no file is written by two subscriptions, and the local file comes first.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from coterie.gateway.agent.rails import Rails
from coterie.paths import valid

T = TypeVar("T")

VERSION_SUFFIX: Final = ".version"
OWN_FOLDER: Final = ".coterie-agent"
JSON: Final = "json"
TOML: Final = "toml"
LIST: Final = "list"
_CHECKS: Final = (JSON, TOML)
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")


class SubscriptionError(ValueError):
    """The subscriptions make no sense; the message says where and why, in one line."""


@dataclass(frozen=True)
class SettingsFile:
    """The data of a znode as a file."""

    znode: str
    file: str
    check: str = ""
    template: str = ""
    reload: str = ""
    jitter_s: float = 0.0
    stale_after_s: float = 600.0
    may_be_empty: bool = False

    @property
    def source(self) -> str:
        """What it is made of, in a word."""
        return self.znode


@dataclass(frozen=True)
class ServersFile:
    """Those who offer a service as a file."""

    kind: str
    file: str
    versions: str = ""
    flavor: str | None = None
    format: str = LIST
    each: str = ""
    template: str = ""
    check: str = ""
    reload: str = ""
    rails: Rails = field(default_factory=Rails)
    stale_after_s: float = 600.0

    @property
    def source(self) -> str:
        """What it is made of, in a word."""
        return " ".join(part for part in (self.kind, self.versions, self.flavor) if part)


Subscription = SettingsFile | ServersFile


@dataclass(frozen=True)
class Command:
    """One that checks or reloads something: its words, and how long it may take."""

    words: tuple[str, ...]
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Plan:
    """All that the local file says."""

    hosts: str = ""
    root: str = "/gateway"
    directory: str = "."
    follow: tuple[str, ...] = ()
    recheck_s: float = 1800.0
    page: int | None = None
    register: bool = False
    commands: Mapping[str, Command] = field(default_factory=dict)
    subscriptions: tuple[Subscription, ...] = ()


def parse_plan(text: str, folder: str = ".") -> Plan:
    """What the local file says, which is in `folder`. Raises `SubscriptionError`."""
    top = _Table(_toml(text), "")
    agent = _Table(top.take("agent", _table, {}), "[agent]: ")
    defaults = Plan()
    plan = Plan(
        hosts=agent.take("hosts", _text, ""),
        root=agent.take("root", _znode, defaults.root),
        directory=posixpath.normpath(posixpath.join(folder, agent.take("directory", _text, "."))),
        follow=agent.take("follow", _znodes, ()),
        recheck_s=agent.take("recheck", _positive, defaults.recheck_s),
        page=agent.take("page", _port, None),
        register=agent.take("register", _flag, False),
        commands=_commands(top.take("commands", _table, {})),
    )
    general = _general(agent)
    agent.end()
    if plan.register and plan.page is None:
        raise SubscriptionError("[agent]: register needs a page: a host is found by its port")
    subscriptions = tuple(_subscriptions(top, general, plan.commands, local=True))
    top.end()
    return replace(plan, subscriptions=merge([subscriptions]))


def parse_znode(data: bytes, commands: Mapping[str, Command]) -> tuple[Subscription, ...]:
    """What a znode subscribes to, with the commands that the local file has. Raises
    `SubscriptionError`."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise SubscriptionError("it is not UTF-8 text") from None
    top = _Table(_toml(text), "")
    for key in ("agent", "commands"):
        if key in top.left:
            raise SubscriptionError(f"[{key}] is for the local file only")
    found = tuple(_subscriptions(top, {}, commands, local=False))
    top.end()
    return merge([found])


def merge(parts: Iterable[tuple[Subscription, ...]]) -> tuple[Subscription, ...]:
    """All of them together. Raises `SubscriptionError` when two write the same file."""
    taken: set[str] = set()
    merged: list[Subscription] = []
    for one in (one for part in parts for one in part):
        names = {posixpath.normpath(one.file), posixpath.normpath(one.file) + VERSION_SUFFIX}
        if names & taken:
            raise SubscriptionError(f"{one.file} is written by two subscriptions")
        taken |= names
        merged.append(one)
    return tuple(merged)


# One table after the other


def _subscriptions(
    top: _Table, general: Mapping[str, float], commands: Mapping[str, Command], *, local: bool
) -> Iterable[Subscription]:
    for key, read in (("settings", _settings), ("servers", _servers)):
        for number, raw in enumerate(top.take(key, _tables, []), 1):
            table = _Table(raw, f"[[{key}]] {number}: ")
            yield read(table, general, commands, local)
            table.end()


def _general(agent: _Table) -> dict[str, float]:
    """What holds for all subscriptions that say nothing else."""
    keys = ("stale_after", "hold", "jitter")
    return {key: agent.take(key, _duration, 0.0) for key in keys if key in agent.left}


def _settings(
    table: _Table, general: Mapping[str, float], commands: Mapping[str, Command], local: bool
) -> SettingsFile:
    return SettingsFile(
        znode=table.demand("znode", _znode),
        file=_file(table, "file", local),
        check=_check(table, commands),
        template=_template(table, local),
        reload=_command(table, "reload", commands),
        jitter_s=table.take("jitter", _duration, 0.0),
        stale_after_s=table.take("stale_after", _positive, general.get("stale_after", 600.0)),
        may_be_empty=table.take("may_be_empty", _flag, False),
    )


def _servers(
    table: _Table, general: Mapping[str, float], commands: Mapping[str, Command], local: bool
) -> ServersFile:
    usual = Rails()
    rails = Rails(
        least=table.take("least", _count, usual.least),
        share=table.take("share", _share, usual.share),
        hold_s=table.take("hold", _duration, general.get("hold", usual.hold_s)),
        jitter_s=table.take("jitter", _duration, general.get("jitter", usual.jitter_s)),
        flaps=table.take("flaps", _count, usual.flaps),
        flap_window_s=table.take("flap_window", _positive, usual.flap_window_s),
        flap_hold_s=table.take("flap_hold", _duration, usual.flap_hold_s),
    )
    one = ServersFile(
        kind=table.demand("kind", _kind),
        file=_file(table, "file", local),
        versions=table.take("versions", _versions, ""),
        flavor=table.take("flavor", _text, None),
        format=table.take("format", _format, LIST),
        each=table.take("each", _text, ""),
        template=_template(table, local),
        check=_check(table, commands),
        reload=_command(table, "reload", commands),
        rails=rails,
        stale_after_s=table.take("stale_after", _positive, general.get("stale_after", 600.0)),
    )
    if one.each and one.format == JSON:
        raise SubscriptionError(f"{table.where}each is for lists and templates, not for JSON")
    return one


def _commands(tables: Mapping[str, Any]) -> dict[str, Command]:
    found: dict[str, Command] = {}
    for name, raw in tables.items():
        where = f"[commands] {name}: "
        if name in _CHECKS:
            raise SubscriptionError(f"{where}that is the name of a check")
        if isinstance(raw, dict):
            table = _Table(raw, where)
            found[name] = Command(
                table.demand("run", _words), table.take("timeout", _positive, 60.0)
            )
            table.end()
        else:
            found[name] = Command(_Table({"run": raw}, where).demand("run", _words))
    return found


def _command(table: _Table, key: str, commands: Mapping[str, Command]) -> str:
    name: str = table.take(key, _text, "")
    if name and name not in commands:
        raise SubscriptionError(f"{table.where}{key}: [commands] has no {name!r}")
    return name


def _check(table: _Table, commands: Mapping[str, Command]) -> str:
    if table.left.get("check") in _CHECKS:
        check: str = table.take("check", _text, "")
        return check
    return _command(table, "check", commands)


def _file(table: _Table, key: str, local: bool) -> str:
    name = table.demand(key, _text)
    path = posixpath.normpath(name)
    if not local and (path.startswith(("/", "../")) or path == ".."):
        raise SubscriptionError(f"{table.where}{key}: a znode names files below the directory")
    if name.endswith("/") or path in (".", "..") or not name.isprintable():
        raise SubscriptionError(f"{table.where}{key}: {name!r} is no name of a file")
    if path.split("/")[0] == OWN_FOLDER:
        raise SubscriptionError(f"{table.where}{key}: {OWN_FOLDER} is the agent's own")
    return path


def _template(table: _Table, local: bool) -> str:
    return _file(table, "template", local) if "template" in table.left else ""


# One value


class _Table:
    """A table of TOML out of which every key is taken once; what is left is unknown."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.where = where
        self.left = dict(values)

    def take(self, key: str, read: Callable[[Any], T], default: Any) -> Any:
        if key not in self.left:
            return default
        try:
            return read(self.left.pop(key))
        except ValueError as error:
            raise SubscriptionError(f"{self.where}{key}: {error}") from None

    def demand(self, key: str, read: Callable[[Any], T]) -> T:
        if key not in self.left:
            raise SubscriptionError(f"{self.where}{key} is missing")
        value: T = self.take(key, read, None)
        return value

    def end(self) -> None:
        if self.left:
            raise SubscriptionError(f"{self.where}there is no key {min(self.left)!r}")


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SubscriptionError(str(error)) from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it is no table")
    return value


def _tables(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError("each is a table, written with two brackets")
    return value


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(w, str) for w in value):
        raise ValueError('a command is a list of words, as ["systemctl", "reload", "nginx"]')
    return tuple(value)


def _znode(value: Any) -> str:
    path = _text(value)
    if not valid(path.encode(errors="surrogatepass")):
        raise ValueError(f"{value!r} is no path of a znode")
    return path


def _znodes(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(_znode, value if isinstance(value, list) else [value])))


def _kind(value: Any) -> str:
    return _text(value)


def _duration(value: Any) -> float:
    """Seconds, as a number or as text with a unit."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{value!r} is no time: it is as 90, "500ms", "30s", "5m" or "2h"')
    return float(match[1]) * _UNITS[match[2]]


def _positive(value: Any) -> float:
    seconds = _duration(value)
    if not seconds:
        raise ValueError("it is longer than nothing")
    return seconds


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{value!r} is no count from 1")
    return value


def _port(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 65_535:
        raise ValueError(f"{value!r} is no port")
    return value


def _share(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(f"{value!r} is no share from 0 to 1")
    return float(value)


def _versions(value: Any) -> str:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(_text(value))
    except InvalidSpecifier as error:
        raise ValueError(str(error)) from None
    return str(value)


def _format(value: Any) -> str:
    if value not in (LIST, JSON):
        raise ValueError(f'{value!r} is neither "list" nor "json"')
    return str(value)
