"""The lines of the audit log: Apache's fields, and nothing that should not be written down."""

from __future__ import annotations

import json
from typing import Any

from coterie.admin.audit import Auditor
from coterie.core.audit import Told
from coterie.values import ACL, ANYONE, OPEN_ACL, CreateMode, Id, Perms
from coterie.wire import requests
from coterie.wire.jute import Record
from coterie.wire.requests import Op

_BOB = (Id("ip", "10.0.0.1"), Id("digest", "bob:hash="), Id("sasl", "zoë"), Id("super", ""))


def _lines(
    op: int,
    request: Record | bytes,
    *changed: tuple[int, bytes],
    error: int = 0,
    zxid: int = 7,
    ids: tuple[Id, ...] = _BOB,
    ip: str = "10.0.0.1",
) -> list[dict[str, Any]]:
    payload = request if isinstance(request, bytes) else request.encode()
    told = Told(ids, ip, 0x1234, op, payload, zxid, error, changed)
    lines = Auditor("coterie", lambda ms: f"at {ms}").lines(told, 5)
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    return [json.loads(line) for line in lines]


_ABOUT = {"time": "at 5", "session": "0x1234", "user": "10.0.0.1,bob,zoë", "ip": "10.0.0.1"}
_GOOD = {"result": "success", "zxid": 7}


def test_a_create_has_the_name_that_came_of_it_and_its_mode() -> None:
    request = requests.CreateRequest(b"/a-", b"secret", OPEN_ACL, CreateMode.EPHEMERAL_SEQUENTIAL)
    assert _lines(Op.CREATE2, request, (Op.CREATE2, b"/a-0000000003")) == [
        {
            **_ABOUT,
            "operation": "create",
            "znode": "/a-0000000003",
            "znode_type": "ephemeral_sequential",
            **_GOOD,
        }
    ]


def test_an_acl_is_written_as_apache_writes_it_but_for_hashes() -> None:
    acl = (
        ACL(Perms.ALL, Id("digest", "bob:hash=")),
        ACL(Perms.READ | Perms.WRITE, ANYONE),
    )
    request = requests.SetACLRequest(b"/a", acl, -1)
    [line] = _lines(Op.SET_ACL, request, (Op.SET_ACL, b"/a"))
    assert line["operation"] == "setAcl"
    assert line["acl"] == "digest:bob:x:cdrwa,world:anyone:rw"


def test_a_failure_has_what_was_asked_for_and_the_error() -> None:
    request = requests.SetDataRequest(b'/a"\n', b"secret", 3)
    assert _lines(Op.SET_DATA, request, error=-103) == [
        {
            **_ABOUT,
            "operation": "setData",
            "znode": '/a"\n',
            "result": "failure",
            "error": "BadVersionError",
            "zxid": 7,
        }
    ]
    [unreadable] = _lines(Op.DELETE, b"?", error=-5, zxid=0)
    assert "znode" not in unreadable
    assert "zxid" not in unreadable
    assert unreadable["result"] == "failure"


def test_a_multi_has_a_line_for_each_change_or_one_where_it_failed() -> None:
    body = requests.write_multi(
        [
            (Op.CHECK, requests.CheckVersionRequest(b"/c", 1)),
            (Op.CREATE2, requests.CreateRequest(b"/a", b"", OPEN_ACL, 4)),
            (Op.DELETE, requests.DeleteRequest(b"/b", -1)),
        ]
    )
    changed = ((Op.CHECK, b"/c"), (Op.CREATE_CONTAINER, b"/a"), (Op.DELETE, b"/b"))
    lines = _lines(Op.MULTI, body, *changed)
    assert [(line["operation"], line["znode"], line.get("znode_type")) for line in lines] == [
        ("create", "/a", "container"),
        ("delete", "/b", None),
    ]
    [failed] = _lines(Op.MULTI, body, error=-101)
    assert (failed["operation"], failed["result"]) == ("multiOperation", "failure")


def test_what_nobody_asked_for_is_the_servers() -> None:
    [line] = _lines(Op.CLOSE_SESSION, b"", (Op.DELETE, b"/e"), ids=(), ip="")
    assert line == {
        "time": "at 5",
        "session": "0x1234",
        "user": "coterie",
        "operation": "ephemeralZNodeDeletionOnSessionCloseOrExpire",
        "znode": "/e",
        **_GOOD,
    }


def test_a_path_that_is_no_text_is_no_reason_to_fail() -> None:
    [line] = _lines(Op.DELETE, requests.DeleteRequest(b"/\xff", -1), error=-101)
    assert line["znode"] == "/\ufffd"


def test_the_server_has_lines_of_its_own() -> None:
    line = Auditor("coterie", str).of_server("serverStart", "success", 5, lost=3)
    assert json.loads(line) == {
        "time": "5",
        "user": "coterie",
        "operation": "serverStart",
        "result": "success",
        "lost": 3,
    }
