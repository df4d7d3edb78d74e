"""A command that follows the change of a file: run once for all that have changed meanwhile.

Rules: never twice at once; what changes while it runs lets it run once more after that; one that
fails is told of and tried again, later each time, until it succeeds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from coterie.gateway.agent.subscriptions import Command
from coterie.system.command import Outcome

log = logging.getLogger("coterie.agent")

Run = Callable[[Sequence[str], float, Mapping[str, str] | None], Awaitable[Outcome]]
"""What runs a command: `system.command.run_command`."""

_AGAIN_S: Final = 5.0
_AGAIN_S_MAX: Final = 300.0


class Reload:
    """A command by its name, for all files that ask for it."""

    def __init__(self, name: str, command: Command, run: Run) -> None:
        self.name = name
        self.command = command
        self.problem = ""
        """Why the last run was not well; nothing if it was, or there was none."""
        self.runs = 0
        self.failures = 0
        self._run = run
        self._wanted: dict[str, Callable[[], Awaitable[None]]] = {}
        self._news = asyncio.Event()

    def want(self, file: str, done: Callable[[], Awaitable[None]]) -> None:
        """This file has changed; `done` is called when a run that began after that was well."""
        self._wanted[file] = done
        self._news.set()

    @property
    def waiting(self) -> bool:
        """Whether a change has not been followed yet."""
        return bool(self._wanted)

    async def work(self) -> None:
        """Run it whenever it is wanted, until cancelled."""
        while True:
            await self._news.wait()
            again_s = _AGAIN_S
            while self._wanted and not await self.once():
                self._news.clear()
                # What changes now is a reason to try at once.
                with suppress(TimeoutError):
                    async with asyncio.timeout(again_s):
                        await self._news.wait()
                again_s = min(2 * again_s, _AGAIN_S_MAX)

    async def once(self) -> bool:
        """Run it now for all that have asked; whether that was well."""
        self._news.clear()
        asked, self._wanted = self._wanted, {}
        files = "\n".join(sorted(asked))
        try:
            outcome = await self._run(
                self.command.words, self.command.timeout_s, {"COTERIE_FILES": files}
            )
        except asyncio.CancelledError:
            self._wanted = {**asked, **self._wanted}
            raise
        self.runs += 1
        self.problem = outcome.problem
        if outcome.problem:
            self.failures += 1
            log.warning("command %s: %s", self.name, outcome.problem)
            self._wanted = {**asked, **self._wanted}
            return False
        log.info("command %s was run for %s", self.name, ", ".join(sorted(asked)))
        for file, done in asked.items():
            if file not in self._wanted:
                await done()
        return True
