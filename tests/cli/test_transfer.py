"""Znodes go out as JSON and come back: new ones in a server, as they were in a directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coterie.storage import snapshot
from coterie.system.files import OSFiles
from coterie.testing.cluster import Server
from tests.cli import kept as tools
from tests.cli.conftest import Command
from tests.golden.packets import HERE
from tests.storage.author import contents


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    top = tmp_path / "golden"
    (top / "version-2").mkdir(parents=True)
    for name in ("log.1", "snapshot.93"):
        (top / "version-2" / name).write_bytes((HERE / name).read_bytes())
    return top


def test_a_directory_comes_back_as_it_was_but_for_sessions(golden: Path, tmp_path: Path) -> None:
    file, new = tmp_path / "all.jsonl", tmp_path / "new"
    tools.says("export", "--from", golden, "-o", file)
    assert "10 znodes; 4 of servers" in tools.says("import", file, "--into", new)
    before = snapshot.read(OSFiles(), str(golden / "version-2" / "snapshot.93")).tree
    after = snapshot.read(OSFiles(), str(new / "version-2" / "snapshot.93")).tree
    old, came = contents(before), contents(after)
    gone = b"/a/s-0000000002"
    assert old.keys() - came.keys() == {gone}
    same = [path for path in came if came[path] == old[path]]
    assert came.keys() - same == {b"/a"}, "it has one child less"
    assert tools.says("snapshot", "diff", golden, new, status=1) == f"- {gone.decode()}\n"
    with Server(new) as server:
        assert server.hosts


def test_through_servers(coterie: Command) -> None:
    acl = "world:anyone:r"
    coterie("create", "-p", "/app/shut", "s")
    coterie("create", "/app/shut/inner", "i", acl)
    coterie("create", "/app/blob", "--file", "-", stdin=b"\xff\0")
    coterie("create", "-c", "/app/box")
    coterie("acl", "/app/shut", "world:anyone:ra")
    lines = coterie("export", "/app")
    paths = [json.loads(line)["path"] for line in lines.splitlines()]
    assert paths == ["/app", "/app/blob", "/app/box", "/app/shut", "/app/shut/inner"]
    coterie("acl", "/app/shut", "world:anyone:cdrwa")
    coterie("rm", "-r", "--yes", "/app")
    backwards = "\n".join(reversed(lines.splitlines()))
    assert "5 znodes made, 0 that were there left" in coterie("import", stdin=backwards)
    assert coterie("acl", "/app/shut").split() == ["world:anyone:ra"]
    assert coterie("acl", "/app/shut/inner").split() == [acl]
    assert coterie("get", "--raw", "/app/shut/inner") == "i"
    assert coterie.run("get", "--raw", "/app/blob").stdout_bytes == b"\xff\0"
    again = coterie.run("import", stdin=lines)
    assert again.exit_code == 1
    assert "already" in again.stderr or "exists" in again.stderr
    coterie("set", "/app", "other")
    assert "0 znodes made, 5" in coterie("import", "--existing", "keep", stdin=lines)
    assert coterie("get", "/app") == "other\n"
    top = lines.splitlines()[0]
    (told,) = coterie.json("import", "--existing", "replace", stdin=top)
    assert told == {"made": 1, "kept": 0, "skipped": 0}
    assert coterie("get", "--raw", "/app") == ""


def test_what_was_opened_for_others_is_closed_also_when_these_cannot_be_made(
    coterie: Command,
) -> None:
    coterie("create", "/there")
    closed = [{"scheme": "world", "id": "anyone", "perms": "ra"}]
    lines = [
        {"path": "/shut", "acl": closed},
        {"path": "/shut/in"},
        {"path": "/there"},
    ]
    failed = coterie.run("import", stdin="\n".join(map(json.dumps, lines)))
    assert failed.exit_code == 1
    assert coterie("acl", "/shut").split() == ["world:anyone:ra"]


def test_what_belongs_to_sessions_and_servers_is_skipped(coterie: Command) -> None:
    lines = [
        {"path": "/zookeeper/quota/x"},
        {"path": "/e", "mode": "ephemeral"},
        {"path": "/p", "data": "x"},
    ]
    text = "\n".join(map(json.dumps, lines))
    assert "1 znodes made, 0 that were there left, 2 of" in coterie("import", stdin=text)
    assert "p" in coterie("ls", "/").split()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "line 1: "),
        ('{"path": "/a"}\n[]', "line 2: it is no object"),
        ('{"path": "a"}', "'a' is no path of a znode"),
        ('{"path": "/a", "mode": "queue"}', '"mode" is one of persistent'),
        ('{"path": "/a", "data_base64": "?"}', "line 1: "),
        (
            '{"path": "/a", "acl": [{"scheme": "world", "id": "anyone", "perms": "x"}]}',
            "'x' is no",
        ),
        ('{"path": "/a", "stat": 5}', '"stat" is no object'),
        ('{"path": "/a/b"}', "/a, which is above /a/b, is missing"),
        ('{"path": "/a", "stat": {"czxid": "many"}}', "/a: "),
    ],
)
def test_what_is_no_export_is_said(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text(text)
    assert says in tools.complaint("import", file, "--into", tmp_path / "new")


def test_options_belong_together(tmp_path: Path) -> None:
    assert "name it by --from" in tools.complaint("export", "--at", "5")
    kept = tools.Kept(tmp_path / "data")
    lines = tools.says("export", "/n", "--from", kept.top, "--at", "0x9").splitlines()
    assert [json.loads(line)["stat"]["mzxid"] for line in lines] == ["0x9"]
    assert "there is no znode /x" in tools.complaint("export", "/x", "--from", kept.top, status=1)
