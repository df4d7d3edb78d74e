"""The fence around a job: its limits hold, and nothing of it outlives it or its manager."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import coterie
from examples.gateway.manager.sandbox import TOP, Ended, Limits, Sandbox

pytestmark = [
    pytest.mark.gateway,
    pytest.mark.skipif(sys.platform != "linux", reason="the whole fence is Linux's"),
]

_WAIT_S_MAX = 20.0


def _run(folder: Path, program: str, **limits: Any) -> tuple[Ended, Sandbox]:
    sandbox = Sandbox(folder, Limits(**limits))
    return coterie.run(sandbox.run(["python", "-c", program])), sandbox


def _until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + _WAIT_S_MAX
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def _gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_a_command_sees_its_folder_and_nothing_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "1")
    program = "import os, sys; print(os.getcwd(), 'SECRET' in os.environ, sys.stdin.read() == '')"
    ended, sandbox = _run(tmp_path, program)
    assert ended == (0, "")
    assert sandbox.tail().split() == [str(tmp_path / "work"), "False", "True"]


def test_no_shell_reads_a_word(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    ended = coterie.run(sandbox.run(["echo", "$HOME; touch x", "`id`"]))
    assert (ended.status, sandbox.tail()) == (0, "$HOME; touch x `id`\n")
    assert list(sandbox.work.iterdir()) == []


def test_its_status_and_last_words_are_told(tmp_path: Path) -> None:
    ended, _ = _run(tmp_path, "import sys; sys.exit('no such matrix')")
    assert ended == (1, "it ended with status 1: no such matrix")


def test_a_status_that_is_no_signal_is_a_status(tmp_path: Path) -> None:
    ended, _ = _run(tmp_path, "import sys; sys.exit(250)")
    assert ended == (250, "it ended with status 250")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    ended = coterie.run(Sandbox(tmp_path).run(["no-such-program"]))
    assert ended.status == 127
    assert "No such file" in ended.problem


@pytest.mark.parametrize(
    ("program", "limits", "why"),
    [
        ("while True: pass", {"cpu_s": 1}, "CPU time"),
        ("x = bytearray(1 << 30)", {"memory_mb": 300}, "MemoryError"),
        ("open('x', 'wb').write(bytes(3 << 20))", {"file_mb": 1}, "File too large"),
        ("import time; time.sleep(60)", {"wall_s": 0.3}, "longer than"),
        ("l = [open('/dev/null') for _ in range(99)]", {"open_files": 30}, "Too many open files"),
        ("import os; os.kill(os.getpid(), 11)", {}, "SIGSEGV"),
    ],
)
def test_limits_hold(tmp_path: Path, program: str, limits: dict[str, Any], why: str) -> None:
    ended, _ = _run(tmp_path, program, **limits)
    assert ended.status != 0
    assert why in ended.problem


def test_there_is_no_network(tmp_path: Path) -> None:
    program = "import socket; socket.create_connection(('127.0.0.1', 9), 1)"
    ended, sandbox = _run(tmp_path, program)
    if "cannot be taken away" in sandbox.tail():
        pytest.skip("no network namespace is permitted here")
    # Refused would be: there is a loopback, and nobody listens.
    assert "Network is unreachable" in ended.problem


def test_who_leaves_the_group_is_ended_too(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys\n"
        "print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)"
    )
    ended, sandbox = _run(tmp_path, program)
    assert ended.status == 0
    assert _gone(int(sandbox.tail()))


async def _said_something(sandbox: Sandbox) -> None:
    for _ in range(1000):
        if sandbox.tail():
            return
        await asyncio.sleep(0.01)


_SLEEPER = "import os, time; print(os.getpid()); time.sleep(600)"


def test_it_is_stopped(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)

    async def main() -> Ended:
        running = asyncio.ensure_future(sandbox.run(["python", "-c", _SLEEPER]))
        await _said_something(sandbox)
        sandbox.stop()
        return await running

    assert coterie.run(main()).problem == "it was stopped"
    assert _gone(int(sandbox.tail()))


def test_one_that_was_stopped_early_never_begins(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    sandbox.stop()
    assert coterie.run(sandbox.run(["touch", "x"])).status == 125
    assert not sandbox.work.exists()


def test_its_callers_end_is_its_own(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)

    async def main() -> None:
        running = asyncio.ensure_future(sandbox.run(["python", "-c", _SLEEPER]))
        await _said_something(sandbox)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    coterie.run(main())
    assert _gone(int(sandbox.tail()))


def test_it_dies_with_its_manager(tmp_path: Path) -> None:
    program = (
        "import coterie, pathlib\n"
        "from examples.gateway.manager.sandbox import Sandbox\n"
        f"box = Sandbox(pathlib.Path({str(tmp_path)!r}))\n"
        f"coterie.run(box.run(['python', '-c', {_SLEEPER!r}]))"
    )
    log = tmp_path / "log"
    with subprocess.Popen([sys.executable, "-c", program], cwd=TOP) as manager:
        _until(lambda: log.exists() and log.read_text().endswith("\n"))
        os.kill(manager.pid, signal.SIGKILL)
    _until(lambda: _gone(int(log.read_text())))
