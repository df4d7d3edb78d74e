"""Malformed frames from a seed: nothing falls, nothing leaks, others are served.

Here they go to the machine; `tests/runtime/test_clients.py` sends them to a real server.
"""

from __future__ import annotations

import random

import pytest

from coterie.wire import requests
from coterie.wire.requests import Op
from tests.fuzz.seeds import SEEDS, spoiled
from tests.fuzz.target import Target, request


def _run(count: int, seed: int) -> None:
    dice = random.Random(seed)
    target = Target()
    for number in range(count):
        if number % 500 == 499:
            target = Target()
        data = spoiled(dice)
        try:
            target.attack(data)
        except BaseException as error:
            raise AssertionError(f"seed {seed}, input {number}: {data!r}") from error


def test_well_formed_requests_of_every_kind_do_no_harm() -> None:
    target = Target()
    for data in SEEDS:
        target.attack(data)


@pytest.mark.parametrize(
    "data",
    [
        # getData without room for the length of its path: the fast way took it for the root.
        bytes.fromhex("000000090000004f000000040000000001"),
        bytes.fromhex("0000000818a7180000000004f80000"),
        # A recursive watch, then setData of the root by its other name.
        request(1, Op.ADD_WATCH, requests.WatchesRequest(b"/a", 1).encode())
        + request(2, Op.SET_DATA, requests.SetDataRequest(b"", b"y", -1).encode()),
    ],
)
def test_regressions(data: bytes) -> None:
    Target().attack(data)


def test_malformed_frames_do_no_harm() -> None:
    _run(1_500, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_malformed_frames_do_no_harm() -> None:
    _run(100_000, seed=2)
