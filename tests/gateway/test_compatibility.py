"""Which versions fit each other."""

from __future__ import annotations

from typing import Any

import pytest

from coterie.gateway.compatibility import Party, check_ranges, mismatches, party_of, within
from coterie.recipes.discovery import Instance


@pytest.mark.parametrize(
    ("versions", "version", "is_within"),
    [
        (">=2,<4", "2", True),
        (">=2,<4", "3.9.1", True),
        (">=2,<4", "4.0", False),
        ("~=2.3", "2.10", True),
        ("~=2.3", "3.0", False),
        ("", "0.1.dev3", True),
        # As PEP 440 has it: one before a version is not yet that, nor what is below it.
        (">=2", "2.1rc1", True),
        (">=2", "2.0rc1", False),
        ("<2", "2.0rc1", False),
    ],
)
def test_ranges(versions: str, version: str, is_within: bool) -> None:
    assert within(versions, version) is is_within


def _party(kind: str, version: str, **speaks: str) -> Party:
    return Party(f"the {kind}", kind, version, speaks)


def test_either_may_state_a_range() -> None:
    api = _party("api", "2", worker=">=2,<4")
    worker = _party("worker", "3", api="<2")
    (found,) = mismatches(api, worker)
    assert str(found) == "the worker (worker 3) speaks api <2, and the api is 2"
    assert mismatches(worker, api) == [found]
    assert mismatches(api, _party("worker", "3")) == []
    assert mismatches(api, _party("store", "9", worker=">7")) == []
    assert len(mismatches(api, _party("worker", "4", api="<2"))) == 2


@pytest.mark.parametrize(
    "speaks", ["worker", [">=2"], {"worker": 2}, {"": ">=2"}, {"worker": "two"}, None]
)
def test_what_cannot_be_understood(speaks: Any) -> None:
    with pytest.raises(ValueError, match="speaks"):
        check_ranges(speaks)
    one = Instance("api", "1", "h", 1, metadata={"speaks": speaks})
    with pytest.raises(ValueError, match="speaks"):
        party_of(one)


def test_an_instance_that_states_nothing_fits() -> None:
    party = party_of(Instance("api", "1", "h", 1, id="a"))
    assert party == Party("api a at h:1", "api", "1", {})
