"""The state of experiments, in SQLite: the one place where it lives.

Reads and writes are functions over a cursor, listed in `READS` and `WRITES` by the names under
which the metadata server offers them. Rules:
- a write happens in one transaction with the check of the leader's fencing token, so one that
  comes late from a leader that was deposed changes nothing;
- a job goes queued -> assigned -> running -> done, failed or cancelled, and back to queued when
  its manager is gone; what has ended never changes again;
- what a manager says of a job counts only under the newest claim that was seen (`token`); its
  result is a row that can be made once;
- every write comes to the same when it is made twice, so who heard no answer asks again.

A connection of SQLite is one thread's: whoever owns a `Store` uses it in one.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from packaging.version import InvalidVersion, Version

from coterie.gateway.fencing import SQLFence

ENDED: Final = ("done", "failed", "cancelled")
LOST_MAX: Final = 10
"""How often a job may be lost with its manager, or refused, before it is given up."""
LOG_CHARACTERS_MAX: Final = 20_000
LIST_MAX: Final = 500
WAITING_MAX: Final = 100
"""How many jobs of a flavor a scheduler looks at."""

_BUSY_S_MAX: Final = 10.0
_BUSY_PAUSE_S: Final = 0.02

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS applications (
    name TEXT NOT NULL, version TEXT NOT NULL, told TEXT NOT NULL,
    user TEXT NOT NULL, registered TEXT NOT NULL,
    PRIMARY KEY (name, version)
);
CREATE TABLE IF NOT EXISTS experiments (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    application TEXT NOT NULL, version TEXT NOT NULL, flavor TEXT NOT NULL,
    inputs TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued' CHECK (
        state IN ('queued', 'assigned', 'running', 'done', 'failed', 'cancelled')
    ),
    created TEXT NOT NULL, assigned TEXT, started TEXT, ended TEXT,
    manager TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    token INTEGER NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '',
    log TEXT NOT NULL DEFAULT '',
    UNIQUE (user, key)
);
CREATE INDEX IF NOT EXISTS open_experiments ON experiments (seq)
    WHERE state IN ('queued', 'assigned', 'running');
CREATE TABLE IF NOT EXISTS results (
    experiment TEXT PRIMARY KEY REFERENCES experiments (id),
    token INTEGER NOT NULL, state TEXT NOT NULL, message TEXT NOT NULL,
    outputs TEXT NOT NULL, recorded TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS schedulers (only INTEGER PRIMARY KEY CHECK (only = 1), token INTEGER);
INSERT OR IGNORE INTO schedulers VALUES (1, 0);
"""
_SHOWN: Final = (
    "id, user, application, version, flavor, state, created, started, ended, manager, attempts,"
    " message"
)


class RefusalError(Exception):
    """What cannot be done: an HTTP status, a word for programs, a sentence for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class StaleClaimError(RefusalError):
    """A newer claim, or a newer leader of another kind, was seen already."""

    def __init__(self, what: str, token: int, newest: int) -> None:
        super().__init__(409, "stale_token", what)
        self.token = token
        self.newest = newest


def now() -> str:
    """The time as it is stored and shown."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Store:
    """One connection to the database in a file, which is made if it is not there."""

    def __init__(self, path: Path | str) -> None:
        self._connection = sqlite3.connect(str(path), timeout=_BUSY_S_MAX)
        self._connection.row_factory = sqlite3.Row
        # Readers do not wait for the writer, nor it for them; a commit is on the disk.
        _write_ahead(self._connection)
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.executescript(_SCHEMA)
        self._fence = SQLFence("metadata")
        self._fence.prepare(self._connection)

    def close(self) -> None:
        self._connection.close()

    def read(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        """What is there now. Raises `RefusalError`."""
        return READS[operation](self._connection.cursor(), **arguments)

    def write(self, token: int, operation: str, arguments: Mapping[str, Any]) -> Any:
        """Change it as the leader with this token.

        Raises `RefusalError`, and `StaleTokenError` when another leads; nothing is changed then.
        """
        with self._fence.writing(self._connection, token) as cursor:
            return WRITES[operation](cursor, **arguments)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Two copies may open a new database at once: to change the mode, SQLite does not wait."""
    deadline = time.monotonic() + _BUSY_S_MAX
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_BUSY_PAUSE_S)


# Reading


def job(cursor: sqlite3.Cursor, *, job_id: str) -> dict[str, Any] | None:
    """All that is known of an experiment."""
    cursor.execute(f"SELECT {_SHOWN}, inputs, log, token FROM experiments WHERE id = ?", (job_id,))
    row = cursor.fetchone()
    if row is None:
        return None
    found = dict(row)
    found["inputs"] = json.loads(found["inputs"])
    cursor.execute("SELECT token, outputs FROM results WHERE experiment = ?", (job_id,))
    result = cursor.fetchone()
    found["outputs"] = [] if result is None else json.loads(result["outputs"])
    found["result_token"] = None if result is None else result["token"]
    return found


def jobs(
    cursor: sqlite3.Cursor, *, user: str | None = None, limit: int = 50, before: str | None = None
) -> list[dict[str, Any]]:
    """Experiments, the newest first."""
    conditions, values = ["1"], list[Any]()
    if user is not None:
        conditions.append("user = ?")
        values.append(user)
    if before is not None:
        conditions.append("seq < (SELECT seq FROM experiments WHERE id = ?)")
        values.append(before)
    values.append(max(0, min(int(limit), LIST_MAX)))
    cursor.execute(
        f"SELECT {_SHOWN} FROM experiments WHERE {' AND '.join(conditions)}"
        " ORDER BY seq DESC LIMIT ?",
        values,
    )
    return [dict(row) for row in cursor.fetchall()]


def counts(cursor: sqlite3.Cursor) -> dict[str, int]:
    """How many experiments there are in each state."""
    cursor.execute("SELECT state, count(*) FROM experiments GROUP BY state")
    return {str(row[0]): int(row[1]) for row in cursor.fetchall()}


def applications(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    """The newest version of each application, by name."""
    newest: dict[str, dict[str, Any]] = {}
    cursor.execute("SELECT told FROM applications")
    for row in cursor.fetchall():
        told = json.loads(row["told"])
        other = newest.get(told["name"])
        if other is None or Version(other["version"]) < Version(told["version"]):
            newest[told["name"]] = told
    return [newest[name] for name in sorted(newest)]


def application(cursor: sqlite3.Cursor, *, name: str, version: str = "") -> dict[str, Any] | None:
    """One application, in its newest version if none is given."""
    if not version:
        return next((one for one in applications(cursor) if one["name"] == name), None)
    cursor.execute("SELECT told FROM applications WHERE name = ? AND version = ?", (name, version))
    row = cursor.fetchone()
    return None if row is None else dict(json.loads(row["told"]))


def work(cursor: sqlite3.Cursor) -> dict[str, Any]:
    """What a scheduler looks at: jobs that wait, the oldest first, and those that were given."""
    cursor.execute(
        # Of each flavor so many: those that no manager runs would keep all others waiting.
        "SELECT id, application, version, flavor, inputs, attempts FROM"
        " (SELECT *, row_number() OVER (PARTITION BY flavor ORDER BY seq) AS place"
        " FROM experiments WHERE state = 'queued') WHERE place <= ? ORDER BY seq",
        (WAITING_MAX,),
    )
    queued = [dict(row) | {"inputs": json.loads(row["inputs"])} for row in cursor.fetchall()]
    cursor.execute(
        "SELECT id, state, manager, attempts, assigned FROM experiments"
        " WHERE state IN ('assigned', 'running') ORDER BY seq"
    )
    return {"queued": queued, "active": [dict(row) for row in cursor.fetchall()]}


# Writing: for users


def register(cursor: sqlite3.Cursor, *, application: Mapping[str, Any], user: str) -> bool:
    """Add an application; a version that is there can only be registered as it is."""
    name, version = str(application["name"]), str(application["version"])
    try:
        Version(version)
    except InvalidVersion:
        raise RefusalError(422, "invalid", f"{version!r} is no version of PEP 440") from None
    told = json.dumps(application, sort_keys=True)
    cursor.execute(
        "SELECT told, user FROM applications WHERE name = ? AND version = ?", (name, version)
    )
    row = cursor.fetchone()
    if row is not None:
        if row["told"] != told:
            raise RefusalError(409, "exists", f"{name} {version} is there already, and is another")
        return False
    cursor.execute(
        "SELECT user FROM applications WHERE name = ? AND user != ? LIMIT 1", (name, user)
    )
    other = cursor.fetchone()
    if other is not None:
        raise RefusalError(409, "exists", f"{name} is the application of {other['user']}")
    cursor.execute(
        "INSERT INTO applications VALUES (?, ?, ?, ?, ?)", (name, version, told, user, now())
    )
    return True


def create(
    cursor: sqlite3.Cursor,
    *,
    id: str,
    user: str,
    key: str,
    digest: str,
    application: str,
    version: str,
    inputs: Mapping[str, Any],
) -> dict[str, Any]:
    """A new experiment; the one that this user has made with this key, if there is one.

    `digest` stands for all that was asked for: with the same key it has to be the same.
    """
    cursor.execute("SELECT id, digest FROM experiments WHERE user = ? AND key = ?", (user, key))
    row = cursor.fetchone()
    if row is not None:
        if row["digest"] != digest:
            raise RefusalError(422, "key_reused", "this Idempotency-Key stood for something else")
        return _shown(cursor, row["id"])
    found = _application(cursor, application, version)
    cursor.execute(
        "INSERT INTO experiments"
        " (id, user, key, digest, application, version, flavor, inputs, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            id,
            user,
            key,
            digest,
            application,
            found["version"],
            found["flavor"],
            json.dumps(inputs),
            now(),
        ),
    )
    return _shown(cursor, id)


def _application(cursor: sqlite3.Cursor, name: str, version: str) -> dict[str, Any]:
    found = application(cursor, name=name, version=version)
    if found is None:
        what = f"{name} {version}".strip()
        raise RefusalError(404, "unknown_application", f"there is no application {what}")
    return found


def cancel(cursor: sqlite3.Cursor, *, job_id: str, user: str) -> dict[str, Any]:
    """End it, unless it has ended. What its manager says after this is not recorded."""
    found = _shown(cursor, job_id)
    if found["user"] != user:
        raise RefusalError(403, "not_yours", f"{job_id} is the experiment of another user")
    if found["state"] in ENDED:
        return found
    _end(cursor, job_id, "cancelled", "cancelled by its user")
    return _shown(cursor, job_id)


def _shown(cursor: sqlite3.Cursor, job_id: str) -> dict[str, Any]:
    cursor.execute(f"SELECT {_SHOWN} FROM experiments WHERE id = ?", (job_id,))
    row = cursor.fetchone()
    if row is None:
        raise RefusalError(404, "unknown_experiment", f"there is no experiment {job_id}")
    return dict(row)


# Writing: for schedulers


def assign(
    cursor: sqlite3.Cursor, *, job_id: str, scheduler_token: int, manager: str
) -> int | None:
    """Give a queued job to a manager; the number of the attempt."""
    _check_scheduler(cursor, scheduler_token)
    cursor.execute("SELECT state, manager, attempts FROM experiments WHERE id = ?", (job_id,))
    row = cursor.fetchone()
    if row is None:
        return None
    if row["state"] == "assigned" and row["manager"] == manager:
        # Asked again by one who heard no answer.
        return int(row["attempts"])
    if row["state"] != "queued":
        return None
    cursor.execute(
        "UPDATE experiments SET state = 'assigned', manager = ?, assigned = ?,"
        " attempts = attempts + 1 WHERE id = ?",
        (manager, now(), job_id),
    )
    return int(row["attempts"]) + 1


def requeue(
    cursor: sqlite3.Cursor,
    *,
    job_id: str,
    scheduler_token: int,
    attempt: int,
    why: str,
    lost: bool,
) -> bool:
    """Queue a job again that nobody works on. When it was `lost` too often it fails."""
    _check_scheduler(cursor, scheduler_token)
    cursor.execute(
        "SELECT lost FROM experiments WHERE id = ? AND attempts = ?"
        " AND state IN ('assigned', 'running')",
        (job_id, attempt),
    )
    row = cursor.fetchone()
    if row is None:
        return False
    count = int(row["lost"]) + bool(lost)
    if count >= LOST_MAX:
        _end(cursor, job_id, "failed", f"given up after {count} times: {why}")
        return False
    cursor.execute(
        "UPDATE experiments SET state = 'queued', manager = '', message = ?, lost = ?"
        " WHERE id = ?",
        (why, count, job_id),
    )
    return True


def _check_scheduler(cursor: sqlite3.Cursor, token: int) -> None:
    """Let in who leads the schedulers, as far as was heard here."""
    cursor.execute("UPDATE schedulers SET token = ? WHERE token <= ?", (token, token))
    if cursor.rowcount != 1:
        cursor.execute("SELECT token FROM schedulers")
        raise StaleClaimError("scheduler", token, int(cursor.fetchone()[0]))


# Writing: for managers


def started(cursor: sqlite3.Cursor, *, job_id: str, token: int, manager: str) -> bool:
    """A manager runs it under this claim; False if it has ended already."""
    if not _claimed(cursor, job_id, token):
        return False
    cursor.execute(
        "UPDATE experiments SET state = 'running', manager = ?, token = ?,"
        " started = coalesce(started, ?), message = '' WHERE id = ?",
        (manager, token, now(), job_id),
    )
    return True


def progress(cursor: sqlite3.Cursor, *, job_id: str, token: int, text: str) -> None:
    """The last lines of what it says."""
    if _claimed(cursor, job_id, token):
        cursor.execute(
            "UPDATE experiments SET log = ?, token = ? WHERE id = ?",
            (text[-LOG_CHARACTERS_MAX:], token, job_id),
        )


def record(
    cursor: sqlite3.Cursor,
    *,
    job_id: str,
    token: int,
    state: str,
    message: str,
    outputs: Sequence[Mapping[str, Any]],
) -> str:
    """Its end and its result, once; the state that it has then."""
    if state not in ("done", "failed"):
        raise RefusalError(422, "invalid", f"{state!r} is no end of a job")
    if not _claimed(cursor, job_id, token):
        return str(_shown(cursor, job_id)["state"])
    cursor.execute(
        "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?)",
        (job_id, token, state, message, json.dumps([dict(one) for one in outputs]), now()),
    )
    cursor.execute("UPDATE experiments SET token = ? WHERE id = ?", (token, job_id))
    _end(cursor, job_id, state, message)
    return state


def _claimed(cursor: sqlite3.Cursor, job_id: str, token: int) -> bool:
    """Let in who has the newest claim that was seen; False if the job has ended."""
    cursor.execute("SELECT state, token FROM experiments WHERE id = ?", (job_id,))
    row = cursor.fetchone()
    if row is None:
        raise RefusalError(404, "unknown_experiment", f"there is no experiment {job_id}")
    if token < row["token"]:
        raise StaleClaimError(job_id, token, int(row["token"]))
    return row["state"] not in ENDED


def _end(cursor: sqlite3.Cursor, job_id: str, state: str, message: str) -> None:
    cursor.execute(
        "UPDATE experiments SET state = ?, ended = ?, message = ? WHERE id = ?",
        (state, now(), message, job_id),
    )


Operation = Callable[..., Any]
READS: Final[Mapping[str, Operation]] = {
    each.__name__: each for each in (job, jobs, counts, applications, application, work)
}
WRITES: Final[Mapping[str, Operation]] = {
    each.__name__: each
    for each in (register, create, cancel, assign, requeue, started, progress, record)
}
