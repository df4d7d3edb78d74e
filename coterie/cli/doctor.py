"""`coterie doctor`: say what is wrong with a data directory, and repair it when told to.

Exit status: 0 a server would start and nothing is amiss; 1 something is; 2 the command cannot be
carried out. A repair is tried in memory first, moves what it takes away into a folder beside the
data, and writes a report of it there. It is refused while a server uses the directory, and where
it would lose txns until --accept-loss says that this is known.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from typing import Any, Final

from coterie.cli import logs, places, show
from coterie.cli.places import BAD, Target, ToolError
from coterie.cli.show import Output
from coterie.storage import diagnosis, repair
from coterie.storage.diagnosis import Diagnosis, Level, Lost
from coterie.storage.errors import StorageError, describe
from coterie.storage.overlay import Overlay
from coterie.system import owners
from coterie.system.clock import SystemClock, dice
from coterie.system.files import OSFiles

_SHOWN_MAX: Final = 20
_REPORT: Final = "report.json"


def doctor(
    where: str,
    log_data: str | None,
    repairs: bool,
    accepts_loss: bool,
    all_txns: bool,
    as_json: bool,
) -> int:
    out = Output(as_json)
    target = places.find(where, log_data)
    if repairs:
        with places.held(target.place):
            return _repair(out, target, accepts_loss, all_txns)
    is_member = target.config.ensemble is not None
    pids = places.users(target.place)
    with places.reading() as files:
        found = _diagnose(files, target)
    out.record({**_fields(found), "used_by": pids})
    for pid in pids:
        out.line(f"in use by process {pid}: what it is writing may look as if a crash had left it")
    _show(out, found, all_txns, is_member)
    if found.plan:
        option = " --accept-loss" if found.lost or found.uncertain else ""
        out.line(f"coterie doctor --repair{option} {where}   does that")
    return 0 if found.healthy else BAD


def _diagnose(files: Overlay, target: Target) -> Diagnosis:
    config, dice_ = target.config, dice()
    return diagnosis.diagnose(files, config, dice_, knows_members=target.knows_members)


def _repair(out: Output, target: Target, accepts_loss: bool, all_txns: bool) -> int:
    is_member = target.config.ensemble is not None
    with places.reading() as files:
        found = _diagnose(files, target)
    if found.plan is None or not found.plan:
        out.record(_fields(found))
        _show(out, found, all_txns, is_member)
        return 0 if found.healthy else BAD
    if _would_lose(found) and not accepts_loss:
        out.record(_fields(found))
        _show(out, found, all_txns, is_member)
        raise ToolError(
            "that would lose what is said above: say --accept-loss if it is to be done"
        )
    folder = _folder(target)
    _carry_out(target, found, folder)
    with places.reading() as files:
        after = _diagnose(files, target)
    out.record(
        {**_fields(found), "folder": f"{target.place.data}/{folder}", "after": _fields(after)}
    )
    _show(out, found, all_txns, is_member)
    out.line(f"Done. What was taken away is in {target.place.data}/{folder}.")
    out.line(_start_line(after))
    return 0 if after.healthy else BAD


def _would_lose(found: Diagnosis) -> bool:
    """Whether the plan takes more than a start would, if one is possible at all."""
    if found.uncertain:
        return True
    if not found.lost:
        return False
    starts = found.start.error is None
    return not starts or bool(found.lost.unreadable) or found.repaired.zxid < found.start.zxid


def _folder(target: Target) -> str:
    """One that is not there, named for this moment."""
    now = dt.datetime.fromtimestamp(SystemClock().wall_ms() / 1000, dt.UTC)
    base = f"taken-away-{now:%Y%m%dT%H%M%SZ}"
    there = {*os.listdir(target.place.data), *os.listdir(target.place.logs_data)}
    number = 1
    name = base
    while name in there:
        number += 1
        name = f"{base}-{number}"
    return name


def _carry_out(target: Target, found: Diagnosis, folder: str) -> None:
    files = OSFiles()
    place = target.place
    kept = f"{place.data}/{folder}"
    try:
        # First, so that a repair that is cut short can be told from none.
        files.make_directory(kept)
        report = json.dumps(_fields(found), indent=2, ensure_ascii=False).encode()
        file = files.open(f"{kept}/{_REPORT}")
        file.write(0, report)
        file.sync()
        file.close()
        files.sync_directory(kept)
        for step in found.plan or ():
            repair.carry_out(files, step, folder)
        for path in dict.fromkeys((kept, f"{place.logs_data}/{folder}", *place.directories())):
            if os.path.isdir(path):
                owners.give(path, place.data)
    except StorageError as error:
        raise ToolError(f"the repair was cut short: {error}; begin it again") from None
    except OSError as error:
        raise ToolError(f"the repair was cut short: {describe(error)}; begin it again") from None


# Telling


def _start_line(found: Diagnosis) -> str:
    if found.start.error is not None:
        return "A server does not start here."
    state = f"at txn {found.start.zxid:#x} with {found.start.znodes} znodes"
    return f"A server starts here, {state}."


def _show(out: Output, found: Diagnosis, all_txns: bool, is_member: bool) -> None:
    if found.snapshots or found.logs:
        snapshots, log_files = len(found.snapshots), len(found.logs)
        txns = sum(log.txns for log in found.logs)
        out.line(f"snapshots: {snapshots}, logs: {log_files}, txns that can be read: {txns}")
    for finding in sorted(found.findings, key=lambda one: list(Level).index(one.level)):
        out.line(f"{finding.level.value + ':':<8} {finding.what}")
    out.line(_start_line(found))
    if found.plan is None:
        out.line(
            "No repair is known that keeps what is there: restore the directory from a backup. A "
            "member of an ensemble whose others serve may begin with an empty directory and its "
            "myid: its leader sends it everything."
        )
    elif found.plan:
        out.line("A repair would")
        for step in found.plan:
            out.line(f"  - {step.text()}")
        after = found.repaired
        out.line(f"and a server would start at txn {after.zxid:#x} with {after.znodes} znodes.")
    if found.lost is not None:
        _show_lost(out, found.lost, all_txns)
    for step in found.uncertain:
        out.line(
            f"Of the txns after {step.path}'s own, up to {step.zxid:#x}, some may be there and "
            f"some not: nothing is left that tells."
        )
    if not found.lost and not found.uncertain and found.plan:
        out.line("No txn would be lost.")
    if is_member and found.plan:
        _warn(out, found)


def _warn(out: Output, found: Diagnosis) -> None:
    """What a member has forgotten, others may have counted on."""
    if any(isinstance(step, repair.Write) for step in found.plan or ()):
        out.line(
            "Which epoch this member has promised is not known: repair it while a leader serves, "
            "and one member at a time."
        )
    if found.lost is not None:
        out.line(
            "This is a member: others may have counted on its txns. Repair it while a quorum of "
            "the others serves, and one member at a time; or let it begin with an empty directory "
            "and its myid: its leader sends it everything."
        )


def _show_lost(out: Output, lost: Lost, all_txns: bool) -> None:
    if lost.until > lost.after:
        out.line(
            f"Lost: what came after {lost.after:#x}, up to {lost.until:#x} as far as is known:"
        )
    else:
        out.line(f"Lost: what came after {lost.after:#x}:")
    for path, start, end in lost.unreadable:
        out.line(f"  - bytes {start} to {end} of {path}, which cannot be read")
    shown = lost.readable if all_txns else lost.readable[:_SHOWN_MAX]
    for txn in shown:
        out.line(f"  - {logs.line_of(txn)}")
    hidden = len(lost.readable) - len(shown)
    if hidden:
        out.line(f"  - and {hidden} more, which --all shows")


def _fields(found: Diagnosis) -> dict[str, Any]:
    lost = found.lost
    return {
        "healthy": found.healthy,
        "starts": found.start.error is None,
        "reason": None if found.start.error is None else str(found.start.error),
        "zxid": f"{found.start.zxid:#x}" if found.start.error is None else None,
        "findings": [
            {"level": finding.level.value, "what": finding.what} for finding in found.findings
        ],
        "logs": [logs.report_fields(report) for report in found.logs],
        "snapshots": [
            {"path": snap.path, "state": snap.state.value, "zxid": f"{snap.zxid:#x}"}
            for snap in found.snapshots
        ],
        "plan": None if found.plan is None else [_step_fields(step) for step in found.plan],
        "zxid_after_repair": f"{found.repaired.zxid:#x}" if found.plan is not None else None,
        "lost": None
        if lost is None
        else {
            "after": f"{lost.after:#x}",
            "until": f"{lost.until:#x}",
            "txns": [logs.fields_of(txn) for txn in lost.readable],
            "unreadable": [
                {"path": path, "start": start, "end": end} for path, start, end in lost.unreadable
            ],
        },
        "uncertain": [{"path": step.path, "until": f"{step.zxid:#x}"} for step in found.uncertain],
    }


def _step_fields(step: repair.Step) -> dict[str, Any]:
    fields = {
        name: show.data_fields(value)["data"] if isinstance(value, bytes) else value
        for name, value in step._asdict().items()
    }
    return {"step": type(step).__name__.lower(), **fields, "text": step.text()}
