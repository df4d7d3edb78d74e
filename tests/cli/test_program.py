"""A command as a process group: what it comes to, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from coterie.cli.program import CannotRunError, Program
from coterie.testing.cluster import until

T = TypeVar("T")


def with_program(shell: str, job: Callable[[Program], Awaitable[T]], **environment: str) -> T:
    async def run() -> T:
        program = Program(["sh", "-c", shell], environment)
        try:
            return await job(program)
        finally:
            program.signal(signal.SIGKILL)
            await program.ended

    return asyncio.run(run())


async def ends(program: Program) -> int:
    return await program.ended


@pytest.mark.parametrize(
    ("shell", "status"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("test $A = b || exit 1", 0)],
)
def test_the_exit_status(shell: str, status: int) -> None:
    assert with_program(shell, ends, A="b") == status


@pytest.mark.parametrize(
    ("command", "status"), [("/nowhere/at/all", 127), ("/", 126), ("\0", 126)]
)
def test_what_cannot_be_run(command: str, status: int) -> None:
    async def run() -> None:
        with pytest.raises(CannotRunError) as caught:
            Program([command], {})
        assert caught.value.status == status
        assert "\n" not in str(caught.value)

    asyncio.run(run())


@pytest.fixture
def ready(tmp_path: Path) -> Callable[[], Awaitable[str]]:
    """Waits for what a command writes into the file that `$READY` names."""

    async def wait() -> str:
        file = tmp_path / "ready"
        await asyncio.to_thread(until, lambda: file.exists() and file.read_text().endswith("\n"))
        return file.read_text().strip()

    return wait


Ready = Callable[[], Awaitable[str]]


def test_stop_lets_it_come_to_its_end(ready: Ready, tmp_path: Path) -> None:
    async def stop(program: Program) -> int:
        await ready()
        return await program.stop(20)

    shell = "trap 'exit 5' TERM; echo > $READY; while :; do sleep 0.01; done"
    assert with_program(shell, stop, READY=str(tmp_path / "ready")) == 5


def test_stop_kills_who_does_not_go(ready: Ready, tmp_path: Path) -> None:
    async def stop(program: Program) -> int:
        await ready()
        return await program.stop(0.05)

    shell = "trap '' TERM; echo > $READY; while :; do sleep 0.01; done"
    assert with_program(shell, stop, READY=str(tmp_path / "ready")) == 137


@pytest.mark.parametrize("its_end", ["exit 3", "sleep 60"])
def test_stop_ends_what_it_has_started_too(ready: Ready, tmp_path: Path, its_end: str) -> None:
    async def stop(program: Program) -> int:
        child = int(await ready())
        if its_end != "sleep 60":
            await program.ended
            assert program.running
        await program.stop(0.05)
        await asyncio.to_thread(until, lambda: not _lives(child))
        return child

    shell = f"(trap '' TERM; sleep 60) & echo $! > $READY; {its_end}"
    with_program(shell, stop, READY=str(tmp_path / "ready"))


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells a child of its parent's death")
    code = (
        "import asyncio, os\n"
        "from coterie.cli.program import Program\n"
        "async def run():\n"
        "    program = Program(['sleep', '60'], {})\n"
        "    print(program.pid, flush=True)\n"
        "    await program.ended\n"
        "asyncio.run(run())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    until(lambda: not _lives(child), "the end of the child")


@pytest.fixture
def terminal() -> Iterator[int]:
    """The far end of a terminal in which a program has just run `sh` and told what it read."""
    code = (
        "import asyncio, sys\n"
        "from coterie.cli.program import Program\n"
        "async def run():\n"
        "    shell = 'echo ready; read line; echo got $line; kill -STOP $$; exit 4'\n"
        "    return await Program(['sh', '-c', shell], {}).ended\n"
        "status = asyncio.run(run())\n"
        "print('ended', status, sys.stdin.readline())\n"
    )
    pid, far = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-c", code])
    yield far
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(far)


def test_it_has_the_terminal_and_gives_it_back(terminal: int) -> None:
    """It reads from it, cannot be stopped there, and after it whoever ran it reads again."""
    _expect(terminal, b"ready")
    os.write(terminal, b"one\n")
    _expect(terminal, b"got one")
    _expect(terminal, b"ended 4") if os.write(terminal, b"two\n") else None


def _expect(terminal: int, text: bytes) -> None:
    seen = b""
    while text not in seen:
        seen += os.read(terminal, 1024)
