"""`coterie log`: show the txns of logs, verify log files, and copy what is good of a damaged one.

A directory's logs are read one after the other, a single file alone. Nothing here changes a log;
what a whole directory needs to be started again is `coterie doctor`'s to say.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

from coterie.cli import acls, places, show
from coterie.cli.places import BAD, DataError, ToolError
from coterie.cli.show import Output
from coterie.errors import MarshallingError
from coterie.storage import inspection, segment, snapshot, txnlog
from coterie.storage.inspection import Gap, LogReport, State
from coterie.storage.overlay import Overlay
from coterie.storage.segment import HEADER
from coterie.system.files import OSFiles
from coterie.values import ACL
from coterie.wire import entries, numbered, txns
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op

KINDS: Final[dict[int, str]] = {
    Op.CREATE: "create",
    Op.CREATE2: "create2",
    Op.CREATE_CONTAINER: "createContainer",
    Op.CREATE_TTL: "createTTL",
    Op.DELETE: "delete",
    Op.DELETE_CONTAINER: "deleteContainer",
    Op.SET_DATA: "setData",
    Op.RECONFIG: "reconfig",
    Op.SET_ACL: "setACL",
    Op.CHECK: "check",
    Op.MULTI: "multi",
    Op.CREATE_SESSION: "createSession",
    Op.CLOSE_SESSION: "closeSession",
    Op.ERROR: "error",
}
"""What kinds of txn are called, as in Apache's tools."""

_UNSIGNED: Final = 2**64 - 1
_WRITE_BYTES: Final = 2**20


def paths_of(where: str, log_data: str | None, files: Overlay) -> list[str]:
    if places.is_log(where):
        return [places.as_file(where)]
    place = places.find(where, log_data).place
    found = list(txnlog.segments(files, place.logs).values())
    if not found:
        raise DataError(f"there are no logs in {place.logs}")
    return found


# Showing


def show_txns(
    where: str,
    log_data: str | None,
    first: int,
    last: int | None,
    below: str | None,
    session_id: int | None,
    behind_damage: bool,
    as_json: bool,
) -> int:
    """Every txn that fits; the exit status."""
    out = Output(as_json)
    status = 0
    with places.reading() as files:
        for path in paths_of(where, log_data, files):
            for found in inspection.entries(files, path, behind_damage=behind_damage):
                if isinstance(found, Gap):
                    reason = f"bytes {found.start} to {found.end} cannot be read"
                    out.note(f"{path}: {reason} ({found.reason})")
                    status = BAD
                    continue
                zxid = numbered.HEADER.unpack_from(found[1])[2]
                if zxid < first or (last is not None and zxid > last):
                    continue
                _show_entry(out, found[1], below, session_id)
    return status


def _show_entry(out: Output, entry: bytes, below: str | None, session_id: int | None) -> None:
    try:
        txn = entries.decode(entry)
    except MarshallingError:
        _, _, zxid, time_ms, kind = numbered.HEADER.unpack_from(entry)
        out.record({"zxid": f"{zxid:#x}", "type": kind, "unknown": True})
        out.line(f"{zxid:#x}  {show.time_for_people(time_ms)}  a txn of the unknown kind {kind}")
        return
    if session_id is not None and txn.session_id & _UNSIGNED != session_id & _UNSIGNED:
        return
    if below is not None and not any(is_below(path, below) for path in changed(txn.body)):
        return
    out.record(fields_of(txn))
    out.line(line_of(txn))


def is_below(path: str, top: str) -> bool:
    return path == top or top == "/" or path.startswith(f"{top}/")


def changed(body: Record) -> Iterator[str]:
    """The paths of the znodes that a txn names."""
    if isinstance(body, txns.MultiTxn):
        for _, part in body.operations:
            yield from changed(part)
    elif isinstance(body, txns.CloseSessionTxn):
        yield from map(_text, body.paths)
    elif not isinstance(body, txns.CreateSessionTxn | txns.ErrorTxn):
        yield _text(body.path)  # type: ignore[attr-defined]


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def fields_of(txn: Txn) -> dict[str, Any]:
    """A txn for programs."""
    fields: dict[str, Any] = {
        "zxid": f"{txn.zxid:#x}",
        "time": show.time_for_programs(txn.time_ms),
        "session_id": f"{txn.session_id & _UNSIGNED:#x}",
        "cxid": txn.cxid,
        "type": KINDS[txn.type],
        **_body_fields(txn.body),
    }
    if txn.digest is not None:
        fields["digest"] = txn.digest
    return fields


def _body_fields(body: Record) -> dict[str, Any]:
    if isinstance(body, txns.MultiTxn):
        parts = [{"type": KINDS[kind], **_body_fields(part)} for kind, part in body.operations]
        return {"operations": parts}
    fields: dict[str, Any] = {}
    for name in body.field_names():
        value = getattr(body, name)
        if name == "data":
            fields |= {} if value is None else show.data_fields(value)
        elif name == "acl":
            fields["acl"] = [show.acl_fields(entry) for entry in value]
        elif name == "paths":
            fields["paths"] = list(map(_text, value))
        else:
            fields[name] = _text(value) if isinstance(value, bytes) else value
    return fields


def line_of(txn: Txn) -> str:
    """A txn for people."""
    time = show.time_for_people(txn.time_ms)
    session = f"session {txn.session_id & _UNSIGNED:#x}"
    return f"{txn.zxid:#x}  {time}  {session}  {KINDS[txn.type]}{_body_line(txn.body)}"


def _body_line(body: Record) -> str:
    if isinstance(body, txns.MultiTxn):
        parts = (f"{KINDS[kind]}{_body_line(part)}" for kind, part in body.operations)
        return f" [{'; '.join(parts)}]"
    if isinstance(body, txns.CreateSessionTxn):
        return f" timeout {body.timeout_ms} ms"
    if isinstance(body, txns.CloseSessionTxn):
        return "".join(f" {show.path_text(path)}" for path in body.paths)
    if isinstance(body, txns.ErrorTxn):
        return f" {body.error}"
    text = f" {show.path_text(body.path)}"  # type: ignore[attr-defined]
    data = getattr(body, "data", None)
    if data:
        text += f" = {show.data_inline(data)}"
    if getattr(body, "ephemeral", False):
        text += "  (ephemeral)"
    if isinstance(body, txns.CreateTTLTxn):
        text += f"  (TTL {body.ttl_ms} ms)"
    if isinstance(body, txns.SetACLTxn):
        text += f" {_shown_acl(body.acl)}"
    if hasattr(body, "version"):
        text += f"  (version {body.version})"
    return text


def _shown_acl(acl: Sequence[ACL] | None) -> str:
    return ",".join(acls.show(entry) for entry in acl or ())


# Verifying


def verify(where: str, log_data: str | None, as_json: bool) -> int:
    """Each log file, and whether one follows on the other; the exit status."""
    out = Output(as_json)
    status = 0
    rows: list[list[str]] = []
    notes: list[str] = []
    with places.reading() as files:
        paths = paths_of(where, log_data, files)
        snapshots = _snapshot_zxids(where, log_data, files)
        firsts = [segment.first_zxid(os.path.basename(path)) for path in paths]
        last = 0
        for path, next_zxid in zip(paths, [*firsts[1:], None], strict=True):
            report = inspection.examine_log(files, path, next_zxid)
            gap = _gap(report, last, snapshots)
            if gap:
                notes.append(gap)
            if report.state in (State.DAMAGED, State.UNKNOWN) or gap:
                status = BAD
            if report.reason:
                notes.append(report.reason)
            out.record({**report_fields(report), "follows": not gap})
            rows.append(_row(report))
            last = report.last.zxid if report.last is not None else last
    out.line(show.table(rows))
    for note in notes:
        out.line(note)
    return status


def _snapshot_zxids(where: str, log_data: str | None, files: Overlay) -> list[int]:
    if places.is_log(where):
        return []
    return list(snapshot.snapshots(files, places.find(where, log_data).place.snapshots))


def _gap(report: LogReport, last: int, snapshots: list[int]) -> str:
    """What is missing before a log, unless a snapshot has it: a leader may have sent that."""
    if report.first is None or not last or numbered.follows(report.first.zxid, last):
        return ""
    if report.first.zxid <= last:
        return ""
    if any(
        numbered.follows(report.first.zxid, zxid) or zxid >= report.first.zxid
        for zxid in snapshots
    ):
        return ""
    return (
        f"{report.path}: txns are missing before it: after {last:#x} comes {report.first.zxid:#x}"
    )


def report_fields(report: LogReport) -> dict[str, Any]:
    return {
        "path": report.path,
        "state": report.state.value,
        "txns": report.txns,
        "first": f"{report.first.zxid:#x}" if report.first else None,
        "last": f"{report.last.zxid:#x}" if report.last else None,
        "first_time": show.time_for_programs(report.first.time_ms) if report.first else None,
        "last_time": show.time_for_programs(report.last.time_ms) if report.last else None,
        "bytes": report.end,
        "file_bytes": report.size,
        "reason": report.reason or None,
    }


def _row(report: LogReport) -> list[str]:
    span, time = "-", ""
    if report.first is not None and report.last is not None:
        span = f"{report.first.zxid:#x} to {report.last.zxid:#x}"
        time = f"until {show.time_for_people(report.last.time_ms)}"
    return [
        os.path.basename(report.path),
        report.state.value,
        f"{report.txns} txns",
        span,
        f"{report.end} bytes",
        time,
    ]


# Copying what is good


def repair(
    file: str,
    to: str | None,
    until: int | None,
    behind_damage: bool,
    trusting: bool,
    as_json: bool,
) -> int:
    """Write the good records of a log file into a new one; the exit status."""
    if not places.is_log(file):
        raise ToolError(f"{file} is no log file; for a whole directory take `coterie doctor`")
    to = to or f"{file}.repaired"
    if os.path.exists(to):
        raise ToolError(f"{to} is there already: name another file with --to")
    out = Output(as_json)
    count = 0
    gaps: list[Gap] = []
    parts = [HEADER]
    with places.reading() as files:
        target = OSFiles().open(to)
        at = 0
        last = 0
        for found in inspection.entries(
            files, places.as_file(file), behind_damage=behind_damage, trusting=trusting
        ):
            if isinstance(found, Gap):
                gaps.append(found)
                continue
            zxid = numbered.HEADER.unpack_from(found[1])[2]
            if until is not None and zxid > until:
                break
            count, last = count + 1, zxid
            parts += segment.record(found[1])
            if sum(map(len, parts)) > _WRITE_BYTES:
                target.write(at, b"".join(parts))
                at += sum(map(len, parts))
                parts.clear()
        target.write(at, b"".join(parts))
        target.sync()
        target.close()
    for gap in gaps:
        out.line(f"left out: bytes {gap.start} to {gap.end} ({gap.reason})")
    out.line(f"{to}: {count} txns, the last is {last:#x}")
    out.record(
        {
            "path": to,
            "txns": count,
            "last": f"{last:#x}",
            "left_out": [gap._asdict() for gap in gaps],
        }
    )
    return BAD if gaps else 0
