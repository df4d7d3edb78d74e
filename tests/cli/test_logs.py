"""`coterie log`: txns are shown as they are, and what is wrong with a file is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from coterie.cli import logs
from coterie.values import OPEN_ACL
from coterie.wire import txns
from coterie.wire.jute import Record
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op
from tests.cli.kept import Kept, complaint, objects, says
from tests.golden.packets import HERE

_GOLDEN = HERE / "log.1"


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "data")


def test_apaches_log() -> None:
    lines = says("log", "show", _GOLDEN).splitlines()
    assert len(lines) == 147
    assert lines[-1].startswith(
        "0x93  2026-11-24 16:58:59 UTC  session 0x1000028361b0000  setData"
    )
    assert lines[-1].endswith("setData /m = 127  (version 129)")
    kinds = {one["type"] for one in objects("log", "show", _GOLDEN)}
    assert {"create", "createContainer", "createTTL", "multi", "error", "setACL"} <= kinds


def test_what_is_shown_can_be_chosen(kept: Kept) -> None:
    found = objects("log", "show", kept.top, "--from", "0x9", "--to", "12")
    assert [one["zxid"] for one in found] == ["0x9", "0xa", "0xb", "0xc"]
    assert [one["type"] for one in objects("log", "show", kept.top, "--session", "7")] == [
        "createSession"
    ]
    assert {one["path"] for one in objects("log", "show", kept.top, "--path", "/n")} == {"/n"}
    assert objects("log", "show", kept.top, "--path", "/nothing") == []


def test_every_kind_of_txn_is_a_line_and_an_object() -> None:
    parts: list[tuple[int, Record]] = [
        (Op.CHECK, txns.CheckVersionTxn(b"/a", 3)),
        (Op.DELETE, txns.DeleteTxn(b"/b\n")),
    ]
    bodies: dict[int, Record] = {
        Op.CREATE: txns.CreateTxn(b"/a", b"x", OPEN_ACL, True, 1),
        Op.CREATE_TTL: txns.CreateTTLTxn(b"/a", None, OPEN_ACL, 1, 5000),
        Op.SET_ACL: txns.SetACLTxn(b"/a", OPEN_ACL, 2),
        Op.CLOSE_SESSION: txns.CloseSessionTxn([b"/e", b"/f"]),
        Op.ERROR: txns.ErrorTxn(-101),
        Op.MULTI: txns.MultiTxn(parts),
    }
    found = [Txn(-1, 1, 5, 0, kind, body) for kind, body in bodies.items()]
    lines = [logs.line_of(txn).partition("session ")[2] for txn in found]
    assert lines == [
        "0xffffffffffffffff  create /a = x  (ephemeral)",
        "0xffffffffffffffff  createTTL /a  (TTL 5000 ms)",
        "0xffffffffffffffff  setACL /a world:anyone:cdrwa  (version 2)",
        "0xffffffffffffffff  closeSession /e /f",
        "0xffffffffffffffff  error -101",
        "0xffffffffffffffff  multi [check /a  (version 3); delete /b\\n]",
    ]
    assert logs.fields_of(found[-1])["operations"] == [
        {"type": "check", "path": "/a", "version": 3},
        {"type": "delete", "path": "/b\n"},
    ]
    assert list(logs.changed(bodies[Op.MULTI])) == ["/a", "/b\n"]
    assert list(logs.changed(bodies[Op.CLOSE_SESSION])) == ["/e", "/f"]
    assert logs.KINDS.keys() == txns.BODIES.keys()


def test_a_damage_ends_a_file_or_is_passed_over(kept: Kept) -> None:
    kept.flip("log.1", kept.record_at("log.1", 4) + 40)
    assert "bytes" in complaint("log", "show", kept.top, status=1)
    shown = objects("log", "show", kept.top, status=1)
    assert [one["zxid"] for one in shown[:5]] == ["0x1", "0x2", "0x3", "0x4", "0xb"]
    shown = objects("log", "show", kept.top, "--behind-damage", status=1)
    assert len(shown) == 29


def test_verify(kept: Kept) -> None:
    reports = objects("log", "verify", kept.top)
    assert [(one["state"], one["txns"], one["follows"]) for one in reports] == [
        ("whole", 10, True)
    ] * 3
    assert "log.b   whole  10 txns  0xb to 0x14" in says("log", "verify", kept.top)
    kept.flip("log.b", 200)
    assert "log.b is damaged at byte" in says("log", "verify", kept.top, status=1)
    assert says("log", "verify", kept.files / "log.1").startswith("log.1  whole")


def test_a_gap_is_none_where_a_snapshot_has_it(kept: Kept) -> None:
    (kept.files / "log.b").unlink()
    says("log", "verify", kept.top)
    (kept.files / "snapshot.14").unlink()
    said = says("log", "verify", kept.top, status=1)
    assert "txns are missing before it: after 0xa comes 0x15" in said


def test_what_is_good_is_copied(kept: Kept) -> None:
    path, to = kept.files / "log.15", kept.top / "copy"
    before = path.read_bytes()
    assert "10 txns, the last is 0x1e" in says("log", "repair", path, "--to", to)
    assert to.read_bytes() == before
    assert "is there already" in complaint("log", "repair", path, "--to", to)
    kept.flip("log.15", kept.record_at("log.15", 4) + 60)
    damaged = path.read_bytes()
    for more, last, count in (([], "0x18", 4), (["--behind-damage"], "0x1e", 9)):
        to.unlink()
        (found,) = objects("log", "repair", path, "--to", to, *more, status=1)
        assert (found["last"], found["txns"]) == (last, count)
        assert found["left_out"][0]["start"] == kept.record_at("log.15", 4)
    to.unlink()
    assert "10 txns" in says("log", "repair", path, "--to", to, "--trust")
    to.unlink()
    assert "3 txns" in says("log", "repair", path, "--to", to, "--until", "0x17")
    assert path.read_bytes() == damaged
    assert "is no log file" in complaint("log", "repair", kept.files / "snapshot.0")
