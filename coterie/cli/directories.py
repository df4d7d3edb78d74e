"""`coterie init` and `coterie purge`: lay out a data directory; take what is not needed any more.

Purging is deleting: it is what it is for. It keeps whole snapshots, the newest ones, and verifies
the oldest of those, from which a server could still start.
"""

from __future__ import annotations

import os
from pathlib import Path

from coterie.cli import places
from coterie.cli.places import DataError, ToolError
from coterie.cli.show import Output
from coterie.config import Config
from coterie.ensemble import ID_MAX
from coterie.storage import inspection, snapshot
from coterie.storage.errors import describe
from coterie.storage.inspection import Place
from coterie.storage.store import Store
from coterie.system import owners
from coterie.system.clock import dice
from coterie.system.files import OSFiles


def init(where: str, log_data: str | None, myid: int | None, as_json: bool) -> int:
    """Make the directories that a server needs, and myid; what is there stays."""
    if os.path.isfile(where):
        config = places.find(where, log_data).config
    else:
        config = Config(data_dir=os.path.normpath(where), data_log_dir_given=log_data)
    if config.ensemble is not None:
        known = config.ensemble.seats
        if myid is None:
            raise ToolError(f"{where} has an ensemble: say which server this is by --myid")
        if myid not in known:
            shown = ", ".join(map(str, known))
            raise ToolError(f"there is no server.{myid} in {where}, only {shown}")
    files = OSFiles()
    place = Place(config.data_dir, config.data_log_dir)
    made: list[str] = []
    try:
        for directory in place.directories():
            if not os.path.isdir(directory):
                files.make_directory(directory)
                made.append(directory)
        if myid is not None and _set_myid(place.data, myid):
            made.append(f"{place.data}/myid")
        for path in made:
            owners.give(path, place.data)
    except OSError as error:
        raise ToolError(describe(error)) from None
    out = Output(as_json)
    out.record({"made": made, "data_dir": place.data, "data_log_dir": place.logs_data})
    for path in made:
        out.line(path)
    if not made:
        out.line(f"{place.data} has what a server needs")
    return 0


def _set_myid(data_dir: str, myid: int) -> bool:
    """Whether it was not there. Raises `ToolError` where another number is."""
    assert 0 <= myid <= ID_MAX
    path = Path(data_dir, "myid")
    if path.exists():
        found = path.read_text(encoding="latin-1").strip()
        if found != str(myid):
            raise ToolError(f"{path} says {found!r}: this is the directory of another server")
        return False
    files = OSFiles()
    file = files.open(f"{data_dir}/myid.tmp")
    file.truncate(0)
    file.write(0, b"%d\n" % myid)
    file.sync()
    file.close()
    files.rename(f"{data_dir}/myid.tmp", str(path))
    files.sync_directory(data_dir)
    return True


def purge(where: str, log_data: str | None, retain: int, dry_run: bool, as_json: bool) -> int:
    """Delete all but the newest snapshots, and the logs that only the others need."""
    out = Output(as_json)
    target = places.find(where, log_data)
    with places.reading() as files:
        store = Store(OSFiles(), target.config, dice())
        gone = store.dispensable(retain)
        kept = [
            path
            for path in snapshot.snapshots(files, target.place.snapshots).values()
            if path not in gone
        ]
        if gone:
            oldest = inspection.examine_snapshot(files, kept[-1])
            if oldest.found is None:
                raise DataError(
                    f"{oldest.reason}: it would be the oldest that is kept, so nothing is "
                    f"deleted; see `coterie doctor {where}`",
                )
        if not dry_run:
            gone = store.purge(retain)
        for path in gone:
            out.record({"path": path, "deleted": not dry_run})
            out.line(path)
        if not gone:
            out.line(f"nothing to purge: {len(kept)} snapshots are kept")
    return 0
