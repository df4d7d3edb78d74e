"""The commands that the shell has besides those of `coterie`: zkCli's, and those of a shell.

Names are found whatever the case of their letters, for zkCli's are as getAcl.
"""

from __future__ import annotations

import copy
from typing import Any, Final

import click

from coterie.cli import znodes
from coterie.cli.options import CONNECTION, PATH, do, path_argument, version_option

_HELP: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"]}

_STAT = click.option("-s", "--stat", "with_stat", is_flag=True, help="Show its metadata, too.")
_RECURSIVE = click.option("-R", "-r", "recursive", is_flag=True, help="All that is below, too.")


@click.command(name="getAcl")
@path_argument
@_STAT
@_RECURSIVE
def get_acl(**given: Any) -> None:
    """Show who may do what with a znode."""
    do("operations:acl", {**given, "entries": (), "version": -1})


@click.command(name="setAcl")
@path_argument
@click.argument("entries", nargs=-1, required=True, metavar="SCHEME:ID:PERMS...")
@_STAT
@_RECURSIVE
@version_option("the version of the ACL")
def set_acl(**given: Any) -> None:
    """Set who may do what with a znode."""
    do("operations:acl", given)


@click.command()
@path_argument
@version_option("its version")
def delete(path: str, version: int) -> None:
    """Delete a znode that has no children."""
    _delete(path, version=version)


@click.command()
@path_argument
def deleteall(path: str) -> None:
    """Delete a znode and all that is below; it does not ask."""
    if path in ("/", "/zookeeper"):
        raise click.UsageError(f"{path} stays: name what is below it.")
    _delete(path, recursive=True)


def _delete(path: str, *, version: int = -1, recursive: bool = False) -> None:
    given = {"paths": (path,), "recursive": recursive, "force": False, "version": version}
    do("operations:rm", given)


@click.command()
@click.argument("path", type=PATH, default="/")
def sync(**given: Any) -> None:
    """Let the server catch up with the leader."""
    do("inquiries:sync", given)


@click.command()
@click.argument("scheme")
@click.argument("credential", default="")
def addauth(**given: Any) -> None:
    """Say who you are, as: addauth digest me:secret."""
    do("inquiries:add_auth", given)


@click.command()
def whoami(**given: Any) -> None:
    """Show who the server takes you for."""
    do("inquiries:who_am_i", given)


@click.command()
def config(**given: Any) -> None:
    """Show the members of the ensemble."""
    do("inquiries:config", given)


@click.command()
def session(**given: Any) -> None:
    """Show this session."""
    do("inquiries:session", given)


@click.command(name="getEphemerals")
@click.argument("path", type=PATH, default="/")
def get_ephemerals(**given: Any) -> None:
    """Show this session's ephemeral znodes."""
    do("inquiries:ephemerals", given)


@click.command(name="getAllChildrenNumber")
@path_argument
def get_all_children_number(**given: Any) -> None:
    """Show how many znodes are below one."""
    do("inquiries:count", given)


_MODES: Final = ("PERSISTENT", "PERSISTENT_RECURSIVE")


@click.command(name="addWatch")
@path_argument
@click.option("-m", "mode", type=click.Choice(_MODES, case_sensitive=False), default=_MODES[1])
def add_watch(path: str, mode: str) -> None:
    """Show what happens to a znode from now on, while you go on."""
    do("inquiries:add_watch", {"path": path, "recursive": mode == _MODES[1]})


@click.command(name="removewatches")
@path_argument
def remove_watches(**given: Any) -> None:
    """Undo addWatch."""
    do("inquiries:remove_watches", given)


@click.command()
@path_argument
def listquota(**given: Any) -> None:
    """Show the quota of a znode and all below, and what is used of it."""
    do("quotas:show_quota", given)


@click.command()
@click.option("-n", "count", type=click.IntRange(1), metavar="N", help="How many znodes; told.")
@click.option("-b", "size", type=click.IntRange(0), metavar="N", help="How many bytes; told.")
@click.option("-N", "hard_count", type=click.IntRange(1), metavar="N", help="As -n; enforced.")
@click.option("-B", "hard_size", type=click.IntRange(0), metavar="N", help="As -b; enforced.")
@path_argument
def setquota(**given: Any) -> None:
    """Limit what a znode and all below may hold."""
    path = given.pop("path")
    limits = {name: value for name, value in given.items() if value is not None}
    if not limits:
        raise click.UsageError("Give a limit: -n, -b, -N or -B.")
    do("quotas:set_quota", {"path": path, "limits": limits})


@click.command()
@click.option("-n", "count", is_flag=True, help="That on znodes.")
@click.option("-b", "size", is_flag=True, help="That on bytes.")
@click.option("-N", "hard_count", is_flag=True, help="That on znodes, enforced.")
@click.option("-B", "hard_size", is_flag=True, help="That on bytes, enforced.")
@path_argument
def delquota(**given: Any) -> None:
    """Take limits away; without options all of them."""
    path = given.pop("path")
    do("quotas:delete_quota", {"path": path, "names": [name for name in given if given[name]]})


# Those of the shell alone


@click.command()
@click.argument("path", type=PATH, default="/")
@click.pass_obj
def cd(shell: Any, path: str) -> None:
    """Go to a znode: paths that do not begin with / are seen from there."""
    do("inquiries:demand", {"path": path})
    shell.here = path


@click.command()
@click.pass_obj
def pwd(shell: Any) -> None:
    """Show where you are."""
    click.echo(shell.here)


@click.command()
@click.pass_obj
def history(shell: Any) -> None:
    """Show what was typed."""
    for number, line in enumerate(shell.typed, 1):
        click.echo(f"{number:5}  {line}")


@click.command()
def version() -> None:
    """Show which version of Coterie this is."""
    from coterie import __version__

    click.echo(__version__)


@click.command(name="quit")
@click.pass_obj
def quit_(shell: Any) -> None:
    """End the session, with its ephemeral znodes."""
    shell.over = True


@click.command(name="help")
@click.argument("name", required=False)
def help_(name: str | None) -> None:
    """Show the commands, or how one is typed."""
    if name is None:
        names = sorted({id(one): one for one in COMMANDS.values()}.values(), key=_by_name)
        width = max(len(str(one.name)) for one in names)
        for one in names:
            click.echo(f"{one.name:<{width}}  {one.get_short_help_str(90)}")
        return
    command = find(name)
    if command is None:
        raise click.UsageError(f"There is no command {name!r}.")
    with click.Context(command, info_name=str(command.name), **_HELP) as context:
        click.echo(command.get_help(context))


def _by_name(command: click.Command) -> str:
    return str(command.name).lower()


_WATCH = click.Option(["-w", "--watch"], is_flag=True, help="Tell when this has changed, once.")
_WATCHING: Final = (znodes.get, znodes.ls, znodes.stat)
_HERE: Final = click.Argument(["path"], type=PATH, default=".")
_SHOWING_WHERE_ONE_IS: Final = (znodes.ls, znodes.tree)


def _inside(command: click.Command) -> click.Command:
    """A command of `coterie` without the options that a shell has no use for."""
    inside = copy.copy(command)
    outer = [*CONNECTION, "timeout_s"]
    inside.params = [one for one in command.params if one.name not in outer]
    if command in _SHOWING_WHERE_ONE_IS:
        inside.params = [_HERE if one.name == "path" else one for one in inside.params]
    if command in _WATCHING:
        inside.params.append(_WATCH)
    return inside


_OURS: Final = [
    get_acl,
    set_acl,
    delete,
    deleteall,
    sync,
    addauth,
    whoami,
    config,
    session,
    get_ephemerals,
    get_all_children_number,
    add_watch,
    remove_watches,
    listquota,
    setquota,
    delquota,
    cd,
    pwd,
    history,
    version,
    quit_,
    help_,
]

COMMANDS: Final[dict[str, click.Command]] = {
    str(command.name).lower(): command for command in (*map(_inside, znodes.COMMANDS), *_OURS)
}
"""By their names in small letters."""
COMMANDS["exit"] = quit_
COMMANDS["rmr"] = deleteall

for _command in COMMANDS.values():
    _command.context_settings = _HELP


def find(name: str) -> click.Command | None:
    return COMMANDS.get(name.lower())
