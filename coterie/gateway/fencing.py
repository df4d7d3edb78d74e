"""A fence in the user's own database: a deposed leader's late write is refused by the store.

    fence = SQLFence("metadata")
    fence.prepare(connection)                  # once, at the start of each copy
    with fence.writing(connection, standby.token) as cursor:
        cursor.execute("UPDATE experiments SET state = ? WHERE id = ?", ("running", 42))

The newest token that has written is a row of one table. To check it, to raise it and to write are
one transaction, so that no writer comes between. Rules:
- a token that is older than one that was let in is refused with `StaleTokenError`, and nothing is
  written; the same token is let in again and again;
- the row is updated first, and its lock is held until the commit: who comes meanwhile waits, or is
  told that the database is busy, as the database does that;
- any database with transactions and a driver of PEP 249 does; no more than UPDATE, SELECT and
  INSERT is asked of it. It is tried with SQLite.
A token is of one ensemble: where another takes its place, its tokens may be smaller. `forget`
lets the fence begin anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

from coterie.errors import GrantLostError

_TABLE: Final = "coterie_fences"


class Cursor(Protocol):
    """What is asked of a cursor (PEP 249)."""

    @property
    def rowcount(self) -> int: ...

    def execute(self, operation: str, parameters: Sequence[Any], /) -> Any: ...

    def fetchone(self) -> Any: ...

    def close(self) -> object: ...


C = TypeVar("C", bound=Cursor)
C_co = TypeVar("C_co", bound=Cursor, covariant=True)


class Connection(Protocol[C_co]):
    """What is asked of a connection (PEP 249)."""

    def cursor(self) -> C_co: ...

    def commit(self) -> object: ...

    def rollback(self) -> object: ...


class StaleTokenError(GrantLostError):
    """The store has let in a newer token: who comes with this one holds nothing any more."""

    def __init__(self, resource: str, token: int, newest: int) -> None:
        super().__init__(
            None, f"{resource or 'fence'}: token {token:#x} is older than {newest:#x}"
        )
        self.resource = resource
        self.token = token
        self.newest = newest


class SQLFence:
    """The fence of one resource, in the database that holds the resource."""

    def __init__(self, resource: str = "", *, table: str = _TABLE, placeholder: str = "?") -> None:
        """`placeholder` is the driver's: ? for sqlite3, %s for psycopg and many others."""
        if not table.isidentifier():
            raise ValueError(f"{table!r} is no name of a table")
        self.resource = resource
        self._table = table
        self._mark = placeholder

    def prepare(self, connection: Connection[C]) -> None:
        """Make the table, if it is not there. Ends the connection's transaction."""
        cursor = connection.cursor()
        try:
            # MySQL counts rows as updated only if they have changed: `writes` always does.
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {self._table} (resource VARCHAR(255) PRIMARY KEY,"
                " token BIGINT NOT NULL, writes BIGINT NOT NULL)",
                (),
            )
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        finally:
            cursor.close()

    @contextmanager
    def writing(self, connection: Connection[C], token: int) -> Iterator[C]:
        """A transaction of who holds the token, by this cursor: committed at the end of the block,
        rolled back when the block raises.

        Raises `StaleTokenError`, and what the driver raises. When the commit raises, whether it
        took effect is as unknown as with any commit.
        """
        _begin(connection)
        cursor = connection.cursor()
        try:
            self._let_in(cursor, token)
            yield cursor
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        finally:
            cursor.close()

    def newest(self, connection: Connection[C]) -> int:
        """The newest token that has written; 0 if none has."""
        cursor = connection.cursor()
        try:
            return self._read(cursor) or 0
        finally:
            cursor.close()

    def forget(self, connection: Connection[C]) -> None:
        """Let any token in again: for an ensemble that has begun anew, with smaller zxids, when
        nobody writes any more who has one of the old."""
        cursor = connection.cursor()
        try:
            cursor.execute(
                f"DELETE FROM {self._table} WHERE resource = {self._mark}", (self.resource,)
            )
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        finally:
            cursor.close()

    def _let_in(self, cursor: Cursor, token: int) -> None:
        mark = self._mark
        cursor.execute(
            f"UPDATE {self._table} SET token = {mark}, writes = writes + 1"
            f" WHERE resource = {mark} AND token <= {mark}",
            (token, self.resource, token),
        )
        if cursor.rowcount == 1:
            return
        newest = self._read(cursor)
        if newest is not None:
            raise StaleTokenError(self.resource, token, newest)
        # The first ever. Of two at once one is told so by the primary key, and tries again.
        cursor.execute(
            f"INSERT INTO {self._table} (resource, token, writes) VALUES ({mark}, {mark}, 1)",
            (self.resource, token),
        )

    def _read(self, cursor: Cursor) -> int | None:
        cursor.execute(
            f"SELECT token FROM {self._table} WHERE resource = {self._mark}", (self.resource,)
        )
        row = cursor.fetchone()
        return None if row is None else int(row[0])


def _begin(connection: Any) -> None:
    """See to it that what follows is one transaction."""
    if getattr(connection, "autocommit", False) is True:
        raise ValueError("the connection commits each statement by itself: no fence holds there")
    manual = getattr(connection, "isolation_level", "") is None
    if manual and getattr(connection, "in_transaction", None) is False:
        # sqlite3 that leaves transactions to its user.
        connection.execute("BEGIN IMMEDIATE")
