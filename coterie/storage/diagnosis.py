"""What is wrong with a data directory, what a repair would do, and what it would lose.

The judge is the server's own recovery, run on an overlay: what it says here it says at a start.
Rules:
- a plan is found by trying: each refusal has its step, which is carried out on the overlay, until
  the server would start; what cannot be planned so is said, and left to a backup;
- a step loses as little as it can: what is behind a damage is kept where a snapshot has what the
  damage took;
- what would be lost is told txn by txn, as far as the txns can be read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from coterie.config import Config, ConfigError, with_server_id
from coterie.errors import MarshallingError
from coterie.storage import epochs, inspection, intent, segment, snapshot, txnlog
from coterie.storage.errors import (
    DamagedLogError,
    DamagedSnapshotError,
    EpochsError,
    IntentError,
    LogGapError,
    LostSnapshotError,
    NoSnapshotError,
    SnapshotAheadError,
    StorageError,
    UnknownTxnError,
)
from coterie.storage.inspection import Gap, LogReport, Place, SnapshotReport, State
from coterie.storage.overlay import Overlay
from coterie.storage.repair import Begin, Cut, Settle, Split, Step, Take, Write, carry_out
from coterie.storage.segment import HEADER, Segment
from coterie.storage.store import Store
from coterie.system.files import Files
from coterie.wire import entries, numbered
from coterie.wire.numbered import Txn

if TYPE_CHECKING:
    from random import Random

_FOLDER: Final = "taken-away"
_ROUNDS_MAX: Final = 100
_EPOCH_SHIFT: Final = 32
_FIRST: Final = (1, (1 << _EPOCH_SHIFT) + 1)
"""What the first txn of all is called: of a server alone, of an ensemble."""
_MYID_BYTES_MAX: Final = 1000


class Level(Enum):
    """How bad it is."""

    FATAL = "fatal"
    """The server does not start."""
    DAMAGE = "damage"
    """It starts, and something is not as it was."""
    NOTE = "note"


class Finding(NamedTuple):
    """One thing that was found."""

    level: Level
    what: str


class Trial(NamedTuple):
    """What a start would come to; `zxid` is the last txn then, or as far as it got."""

    error: StorageError | None
    notes: list[str]
    zxid: int
    mismatches: int
    znodes: int


@dataclass
class Lost:
    """The txns beyond `after` that are not there any more, or would not be.

    `until` is the last of which anything is known. `readable` are those that can still be read, in
    the files that are moved away; `unreadable` are bytes that no txn can be made of: a path, and
    from where to where.
    """

    after: int
    until: int
    readable: list[Txn] = field(default_factory=list)
    unreadable: list[tuple[str, int, int]] = field(default_factory=list)


@dataclass
class Diagnosis:
    """What was found. `plan` is None where nothing is known that would help."""

    start: Trial
    findings: list[Finding]
    plan: list[Step] | None
    repaired: Trial
    """What a start would come to after the plan."""
    lost: Lost | None
    uncertain: list[Settle]
    """Snapshots that would be taken as they are."""
    logs: list[LogReport]
    snapshots: list[SnapshotReport]

    @property
    def healthy(self) -> bool:
        return all(finding.level is Level.NOTE for finding in self.findings)


def try_to_start(files: Files, config: Config, dice: Random) -> Trial:
    """Recover as a server does, in memory."""
    store = Store(Overlay(files), config, dice)
    try:
        tree = store.recover()
    except StorageError as error:
        return Trial(error, store.notes, store.logged_zxid, 0, 0)
    finally:
        store.close()
    return Trial(None, store.notes, tree.zxid, tree.digest_mismatches, len(tree.nodes) - 1)


def place_of(config: Config) -> Place:
    return Place(config.data_dir, config.data_log_dir)


def diagnose(files: Files, config: Config, dice: Random, *, knows_members: bool) -> Diagnosis:
    """All of it. Without `knows_members` the members in `config` stand for some ensemble.

    Raises `OSError`.
    """
    place = place_of(config)
    findings = _myid(files, config, knows_members)
    logs = list(inspection.logs(files, place))
    snapshots = [report._replace(found=None) for report in inspection.snapshots(files, place)]
    start = try_to_start(files, config, dice)
    if start.error is not None:
        findings.append(Finding(Level.FATAL, str(start.error)))
    findings += _damages(logs, snapshots, start)
    findings += _leftovers(files, place)
    if not knows_members and place.data == place.logs_data:
        findings += _apart(place, logs, snapshots)
    plan = _Planning(files, config, dice).plan(start)
    steps = plan.steps if plan.error is None else None
    end = plan.trial if steps is not None else start
    lost = None
    if end.error is None:
        lost = _lost(files, place, logs, snapshots, end.zxid)
        if plan.unreadable:
            lost = lost or Lost(end.zxid, end.zxid)
            lost.unreadable = plan.unreadable
        if lost is not None and start.error is None:
            what = (
                f"txns are missing: after {lost.after:#x} there were more, up to {lost.until:#x}"
            )
            if config.ensemble is not None:
                what = f"{what}; its leader sends them to a member"
            findings.append(Finding(Level.DAMAGE, what))
    uncertain = [step for step in plan.steps if isinstance(step, Settle)]
    return Diagnosis(start, findings, steps, end, lost, uncertain, logs, snapshots)


# Findings


def _myid(files: Files, config: Config, knows_members: bool) -> list[Finding]:
    if config.ensemble is None:
        return []
    path = f"{config.data_dir}/myid"
    if "myid" not in files.names(config.data_dir):
        level = Level.FATAL if knows_members else Level.NOTE
        what = f"{path} is missing: it says which server of the ensemble this is (coterie init)"
        return [Finding(level, what)]
    text = files.read(path, 0, _MYID_BYTES_MAX).decode("latin-1")
    try:
        if knows_members:
            with_server_id(config, text)
        elif not text.split("\n", 1)[0].strip().isdecimal():
            raise ConfigError(f"{text.strip()!r} is not a server's number", key="myid")
    except ConfigError as error:
        return [Finding(Level.FATAL, f"{path}: {error.reason}")]
    return []


def _damages(
    logs: list[LogReport], snapshots: list[SnapshotReport], start: Trial
) -> list[Finding]:
    """What is wrong with files, but for what the server itself says."""
    found: list[Finding] = []
    said = str(start.error or "")
    for log in logs:
        if log.state in (State.DAMAGED, State.UNKNOWN) and log.reason.split(" (")[0] not in said:
            found.append(Finding(Level.DAMAGE, log.reason))
        elif log.state is State.TORN:
            what = f"{log.reason}: what a crash left; a start cuts it off"
            found.append(Finding(Level.NOTE, what))
        elif log.state is State.EMPTY:
            found.append(Finding(Level.NOTE, log.reason))
    found += [
        Finding(Level.DAMAGE, snap.reason)
        for snap in snapshots
        if snap.found is None and snap.state is not State.WHOLE and snap.reason not in said
    ]
    if start.mismatches:
        what = (
            f"the digests of {start.mismatches} txns do not agree with the tree: snapshot and log "
            f"do not belong together"
        )
        found.append(Finding(Level.DAMAGE, what))
    return found


def _leftovers(files: Files, place: Place) -> list[Finding]:
    found: list[Finding] = []
    names = files.names(place.snapshots)
    if not files.names(place.snapshots) and not files.names(place.logs):
        what = f"there is no data in {place.data}: a server would begin with an empty tree"
        found.append(Finding(Level.NOTE, what))
    found += [
        Finding(Level.NOTE, f"{place.snapshots}/{name}: what a crash left; a start deletes it")
        for name in names
        if name.startswith(snapshot.UNFINISHED)
    ]
    if intent.NAME in names:
        what = f"{place.snapshots}/{intent.NAME}: a change was under way; a start finishes it"
        found.append(Finding(Level.NOTE, what))
    found += [
        Finding(Level.NOTE, f"{path} is no file of a server; it is left alone")
        for path in inspection.strangers(files, place)
    ]
    return found


def _apart(place: Place, logs: list[LogReport], snapshots: list[SnapshotReport]) -> list[Finding]:
    """Half of a directory may be elsewhere, which only a zoo.cfg tells."""
    hint = "if dataDir and dataLogDir are apart, name both, or the zoo.cfg"
    if not logs and any(snap.zxid for snap in snapshots):
        return [Finding(Level.NOTE, f"there is no log in {place.logs}: {hint}")]
    if logs and not snapshots:
        return [Finding(Level.NOTE, f"there is no snapshot in {place.snapshots}: {hint}")]
    return []


def _lost(
    files: Files,
    place: Place,
    logs: list[LogReport],
    snapshots: list[SnapshotReport],
    zxid: int,
) -> Lost | None:
    """What was there beyond `zxid`: in logs, or told by the name of a snapshot."""
    until = max((snap.until for snap in snapshots), default=0)
    readable: dict[int, Txn] = {}
    for log in logs:
        behind_damage = log.state is State.DAMAGED
        for found in inspection.entries(files, log.path, behind_damage=behind_damage):
            if isinstance(found, Gap):
                continue
            entry = found[1]
            number: int = numbered.HEADER.unpack_from(entry)[2]
            until = max(until, number)
            if number > zxid:
                try:
                    readable[number] = entries.decode(entry)
                except MarshallingError:
                    continue
    if until <= zxid:
        return None
    return Lost(zxid, until, [readable[number] for number in sorted(readable)])


# The plan


class _Planning:
    """Tries steps on an overlay until the server would start."""

    def __init__(self, files: Files, config: Config, dice: Random) -> None:
        self.steps: list[Step] = []
        self.error: StorageError | None = None
        self.unreadable: list[tuple[str, int, int]] = []
        self.trial = Trial(None, [], 0, 0, 0)
        self._files = Overlay(files)
        self._config = config
        self._dice = dice
        self._place = place_of(config)

    def plan(self, start: Trial) -> _Planning:
        self.trial = start
        for _ in range(_ROUNDS_MAX):
            self.error = self.trial.error or self._error_of_the_next_start()
            if self.error is None:
                break
            more = self._mend(self.error)
            if not more:
                return self
            self._do(more)
            self.trial = self._try()
        more = self._step_back_of_a_member() if self.error is None and self.steps else []
        more += map(Take, self._damaged_snapshots())
        if self.error is None and more:
            self._do(more)
            self.trial = self._try()
            self.error = self.trial.error
        return self

    def _do(self, steps: list[Step]) -> None:
        for step in steps:
            carry_out(self._files, step, _FOLDER)
        self.steps += steps

    def _try(self) -> Trial:
        return try_to_start(self._files, self._config, self._dice)

    def _error_of_the_next_start(self) -> StorageError | None:
        """A start deletes a last log without a txn, and the one after it reads the one before."""
        last = list(txnlog.segments(self._files, self._place.logs).values())[-1:]
        if not last or self._first_of(last[0]):
            return None
        return self._probe([Take(last[0])]).error

    def _probe(self, steps: list[Step]) -> Trial:
        """What a start would come to after these, which are not done."""
        files = Overlay(self._files)
        for step in steps:
            carry_out(files, step, _FOLDER)
        return try_to_start(files, self._config, self._dice)

    def _mend(self, error: StorageError) -> list[Step]:
        """The steps that take a refusal away, or nothing."""
        if isinstance(error, DamagedLogError):
            return self._leave_out(error)
        if isinstance(error, LogGapError):
            return self._cut_before(error.path, error.next_zxid)
        if isinstance(error, UnknownTxnError):
            return self._cut_before(error.path, error.zxid)
        if isinstance(error, SnapshotAheadError):
            return self._step_back(error)
        if isinstance(error, LostSnapshotError):
            return [Take(error.path)]
        if isinstance(error, NoSnapshotError):
            return self._begin_anew()
        if isinstance(error, IntentError):
            return [Take(f"{self._place.snapshots}/{intent.NAME}")]
        if isinstance(error, EpochsError):
            return self._set_epochs()
        return []

    def _leave_out(self, error: DamagedLogError) -> list[Step]:
        """What is behind the damage follows on what the snapshot has, or it cannot be kept."""
        part = Segment(self._files, error.path)
        for _ in part.entries():
            pass
        resume = part.good_behind()
        if resume is not None:
            behind = Segment(self._files, error.path, resume)
            next(behind.entries())
            to = f"{self._place.logs}/{segment.name(behind.zxid)}"
            is_free = to == error.path or _name(to) not in self._files.names(self._place.logs)
            # The header holds nothing: if that alone is damaged nothing is.
            if is_free and (resume == len(HEADER) or behind.zxid <= self._base() + 1):
                return [Split(error.path, part.end, resume, to)]
        end = part.written_end() if resume is None else resume
        self.unreadable.append((error.path, part.end, end))
        return [Cut(error.path, part.end)]

    def _base(self) -> int:
        """The newest snapshot that can be read."""
        for zxid, path in snapshot.snapshots(self._files, self._place.snapshots).items():
            try:
                snapshot.read(self._files, path)
            except DamagedSnapshotError:
                continue
            return zxid
        return 0

    def _cut_before(self, path: str, zxid: int) -> list[Step]:
        """Away with a txn and all that come after it."""
        part = Segment(self._files, path)
        end = len(HEADER)
        for _ in part.entries():
            if part.zxid >= zxid:
                break
            end = part.end
        first = segment.first_zxid(_name(path))
        assert first is not None
        logs = txnlog.segments(self._files, self._place.logs)
        later: list[Step] = [Take(log) for other, log in logs.items() if other > first]
        return [*later, Cut(path, end)]

    def _step_back(self, error: SnapshotAheadError) -> list[Step]:
        """To an older snapshot, from which the log is whole; or else stay with this one."""
        paths = snapshot.snapshots(self._files, self._place.snapshots)
        path = paths[error.zxid]
        taken: list[Step] = [Take(path)]
        if self._probe(taken).error is None:
            return taken
        return [Settle(path, error.until_zxid)]

    def _step_back_of_a_member(self) -> list[Step]:
        """A member starts with a snapshot whose log a step has cut, and leaves it to its leader to
        make that exact. An older one is exact, should it come to lead itself."""
        if self._config.ensemble is None:
            return []
        for path in snapshot.snapshots(self._files, self._place.snapshots).values():
            found = inspection.examine_snapshot(self._files, path)
            if found.found is None:
                continue
            probe = self._probe([Take(path)])
            is_better = probe.error is None and probe.zxid == self.trial.zxid
            return [Take(path)] if found.until > self.trial.zxid and is_better else []
        return []

    def _begin_anew(self) -> list[Step]:
        """A log that has everything needs no snapshot."""
        logs = txnlog.segments(self._files, self._place.logs)
        first = next((part for part in map(self._first_of, logs.values()) if part), 0)
        paths = snapshot.snapshots(self._files, self._place.snapshots).values()
        steps: list[Step] = [*map(Take, paths), Begin(self._place.snapshots)]
        if first not in _FIRST:
            return []
        probe = self._probe(steps)
        return steps if probe.mismatches == 0 else []

    def _first_of(self, path: str) -> int:
        part = Segment(self._files, path)
        next(part.entries(), None)
        return part.zxid

    def _set_epochs(self) -> list[Step]:
        """No promise is known to be newer than what was entered, or than the last txn."""
        directory = self._place.snapshots
        known = [self.trial.zxid >> _EPOCH_SHIFT]
        current = known[0]
        for name in (epochs.ACCEPTED, epochs.CURRENT):
            if name in self._files.names(directory):
                text = self._files.read(f"{directory}/{name}", 0, 64).split(b"\n")[0].strip()
                if text.isdigit() and len(text) < 19:
                    known.append(int(text))
                    current = max(current, int(text)) if name == epochs.CURRENT else current
        accepted = Write(f"{directory}/{epochs.ACCEPTED}", b"%d" % max(known))
        return [accepted, Write(f"{directory}/{epochs.CURRENT}", b"%d" % current)]

    def _damaged_snapshots(self) -> list[str]:
        """What would be passed over at a start, and counted when others are purged."""
        found: list[str] = []
        for path in snapshot.snapshots(self._files, self._place.snapshots).values():
            if path.endswith(".snappy"):
                continue
            try:
                snapshot.read(self._files, path)
            except DamagedSnapshotError:
                found.append(path)
        return found


def _name(path: str) -> str:
    return path.rpartition("/")[2]
