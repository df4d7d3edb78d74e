"""Components."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

import coterie
from coterie.gateway.component import Component, Identity, ask_to_drain
from coterie.gateway.directory import Directory, IncompatibleError
from tests.conftest import Connect, until


@dataclass(frozen=True)
class Settings:
    slots: int = 4


def _identity(kind: str = "worker", version: str = "2.1", **more: Any) -> Identity:
    return Identity(kind, version, "10.0.0.7", 8080, **more)


async def test_it_is_found_from_entering_to_draining(connect: Connect) -> None:
    async with connect() as zk, connect() as other, Directory(zk, "/g") as directory:
        identity = _identity(flavor="gpu", zone="eu", metadata={"gpus": [1, 2]})
        async with Component(other, identity, root="/g") as me:
            await directory.look()
            (found,) = directory.find("worker", ">=2", flavor="gpu")
            assert (found.id, found.address) == (me.id, "10.0.0.7:8080")
            assert found.metadata["gpus"] == [1, 2]
            await me.drain()
            await directory.look()
            assert directory.find("worker") == []
            assert [one.metadata["state"] for one in directory.everyone()] == ["draining"]
        await directory.look()
        assert directory.everyone() == []
