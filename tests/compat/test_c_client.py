"""A C program on libzookeeper, built and run against each server."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.compat.conftest import Start
from tests.compat.servers import SERVERS

_SOURCE = Path(__file__).parent / "client.c"
_HEADER = Path("/usr/include/zookeeper/zookeeper.h")
_RUN_S_MAX = 150


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not _HEADER.exists():
        pytest.skip(f"{_HEADER} is missing (Debian: apt-get install libzookeeper-mt-dev)")
    built = tmp_path_factory.mktemp("c") / "client"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        ["cc", "-std=c11", *warnings, "-DTHREADED", "-o", built, _SOURCE, "-lzookeeper_mt"],
        check=True,
    )
    return built


@pytest.mark.timeout(_RUN_S_MAX + 60)
@pytest.mark.parametrize("kind", SERVERS)
def test_c_client(kind: str, start: Start, program: Path) -> None:
    server = start(kind, {"tickTime": 500, "minSessionTimeout": 1000, "maxSessionTimeout": 60_000})
    done = subprocess.run(
        [program, server.address], capture_output=True, text=True, timeout=_RUN_S_MAX, check=False
    )
    print(done.stdout, done.stderr[-2000:], sep="\n")
    assert done.returncode == 0
    assert "not ok" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1..")
