"""`coterie snapshot` and `coterie at`: show, verify, compare, take and restore states.

A state is named by a snapshot file, by a data directory (its last state), or by `DIR@ZXID`. What
is taken or restored is exact: not a copy of a fuzzy snapshot, but the tree after one txn, as a
snapshot of its own.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import replace
from typing import Any, Final

import click

from coterie.cli import places, show, trees
from coterie.cli.places import BAD, DataError, ToolError
from coterie.cli.show import Output
from coterie.config import embedded_default
from coterie.core.tree import Tree
from coterie.core.znode import Node, is_ephemeral
from coterie.storage import inspection, past, repair, snapshot
from coterie.storage.errors import StorageError
from coterie.storage.inspection import Place, State
from coterie.storage.overlay import Overlay
from coterie.storage.txnlog import TxnLog
from coterie.system import owners
from coterie.system.files import OSFiles

_PARTS: Final = ("data", "acl", "owner", "czxid", "mzxid", "version", "aversion")
_DIFFERENT: Final = 1
_FOR_EVER_MS: Final = 2**31 - 1


def state(what: str, log_data: str | None, files: Overlay) -> tuple[Tree, str]:
    """A tree, and what it is of."""
    where, at, zxid = what.rpartition("@")
    if not at or os.path.exists(what):
        where, zxid = what, "last"
    if places.is_snapshot(where):
        path = places.as_file(where)
        if zxid == "last":
            return exact(files, path), path
        directory = os.path.dirname(path)
        raise ToolError(f"{where} is one state; for others name its directory: {directory}@{zxid}")
    place = places.find(where, log_data).place
    tree = past.at(files, place, places.as_zxid(zxid, files, place))
    return tree, f"{where} at {tree.zxid:#x}"


def exact(files: Overlay, path: str) -> Tree:
    """The state behind the last txn of which a snapshot file holds anything.

    What it is fuzzy about is in the log beside it.
    """
    found = snapshot.read(files, path)
    until = inspection.fuzzy_until(found)
    tree = found.tree
    if until > tree.zxid:
        directory = os.path.dirname(path)
        for txn in TxnLog(files, directory).scan(tree.zxid):
            if txn.zxid > until:
                break
            tree.apply(txn)
        if tree.zxid < until:
            raise StorageError(
                f"{path} holds some of what came while it was written, up to txn {until:#x}; it "
                f"is made exact by the log, and {directory} has that up to {tree.zxid:#x} only"
            )
    tree.checks_digest = True
    return tree


# Showing


def show_snapshot(
    what: str,
    log_data: str | None,
    top: str,
    znodes: bool,
    with_data: bool,
    usage_depth: int | None,
    as_json: bool,
) -> int:
    out = Output(as_json)
    with places.reading() as files:
        if places.is_snapshot(what):
            path = places.as_file(what)
        else:
            place = places.find(what, log_data).place
            path = next(iter(snapshot.snapshots(files, place.snapshots).values()), "")
            if not path:
                raise DataError(f"there is no snapshot in {place.snapshots}")
        report = inspection.examine_snapshot(files, path)
        if report.found is None:
            raise DataError(report.reason)
        tree = report.found.tree
        _check_top(tree, top)
        _summary(out, tree, report.path, report.until, report.found.digest)
    if usage_depth is not None:
        _usage(out, tree, top, usage_depth)
    if znodes or with_data:
        _znodes(out, tree, top, with_data)
    return 0


def _check_top(tree: Tree, top: str) -> None:
    if top.encode() not in tree.nodes:
        raise DataError(f"there is no znode {top}")


def _nodes(tree: Tree) -> dict[bytes, Node]:
    """Each znode once: the root has two names in a tree."""
    return {path: node for path, node in tree.nodes.items() if path}


def _summary(out: Output, tree: Tree, path: str, until: int, digest: int | None) -> None:
    nodes = _nodes(tree).values()
    fields: dict[str, Any] = {
        "path": path,
        "zxid": f"{tree.zxid:#x}",
        "fuzzy_until": f"{until:#x}",
        "znodes": len(nodes),
        "data_bytes": sum(len(node.data or b"") for node in nodes),
        "ephemerals": sum(is_ephemeral(node.owner) for node in nodes),
        "containers": len(tree.containers),
        "ttls": len(tree.ttls),
        "sessions": len(tree.sessions),
        "acls": len({node.acl for node in nodes}),
        "digest": digest,
    }
    out.record(fields)
    out.line("\n".join(f"{name:<12} {value}" for name, value in fields.items()))


def _usage(out: Output, tree: Tree, top: str, depth_max: int) -> None:
    """How many znodes are below each, and how many bytes they hold."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    steps = list(trees.walk(tree, top))
    for step in steps:
        size = len(step.data or b"")
        path = step.path
        while True:
            counts[path] += 1
            sizes[path] += size
            if path in (top, "/"):
                break
            path = path.rpartition("/")[0] or "/"
    rows = [["znodes", "bytes", "path"]]
    for step in steps:
        if len(step.more) <= depth_max:
            fields = {"path": step.path, "znodes": counts[step.path], "bytes": sizes[step.path]}
            out.record(fields)
            numbers = str(counts[step.path]), str(sizes[step.path])
            rows.append([*numbers, show.path_text(step.path)])
    out.line(show.table(rows))


def _znodes(out: Output, tree: Tree, top: str, with_data: bool) -> None:
    for fields in trees.export(tree, top):
        out.record(fields)
    if out.as_json:
        return
    for step in trees.walk(tree, top):
        assert step.stat is not None
        out.line(show.path_text(step.path))
        out.line("\n".join(f"  {line}" for line in show.stat_lines(step.stat).splitlines()))
        if with_data and step.data:
            out.line(f"  {'data':<15} {show.data_inline(step.data)}")


def show_at(
    zxid: str,
    where: str,
    log_data: str | None,
    path: str,
    depth_max: int | None,
    with_data: bool,
    get: bool,
    raw: bool,
    as_json: bool,
) -> int:
    """The tree as it was."""
    out = Output(as_json)
    with places.reading() as files:
        place = places.find(where, log_data).place
        tree = past.at(files, place, places.as_zxid(zxid, files, place))
    _check_top(tree, path)
    node = tree.nodes[path.encode()]
    if raw:
        out.raw(node.data or b"")
    elif get:
        stat = trees.stat_of(node)
        out.record(trees.exported(path, node.data, node.acl, trees.kind_of(node), stat))
        out.line(show.data_lines(node.data or b""))
        out.line(show.stat_lines(stat))
    elif as_json:
        for fields in trees.export(tree, path, depth_max):
            out.record(fields)
    else:
        for step in trees.walk(tree, path, depth_max):
            hidden = depth_max is not None and len(step.more) == depth_max
            shown = step if with_data else step._replace(data=None)
            out.line(show.branch(shown, hidden))
    return 0


def serve_at(zxid: str, where: str, log_data: str | None, port: int) -> int:
    """Serve the tree as it was, from a copy that goes with this process.

    Time stands still there: its sessions last, and so do containers and TTL znodes.
    """
    from coterie.runtime.process import StartError, run

    with places.reading() as files:
        place = places.find(where, log_data).place
        tree = past.at(files, place, places.as_zxid(zxid, files, place))
    for session_id in tree.sessions:
        tree.sessions[session_id] = _FOR_EVER_MS
    with tempfile.TemporaryDirectory(prefix="coterie-at-") as top:
        config = replace(
            embedded_default(top, port=port), container_check_interval_ms=_FOR_EVER_MS
        )
        with places.reading():
            copy = Place(top, top)
            OSFiles().make_directory(copy.snapshots)
            repair.write_snapshot(OSFiles(), copy.snapshots, tree)
        what = f"{where} as it was after txn {tree.zxid:#x}"
        try:
            run(config, lambda server: click.echo(f"{what}: 127.0.0.1:{server.port}"))
        except StartError as error:
            raise ToolError(str(error)) from None
    return 0


# Verifying and comparing


def verify(where: str, log_data: str | None, as_json: bool) -> int:
    """Each snapshot, and whether one of them is damaged."""
    out = Output(as_json)
    status = 0
    rows: list[list[str]] = []
    notes: list[str] = []
    with places.reading() as files:
        if places.is_snapshot(where):
            paths = [places.as_file(where)]
        else:
            place = places.find(where, log_data).place
            paths = list(snapshot.snapshots(files, place.snapshots).values())
            if not paths:
                raise DataError(f"there is no snapshot in {place.snapshots}")
        for path in paths:
            report = inspection.examine_snapshot(files, path)
            znodes = len(_nodes(report.found.tree)) if report.found is not None else None
            if report.state is not State.WHOLE:
                status = BAD
                notes.append(report.reason)
            fields = {
                "path": path,
                "state": report.state.value,
                "zxid": f"{report.zxid:#x}",
                "fuzzy_until": f"{report.until:#x}",
                "znodes": znodes,
                "file_bytes": report.size,
                "reason": report.reason or None,
            }
            out.record(fields)
            shown = "-" if znodes is None else f"{znodes} znodes"
            name = os.path.basename(path)
            rows.append([name, report.state.value, shown, f"{report.size} bytes"])
    out.line(show.table(rows))
    for note in notes:
        out.line(note)
    return status


def diff(left: str, right: str, log_data: str | None, top: str, as_json: bool) -> int:
    """What is in one state and not in the other; status 1 if there is anything."""
    out = Output(as_json)
    with places.reading() as files:
        (one, _), (other, _) = (state(what, log_data, files) for what in (left, right))
    status = 0
    prefix = top.encode().rstrip(b"/") + b"/"
    paths = sorted(_nodes(one).keys() | _nodes(other).keys())
    for path in paths:
        if path != top.encode() and not path.startswith(prefix):
            continue
        old, new = one.nodes.get(path), other.nodes.get(path)
        fields = _difference(old, new)
        if fields is None:
            continue
        status = _DIFFERENT
        out.record({"path": path.decode("utf-8", "backslashreplace"), **fields})
        out.line(_difference_line(show.path_text(path), old, new, fields))
    return status


def _difference(old: Node | None, new: Node | None) -> dict[str, Any] | None:
    if new is None:
        return {"change": "removed"}
    if old is None:
        return {"change": "added", **show.data_fields(new.data or b"")}
    parts = [name for name in _PARTS if getattr(old, name) != getattr(new, name)]
    if not parts:
        return None
    return {
        "change": "changed",
        "parts": parts,
        "old": show.data_fields(old.data or b""),
        "new": show.data_fields(new.data or b""),
    }


def _difference_line(path: str, old: Node | None, new: Node | None, fields: dict[str, Any]) -> str:
    if new is None:
        return f"- {path}"
    if old is None:
        return f"+ {path} = {show.data_inline(new.data or b'')}"
    if "data" in fields["parts"]:
        before, after = show.data_inline(old.data or b""), show.data_inline(new.data or b"")
        return f"~ {path}: {before} -> {after}"
    return f"~ {path}: {', '.join(fields['parts'])}"


# Taking and restoring


def take(where: str, log_data: str | None, zxid: str, to: str | None, as_json: bool) -> int:
    """A snapshot of one state: into the directory itself, or into a new one."""
    if to is None and zxid != "last":
        raise ToolError("A state of the past goes into a directory of its own: name one by --to.")
    with places.reading() as files:
        target = places.find(where, log_data)
        if to is None:
            return _take_here(files, target.place, where, as_json)
        places.refuse_old_directory(to)
        tree = past.at(files, target.place, places.as_zxid(zxid, files, target.place))
        return _write(tree, to, as_json)


def _take_here(files: Overlay, place: Place, where: str, as_json: bool) -> int:
    with places.held(place):
        tree = past.at(files, place)
        path = repair.write_snapshot(OSFiles(), place.snapshots, tree)
        owners.give(path, place.snapshots)
    return _said(path, tree, as_json)


def restore(what: str, log_data: str | None, to: str, as_json: bool) -> int:
    """A new data directory that begins with one state."""
    with places.reading() as files:
        tree, _ = state(what, log_data, files)
        places.refuse_old_directory(to)
        return _write(tree, to, as_json)


def _write(tree: Tree, to: str, as_json: bool) -> int:
    place = Place(to, to)
    files = OSFiles()
    files.make_directory(place.snapshots)
    path = repair.write_snapshot(files, place.snapshots, tree)
    owners.give(to, os.path.dirname(os.path.abspath(to)))
    return _said(path, tree, as_json)


def _said(path: str, tree: Tree, as_json: bool) -> int:
    out = Output(as_json)
    count = len(_nodes(tree))
    out.record({"path": path, "zxid": f"{tree.zxid:#x}", "znodes": count})
    out.line(f"{path}: {count} znodes, as they were after txn {tree.zxid:#x}")
    return 0
