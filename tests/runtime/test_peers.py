"""The ports for other members: bytes go over real sockets, and whatever fails is told once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from coterie.core.link import ELECTION, QUORUM, Link
from coterie.runtime.driver import Driver
from coterie.runtime.peers import PeerPorts
from coterie.system import transport


@dataclass
class Member:
    """What a member is told, in order."""

    told: list[tuple[str, Link, bytes]] = field(default_factory=list)
    config: Any = field(default_factory=lambda: SimpleNamespace(connection_timeout_ms=1000))

    def accepted(self, link: Link) -> None:
        self.told.append(("accepted", link, b""))

    def opened(self, link: Link) -> None:
        self.told.append(("opened", link, b""))

    def heard(self, link: Link, data: bytes) -> None:
        self.told.append(("heard", link, data))

    def lost(self, link: Link) -> None:
        link.gone = True
        self.told.append(("lost", link, b""))

    def drained_link(self, link: Link) -> None:
        self.told.append(("drained", link, b""))

    def seen(self) -> list[str]:
        return [what for what, _, _ in self.told]


class Place:
    """One member's ports on a free port of this machine."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.member = Member()
        self.turns = 0
        driver = SimpleNamespace(loop=loop, begin=self._begin, chunks=0)
        self.ports = PeerPorts(cast(Driver, driver), cast(Any, self.member))

    def _begin(self) -> None:
        self.turns += 1

    async def serve(self, kind: str) -> int:
        listener = transport.bind("127.0.0.1", 0, 5)
        protocol = self.ports.election if kind == ELECTION else self.ports.quorum
        self.server = await transport.serve(listener, protocol, 5)
        port: int = listener.getsockname()[1]
        return port


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def _both_ways() -> None:
    here, there = Place(), Place()
    port = await there.serve(QUORUM)
    link = Link(QUORUM, 2, (("127.0.0.1", port),))
    here.ports.dial(link)
    await until(lambda: here.member.seen() == ["opened"] and there.member.seen() == ["accepted"])
    other = there.member.told[0][1]
    assert (other.kind, other.dialled) == (QUORUM, False)
    link.out += [b"one", b"two"]
    here.ports.send(link)
    assert link.out == []
    await until(lambda: len(there.member.told) == 2)
    assert there.member.told[1] == ("heard", other, b"onetwo")
    other.out.append(b"last")
    there.ports.close(other)
    await until(lambda: here.member.seen() == ["opened", "heard", "lost"])
    await until(lambda: there.member.seen()[-1] == "lost")
    assert here.ports.protocols == there.ports.protocols == {}
    assert here.turns >= 3
    there.server.close()


def test_bytes_go_both_ways_and_the_last_arrive_before_the_end() -> None:
    asyncio.run(_both_ways())


async def _nobody() -> None:
    here = Place()
    listener = transport.bind("127.0.0.1", 0, 5)
    port = listener.getsockname()[1]
    listener.close()
    link = Link(ELECTION, 2, (("127.0.0.1", port),))
    here.ports.dial(link)
    await until(lambda: here.member.seen() == ["lost"])


def test_where_nobody_listens_the_link_is_lost() -> None:
    asyncio.run(_nobody())


async def _second_address() -> None:
    here, there = Place(), Place()
    listener = transport.bind("127.0.0.1", 0, 5)
    closed = listener.getsockname()[1]
    listener.close()
    port = await there.serve(ELECTION)
    link = Link(ELECTION, 2, (("127.0.0.1", closed), ("127.0.0.1", port)))
    here.ports.dial(link)
    await until(lambda: here.member.seen() == ["opened"])
    here.ports.close_all()
    await until(lambda: there.member.seen() == ["accepted", "lost"])
    there.server.close()


def test_addresses_are_tried_in_turn() -> None:
    asyncio.run(_second_address())


async def _streaming() -> None:
    here, there = Place(), Place()
    port = await there.serve(QUORUM)
    link = Link(QUORUM, 2, (("127.0.0.1", port),))
    here.ports.dial(link)
    await until(lambda: here.member.seen() == ["opened"])
    link.streaming = True
    link.out.append(b"a slice")
    here.ports.send(link)
    await until(lambda: here.member.seen() == ["opened", "drained"])
    link.closing = True
    here.ports.close(link)
    await until(lambda: here.member.seen()[-1] == "lost")
    there.server.close()


def test_who_has_more_to_send_is_asked_for_it() -> None:
    asyncio.run(_streaming())


async def _given_up() -> None:
    here, there = Place(), Place()
    port = await there.serve(QUORUM)
    link = Link(QUORUM, 2, (("127.0.0.1", port),))
    here.ports.dial(link)
    link.closing = True
    await until(lambda: here.member.seen() == ["lost"])
    there.server.close()


def test_a_link_that_was_given_up_while_it_was_dialled_is_not_opened() -> None:
    asyncio.run(_given_up())
