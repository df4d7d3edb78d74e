"""Coterie's clients, recipes and gateway kit against Apache and three members: the same tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.compat.servers import PROJECT, Apache

_FOLDERS = ("tests/client", "tests/recipes", "tests/gateway")

pytestmark = [pytest.mark.compat, pytest.mark.timeout(400)]


def _run(environment: Mapping[str, str]) -> int:
    """How many passed. All have to."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "ensemble and not slow", *_FOLDERS],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    print(done.stdout.splitlines()[-1])
    return int(passed[1])


def test_against_apaches_server(tmp_path: Path) -> None:
    with Apache(tmp_path) as server:
        assert _run({"COTERIE_TEST_HOSTS": server.address}) > 50


def test_against_three_members() -> None:
    assert _run({"COTERIE_TEST_MEMBERS": "3"}) > 50
