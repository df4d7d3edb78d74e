"""`coterie export` and `coterie import`: znodes as JSON, one on each line.

What is exported from a server is read znode by znode while others write; from a data directory it
is one state. What is under /zookeeper, and what belongs to a session, is not imported: servers and
sessions make those. Into a server znodes are made anew, with data, ACL and kind; into a new data
directory they come with their versions, zxids, times and quotas.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime as dt
import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final, NamedTuple, TextIO

import click

from coterie.cli import acls, places, trees
from coterie.cli.places import DataError, ToolError
from coterie.cli.session import Session
from coterie.cli.show import Output
from coterie.cli.walk import walk
from coterie.core.tree import Tree
from coterie.core.znode import CONTAINER_OWNER, Node, ttl_owner
from coterie.errors import NoAuthError, NodeExistsError, NoNodeError
from coterie.paths import valid
from coterie.storage import past, repair
from coterie.storage.inspection import Place
from coterie.system import owners
from coterie.system.clock import SystemClock
from coterie.system.files import OSFiles
from coterie.values import ACL, OPEN_ACL, ACLs, Id

_AT_ONCE: Final = 128
_OWN: Final = "/zookeeper"
_QUOTAS: Final = "/zookeeper/quota/"
_MODES: Final = ("persistent", "container", "persistent_ttl")
_EPHEMERAL: Final = "ephemeral"


class Line(NamedTuple):
    """One znode, as it is to be made."""

    path: str
    data: bytes | None
    mode: str
    ttl_ms: int
    acl: ACLs
    stat: dict[str, Any]


# Exporting


def export_files(
    where: str, log_data: str | None, zxid: str, top: str, target: TextIO | None
) -> int:
    """One state of a data directory."""
    with places.reading() as files:
        place = places.find(where, log_data).place
        tree = past.at(files, place, places.as_zxid(zxid, files, place))
    if top.encode() not in tree.nodes:
        raise DataError(f"there is no znode {top}")
    for fields in trees.export(tree, top):
        _put(fields, target)
    return 0


async def export_server(session: Session, *, path: str, target: TextIO | None) -> None:
    """What a server has, as far as it may be read."""
    async for step in walk(session.zk, path, with_data=True):
        if step.stat is None:
            session.out.note(f"{step.path} may not be read")
            continue
        try:
            acl, _ = await session.zk.get_acl(step.path)
        except NoNodeError:
            continue
        kind = {"mode": _EPHEMERAL if step.stat.ephemeral_owner else "persistent"}
        _put(trees.exported(step.path, step.data, acl, kind, step.stat), target)


def _put(fields: dict[str, Any], target: TextIO | None) -> None:
    click.echo(json.dumps(fields, ensure_ascii=False), file=target)


# Reading what was exported


def read(source: BinaryIO) -> Iterator[Line]:
    """The znodes of a file. Raises `ToolError` with the number of the line."""
    for number, text in enumerate(source, 1):
        if not text.strip():
            continue
        try:
            yield _line(json.loads(text))
        except (ValueError, TypeError, KeyError, binascii.Error) as error:
            raise ToolError(f"line {number}: {error}") from None


def _line(given: Any) -> Line:
    if not isinstance(given, dict):
        raise TypeError("it is no object")
    path = given.get("path")
    if not isinstance(path, str) or not valid(path.encode("utf-8", "surrogateescape")):
        raise ValueError(f"{path!r} is no path of a znode")
    data: bytes | None = None
    if "data_base64" in given:
        data = base64.b64decode(given["data_base64"], validate=True)
    elif given.get("data") is not None:
        data = str(given["data"]).encode("utf-8", "surrogateescape")
    mode = given.get("mode", "persistent")
    if mode not in (*_MODES, _EPHEMERAL):
        raise ValueError(f'"mode" is one of {", ".join((*_MODES, _EPHEMERAL))}')
    stat = given.get("stat", {})
    if not isinstance(stat, dict):
        raise TypeError('"stat" is no object')
    return Line(path, data, mode, int(given.get("ttl_ms", 0)), _acl(given.get("acl")), stat)


def _acl(given: Any) -> ACLs:
    if not given:
        return OPEN_ACL
    return tuple(_entry(entry) for entry in given)


def _entry(entry: Any) -> ACL:
    perms = 0
    for letter in entry["perms"]:
        if letter not in acls.LETTERS:
            raise ValueError(f"{letter!r} is no permission")
        perms |= acls.LETTERS[letter]
    return ACL(perms, Id(str(entry["scheme"]), str(entry["id"])))


def wanted(lines: Iterable[Line], skipped: list[str], *, quotas: bool = False) -> list[Line]:
    """What is to be made, each before what is below it; what is not goes into `skipped`."""
    found: list[Line] = []
    for line in lines:
        is_own = line.path == _OWN or line.path.startswith(f"{_OWN}/")
        is_quota = quotas and line.path.startswith(_QUOTAS)
        if line.mode == _EPHEMERAL or (is_own and not is_quota):
            skipped.append(line.path)
        else:
            found.append(line)
    return sorted(found, key=lambda line: line.path.split("/") if line.path != "/" else [""])


# Into a server


async def import_server(session: Session, *, lines: list[Line], existing: str) -> None:
    """Make the znodes. One that has others below is open to all until they are there: its own
    ACL might not let them be made."""
    skipped: list[str] = []
    found = wanted(lines, skipped)
    above = {line.path.rpartition("/")[0] or "/" for line in found if line.path != "/"}
    made = kept = 0
    opened: list[Line] = []
    try:
        for at in range(0, len(found), _AT_ONCE):
            outcomes = await asyncio.gather(
                *(
                    _make(session, line, existing, opened if line.path in above else None)
                    for line in found[at : at + _AT_ONCE]
                ),
                return_exceptions=True,
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
                made += outcome
                kept += not outcome
    finally:
        # Also when it is interrupted: nothing stays open that is to be closed.
        for line in reversed(opened):
            await session.zk.set_acl(line.path, line.acl)
    session.out.record({"made": made, "kept": kept, "skipped": len(skipped)})
    session.out.line(
        f"{made} znodes made, {kept} that were there left, {len(skipped)} of servers and sessions "
        f"skipped"
    )


async def _make(session: Session, line: Line, existing: str, opened: list[Line] | None) -> bool:
    """Whether it was made or changed. With others below it, it is open at first, and noted."""
    zk = session.zk
    acl = line.acl if opened is None else OPEN_ACL
    try:
        if line.path == "/":
            raise NodeExistsError("/", "create")
        await zk.create(
            line.path,
            line.data or b"",
            container=line.mode == "container",
            ttl_ms=line.ttl_ms if line.mode == "persistent_ttl" else None,
            acl=acl,
        )
    except (NodeExistsError, NoAuthError) as error:
        # Servers look at the ACL of what is above first.
        if isinstance(error, NoAuthError) and not await zk.exists(line.path):
            raise
        if existing == "fail" and line.path != "/":
            raise
        if existing != "replace":
            return False
        await zk.set(line.path, line.data or b"")
        await zk.set_acl(line.path, acl)
    if opened is not None and line.acl != OPEN_ACL:
        opened.append(line)
    return True


# Into a new data directory


def import_files(lines: list[Line], to: str, as_json: bool) -> int:
    """A data directory that begins with these znodes."""
    places.refuse_old_directory(to)
    skipped: list[str] = []
    tree = Tree()
    now_ms = SystemClock().wall_ms()
    for line in wanted(lines, skipped, quotas=True):
        try:
            tree.restore(line.path.encode("utf-8", "surrogateescape"), _node(line, now_ms))
        except NoNodeError:
            above = line.path.rpartition("/")[0]
            raise ToolError(f"{above}, which is above {line.path}, is missing") from None
        except (ValueError, TypeError) as error:
            raise ToolError(f"{line.path}: {error}") from None
    nodes = [node for path, node in tree.nodes.items() if path]
    tree.zxid = max(max(node.czxid, node.mzxid, node.pzxid) for node in nodes)
    place = Place(to, to)
    with places.reading():
        OSFiles().make_directory(place.snapshots)
        path = repair.write_snapshot(OSFiles(), place.snapshots, tree)
        owners.give(to, place.data)
    out = Output(as_json)
    made = len(nodes)
    out.record({"path": path, "znodes": made, "skipped": len(skipped), "zxid": f"{tree.zxid:#x}"})
    out.line(f"{path}: {made} znodes; {len(skipped)} of servers and sessions skipped")
    return 0


def _node(line: Line, now_ms: int) -> Node:
    stat = line.stat
    owner = 0
    if line.mode == "container":
        owner = CONTAINER_OWNER
    elif line.mode == "persistent_ttl":
        owner = ttl_owner(line.ttl_ms)
    first = 0 if line.path == "/" else 1
    node = Node(
        line.data, line.acl, owner, _zxid(stat, "czxid", first), _time(stat, "ctime", now_ms)
    )
    node.mzxid, node.pzxid = _zxid(stat, "mzxid", node.czxid), _zxid(stat, "pzxid", node.czxid)
    node.mtime = _time(stat, "mtime", node.ctime)
    node.version, node.aversion = int(stat.get("version", 0)), int(stat.get("aversion", 0))
    # What a client sees counts creates and deletes; what is stored, creates alone.
    node.cversion = (int(stat.get("cversion", 0)) + int(stat.get("num_children", 0))) // 2
    return node


def _zxid(stat: dict[str, Any], name: str, default: int) -> int:
    return int(str(stat[name]), 0) if name in stat else default


def _time(stat: dict[str, Any], name: str, default: int) -> int:
    if not stat.get(name):
        return default
    moment = dt.datetime.fromisoformat(str(stat[name]))
    return round(moment.timestamp() * 1000)
