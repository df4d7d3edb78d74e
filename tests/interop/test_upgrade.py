"""An ensemble of Apache's servers becomes one of ours and goes back, as docs/upgrading.md says.

Each step is that of the guide: stop one member, the leader last, start the other kind over the
same data directory with the same zoo.cfg, and go on when it follows. Writers write all the while.
"""

from __future__ import annotations

import pytest

from tests.compat.gardener import Garden, grow
from tests.interop.conftest import Gather
from tests.interop.crowd import Crowd
from tests.interop.ensembles import ALL_WELL, KINDS, Ensemble, until


def _exchange(ensemble: Ensemble, number: int, kind: str) -> None:
    """Stop a member cleanly, and start one of the other kind in its place and over its data."""
    old = ensemble[number]
    assert old.name != kind
    old.stop()
    new = KINDS[kind](old.directory, old.settings)
    new.port = old.port
    ensemble.members[number] = new
    ensemble.start(number)
    until(lambda: ensemble.roles() == ALL_WELL, ensemble.said)


def _all_become(ensemble: Ensemble, kind: str, crowd: Crowd) -> None:
    """Followers first: the leader is exchanged once, and last."""
    leader = ensemble.leader()
    for number in [*ensemble.others(leader), leader]:
        crowd.go_on()
        _exchange(ensemble, number, kind)
    crowd.go_on()
    assert ensemble.of_kind(kind) == list(ensemble.members)


@pytest.mark.timeout(400)
def test_member_by_member_and_back(gather: Gather) -> None:
    ensemble = gather(["apache"] * 3).start()
    garden = Garden()
    grow(ensemble[1].port, "before", garden)
    with Crowd(ensemble) as crowd:
        _all_become(ensemble, "coterie", crowd)
        grow(ensemble[1].port, "ours", garden)
        _all_become(ensemble, "apache", crowd)
        told = crowd.judge()
    assert all(each.acknowledged > 0 for each in told)
    # All are stopped at once, and the directories are read from the disks.
    tree = ensemble.same_tree()
    for number in ensemble.members:
        ensemble[number].stop()
    for number in ensemble.members:
        old = ensemble[number]
        ensemble.members[number] = KINDS["coterie"](old.directory, old.settings)
        ensemble[number].port = old.port
    ensemble.start()
    again = ensemble.same_tree()
    lasting = {path for path, znode in tree.items() if not znode.stat.ephemeral_owner}
    assert lasting <= again.keys()
