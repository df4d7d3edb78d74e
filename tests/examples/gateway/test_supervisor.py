"""Processes that are kept running, that end when they are told to, and leave nobody behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from examples.gateway.process import INCOMPATIBLE
from examples.gateway.supervisor import PROJECT, Spec, Supervisor

pytestmark = pytest.mark.gateway

_SLEEPS: Final = "import time; time.sleep(60)"
_PARENT: Final = """
import asyncio, sys
from pathlib import Path
from examples.gateway.supervisor import Spec, Supervisor

async def main():
    async with Supervisor(Path(sys.argv[1])) as supervisor:
        command = (sys.executable, "-c", "import time; time.sleep(60)")
        child = supervisor.add(Spec("a", "x", command))
        while child.pid is None:
            await asyncio.sleep(0.01)
        print(child.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def spec(code: str, name: str = "a", *words: str) -> Spec:
    return Spec(name, "x", (sys.executable, "-c", code, *words), version="1.0.0")


async def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def is_there(pid: int) -> bool:
    """Whether a process is there and no corpse that nobody has buried."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False


async def test_who_was_killed_is_started_again(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor:
        child = supervisor.add(spec(_SLEEPS))
        await until(lambda: child.alive)
        first = supervisor.kill("a")
        await until(lambda: child.restarts == 1 and child.alive)
        assert child.pid != first
        assert (child.status, child.kills) == (-signal.SIGKILL, 1)
        pid = child.pid
    assert pid is not None
    assert not is_there(pid)


async def test_what_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    program = tmp_path / "late"
    async with Supervisor(tmp_path) as supervisor:
        child = supervisor.add(Spec("a", "x", (str(program),)))
        await asyncio.sleep(0)
        program.write_text(f"#!{sys.executable}\n{_SLEEPS}\n")
        program.chmod(0o755)
        await until(lambda: child.alive)


async def test_one_that_does_not_suit_its_partners_is_not_started_again(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor:
        code = f"import sys; print('a speaks x <2'); sys.exit({INCOMPATIBLE})"
        child = supervisor.add(spec(code))
        await until(lambda: child.refused)
        assert not child.alive
        assert child.as_json()["message"] == "a speaks x <2"


async def test_an_upgrade_lets_it_finish_and_starts_another_version(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time; print('began', sys.argv[-1], flush=True);"
        " signal.signal(signal.SIGTERM, lambda *_: (print('ended'), sys.exit(0)));"
        " time.sleep(60)"
    )
    async with Supervisor(tmp_path) as supervisor:
        child = supervisor.add(spec(code, "a", "--version", "1.0.0"))
        await until(lambda: "began 1.0.0" in child.last_words())
        await supervisor.upgrade("a", "2.0.0")
        await until(lambda: "began 2.0.0" in child.last_words())
        assert child.last_words().split() == ["began", "1.0.0", "ended", "began", "2.0.0"]
        assert (child.spec.version, child.restarts) == ("2.0.0", 0)


async def test_who_does_not_end_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " print('deaf', flush=True); time.sleep(60)"
    )
    async with Supervisor(tmp_path) as supervisor:
        child = supervisor.add(spec(code))
        await until(lambda: "deaf" in child.last_words())
        await supervisor.stop("a", 0.1)
        assert child.status in (None, -signal.SIGKILL)
        assert not child.alive
        with pytest.raises(LookupError):
            supervisor.kill("a")


async def test_names_are_taken_once(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor:
        supervisor.add(spec(_SLEEPS))
        with pytest.raises(ValueError, match="already"):
            supervisor.add(spec(_SLEEPS))
        with pytest.raises(LookupError):
            supervisor.kill("b")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_the_children_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)], cwd=PROJECT, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_there(pid)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    asyncio.run(until(lambda: not is_there(pid)))
