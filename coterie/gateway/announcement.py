"""What an instance tells of itself: many changes cost few writes, and the newest is what counts.

Rules: a change never waits for the ensemble; the first after a rest is written at once, those
that come within `every_s` of a write go together with the next one, and what changes nothing costs
nothing; an urgent one does not wait. What cannot be written now is written when it can be.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from coterie.errors import ZooKeeperError

if TYPE_CHECKING:
    from coterie.recipes.discovery import Registration

_PAUSE_S: Final = 0.1


def as_stored(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as who reads it gets it. Raises `ValueError` for what JSON cannot say."""
    try:
        stored: dict[str, Any] = json.loads(json.dumps(dict(metadata), allow_nan=False))
    except TypeError as error:
        raise ValueError(f"metadata: {error}") from None
    return stored


class Announcement:
    """The metadata of a registration, kept as it is wanted between `open` and `close`."""

    def __init__(self, registration: Registration, every_s: float) -> None:
        self.metadata = as_stored(registration.instance.metadata)
        """As it is wanted; what is told already is that of the registration."""
        self.wanted = 0
        """How many changes there were."""
        self.told = 0
        """How many of them are in what was written last."""
        self._registration = registration
        self._every_s = every_s
        self._next_s = 0.0
        """When a change that is not urgent may be written."""
        self._changed = asyncio.Event()
        self._hurried = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None

    def change(self, metadata: Mapping[str, Any], *, urgent: bool = False) -> None:
        """Other values for some keys; None takes one away. Raises `ValueError`."""
        changed = self.metadata | as_stored(metadata)
        changed = {key: value for key, value in changed.items() if value is not None}
        if changed != self.metadata:
            self.metadata = changed
            self.wanted += 1
            self._changed.set()
        if urgent and self._changed.is_set():
            self._hurried.set()

    def open(self) -> None:
        """Write what has changed, from now on."""
        self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def close(self) -> None:
        """Write no more."""
        telling, self._telling = self._telling, None
        if telling is not None:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._changed.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._next_s):
                    await self._hurried.wait()
            self._changed.clear()
            self._hurried.clear()
            # What had to be tried again has taken along what came meanwhile.
            if self.told < self.wanted:
                await self.write()
                self._next_s = loop.time() + self._every_s

    async def write(self) -> None:
        """Write what is wanted; before it is registered: be registered with that."""
        registration = self._registration
        while True:
            self.told = self.wanted
            registration.instance = replace(registration.instance, metadata=self.metadata)
            try:
                # Between two sessions, or without a connection, the recipe does it later.
                await registration.update()
                return
            except ZooKeeperError:
                await asyncio.sleep(max(self._every_s, _PAUSE_S))
