"""The state of experiments: who may change it, and that an end is made once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coterie.gateway.fencing import StaleTokenError
from examples.gateway import store as store_module
from examples.gateway.store import LOST_MAX, RefusalError, StaleClaimError, Store

LEADER = 0x1_0000_0005
OUTPUTS = [{"name": "result", "size": 3, "type": "file"}]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "experiments.sqlite")
    application = {"name": "align", "version": "1.0", "flavor": "local"}
    made.write(LEADER, "register", {"application": application, "user": "gateway"})
    yield made
    made.close()


def create(store: Store, id: str = "job", key: str = "", **more: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "id": id,
        "user": "ada",
        "key": key or id,
        "digest": "d",
        "application": "align",
        "version": "",
        "inputs": {"first": {"file": "a.fasta"}},
    }
    return dict(store.write(LEADER, "create", arguments | more))


def write(store: Store, operation: str, **arguments: Any) -> Any:
    return store.write(LEADER, operation, arguments)


def assign(store: Store, id: str = "job", manager: str = "m1", token: int = 1) -> Any:
    return write(store, "assign", job_id=id, scheduler_token=token, manager=manager)


def requeue(store: Store, attempt: int, *, lost: bool = True, token: int = 1) -> Any:
    return write(
        store,
        "requeue",
        job_id="job",
        scheduler_token=token,
        attempt=attempt,
        why="m1 is gone",
        lost=lost,
    )


def record(store: Store, token: int, state: str = "done") -> Any:
    return write(
        store,
        "record",
        job_id="job",
        token=token,
        state=state,
        message="",
        outputs=OUTPUTS,
    )


def job(store: Store, id: str = "job") -> dict[str, Any]:
    return dict(store.read("job", {"job_id": id}))


# Leaders


def test_a_late_write_of_a_deposed_leader_changes_nothing(store: Store, tmp_path: Path) -> None:
    create(store)
    other = Store(tmp_path / "experiments.sqlite")
    assert other.write(LEADER + 9, "cancel", {"job_id": "job", "user": "ada"})["state"]
    with pytest.raises(StaleTokenError):
        create(store, "late")
    assert store.read("job", {"job_id": "late"}) is None
    other.close()


def test_what_is_refused_leaves_nothing_of_itself(store: Store) -> None:
    with pytest.raises(RefusalError) as refused:
        create(store, application="unknown")
    assert (refused.value.status, refused.value.code) == (404, "unknown_application")
    assert store.read("jobs", {}) == []


# Users


def test_one_key_makes_one_experiment(store: Store) -> None:
    first = create(store, "job", key="k")
    assert create(store, "another", key="k") == first
    assert create(store, "another", key="k", user="grace")["id"] == "another"
    with pytest.raises(RefusalError) as refused:
        create(store, "third", key="k", digest="something else")
    assert refused.value.code == "key_reused"


def test_experiments_are_listed_newest_first_and_page_by_page(store: Store) -> None:
    for number in range(5):
        create(store, f"job{number}", user="ada" if number % 2 else "grace")

    def ids(**arguments: Any) -> list[str]:
        return [one["id"] for one in store.read("jobs", arguments)]

    assert ids(limit=2) == ["job4", "job3"]
    assert ids(limit=2, before="job3") == ["job2", "job1"]
    assert ids(user="ada") == ["job3", "job1"]
    assert ids(before="unknown") == []
    assert store.read("counts", {}) == {"queued": 5}


def test_only_its_user_cancels_it_and_then_nothing_is_recorded(store: Store) -> None:
    create(store)
    assign(store)
    write(store, "started", job_id="job", token=7, manager="m1")
    with pytest.raises(RefusalError, match="another user"):
        write(store, "cancel", job_id="job", user="grace")
    assert write(store, "cancel", job_id="job", user="ada")["state"] == "cancelled"
    assert record(store, 7) == "cancelled"
    assert write(store, "cancel", job_id="job", user="ada")["state"] == "cancelled"
    assert job(store)["outputs"] == []


def test_a_version_of_an_application_is_what_it_is(store: Store) -> None:
    def register(version: str, user: str = "gateway", **more: Any) -> Any:
        application = {"name": "align", "version": version, "flavor": "local", **more}
        return write(store, "register", application=application, user=user)

    assert register("1.0") is False
    assert register("1.10") is True
    assert register("1.9") is True
    assert store.read("application", {"name": "align"})["version"] == "1.10"
    assert store.read("application", {"name": "align", "version": "1.9"})["version"] == "1.9"
    for taken in ({"version": "1.0", "flavor": "dask"}, {"version": "2", "user": "ada"}):
        with pytest.raises(RefusalError) as refused:
            register(**taken)
        assert refused.value.code == "exists"


# Schedulers


def test_a_job_is_given_to_one_manager(store: Store) -> None:
    create(store)
    assert assign(store, manager="m1") == 1
    assert assign(store, manager="m1") == 1, "who heard no answer asks again"
    assert assign(store, manager="m2") is None
    assert [one["id"] for one in store.read("work", {})["active"]] == ["job"]


def test_only_the_attempt_that_was_lost_is_queued_again(store: Store) -> None:
    create(store)
    assign(store)
    assert requeue(store, 1) is True
    assert requeue(store, 1) is False
    assert assign(store, manager="m2") == 2
    assert requeue(store, 1) is False, "a scheduler that speaks of an older attempt is late"
    assert job(store)["manager"] == "m2"


def test_a_deposed_scheduler_is_refused(store: Store) -> None:
    create(store)
    assign(store, token=5)
    with pytest.raises(StaleClaimError):
        requeue(store, 1, token=4)
    assert job(store)["state"] == "assigned"


def test_a_job_that_managers_do_not_survive_is_given_up(store: Store) -> None:
    create(store)
    for attempt in range(1, LOST_MAX + 1):
        assert assign(store) == attempt
        assert requeue(store, attempt) is (attempt < LOST_MAX)
    assert job(store)["state"] == "failed"


def test_a_manager_that_was_busy_is_no_lost_one(store: Store) -> None:
    create(store)
    for attempt in range(1, 2 * LOST_MAX):
        assert assign(store) == attempt
        assert requeue(store, attempt, lost=False) is True


# Managers


def test_the_newest_claim_counts(store: Store) -> None:
    create(store)
    assign(store)
    assert write(store, "started", job_id="job", token=7, manager="m1") is True
    requeue(store, 1)
    assign(store, manager="m2")
    assert write(store, "started", job_id="job", token=9, manager="m2") is True
    late: dict[str, dict[str, Any]] = {
        "started": {"manager": "m1"},
        "progress": {"text": "late"},
        "record": {"state": "done", "message": "", "outputs": OUTPUTS},
    }
    for operation, more in late.items():
        with pytest.raises(StaleClaimError) as refused:
            write(store, operation, job_id="job", token=7, **more)
        assert (refused.value.token, refused.value.newest) == (7, 9)
    assert (job(store)["state"], job(store)["manager"]) == ("running", "m2")
    assert record(store, 9) == "done"
    assert job(store)["result_token"] == 9


def test_an_end_is_recorded_once(store: Store) -> None:
    create(store)
    assert record(store, 7) == "done"
    ended = job(store)
    assert record(store, 7) == "done"
    assert record(store, 9, "failed") == "done"
    assert write(store, "started", job_id="job", token=9, manager="m2") is False
    write(store, "progress", job_id="job", token=9, text="late")
    assert assign(store) is None
    assert job(store) == ended


def test_a_database_is_found_again(store: Store, tmp_path: Path) -> None:
    create(store)
    again = Store(tmp_path / "experiments.sqlite")
    assert again.read("job", {"job_id": "job"}) == job(store)
    again.close()


def test_no_operation_reads_and_writes() -> None:
    assert not store_module.READS.keys() & store_module.WRITES.keys()


def test_jobs_of_a_flavor_that_nobody_runs_keep_no_others_waiting(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "WAITING_MAX", 2)
    odd = {"name": "odd", "version": "1", "flavor": "nobody"}
    write(store, "register", application=odd, user="ada")
    for number in range(3):
        create(store, f"odd-{number}", application="odd")
    create(store, "job")
    queued = store.read("work", {})["queued"]
    assert [each["id"] for each in queued] == ["odd-0", "odd-1", "job"]


class _Busy(sqlite3.Connection):
    """Refuses to change the mode a few times, as SQLite does when two change it at once."""

    times = 2

    def execute(self, sql: str, *given: Any) -> sqlite3.Cursor:
        if "journal_mode" in sql and self.times:
            self.times -= 1
            raise sqlite3.OperationalError("database is locked")
        return super().execute(sql, *given)


def test_two_copies_may_open_a_new_database_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = sqlite3.connect(tmp_path / "new.sqlite", factory=_Busy)
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **named: connection)
    monkeypatch.setattr(store_module, "_BUSY_PAUSE_S", 0.0)
    opened = Store(tmp_path / "new.sqlite")
    assert opened.read("counts", {}) == {}
    opened.close()
