"""`coterie shell` as it is typed, and as a script."""

from __future__ import annotations

from click.testing import CliRunner

from coterie.cli.shell import shell
from coterie.client.blocking import BlockingClient
from coterie.testing.ports import free_port
from tests.cli.conftest import Command


def test_help_has_an_example() -> None:
    said = CliRunner().invoke(shell, ["--help"]).output
    assert "coterie shell < commands.txt" in said


def test_commands_of_the_command_line(coterie: Command) -> None:
    assert coterie("shell", "-c", "create /a 1", "-c", "get /a") == "/a\n1\n"


def test_a_script_is_piped_in(coterie: Command, coterie_client: BlockingClient) -> None:
    said = coterie("shell", stdin="# a remark\ncreate /a 'two\nlines'\n\nget /a\nquit\nget /nope")
    assert said == "/a\ntwo\nlines\n"
    assert coterie_client.get("/a").data == b"two\nlines"


def test_a_script_ends_at_the_first_failure(coterie: Command) -> None:
    script = "create /a 'x\ny'\nget /nope\nget /a\n"
    result = coterie.run("shell", stdin=script)
    assert (result.exit_code, result.stdout) == (1, "/a\n")
    assert result.stderr == (
        "get: get /nope: The znode does not exist\nline 3: the script ends here\n"
    )
    going_on = coterie.run("shell", "-k", stdin="get /nope\nls -q\nget /a\n")
    assert (going_on.exit_code, going_on.stdout) == (1, "x\ny\n")


def test_a_quote_that_is_not_closed(coterie: Command) -> None:
    result = coterie.run("shell", stdin="create /a 'x\n")
    assert result.exit_code == 2
    assert "A quote is not closed" in result.stderr


def test_json_is_for_all_or_for_one(coterie: Command) -> None:
    assert coterie.json("shell", "-c", "create /a", "-c", "ls /")[1]["children"] == ["a"]
    assert coterie("shell", "-c", "rm --json /a", "-c", "ls /") == (
        '{"path": "/a", "deleted": true}\n'
    )


def test_its_ephemerals_go_with_it(coterie: Command) -> None:
    said = coterie("shell", "-c", "create -e /a", "-c", "ls /", "-c", "getEphemerals")
    assert said == "/a\na\n/a\n"
    assert coterie("ls") == ""


def test_nobody_there() -> None:
    port = free_port()
    result = Command(f"127.0.0.1:{port}").run("shell", "--timeout", "0.2", "-c", "ls /")
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1


def test_hosts_that_make_no_sense() -> None:
    assert Command(":").run("shell", "-c", "ls /").exit_code == 2
