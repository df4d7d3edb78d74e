"""A store refuses a token that is older than it has seen, in the transaction of the write."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from coterie.errors import GrantLostError
from coterie.gateway.fencing import SQLFence, StaleTokenError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE told (word TEXT)")
        connection.commit()
        SQLFence("store").prepare(connection)
    return path


@pytest.fixture
def store(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=0.0)) as connection:
        yield connection


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=0.0)) as connection:
        yield connection


def _write(connection: sqlite3.Connection, token: int, word: str) -> None:
    with SQLFence("store").writing(connection, token) as cursor:
        cursor.execute("INSERT INTO told VALUES (?)", (word,))


def _fail(connection: sqlite3.Connection, token: int) -> None:
    with SQLFence("store").writing(connection, token) as cursor:
        cursor.execute("INSERT INTO told VALUES ('not told')")
        raise ZeroDivisionError


def _told(connection: sqlite3.Connection) -> list[str]:
    return [word for (word,) in connection.execute("SELECT word FROM told ORDER BY rowid")]


def test_a_deposed_leaders_late_write_is_refused(
    store: sqlite3.Connection, other: sqlite3.Connection
) -> None:
    _write(store, 5, "by the first")
    _write(other, 7, "by the second")
    with pytest.raises(StaleTokenError, match="store: token 0x5 is older than 0x7") as raised:
        _write(store, 5, "too late")
    assert (raised.value.token, raised.value.newest) == (5, 7)
    _write(other, 7, "goes on")
    assert _told(store) == ["by the first", "by the second", "goes on"]
    assert SQLFence("store").newest(store) == 7


def test_who_is_refused_holds_nothing_any_more() -> None:
    assert issubclass(StaleTokenError, GrantLostError)


def test_tokens_are_64_bits_wide(store: sqlite3.Connection) -> None:
    """A zxid has an epoch of 32 bits before its counter."""
    _write(store, (5 << 32) + 1, "new epoch")
    with pytest.raises(StaleTokenError):
        _write(store, (4 << 32) + 0xFFFFFFFF, "old epoch")


def test_a_write_that_fails_raises_no_token(store: sqlite3.Connection) -> None:
    _write(store, 5, "one")
    with pytest.raises(ZeroDivisionError):
        _fail(store, 9)
    assert SQLFence("store").newest(store) == 5
    assert _told(store) == ["one"]
    _write(store, 6, "three")


def test_nobody_writes_between_the_check_and_the_write(
    store: sqlite3.Connection, other: sqlite3.Connection
) -> None:
    _write(store, 5, "one")
    with SQLFence("store").writing(store, 5) as cursor:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            _write(other, 7, "between")
        cursor.execute("INSERT INTO told VALUES ('two')")
    _write(other, 7, "three")
    with pytest.raises(StaleTokenError):
        _write(store, 5, "four")
    assert _told(store) == ["one", "two", "three"]


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_many_at_once_write_in_the_order_of_their_tokens(path: Path, journal: str) -> None:
    with closing(sqlite3.connect(path)) as store:
        store.execute(f"PRAGMA journal_mode = {journal}")
    start = threading.Barrier(8)

    def write(token: int) -> None:
        with closing(sqlite3.connect(path, timeout=20.0)) as connection:
            start.wait()
            for _ in range(5):
                try:
                    _write(connection, token, str(token))
                except StaleTokenError:
                    return

    threads = [threading.Thread(target=write, args=(token,)) for token in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(sqlite3.connect(path)) as store:
        written = [int(word) for word in _told(store)]
        assert SQLFence("store").newest(store) == 8
    assert written == sorted(written)
    assert written.count(8) == 5


def test_each_resource_has_its_own(store: sqlite3.Connection) -> None:
    with SQLFence("job 1").writing(store, 9):
        pass
    with SQLFence("job 2").writing(store, 3):
        pass
    assert [SQLFence(f"job {n}").newest(store) for n in (1, 2, 3)] == [9, 3, 0]


def test_it_is_prepared_by_each_who_starts(
    store: sqlite3.Connection, other: sqlite3.Connection
) -> None:
    _write(store, 5, "one")
    for connection in (store, other):
        SQLFence("store").prepare(connection)
    assert SQLFence("store").newest(other) == 5


def test_an_ensemble_that_has_begun_anew(store: sqlite3.Connection) -> None:
    _write(store, 5 << 32, "before")
    with pytest.raises(StaleTokenError):
        _write(store, 3, "after")
    SQLFence("store").forget(store)
    _write(store, 3, "after")
    assert SQLFence("store").newest(store) == 3


def test_a_connection_whose_user_begins_transactions_himself(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as store:
        for word in ("one", "two"):
            _write(store, 5, word)
            assert not store.in_transaction
        with pytest.raises(ZeroDivisionError):
            _fail(store, 6)
        assert not store.in_transaction
        store.execute("BEGIN")
        store.execute("INSERT INTO told VALUES ('in the same')")
        _write(store, 6, "four")
        assert not store.in_transaction
        assert _told(store) == ["one", "two", "in the same", "four"]


class FakeDriver:
    """A driver with other placeholders, which counts as updated what has changed, as MySQL's."""

    def __init__(self, *, autocommit: bool = False) -> None:
        self.autocommit = autocommit
        self.store = sqlite3.connect(":memory:")
        self.rowcount = -1

    def cursor(self) -> FakeDriver:
        return self

    def execute(self, operation: str, parameters: Any) -> None:
        assert "?" not in operation
        before = self.store.execute("SELECT * FROM fences").fetchall() if self._made() else []
        self._cursor = self.store.execute(operation.replace("%s", "?"), tuple(parameters))
        after = self.store.execute("SELECT * FROM fences").fetchall()
        self.rowcount = int(before != after)

    def _made(self) -> bool:
        return bool(self.store.execute("SELECT * FROM sqlite_master").fetchall())

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def commit(self) -> None:
        self.store.commit()

    def rollback(self) -> None:
        self.store.rollback()

    def close(self) -> None:
        """Of a cursor: nothing."""


def test_other_drivers() -> None:
    fence, driver = SQLFence(table="fences", placeholder="%s"), FakeDriver()
    fence.prepare(driver)
    for token in (5, 5, 5, 6):
        with fence.writing(driver, token):
            pass
    with pytest.raises(StaleTokenError, match="fence: "), fence.writing(driver, 5):
        pass
    assert fence.newest(driver) == 6
    driver.store.close()


def test_what_commits_by_itself_is_refused() -> None:
    driver = FakeDriver(autocommit=True)
    with pytest.raises(ValueError, match="commits each"), SQLFence().writing(driver, 5):
        pass
    driver.store.close()


def test_a_table_has_a_name() -> None:
    with pytest.raises(ValueError, match="no name"):
        SQLFence(table="fences; DROP TABLE experiments")


def test_without_its_table_the_database_says_so(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "bare.db")) as store:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            _write(store, 5, "one")
        assert not store.in_transaction
