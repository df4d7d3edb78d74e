"""The judge of ensembles: it must see each way in which members can disagree."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coterie.core.tree import Tree
from coterie.testing.agreement import Agreement, sound
from coterie.testing.history import Violation
from coterie.wire.numbered import Txn
from coterie.wire.requests import Op
from coterie.wire.txns import CloseSessionTxn, CreateSessionTxn

E1, E2 = 1 << 32, 2 << 32


def txn(zxid: int, timeout_ms: int = 4000) -> Txn:
    return Txn(zxid, 1, zxid, 1, Op.CREATE_SESSION, CreateSessionTxn(timeout_ms))


class Court:
    """An agreement in which s1 leads the first epoch, and what it saw committed."""

    def __init__(self) -> None:
        self.committed: list[int] = []
        self.agreement = Agreement(lambda txn: self.committed.append(txn.zxid))
        self.agreement.enters("s1", 1, 0, leads=True)

    def proposes(self, *zxids: int, by: str = "s1", after: int = 0) -> None:
        for zxid in zxids:
            self.agreement.proposes(by, txn(zxid), after)
            after = zxid


def test_what_is_shown_is_committed_with_all_before_it() -> None:
    court = Court()
    court.proposes(E1 + 1, E1 + 2, E1 + 3)
    court.agreement.serves("s2", E1 + 2)
    assert court.committed == [E1 + 1, E1 + 2]
    court.agreement.serves("s3", E1 + 1)
    assert court.committed == [E1 + 1, E1 + 2]
    assert court.agreement.behind(E1 + 1) == 1


def test_an_epoch_stands_for_the_last_txn_before_it() -> None:
    court = Court()
    court.proposes(E1 + 1)
    court.agreement.enters("s2", 2, E1 + 1, leads=True)
    court.proposes(E2 + 1, by="s2", after=E2)
    court.agreement.logs("s3", txn(E2 + 1), E1 + 1)
    court.agreement.serves("s3", E2 + 1)
    assert court.committed == [E1 + 1, E2 + 1]
    court.agreement.recovered("s1", E2)


def test_the_ends_of_sessions_are_known_when_they_are_proposed() -> None:
    court = Court()
    court.agreement.proposes("s1", Txn(9, 0, E1 + 1, 1, Op.CLOSE_SESSION, CloseSessionTxn([])), 0)
    assert court.agreement.closing == {9}


WRONG: dict[str, Callable[[Court], object]] = {
    "second txn": lambda court: court.proposes(E1 + 1),
    "does not lead": lambda court: court.proposes(E1 + 9, by="s2", after=E1 + 2),
    "which nobody proposed": lambda court: court.agreement.logs("s2", txn(E1 + 1, 1), 0),
    "its leader after": lambda court: court.agreement.logs("s2", txn(E1 + 2), 0),
    "leads epoch 1, as s1 does": lambda court: court.agreement.enters("s2", 1, 0, leads=True),
    "recovered": lambda court: court.agreement.recovered("s2", E1 + 7),
}


@pytest.mark.parametrize("message", sorted(WRONG))
def test_it_sees(message: str) -> None:
    court = Court()
    court.proposes(E1 + 1, E1 + 2)
    with pytest.raises(Violation, match=message):
        WRONG[message](court)


def test_it_sees_two_histories_in_one_epoch() -> None:
    court = Court()
    court.proposes(E1 + 1, E1 + 2)
    court.agreement.enters("s3", 2, E1 + 1, leads=False)
    with pytest.raises(Violation, match="others with"):
        court.agreement.enters("s2", 2, E1 + 2, leads=False)


def test_it_sees_two_orders() -> None:
    court = Court()
    court.proposes(E1 + 1, E1 + 2)
    court.agreement.enters("s2", 2, E1 + 1, leads=True)
    court.proposes(E2 + 1, by="s2", after=E2)
    court.agreement.serves("s2", E2 + 1)
    with pytest.raises(Violation, match="committed is"):
        court.agreement.serves("s1", E1 + 2)


def test_it_sees_digests_that_did_not_match() -> None:
    tree = Tree()
    sound("s1", tree)
    tree.digest_mismatches = 1
    with pytest.raises(Violation, match="s1"):
        sound("s1", tree)
