"""Records as objects: equality, hashes, weak references, whether compiled or not."""

from __future__ import annotations

import gc
import weakref

import pytest

from coterie.wire.jute import Int, record
from coterie.wire.record import Plain, Record
from coterie.wire.writes import SetDataRequest, SetDataTxn


@record
class _Made(Record):
    number: Int


def _written() -> Plain:
    return SetDataTxn(b"/a", None, 3)


def test_a_record_knows_its_fields() -> None:
    assert _Made.field_names() == ["number"]
    assert SetDataTxn.field_names() == ["path", "data", "version"]


def test_what_is_of_another_class_is_not_equal() -> None:
    assert _written() == _written()
    assert SetDataRequest(b"/a", None, 3) != SetDataTxn(b"/a", None, 3)
    assert _written() != _Made(3)
    assert _written() != 3


@pytest.mark.parametrize("body", [_written(), _Made(3)], ids=["written out", "made"])
def test_a_record_has_no_hash_and_nothing_more_is_put_into_it(body: Record) -> None:
    with pytest.raises(TypeError):
        hash(body)
    with pytest.raises(AttributeError):
        body.more = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("body", [_written(), _Made(3)], ids=["written out", "made"])
def test_a_record_takes_no_weak_reference_and_survives_a_collection(body: Record) -> None:
    """Compiled over an interpreted base, it took one, and did not survive that."""
    with pytest.raises(TypeError):
        weakref.ref(body)
    gc.collect()
    assert body.decode(body.encode()) == body
