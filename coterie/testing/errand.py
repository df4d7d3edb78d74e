"""One kind of work that programs of a simulation are sent to do, and what all kinds need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie.errors import NodeExistsError
from coterie.testing.guard import Guard
from coterie.testing.programs import Program, Work

if TYPE_CHECKING:
    from coterie.testing.recipes import RecipeSimulation
    from coterie.wire.numbered import Txn


class Errand:
    """One kind of work."""

    def __init__(self, simulation: RecipeSimulation) -> None:
        self.simulation = simulation

    def work(self, program: Program) -> Work:
        """What one program does of it."""
        raise NotImplementedError

    def look(self) -> None:
        """Raises `Violation` if something has come to pass that must not."""

    def end(self) -> None:
        """All programs have ended: raises `Violation` if it cannot have come to this."""

    def committed(self, txn: Txn) -> None:
        """What all do has come to this txn."""

    def undone(self, zxid: int) -> None:
        """A server alone has lost what came after this txn; nobody had heard of it."""


def guard_of(simulation: RecipeSimulation, name: str, room: int = 1) -> Guard:
    """What watches over a resource in a run."""
    config = simulation.plan.config()
    deaf_ms = 0.0
    if config.ensemble is not None:
        deaf_ms = (config.sync_limit + 1.0) * config.tick_time_ms
    return Guard(
        name, simulation, simulation.sessions, simulation.dice(f"guard {name}"), room, deaf_ms
    )


def own_name(program: Program) -> str:
    """What a program and those that take its place have in common."""
    return program.name.partition(".")[0]


async def make(work: Work, path: str) -> None:
    """Let a znode be there."""
    try:
        await work.client.create(path)
    except NodeExistsError:
        return
