"""What must be true of a run: nothing promised is lost, session FIFO, reads, watches, leases.

`ClientView` judges what one client is told by `history`, `Leases` when sessions end. Rules:
- a client that was told a zxid was promised it: no recovery may come up with less;
- replies come in the order of the requests, and zxids never go back;
- a reply shows exactly the tree of the zxid that it bears, so a read sees the writes before it;
- the event of a watch comes before any reply that shows its change, or a later one;
- a session does not end before its time-out, also not while what its client said in time waits
  to be read; nor more than a tick after it, and as long as the server's turns were late.
What is not checked: ACLs, quotas, the order of names in getChildren, and how often a persistent
watch tells of one change.
"""

from __future__ import annotations

from collections.abc import Iterator

from coterie.errors import NoNodeError, ServerFailureError
from coterie.testing.history import CREATES, STAT, History, Multi, Trigger, Violation
from coterie.values import EventType
from coterie.wire import requests, txns
from coterie.wire.cursor import Reader
from coterie.wire.jute import Record
from coterie.wire.requests import Op


class Leases:
    """How long each session may be silent, in the time of the simulation.

    A turn of the server that begins more than half a tick after the one before it is late.
    """

    def __init__(self, tick_ms: float, slack_ms: float) -> None:
        self._tick_ms = tick_ms
        self._slack_ms = slack_ms
        self._timeouts_ms: dict[int, float] = {}
        self._heard_ms: dict[int, float] = {}
        """When a server can have heard of it last, and how late it had been in all by then."""
        self._late_then_ms: dict[int, float] = {}
        self._spoke_ms: dict[int, float] = {}
        """When its client last spoke, as far as a server must know or will when it reads."""
        self._late_ms = 0.0
        """How long all late turns were in coming."""
        self._turn_ms = 0.0

    def grant(self, session_id: int, timeout_ms: float, now_ms: float) -> None:
        """It is watched over from now on, or anew, after a start."""
        self._timeouts_ms[session_id] = timeout_ms
        self.heard(session_id, now_ms)

    def forget_all(self, now_ms: float) -> None:
        """Nobody watches over sessions for a while; then a server begins anew."""
        self._timeouts_ms.clear()
        self._turn_ms = now_ms

    def turns(self, now_ms: float) -> None:
        """A server begins a turn."""
        waited_ms, self._turn_ms = now_ms - self._turn_ms, now_ms
        if waited_ms > self._tick_ms / 2:
            self._late_ms += waited_ms

    def heard(self, session_id: int, now_ms: float) -> None:
        self._heard_ms[session_id] = now_ms
        self._late_then_ms[session_id] = self._late_ms

    def unread(self, session_id: int, now_ms: float) -> None:
        """Its client has spoken, and that waits to be read; it counts if it came in good time."""
        timeout_ms = self._timeouts_ms.get(session_id, 0.0)
        before_ms = max(self._spoke_ms.get(session_id, -1e9), self._heard_ms.get(session_id, -1e9))
        if now_ms - before_ms < timeout_ms - self._tick_ms / 2 - self._slack_ms:
            self._spoke_ms[session_id] = now_ms

    def answered(self, session_id: int, sent_ms: float) -> None:
        """A client has the answer to what it sent then."""
        self._spoke_ms[session_id] = max(self._spoke_ms.get(session_id, 0.0), sent_ms)

    def ends(self, session_id: int, now_ms: float, *, asked: bool) -> None:
        """The end of a session was numbered, because its client asked for it or has expired."""
        timeout_ms = self._timeouts_ms.pop(session_id, None)
        silent_ms = now_ms - self._spoke_ms.get(session_id, -1e9)
        if not asked and timeout_ms is not None and silent_ms < timeout_ms - self._slack_ms:
            raise Violation(
                f"session {session_id:#x} expired {silent_ms:.0f} ms after it spoke; its "
                f"time-out is {timeout_ms:.0f} ms"
            )

    def check(self, now_ms: float) -> None:
        """No session may be here that should have ended."""
        for session_id, timeout_ms in self._timeouts_ms.items():
            due_ms = self._heard_ms[session_id] + timeout_ms + self._tick_ms + self._slack_ms
            due_ms += self._late_ms - self._late_then_ms[session_id]
            if due_ms < now_ms:
                raise Violation(f"session {session_id:#x} should have ended at {due_ms:.0f} ms")


class ClientView:
    """What one client was told, and whether that can be."""

    def __init__(self, name: str, history: History) -> None:
        self.name = name
        self.zxid = 0
        """The highest that it was told in this session."""
        self.refused: set[tuple[int, int]] = set()
        """Writes of which it was told that they were not done."""
        self.watched: dict[tuple[str, bytes], int] = {}
        """One-shot watches (`data`, `exist` or `child`; path), and since when."""
        self.standing: dict[tuple[int, bytes], int] = {}
        """Persistent watches (mode, path), and since when."""
        self._history = history
        self._checked = 0
        """Up to which trigger all was told."""
        self._told: set[Trigger] = set()
        self._missed: set[tuple[int, bytes]] = set()

    def _wrong(self, what: str) -> Violation:
        return Violation(f"{self.name}: {what}")

    def new_session(self) -> None:
        self.zxid = 0
        self.watched.clear()
        self.standing.clear()

    def connected(self) -> None:
        """A new connection: what the last one told counts no more."""
        self._told.clear()
        self._missed.clear()

    def event(self, event: int, zxid: int, path: bytes) -> None:
        """A watch event came."""
        if zxid == -1:
            self._missed.add((event, path))
            return
        trigger = Trigger(zxid, event, path)
        self._seen(zxid)
        self._catch_up(zxid - 1)
        if not any(t == trigger for t in self._at(zxid)):
            raise self._wrong(f"nothing caused {trigger}")
        if not any(True for _ in self._watchers(trigger)):
            raise self._wrong(f"it does not watch what {trigger} tells of")
        self._told.add(trigger)
        for key in list(self._watchers(trigger)):
            if isinstance(key[0], str):
                del self.watched[key]  # type: ignore[arg-type]

    def _at(self, zxid: int) -> Iterator[Trigger]:
        for trigger in reversed(self._history.triggers):
            if trigger.zxid == zxid:
                yield trigger
            elif trigger.zxid < zxid:
                return

    def _watchers(self, trigger: Trigger) -> Iterator[tuple[str | int, bytes]]:
        """Which of its watches an event fires."""
        zxid, event, path = trigger
        tables = {
            EventType.NODE_CHILDREN_CHANGED: ("child",),
            EventType.NODE_DELETED: ("data", "exist", "child"),
        }.get(EventType(event), ("data", "exist"))
        for table in tables:
            if self.watched.get((table, path), zxid) < zxid:
                yield table, path
        for (mode, above), since in self.standing.items():
            below = mode and path.startswith(above if above == b"/" else above + b"/")
            if (
                since < zxid
                and (above == path or below)
                and not (mode and event == EventType.NODE_CHILDREN_CHANGED)
            ):
                yield mode, above

    def _seen(self, zxid: int) -> None:
        if zxid < self.zxid:
            raise self._wrong(f"it was told {zxid:#x} after {self.zxid:#x}")
        self.zxid = zxid
        if zxid > self._history.zxid and zxid not in self._history.epochs:
            raise self._wrong(f"it was told {zxid:#x}, which nothing has")
        self._history.promised = max(self._history.promised, zxid)

    def _catch_up(self, zxid: int) -> None:
        """All that happened up to `zxid` and that it watches must have been told by now."""
        triggers = self._history.triggers
        index = self._checked
        while index < len(triggers) and triggers[index].zxid <= zxid:
            trigger = triggers[index]
            index += 1
            if trigger not in self._told:
                for watcher in self._watchers(trigger):
                    raise self._wrong(f"{zxid:#x} is shown before {trigger} ({watcher})")
        self._checked = index

    def reply(
        self, session_id: int, xid: int, op: int, request: Record | None, frame: Reader
    ) -> int:
        """A reply came; its error code."""
        zxid, error = frame.int64(), frame.int32()
        self._seen(zxid)
        self._catch_up(zxid)
        if op == Op.PING or request is None:
            return error
        shape = requests.TABLE[op]
        if shape.writes:
            self._write((session_id, xid), op, request, zxid, error, frame)
        elif op == Op.SET_WATCHES2:
            assert isinstance(request, requests.SetWatches2)
            self._rearmed(request, zxid)
        else:
            self._read(op, request, zxid, error, frame)
        return error

    def _write(
        self,
        key: tuple[int, int],
        op: int,
        request: Record,
        zxid: int,
        error: int,
        frame: Reader,
    ) -> None:
        history = self._history
        if error == ServerFailureError.code:
            if key in history.of_request:
                raise self._wrong(f"{request!r} was refused and done")
            self.refused.add(key)
            return
        if op == Op.CLOSE_SESSION and not error:
            if (key[0], zxid) not in history.closes:
                raise self._wrong(f"told of the end of its session at {zxid:#x}")
            return
        if history.of_request.get(key) != zxid:
            raise self._wrong(f"{request!r} is said to be {zxid:#x}: {history.txns.get(zxid)}")
        txn = history.txns[zxid]
        expected = txn.body.error if isinstance(txn.body, txns.ErrorTxn) else 0
        if error != expected:
            raise self._wrong(f"{request!r} is said to have met {error}, not {expected}")
        if isinstance(txn.body, txns.MultiTxn):
            assert isinstance(request, Multi)
            done = [body for _, body in txn.body.operations]
            failed = any(isinstance(body, txns.ErrorTxn) for body in done)
            for (part_op, _), body in zip(request.operations, done, strict=True):
                self._multi_result(part_op, body, failed, frame)
            if frame.raw(9) != requests.MULTI_END:
                raise self._wrong(f"the results of {txn!r} do not end")
        elif not error:
            if op in CREATES and frame.path() != txn.body.path:  # type: ignore[attr-defined]
                raise self._wrong(f"another path is said to have been made by {txn!r}")
            if op not in (Op.CREATE, Op.DELETE):
                self._same_stat(txn.body.path, zxid, frame)  # type: ignore[attr-defined]

    def _multi_result(self, op: int, body: Record, failed: bool, frame: Reader) -> None:
        told_op, _, told_error = requests.MULTI_HEADER.unpack(frame.raw(9))
        if failed:
            expected = body.error if isinstance(body, txns.ErrorTxn) else 0
            if (told_op, told_error, frame.int32()) != (-1, expected, expected):
                raise self._wrong(f"a multi's part is said to have met {told_error}")
            return
        if (told_op, told_error) != (op, 0):
            raise self._wrong(f"a multi's part {body!r} is said to be {told_op}")
        if op in CREATES and frame.path() != body.path:  # type: ignore[attr-defined]
            raise self._wrong(f"another path is said to have been made by {body!r}")
        if op in (Op.CREATE2, Op.SET_DATA):
            frame.raw(68)

    def _same_stat(self, path: bytes, zxid: int, frame: Reader) -> None:
        told, node = frame.raw(68), self._history.at(path, zxid)
        if node is None or told != node.stat():
            raise self._wrong(f"{path!r} at {zxid:#x} is {node}, not {STAT.unpack(told)}")

    def _read(self, op: int, request: Record, zxid: int, error: int, frame: Reader) -> None:
        path: bytes = request.path  # type: ignore[attr-defined]
        if op == Op.SYNC:
            if frame.path() != path:
                raise self._wrong(f"a sync of {path!r} is said to be one of another path")
            return
        if op == Op.ADD_WATCH:
            assert isinstance(request, requests.WatchesRequest)
            frame.int32()
            self.standing.setdefault((request.type, path), zxid)
            return
        node = self._history.at(path, zxid)
        assert isinstance(request, requests.PathWatchRequest)
        if request.watch and (node is not None or op == Op.EXISTS):
            table = "child" if op == Op.GET_CHILDREN2 else "data"
            if node is None:
                table = "exist"
            self.watched[table, path] = zxid
        if error != (0 if node is not None else NoNodeError.code):
            raise self._wrong(f"{request!r} met {error} at {zxid:#x}: {node}")
        if node is None:
            return
        if op == Op.GET_DATA:
            data = frame.buffer()
            if data != node.data:
                raise self._wrong(f"{path!r} at {zxid:#x} holds {node.data!r}, not {data!r}")
        elif op == Op.GET_CHILDREN2:
            names = requests.ChildrenResponse.read(frame).children
            known = self._history.children(path, zxid)
            if len(names) != len(known) or set(names) != known:
                raise self._wrong(f"{path!r} at {zxid:#x} has {sorted(known)}, not {names}")
        self._same_stat(path, zxid, frame)

    def watches_to_set(self) -> requests.SetWatches2:
        """What a client asks for when it is connected again; until the reply nothing is owed."""
        one_shot = {
            kind: [p for k, p in self.watched if k == kind] for kind in ("data", "exist", "child")
        }
        standing = [[p for mode, p in self.standing if mode == kind] for kind in (0, 1)]
        self.watched.clear()
        self.standing.clear()
        return requests.SetWatches2(self.zxid, *one_shot.values(), *standing)

    def _rearmed(self, request: requests.SetWatches2, zxid: int) -> None:
        """The watches are set again, and all that was missed has been told, and only that."""
        since = request.relative_zxid
        due: set[tuple[int, bytes]] = set()
        for path in request.data_watches:
            node = self._history.at(path, zxid)
            if node is None:
                due.add((EventType.NODE_DELETED, path))
            elif node.mzxid > since:
                due.add((EventType.NODE_DATA_CHANGED, path))
            else:
                self.watched["data", path] = zxid
        for path in request.exist_watches:
            if self._history.at(path, zxid) is not None:
                due.add((EventType.NODE_CREATED, path))
            else:
                self.watched["exist", path] = zxid
        for path in request.child_watches:
            node = self._history.at(path, zxid)
            if node is None:
                due.add((EventType.NODE_DELETED, path))
            elif node.pzxid > since:
                due.add((EventType.NODE_CHILDREN_CHANGED, path))
            else:
                self.watched["child", path] = zxid
        for mode, paths in enumerate(
            (request.persistent_watches, request.persistent_recursive_watches)
        ):
            self.standing.update(((mode, path), zxid) for path in paths)
        if self._missed != due:
            raise self._wrong(f"missed events are {sorted(due)}, told {sorted(self._missed)}")
        self._missed.clear()
