"""The fake network: order, cuts, half-open connections, partitions, machines that go."""

from __future__ import annotations

from random import Random

from coterie.testing.clock import Time
from coterie.testing.transport import Address, End, Network, Weather

PORT: Address = ("s1", 2181)


class Peer:
    """Notes what one end is told."""

    def __init__(self) -> None:
        self.told: list[bytes | str] = []
        self.end: End | None = None

    def opened(self) -> None:
        self.told.append("opened")

    def received(self, data: bytes) -> None:
        self.told.append(data)

    def lost(self) -> None:
        self.told.append("lost")

    @property
    def bytes(self) -> bytes:
        return b"".join(piece for piece in self.told if isinstance(piece, bytes))


class World:
    """A client c1 that is connected to a server s1."""

    def __init__(self, seed: int = 1, split: float = 0.0, connect: bool = True) -> None:
        self.time = Time()
        self.network = Network(self.time, Random(seed), Weather(delay_ms=1.0, split=split))
        self.client, self.server = Peer(), Peer()
        self.greeting = b""
        self.network.listen(PORT, self._accept)
        if connect:
            self.dial()
            self.go_on()

    def dial(self) -> None:
        self.client.end = self.network.connect("c1", PORT, self.client)

    def _accept(self, end: End) -> Peer:
        self.server.end = end
        end.send(self.greeting)
        return self.server

    def go_on(self, ms: float = 10_000) -> None:
        self.time.run(self.time.now_ms + ms)

    @property
    def ends(self) -> tuple[End, End]:
        assert self.client.end is not None
        assert self.server.end is not None
        return self.client.end, self.server.end


def test_bytes_arrive_late_whole_and_in_order_however_they_are_cut() -> None:
    for seed in range(50):
        world = World(seed, split=0.7)
        here, there = world.ends
        sent = [b"%d," % number * 3 for number in range(20)]
        for piece in sent:
            here.send(piece)
            there.send(piece)
        assert world.server.told == []
        world.go_on()
        assert world.server.bytes == world.client.bytes == b"".join(sent)
        assert len(world.server.told) > len(sent)


def test_what_the_server_says_first_comes_after_opened() -> None:
    for seed in range(50):
        world = World(seed, connect=False)
        world.greeting = b"hello"
        world.dial()
        world.go_on()
        assert world.client.told == ["opened", b"hello"]


def test_the_other_end_is_told_of_a_close_when_all_has_arrived() -> None:
    world = World()
    here, there = world.ends
    here.send(b"last words")
    here.close()
    here.send(b"nothing more")
    there.send(b"too late")
    world.go_on()
    assert world.server.told == [b"last words", "lost"]
    assert world.client.told == ["opened", "lost"]


def test_an_aborted_connection_is_gone_at_both_ends() -> None:
    world = World()
    world.ends[1].abort()
    world.go_on()
    assert (world.client.told[-1], world.server.told) == ("lost", ["lost"])
    assert not world.network.ends


def test_a_cut_loses_what_is_in_flight_and_tells_both() -> None:
    world = World()
    here, there = world.ends
    here.send(b"x")
    there.send(b"y")
    world.network.cut(here)
    world.go_on()
    assert (world.client.told, world.server.told) == (["opened", "lost"], ["lost"])


def test_at_a_half_open_connection_one_end_learns_of_it_by_sending() -> None:
    world = World()
    here, there = world.ends
    world.network.half_open(here)
    world.go_on()
    assert (world.client.told, world.server.told) == (["opened", "lost"], [])
    there.send(b"anybody?")
    world.go_on()
    assert world.server.told == ["lost"]


def test_a_partition_holds_up_one_direction_until_it_heals() -> None:
    world = World()
    here, there = world.ends
    world.network.block("c1", "s1")
    for number in range(5):
        here.send(b"%d" % number)
    there.send(b"this way")
    world.go_on()
    assert (world.server.told, world.client.told[1:]) == ([], [b"this way"])
    world.network.heal()
    here.send(b"5")
    world.go_on()
    assert world.server.bytes == b"012345"


def test_a_closed_connection_is_told_of_after_a_partition() -> None:
    world = World()
    world.network.block("c1", "s1")
    world.ends[0].send(b"x")
    world.ends[0].close()
    world.go_on()
    assert world.server.told == []
    world.network.heal()
    world.go_on()
    assert world.server.told == [b"x", "lost"]


def test_who_pauses_is_handed_nothing_until_it_resumes() -> None:
    world = World()
    here, there = world.ends
    there.pause()
    here.send(b"a")
    here.send(b"b")
    world.go_on()
    assert world.server.told == []
    there.resume()
    world.go_on()
    assert world.server.told == [b"a", b"b"]


def test_nobody_listens() -> None:
    world = World(connect=False)
    world.network.machine_stopped("s1", powerless=False)
    world.dial()
    world.go_on(100)
    assert world.client.told == ["lost"]


def test_a_machine_without_power_lets_others_wait() -> None:
    world = World(connect=False)
    world.network.machine_stopped("s1", powerless=True)
    world.dial()
    world.go_on(100)
    assert world.client.told == []
    world.go_on()
    assert world.client.told == ["lost"]


def test_when_a_process_ends_its_peers_are_told_and_it_is_not() -> None:
    world = World()
    world.network.machine_stopped("s1", powerless=False)
    world.go_on()
    assert (world.client.told[-1], world.server.told) == ("lost", [])


def test_when_the_power_fails_nobody_is_told_until_it_is_back_and_somebody_sends() -> None:
    world = World()
    here, _ = world.ends
    world.network.machine_stopped("s1", powerless=True)
    here.send(b"x")
    world.go_on()
    assert world.client.told == ["opened"]
    world.network.machine_started("s1")
    here.send(b"y")
    world.go_on()
    assert world.client.told == ["opened", "lost"]
    assert world.server.told == []


def test_a_connection_through_a_partition_is_not_made() -> None:
    world = World(connect=False)
    world.network.block("s1", "c1")
    world.dial()
    world.go_on()
    assert world.client.told == ["lost"]


def test_a_connection_that_was_given_up_is_not_opened() -> None:
    world = World(connect=False)
    world.dial()
    assert world.client.end is not None
    world.client.end.abort()
    world.go_on()
    assert world.client.told == ["lost"]


def test_a_process_that_stands_still_is_told_later_and_all_at_once() -> None:
    world = World()
    here, there = world.ends
    unread: list[End] = []
    world.network.unread = unread.append
    world.network.freeze("s1")
    here.send(b"one")
    world.go_on(100)
    here.send(b"two")
    world.go_on(100)
    assert (world.server.told, unread) == ([], [there, there])
    world.network.thaw("s1")
    assert world.server.told == [b"one", b"two"]
    there.send(b"three")
    world.go_on()
    assert world.client.bytes == b"three"


def test_who_connects_to_a_process_that_stands_still_waits_to_be_accepted() -> None:
    world = World(connect=False)
    world.network.freeze("s1")
    world.dial()
    world.go_on()
    assert world.client.told == []
    world.network.thaw("s1")
    world.go_on()
    assert world.client.told == ["opened"]


def test_a_process_that_stands_still_does_not_see_a_connection_break() -> None:
    world = World()
    world.network.freeze("c1")
    world.network.cut(world.ends[0])
    world.go_on()
    assert (world.server.told, world.client.told) == (["lost"], ["opened"])
    world.network.thaw("c1")
    assert world.client.told == ["opened", "lost"]


def test_of_a_process_that_ends_while_it_stands_still_nothing_is_left() -> None:
    world = World()
    world.network.freeze("s1")
    world.ends[0].send(b"lost")
    world.go_on()
    world.network.machine_stopped("s1", powerless=False)
    world.network.thaw("s1")
    world.go_on()
    assert (world.server.told, world.client.told[-1]) == ([], "lost")
