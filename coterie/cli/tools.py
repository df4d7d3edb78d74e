"""The operators' tools as they are typed: logs, snapshots, the past, repair, export, import.

What they do is in logs.py, snapshots.py, doctor.py, transfer.py and directories.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from coterie.cli.options import PATH, connects

F = TypeVar("F", bound=Callable[..., Any])

_JSON: Final = click.option("--json", "as_json", is_flag=True, help="For programs.")
_LOG_DATA: Final = click.option(
    "--log-data",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="The dataLogDir, where the logs are apart from the snapshots.",
)


def _where(metavar: str) -> Callable[[F], F]:
    """What a command is about: a data directory, a zoo.cfg, and perhaps a single file."""

    def declared(command: F) -> F:
        argument = click.argument(
            "where", metavar=f"[{metavar}]", default="./data", type=click.Path(exists=True)
        )
        return argument(_LOG_DATA(_JSON(command)))

    return declared


class _Zxid(click.ParamType[int]):
    """A zxid or a session id: hexadecimal with 0x, or decimal."""

    name = "zxid"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        try:
            return value if isinstance(value, int) else int(value, 0)
        except ValueError:
            self.fail(f"{value!r} is no number: it is as 0x1f or 31", param, ctx)


ZXID: Final = _Zxid()


# Logs


@click.group()
def log() -> None:
    """Look into transaction logs, Coterie's or Apache ZooKeeper's."""


@log.command(name="show")
@_where("DIR|ZOO.CFG|FILE")
@click.option("--from", "first", type=ZXID, default=0, metavar="ZXID", help="From this txn on.")
@click.option("--to", "last", type=ZXID, metavar="ZXID", help="Up to this txn.")
@click.option("--path", "below", type=PATH, metavar="PATH", help="Of this znode and those below.")
@click.option("--session", "session_id", type=ZXID, metavar="ID", help="Of this session.")
@click.option(
    "--behind-damage", is_flag=True, help="Go on where a good record stands behind a bad one."
)
def log_show(**given: Any) -> None:
    """Show the txns of a log file, or of all logs of a data directory.

    \b
    Examples:
      coterie log show
      coterie log show /var/lib/zookeeper --path /config --from 0x100000000
      coterie log show --json data/version-2/log.1 | jq -r .type | sort | uniq -c
    """
    from coterie.cli import logs

    sys.exit(logs.show_txns(**given))


@log.command(name="verify")
@_where("DIR|ZOO.CFG|FILE")
def log_verify(**given: Any) -> None:
    """Check every record of the logs, and that none is missing; status 1 if something is wrong.

    \b
    Examples:
      coterie log verify
      coterie log verify --json /var/lib/zookeeper
    """
    from coterie.cli import logs

    sys.exit(logs.verify(**given))


@log.command(name="repair")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--to", metavar="FILE", help="The file to write.  [default: FILE.repaired]")
@click.option("--until", type=ZXID, metavar="ZXID", help="Leave out what comes after this txn.")
@click.option("--behind-damage", is_flag=True, help="Keep what is good behind a damage, too.")
@click.option(
    "--trust",
    "trusting",
    is_flag=True,
    help="Keep records that make sense though their checksum does not match.",
)
@_JSON
def log_repair(**given: Any) -> None:
    """Copy what is good of one log file into a new one; status 1 if something was left out.

    FILE is not changed. For a data directory that does not start take `coterie doctor`, which
    knows what may be left out.

    \b
    Examples:
      coterie log repair data/version-2/log.1 --to /tmp/log.1
      coterie log repair --trust log.500000001
      coterie log repair --until 0x500000fff log.500000001
    """
    from coterie.cli import logs

    sys.exit(logs.repair(**given))


# Snapshots


@click.group()
def snapshot() -> None:
    """Look into snapshots, take them and restore them."""


@snapshot.command(name="show")
@_where("DIR|ZOO.CFG|FILE")
@click.option("--path", "top", type=PATH, default="/", metavar="PATH", help="This and below.")
@click.option("--znodes", is_flag=True, help="Show every znode with its metadata.")
@click.option("--data", "with_data", is_flag=True, help="And with what it holds.")
@click.option(
    "--usage",
    "usage_depth",
    type=click.IntRange(0),
    metavar="DEPTH",
    help="Show how many znodes and bytes are below each, so deep.",
)
def snapshot_show(where: str, **given: Any) -> None:
    """Show what is in a snapshot: a file, or the newest of a data directory.

    \b
    Examples:
      coterie snapshot show
      coterie snapshot show --usage 2 /var/lib/zookeeper
      coterie snapshot show --znodes --path /config snapshot.500000001
    """
    from coterie.cli import snapshots

    sys.exit(snapshots.show_snapshot(where, **given))


@snapshot.command(name="verify")
@_where("DIR|ZOO.CFG|FILE")
def snapshot_verify(**given: Any) -> None:
    """Read every snapshot and check its checksum; status 1 if one is damaged.

    \b
    Examples:
      coterie snapshot verify
      coterie snapshot verify /backup/snapshot.500000001
    """
    from coterie.cli import snapshots

    sys.exit(snapshots.verify(**given))


@snapshot.command(name="diff")
@click.argument("left", metavar="STATE")
@click.argument("right", metavar="STATE")
@click.option("--path", "top", type=PATH, default="/", metavar="PATH", help="This and below.")
@_LOG_DATA
@_JSON
def snapshot_diff(**given: Any) -> None:
    """Show which znodes two states differ in; status 1 if there are any.

    A STATE is a snapshot file, a data directory (as it is now), or DIR@ZXID (as it was then).

    \b
    Examples:
      coterie snapshot diff data@0x500000001 data
      coterie snapshot diff --path /config /backup/snapshot.9f data
      coterie snapshot diff --json a/version-2/snapshot.5 b/version-2/snapshot.5
    """
    from coterie.cli import snapshots

    sys.exit(snapshots.diff(**given))


@snapshot.command(name="take")
@_where("DIR|ZOO.CFG")
@click.option(
    "--at",
    "zxid",
    default="last",
    show_default=True,
    metavar="ZXID|TIME",
    help="After which txn, or when.",
)
@click.option("--to", metavar="NEWDIR", help="Into a new data directory, not into DIR itself.")
def snapshot_take(**given: Any) -> None:
    """Write a snapshot of one state of a data directory.

    With --to the server of DIR may be running: what it has logged is taken. Without, it must be
    stopped.

    \b
    Examples:
      coterie snapshot take /var/lib/zookeeper --to /backup/monday
      coterie snapshot take --at 2026-11-24T10:00:00Z --to before
      coterie serve --data before --port 2199
    """
    from coterie.cli import snapshots

    sys.exit(snapshots.take(**given))


@snapshot.command(name="restore")
@click.argument("what", metavar="STATE")
@click.argument("to", metavar="NEWDIR")
@_LOG_DATA
@_JSON
def snapshot_restore(**given: Any) -> None:
    """Make a new data directory that begins with a state.

    A STATE is a snapshot file, a data directory, or DIR@ZXID. For an ensemble, give every member
    the same: restore once for each, then `coterie init NEWDIR --myid N`.

    \b
    Examples:
      coterie snapshot restore /backup/monday /var/lib/zookeeper
      coterie snapshot restore snapshot.500000001.gz fresh
    """
    from coterie.cli import snapshots

    sys.exit(snapshots.restore(**given))


# The past


@click.command()
@click.argument("zxid", metavar="ZXID|TIME|last")
@_where("DIR|ZOO.CFG")
@click.option("--path", type=PATH, default="/", metavar="PATH", help="This and below.")
@click.option(
    "-d", "--depth", "depth_max", type=click.IntRange(0), metavar="N", help="Not deeper than this."
)
@click.option("--data", "with_data", is_flag=True, help="Show what they hold, too.")
@click.option("--get", is_flag=True, help="Show what PATH held, and its metadata.")
@click.option("--raw", is_flag=True, help="The bytes that PATH held, and nothing else.")
@click.option(
    "--serve",
    "port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve it at this port of 127.0.0.1 until Ctrl-C, from a copy; 0 takes a free one.",
)
def at(where: str, port: int | None, **given: Any) -> None:
    """Show the tree as it was after a txn, or at a time, from snapshots and logs.

    With --json it is what `coterie import` takes. The server may be running.

    \b
    Examples:
      coterie at 0x500000001 --path /config --data
      coterie at 2026-11-24T10:00:00Z /var/lib/zookeeper --get --path /config/colour
      coterie at last data --json > everything.jsonl
      coterie at 0x500000001 --serve 2199
    """
    from coterie.cli import snapshots

    if port is not None:
        sys.exit(snapshots.serve_at(given["zxid"], where, given["log_data"], port))
    sys.exit(snapshots.show_at(where=where, **given))


# Export and import


@click.command(name="export")
@click.argument("path", type=PATH, default="/")
@click.option(
    "--from",
    "where",
    type=click.Path(exists=True),
    metavar="DIR|ZOO.CFG",
    help="From a data directory, not from a server.",
)
@_LOG_DATA
@click.option("--at", "zxid", metavar="ZXID|TIME", help="With --from: after which txn, or when.")
@click.option(
    "-o", "--to", "target", type=click.File("w", encoding="utf-8", lazy=True), metavar="FILE"
)
@connects
def export(**given: Any) -> None:
    """Write a znode and all below it as JSON, one on each line.

    \b
    Examples:
      coterie export /config > config.jsonl
      coterie export --from /var/lib/zookeeper --at 0x500000001 -o all.jsonl
    """
    where, log_data, zxid = given.pop("where"), given.pop("log_data"), given.pop("zxid")
    if where is None:
        if zxid is not None or log_data is not None:
            raise click.UsageError(
                "--at and --log-data are of a data directory: name it by --from."
            )
        from coterie.cli.options import do

        do("transfer:export_server", given)
        return
    from coterie.cli import transfer

    sys.exit(
        transfer.export_files(where, log_data, zxid or "last", given["path"], given["target"])
    )


@click.command(name="import")
@click.argument("file", type=click.File("rb"), default="-")
@click.option(
    "--existing",
    type=click.Choice(["fail", "keep", "replace"]),
    default="fail",
    show_default=True,
    help="What becomes of a znode that is there already.",
)
@click.option("--into", metavar="NEWDIR", help="Into a new data directory, not into a server.")
@connects
def import_(**given: Any) -> None:
    """Make the znodes that `coterie export` wrote, from FILE or standard input.

    Ephemeral znodes and what is under /zookeeper are skipped. A root behind the --hosts puts them
    elsewhere. With --into they keep their versions, zxids, times and quotas.

    \b
    Examples:
      coterie import config.jsonl
      coterie export /app | coterie import --hosts other:2181/copy --existing replace
      coterie import all.jsonl --into fresh
    """
    from coterie.cli import transfer

    lines = list(transfer.read(given.pop("file")))
    into = given.pop("into")
    if into is not None:
        sys.exit(transfer.import_files(lines, into, given["as_json"]))
    from coterie.cli.options import do

    do("transfer:import_server", {**given, "lines": lines})


# The directory


@click.command()
@_where("DIR|ZOO.CFG")
@click.option("--repair", "repairs", is_flag=True, help="Do what would be done.")
@click.option("--accept-loss", "accepts_loss", is_flag=True, help="Even if txns are lost.")
@click.option("--all", "all_txns", is_flag=True, help="Show every txn that would be lost.")
def doctor(**given: Any) -> None:
    """Say why a data directory does not start, what a repair would do, and what it would lose.

    A repair deletes nothing: what it takes away is in a folder beside the data, with a report. It
    is refused while a server uses the directory. The status is 1 if something is wrong.

    \b
    Examples:
      coterie doctor /var/lib/zookeeper
      coterie doctor /etc/zookeeper/zoo.cfg
      coterie doctor --repair --accept-loss data
    """
    from coterie.cli import doctor as command

    sys.exit(command.doctor(**given))


@click.command()
@click.argument("where", metavar="DIR|ZOO.CFG")
@click.option(
    "--myid", type=click.IntRange(0, 255), metavar="N", help="Which server of the ensemble it is."
)
@click.option("--log-data", metavar="DIR", help="The dataLogDir, if the logs are to be apart.")
@_JSON
def init(**given: Any) -> None:
    """Lay out a data directory, with the file myid for a member of an ensemble.

    What is there stays; a myid with another number is refused.

    \b
    Examples:
      coterie init data
      coterie init /etc/zookeeper/zoo.cfg --myid 1
    """
    from coterie.cli import directories

    sys.exit(directories.init(**given))


@click.command()
@_where("DIR|ZOO.CFG")
@click.option(
    "-n",
    "--keep",
    "retain",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    metavar="N",
    help="How many snapshots to keep.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
def purge(**given: Any) -> None:
    """Delete all but the newest snapshots, and the logs that only the others need.

    The server may be running. What is deleted is gone: `coterie at` does not reach back behind it.

    \b
    Examples:
      coterie purge --dry-run
      coterie purge -n 5 /var/lib/zookeeper
    """
    from coterie.cli import directories

    sys.exit(directories.purge(**given))
