"""The commands for znodes, as they are typed.

They are those of `coterie` and those of its shell. What they do is in cli/operations.py.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from coterie.cli.options import (
    DURATION,
    PATH,
    connects,
    data_options,
    do,
    path_argument,
    take_data,
    version_option,
)

_STAT = click.option("-s", "--stat", "with_stat", is_flag=True, help="Show its metadata, too.")


@click.command()
@path_argument
@_STAT
@click.option("--raw", is_flag=True, help="The bytes as they are, and nothing else.")
@connects
def get(**given: Any) -> None:
    """Show what a znode holds.

    Data that is no text is shown in hexadecimal.

    \b
    Examples:
      coterie get /config/colour
      coterie get --raw /blobs/logo > logo.png
      coterie get --json /config/colour | jq -r .data
    """
    if given["raw"] and (given["with_stat"] or given.get("as_json")):
        raise click.UsageError("--raw shows the data alone.")
    do("operations:get", given)


@click.command(name="set")
@path_argument
@data_options
@version_option("its version")
@_STAT
@connects
def set_(**given: Any) -> None:
    """Change what a znode holds: DATA, --file, or what is piped in.

    \b
    Examples:
      coterie set /config/colour green
      coterie set -v 3 /config/colour blue
      coterie set /config/logo --file logo.png
      generate | coterie set /config/table
    """
    take_data(given, demanded=True)
    do("operations:set_data", given)


@click.command()
@path_argument
@data_options
@click.argument("acl", required=False)
@click.option("-e", "--ephemeral", is_flag=True, help="It goes with its session.")
@click.option("-s", "--sequential", is_flag=True, help="A number is put behind its name.")
@click.option("-c", "--container", is_flag=True, help="It goes when its last child has gone.")
@click.option(
    "-t",
    "--ttl",
    "ttl_ms",
    type=DURATION,
    metavar="TIME",
    help="It goes when it has no children and was not changed for so long: "
    "milliseconds, or 30s, 5m, 2h, 1d.",
)
@click.option("-p", "--parents", is_flag=True, help="Make what is missing above it, too.")
@connects
def create(**given: Any) -> None:
    """Make a znode, and show its path.

    ACL says who may do what, as in `coterie acl`. An ephemeral znode goes with its session: this
    command stays until Ctrl-C to keep it.

    \b
    Examples:
      coterie create /config/colour blue
      coterie create -p /app/config/size 20 world:anyone:r
      coterie create -s /tasks/task- --file task.json
      coterie create -e /members/me "$(hostname)"
    """
    if given["container"] and (given["ephemeral"] or given["sequential"]):
        raise click.UsageError("A container is neither ephemeral nor sequential.")
    if given["ttl_ms"] is not None and (given["ephemeral"] or given["container"]):
        raise click.UsageError("What has a TTL is neither ephemeral nor a container.")
    take_data(given, demanded=False)
    do("operations:create", given)


@click.command()
@click.argument("path", type=PATH, default="/")
@_STAT
@click.option("-l", "--long", is_flag=True, help="Show the metadata of each child.")
@click.option("-R", "-r", "--recursive", is_flag=True, help="All znodes below, each by its path.")
@connects
def ls(**given: Any) -> None:
    """Show the names of a znode's children.

    \b
    Examples:
      coterie ls /
      coterie ls -l /members
      coterie ls -R --json /config
    """
    if given["recursive"] and (given["long"] or given["with_stat"]):
        raise click.UsageError("--recursive shows paths alone; for more take `tree`.")
    do("operations:ls", given)


@click.command()
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="PATH...")
@click.option("-r", "-R", "--recursive", is_flag=True, help="With all that is below; asks first.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("-f", "--force", is_flag=True, help="It is no error if it is not there.")
@version_option("its version")
@connects
def rm(**given: Any) -> None:
    """Delete znodes.

    With --recursive it is not one change: others may see it half done.

    \b
    Examples:
      coterie rm /config/colour
      coterie rm -v 3 /config/colour
      coterie rm -r --yes /app/old
    """
    yes = given.pop("yes")
    if given["recursive"]:
        if given["version"] != -1:
            raise click.UsageError("--version is of one znode, not of what is below it.")
        for path in given["paths"]:
            if path in ("/", "/zookeeper"):
                raise click.UsageError(f"{path} stays: name what is below it.")
        if not yes:
            _ask(given["paths"])
    do("operations:rm", given)


def _ask(paths: tuple[str, ...]) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("There is nobody to ask: say --yes.")
    click.confirm(f"Delete {', '.join(paths)} and all that is below?", abort=True, err=True)


@click.command()
@path_argument
@connects
def stat(**given: Any) -> None:
    """Show a znode's metadata.

    \b
    Examples:
      coterie stat /config/colour
      coterie stat --json /config/colour | jq .version
    """
    do("operations:stat", given)


@click.command()
@click.argument("path", type=PATH, default="/")
@click.option(
    "-d", "--depth", "depth_max", type=click.IntRange(0), metavar="N", help="Not deeper than this."
)
@click.option("--data", "with_data", is_flag=True, help="Show what they hold, too.")
@connects
def tree(**given: Any) -> None:
    """Show a znode and all below it.

    \b
    Examples:
      coterie tree
      coterie tree --depth 2 --data /app
    """
    do("operations:tree", given)


@click.command()
@path_argument
@click.option("-r", "-R", "--recursive", is_flag=True, help="All that is below it, too.")
@click.option("-1", "--once", is_flag=True, help="End after the first event.")
@click.option("--data", "with_data", is_flag=True, help="Show what changed znodes hold then.")
@connects
def watch(**given: Any) -> None:
    """Show what happens to a znode, until Ctrl-C.

    It need not be there yet. What happens while the connection is away is not told; a line says
    when that was so.

    \b
    Examples:
      coterie watch /config/colour --data
      coterie watch -r --json /members
      coterie watch --once /jobs/17/done && echo finished
    """
    do("operations:watch", given)


@click.command()
@path_argument
@click.argument("entries", nargs=-1, metavar="[SCHEME:ID:PERMS]...")
@click.option("-r", "-R", "--recursive", is_flag=True, help="Set it on all that is below, too.")
@version_option("the version of the ACL")
@_STAT
@connects
def acl(**given: Any) -> None:
    """Show who may do what with a znode, or set it.

    PERMS are letters: c(reate children), d(elete children), r(ead), w(rite), a(dmin, set the
    ACL), or `all`. `auth::PERMS` stands for whoever --auth says that you are.

    \b
    Examples:
      coterie acl /config
      coterie acl /config world:anyone:r ip:10.0.0.0/8:cdrwa
      coterie acl --auth digest:me:secret /mine auth::all
    """
    do("operations:acl", given)


@click.command()
@click.argument("file", type=click.File("rb"), required=False)
@connects
def multi(**given: Any) -> None:
    """Several changes that all happen or none, from FILE or standard input.

    Each line is `create [-e] [-s] [-c] [-t TIME] PATH [DATA] [ACL]`, `set [-v N] PATH DATA`,
    `rm [-v N] PATH` or `check [-v N] PATH`. Or it is JSON: a list of objects, or one on each line,
    with "op", "path" and what else applies: "data" or "data_base64", "version", "mode",
    "ttl_ms", "acl".

    \b
    Examples:
      printf 'check -v 3 /config\\nset /config/size 20\\n' | coterie multi
      echo '[{"op": "create", "path": "/a", "data": "x"}]' | coterie multi --json
    """
    from coterie.cli import changes

    file = given.pop("file")
    if file is None and click.get_current_context().obj is not None:
        raise click.UsageError("In the shell, name a FILE.")
    try:
        given["changes"] = changes.read((file or sys.stdin.buffer).read())
    except changes.ChangeError as error:
        raise click.UsageError(str(error)) from None
    do("operations:multi", given)


COMMANDS = (get, set_, create, ls, rm, stat, tree, watch, acl, multi)
