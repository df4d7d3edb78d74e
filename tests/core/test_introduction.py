"""SASL between members, end against end, and what comes of those who prove nothing."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.core.introduction import Hearing, Introduction, Proving
from coterie.core.link import ELECTION, QUORUM
from coterie.core.sasl import Users
from coterie.wire.digest_client import Sasl
from coterie.wire.peers import SASL_NAME, Initial, Proof, proof_packet, read_proof

_INITIAL = Initial(3, (("127.0.0.1", 3888),)).encode()
_REFUSED = proof_packet(Proof.ERROR, b"")


def _hearing(kind: str = QUORUM, demanded: bool = True) -> Hearing:
    return Hearing(kind, Users({"peer": "secret"}, Random(1), SASL_NAME), demanded)


def _proving(password: str = "secret", name: str = SASL_NAME) -> Proving:
    return Proving(Sasl("peer", password, Random(2), name))


def _said(end: Introduction) -> bytes:
    said = b"".join(end.out)
    end.out.clear()
    return said


def _meet(here: Proving, there: Hearing, first: bytes = b"", piece: int = 10_000) -> None:
    """Let both talk until neither has anything to say, in pieces of so many bytes."""
    talk = first + _said(here)
    ends: tuple[Introduction, Introduction] = (there, here)
    while talk:
        hears, other = ends
        for at in range(0, len(talk), piece):
            if not hears.done and hears.failure is None:
                hears.heard(talk[at : at + piece])
        talk, ends = _said(hears), (other, hears)


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_both_prove_that_they_know_the_password(piece: int) -> None:
    here, there = _proving(), _hearing()
    _meet(here, there, piece=piece)
    assert here.done and there.done  # noqa: PT018
    assert (there.user, here.rest, there.rest) == ("peer", b"", b"")


@pytest.mark.parametrize("piece", [1, 10_000])
def test_on_an_election_link_the_initial_message_goes_first(piece: int) -> None:
    here, there = _proving(), _hearing(ELECTION)
    _meet(here, there, _INITIAL, piece)
    assert here.done and there.done  # noqa: PT018
    assert there.rest == _INITIAL


def test_the_packets_are_those_of_apaches_servers() -> None:
    # QuorumAuthPacket: long magic, int status, buffer token; DIGEST-MD5 has no first token.
    assert _said(_proving()) == bytes.fromhex("5f2435013501edcc 00000000 00000000")
    there = _hearing()
    there.heard(bytes.fromhex("5f2435013501edcc 00000000 00000000"))
    found = read_proof(_said(there), 4096)
    assert found
    assert found[0] == 0
    assert b'realm="zk-quorum-sasl-md5"' in (found[1] or b"")


@pytest.mark.parametrize("here", [_proving("Secret"), _proving(name="zookeeper/zk-sasl-md5")])
def test_who_does_not_know_the_password_is_told_so(here: Proving) -> None:
    there = _hearing()
    _meet(here, there)
    assert there.failure == here.failure == "wrong user or password"
    assert not there.done
    assert not here.done


def test_who_fails_where_no_proof_is_demanded_is_as_who_did_not_try() -> None:
    here, there = _proving("Secret"), _hearing(ELECTION, demanded=False)
    _meet(here, there, _INITIAL)
    assert (there.done, there.user, there.rest) == (True, None, _INITIAL)
    assert there.failure == here.failure == "wrong user or password"


@pytest.mark.parametrize(("kind", "first"), [(QUORUM, b""), (ELECTION, _INITIAL)])
def test_who_does_not_try(kind: str, first: bytes) -> None:
    stranger = _hearing(kind)
    stranger.heard(first + b"\0\0\0\x0b")
    assert stranger.failure == "it does not prove who it is, and serverRequireSasl is true"
    assert not stranger.done
    lenient = _hearing(kind, demanded=False)
    lenient.heard(first + b"\0\0\0\x0b")
    assert (lenient.done, lenient.rest) == (True, first + b"\0\0\0\x0b")


def test_who_says_only_who_it_is() -> None:
    """As one does who has a lower id, knows no SASL, and waits to be dialled back."""
    for demanded in (False, True):
        there = _hearing(ELECTION, demanded)
        there.heard(_INITIAL[:10])
        there.silent()
        assert not there.done
        there.heard(_INITIAL[10:])
        there.silent()
        assert (there.done, there.failure) == (not demanded, None)


def test_what_follows_the_proof_is_for_the_member() -> None:
    there = _hearing()
    here = _proving()
    there.heard(_said(here))
    here.heard(_said(there))
    there.heard(_said(here) + b"what follows")
    assert (there.done, there.rest) == (True, b"what follows")
    here.heard(_said(there) + b"an answer")
    assert (here.done, here.rest) == (True, b"an answer")


@pytest.mark.parametrize(
    "said",
    [
        proof_packet(0, b"x")[:12] + b"\x7f\xff\xff\xff",
        proof_packet(0, b"x")[:12] + b"\0\0\x20\0",
        proof_packet(7, b""),
        proof_packet(0, b"") + b"\0\0\0\0\0\0\0\0",
    ],
)
def test_garbage_is_refused_before_it_is_waited_for(said: bytes) -> None:
    there = _hearing()
    there.heard(said)
    assert there.failure == "it sent what is no packet of SASL"


def test_a_success_without_a_proof_is_not_believed() -> None:
    for token in (b"", b"rspauth=" + b"0" * 32):
        here, there = _proving(), _hearing()
        there.heard(_said(here))
        here.heard(_said(there))
        here.heard(proof_packet(Proof.SUCCESS, token))
        assert here.failure is not None
        assert not here.done
    early = _proving()
    early.heard(proof_packet(Proof.SUCCESS, b""))
    assert early.failure is not None


def test_a_member_without_sasl_is_told_apart() -> None:
    here = _proving()
    here.heard(b"\0\0\0\x28 a notification")
    assert here.failure == "it sent what is no packet of SASL"


@given(
    st.sampled_from([QUORUM, ELECTION]),
    st.lists(st.sampled_from([_INITIAL, proof_packet(0, b""), proof_packet(0, b"x")]), max_size=3),
    st.binary(max_size=200),
    st.integers(1, 50),
)
def test_whatever_comes_nobody_is_let_in_without_a_proof(
    kind: str, parts: list[bytes], tail: bytes, piece: int
) -> None:
    there = _hearing(kind)
    said = b"".join(parts) + tail
    for at in range(0, len(said), piece):
        if there.failure is None:
            there.heard(said[at : at + piece])
    there.silent()
    assert not there.done
    assert there.user is None
    assert len(there.out) <= 2
