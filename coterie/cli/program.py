"""A command as a process group of its own: started, signalled, and ended with all that it started.

Rules:
- the group is signalled, not its first process alone; what is left of it when the first process
  ends is ended, too;
- the first process is killed by the system if this one dies (on Linux), so that nobody runs on
  unattended;
- if this process has the terminal, the group gets it: Ctrl-C and the keyboard are the command's.
  It cannot be suspended by Ctrl-Z then: what it holds would be held by nobody at work.

Exit statuses are as shells have them: 128 and the signal's number for one that a signal ended.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

CANNOT_RUN: Final = 126
NOT_FOUND: Final = 127
SIGNALLED: Final = 128

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_POLL_S: Final = 0.02


class CannotRunError(Exception):
    """The command cannot be started; the message says why, `status` is what shells exit with."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


class Program:
    """A running command."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it. Raises `CannotRunError`."""
        try:
            with warnings.catch_warnings():
                # Python warns of `preexec_fn` beside threads; ours makes one system call.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._process = subprocess.Popen(
                    command,
                    env={**os.environ, **environment},
                    process_group=0,
                    preexec_fn=_tether(),  # noqa: PLW1509
                )
        except FileNotFoundError:
            raise CannotRunError(f"{command[0]}: there is no such command", NOT_FOUND) from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise CannotRunError(f"{command[0]}: {reason}", CANNOT_RUN) from None
        self.pid = self._process.pid
        self._terminal = _has_terminal()
        if self._terminal:
            _give_terminal(self.pid)
            # It may have been stopped already for reading what was not its own yet.
            self.signal(signal.SIGCONT)
        self._ended = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> int:
        status = await asyncio.to_thread(self._wait_in_thread)
        if self._terminal:
            _give_terminal(os.getpgrp())
        return status if status >= 0 else SIGNALLED - status

    def _wait_in_thread(self) -> int:
        while self._terminal:
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
            if found is None or found.si_code != os.CLD_STOPPED:
                break
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG)
            self.signal(signal.SIGCONT)
        return self._process.wait()

    @property
    def ended(self) -> asyncio.Future[int]:
        """Done when its first process has ended; its result is the exit status."""
        return self._ended

    def signal(self, number: int) -> None:
        """Send a signal to every process of the group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    @property
    def running(self) -> bool:
        """Whether there is a process in the group."""
        if self._ended.done():
            self._bury()
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def _bury(self) -> None:
        """Note the ends of those whose parent this process is by `adopt_orphans`."""
        with suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG) != (0, 0):
                continue

    async def stop(self, grace_s: float) -> int:
        """End the whole group: SIGTERM, and SIGKILL for who is there after the grace time.

        Returns the exit status of the first process.
        """
        if self.running:
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)
            await self._until_gone(grace_s)
            self.signal(signal.SIGKILL)
        return await asyncio.shield(self._ended)

    async def _until_gone(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + seconds
        while self.running and loop.time() < give_up_s:
            # A group of several processes tells nobody when it is empty.
            await asyncio.wait({self._ended}, timeout=min(_POLL_S, seconds))
            if self._ended.done() and self.running:
                await asyncio.sleep(_POLL_S)


def adopt_orphans() -> None:
    """Be the parent of what commands leave behind, so that nobody else has to notice its end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _tether() -> Callable[[], None] | None:
    """What a child does before it becomes the command: it asks to be killed if its parent dies."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def tether() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(SIGNALLED + signal.SIGKILL)

    return tether


def _has_terminal() -> bool:
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _give_terminal(group: int) -> None:
    # Who is not in the foreground is stopped for this, unless the signal is blocked.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        with suppress(OSError):
            os.tcsetpgrp(0, group)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
