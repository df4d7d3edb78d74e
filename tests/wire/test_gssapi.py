"""What follows a context, as RFC 4752 (3.3) and Java's code have it."""

from __future__ import annotations

from coterie.wire.gssapi import NO_LAYER, OFFER, ContextError


def test_no_layer_is_offered_and_no_wrapped_message_is_taken() -> None:
    assert OFFER[0] == NO_LAYER == 1
    assert int.from_bytes(OFFER[1:]) == 0, "has to be zero where there is no layer"


def test_a_failure_is_for_good_unless_it_says_otherwise() -> None:
    assert not ContextError("expired").passing
    assert ContextError("no KDC", passing=True).passing
