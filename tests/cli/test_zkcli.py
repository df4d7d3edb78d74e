"""The commands of the shell besides those of `coterie`: zkCli's names and options for them."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from coterie import __version__
from coterie.cli import zkcli
from coterie.client.blocking import BlockingClient
from coterie.values import ACL, ANYONE, Perms
from tests.cli.conftest import Command

# What `help` of ZooKeeper 3.9's shell lists, less close, connect, printwatches, redo and reconfig.
_APACHES = (
    "addWatch addauth config create delete deleteall delquota get getAcl getAllChildrenNumber "
    "getEphemerals history listquota ls quit removewatches set setAcl setquota stat sync version "
    "whoami"
)


class Script:
    """Runs statements in a shell, and gives what it says."""

    def __init__(self, coterie: Command) -> None:
        self._coterie = coterie

    def __call__(self, *statements: str) -> str:
        return self._coterie("shell", *self._options(statements))

    def fails(self, *statements: str) -> tuple[int, str]:
        result = self._coterie.run("shell", *self._options(statements))
        return result.exit_code, result.stderr

    def _options(self, statements: tuple[str, ...]) -> list[str]:
        return [word for each in statements for word in ("-c", each)]


@pytest.fixture
def shell(coterie: Command) -> Script:
    return Script(coterie)


@pytest.mark.parametrize("name", _APACHES.split())
def test_zkclis_names_are_known_in_any_case(name: str) -> None:
    for typed in (name, name.lower(), name.upper()):
        found = zkcli.find(typed)
        assert found is not None
        assert str(found.name).lower() == name.lower()


def test_the_commands_of_coterie_are_there_without_what_a_shell_knows() -> None:
    for name in ("get", "set", "create", "ls", "rm", "stat", "tree", "watch", "acl", "multi"):
        command = zkcli.find(name)
        assert command is not None
        names = {param.name for param in command.params}
        assert "as_json" in names
        assert not {"hosts", "auth", "timeout_s"} & names


def test_acls(shell: Script, coterie_client: BlockingClient) -> None:
    said = shell("create /a", "setAcl -v 0 /a world:anyone:ra", "getAcl -s /a")
    assert said.splitlines()[1] == "world:anyone:ra"
    assert "aversion        1" in said
    shell("create /b", "create /b/c", "setAcl -R /b world:anyone:cdra")
    assert coterie_client.get_acl("/b/c")[0] == (ACL(Perms.ALL & ~Perms.WRITE, ANYONE),)


def test_delete_and_deleteall(shell: Script) -> None:
    shell("create /a", "create /a/b", "create /c")
    assert shell.fails("delete /a")[0] == 1
    assert shell.fails("delete -v 7 /c")[0] == 1
    assert shell("delete -v 0 /c", "deleteall /a", "ls /") == ""
    assert shell.fails("deleteall /")[0] == 2
    assert shell.fails("rmr /zookeeper")[0] == 2


def test_where_one_is(shell: Script) -> None:
    said = shell("create /a", "create a/b x", "cd a", "pwd", "ls", "get b", "cd ..", "ls", "cd")
    assert said == "/a\n/a/b\n/a\nb\nx\na\n"
    assert shell("cd a/b", "pwd", "stat . --json", "cd", "pwd").startswith("/a/b\n{")
    assert shell.fails("cd /nope") == (
        1,
        "cd: cd /nope: The znode does not exist\ncommand 1: the script ends here\n",
    )


def test_history_has_no_credentials(shell: Script) -> None:
    said = shell("addauth digest me:secret", "version", "history")
    assert said == f"{__version__}\n    1  version\n    2  history\n"


def test_help(shell: Script) -> None:
    said = shell("help")
    assert "getAcl" in said
    assert len(said.splitlines()) == len({id(one) for one in zkcli.COMMANDS.values()})
    assert "Usage: setquota" in shell("help setQuota")
    assert "Usage: setquota" in shell("setquota -h")
    assert shell.fails("help nothing")[0] == 2


@pytest.mark.parametrize("name", sorted(zkcli.COMMANDS))
def test_every_command_says_what_it_does(name: str) -> None:
    command: click.Command = zkcli.COMMANDS[name]
    assert command.get_short_help_str().strip()


def test_multi_takes_a_file(shell: Script, tmp_path: Path) -> None:
    file = tmp_path / "changes"
    file.write_text("create /a 1\nset /a 2\n")
    assert shell(f"multi {file}", "get /a") == "create /a\nset /a\n2\n"
    assert shell.fails("multi")[0] == 2


def test_data_is_not_taken_from_the_script(shell: Script) -> None:
    assert "give DATA or --file" in shell.fails("set /")[1]


def test_rm_asks_nobody_in_a_script(shell: Script) -> None:
    assert shell.fails("create /a", "rm -r /a")[0] == 2
    assert shell("rm -r --yes /a") == ""
