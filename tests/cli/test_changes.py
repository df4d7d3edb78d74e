"""The changes of a multi, as lines and as JSON."""

from __future__ import annotations

import json

import pytest

from coterie.cli.changes import Change, ChangeError, read
from coterie.values import READ_ACL, CreateMode


def test_lines() -> None:
    assert read(
        b"# a remark\n"
        b"check -v 3 /a\n"
        b"create -es /a/b 'two\nlines' world:anyone:r  # here, too\n"
        b"\n"
        b"create -t 30s /ttl\n"
        b"set /a -v 2 5\n"
        b"rm /c\n"
    ) == [
        Change("check", "/a", version=3),
        Change("create", "/a/b", b"two\nlines", CreateMode.EPHEMERAL_SEQUENTIAL, acl=READ_ACL),
        Change("create", "/ttl", b"", CreateMode.PERSISTENT_TTL, 30_000),
        Change("set", "/a", b"5", version=2),
        Change("delete", "/c"),
    ]


def test_json_is_a_list_or_a_line_for_each() -> None:
    objects = [
        {"op": "create", "path": "/a", "data": "ü", "mode": "ephemeral", "acl": "world:anyone:r"},
        {"op": "create", "path": "/b", "ttl_ms": 5, "data_base64": "/w=="},
        {"op": "rm", "path": "/c", "version": 1},
    ]
    changes = [
        Change("create", "/a", "ü".encode(), CreateMode.EPHEMERAL, acl=READ_ACL),
        Change("create", "/b", b"\xff", CreateMode.PERSISTENT_TTL, 5),
        Change("delete", "/c", version=1),
    ]
    assert read(json.dumps(objects).encode()) == changes
    assert read("\n\n".join(map(json.dumps, objects)).encode()) == changes


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "there are no changes"),
        ("set /a", "line 1: Missing argument 'DATA'"),
        ("\nset /a 1\nget /a", "line 3: 'get' is no change"),
        ("create -ec /a", "line 1: these kinds exclude"),
        ("create /a x world", "line 1: 'world' does not have the form"),
        ("create /a 'x\ny", "line 1: a quote is not closed"),
        ("[1]", "change 1: it is no object"),
        ("[", "the list is no JSON"),
        ('{"op": "check", "path": "/a"}\n{', "line 2 is no JSON"),
        ('{"op": "get"}', 'change 1: "op" is one of'),
        ('{"op": ["get"]}', 'change 1: "op" is one of'),
        ('{"op": "set", "path": 5}', 'change 1: "path" is text'),
        ('{"op": "check"}', 'change 1: "path" is text'),
        ('{"op": "set", "path": "/a", "version": "1"}', '"version" is a whole number'),
        ('{"op": "set", "path": "/a", "mode": "container"}', "set has no 'mode'"),
        ('{"op": "set", "path": "/a", "data_base64": "?"}', "not in base 64"),
        ('{"op": "set", "path": "/a", "data_base64": "", "data": ""}', "either"),
        ('{"op": "create", "path": "/a", "mode": "queue"}', '"mode" is one of persistent'),
        ('{"op": "create", "path": "/a", "acl": 1}', '"acl" is text'),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(ChangeError) as caught:
        read(text.encode())
    assert complaint in str(caught.value)


def test_what_is_no_text() -> None:
    with pytest.raises(ChangeError, match="UTF-8"):
        read(b"\xff")
