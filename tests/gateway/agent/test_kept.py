"""One file of a host, on virtual time: what the tree says, what the file holds, and when."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from itertools import pairwise

import pytest

from coterie.errors import NoAuthError
from coterie.gateway.agent.files import replace_file
from coterie.gateway.agent.kept import FAILING, GOOD, HELD, WAITING, Kept
from coterie.gateway.agent.rails import Rails
from coterie.gateway.agent.source import Offer
from coterie.gateway.agent.subscriptions import Command, ServersFile, SettingsFile
from coterie.recipes.discovery import Instance
from tests.gateway.agent.scene import PLACE, Scene

_SETTINGS = SettingsFile("/a", "a.json")
_SERVERS = ServersFile("web", "web", rails=Rails(jitter_s=0, hold_s=300, flaps=100))
_Patch = pytest.MonkeyPatch


def test_a_change_is_in_the_file_at_once(monkeypatch: _Patch) -> None:
    scene = Scene(_SETTINGS)
    scene.tree.set(b"one", 7)

    async def play() -> None:
        await asyncio.sleep(0.001)
        assert scene.held == b"one"
        scene.tree.set(b"two", 9)
        await asyncio.sleep(0.001)
        assert scene.held == b"two"
        version = scene.kept.version
        assert version is not None
        assert (version.zxid, version.source, version.version) == (9, "/a", 0)
        assert (scene.kept.state, scene.kept.changes) == (GOOD, 2)

    scene.play(monkeypatch, play)


def test_a_znode_that_goes_or_is_emptied_leaves_the_file(monkeypatch: _Patch) -> None:
    scene = Scene(_SETTINGS)
    scene.tree.set(b"one", 7)

    async def play() -> None:
        for data, reason in ((None, "is not there"), (b"", "is empty")):
            await asyncio.sleep(1)
            scene.tree.set(data, 8)
            await asyncio.sleep(1)
            assert scene.held == b"one"
            assert scene.kept.state == FAILING
            assert reason in scene.kept.reason

    scene.play(monkeypatch, play)


def test_a_set_goes_through_the_rails(monkeypatch: _Patch) -> None:
    scene = Scene(_SERVERS)
    scene.tree.offer(*range(6))

    async def play() -> None:
        await asyncio.sleep(1)
        assert scene.lines() == [f"h{n}:80" for n in range(6)]
        scene.tree.offer(1, 2)
        await asyncio.sleep(200)
        assert (len(scene.lines()), scene.kept.state) == (6, HELD)
        scene.tree.offer()
        await asyncio.sleep(50)
        assert len(scene.lines()) == 6
        scene.tree.offer(3)
        # It has been less than half for five minutes: by itself, without news.
        await asyncio.sleep(51)
        assert (scene.lines(), scene.kept.state) == (["h3:80"], GOOD)
        scene.tree.offer()
        await asyncio.sleep(20_000)
        assert scene.lines() == ["h3:80"]

    scene.play(monkeypatch, play)


def test_what_was_held_is_not_written_while_nobody_knows(monkeypatch: _Patch) -> None:
    scene = Scene(_SERVERS)
    scene.tree.offer(*range(6))

    async def play() -> None:
        await asyncio.sleep(1)
        scene.tree.offer(1, 2)
        await asyncio.sleep(100)
        scene.tree.fresh = False
        await asyncio.sleep(1000)
        assert (len(scene.lines()), scene.kept.state) == (6, WAITING)
        scene.tree.fresh = True
        await asyncio.sleep(16)
        assert (scene.lines(), scene.kept.state) == (["h1:80", "h2:80"], GOOD)

    scene.play(monkeypatch, play)


def test_an_operator_confirms_what_he_was_shown(monkeypatch: _Patch) -> None:
    scene = Scene(_SERVERS)
    scene.tree.offer(*range(6))

    async def play() -> None:
        await asyncio.sleep(1)
        assert scene.kept.offered == ""
        assert not scene.kept.confirm("")
        scene.tree.offer(1, 2)
        await asyncio.sleep(1)
        shown = scene.kept.offered
        scene.tree.offer(1)
        await asyncio.sleep(1)
        assert not scene.kept.confirm(shown)
        assert scene.kept.confirm(scene.kept.offered)
        await asyncio.sleep(0.001)
        assert scene.lines() == ["h1:80"]

    scene.play(monkeypatch, play)


def test_who_starts_anew_knows_how_large_the_set_was(monkeypatch: _Patch) -> None:
    scene = Scene(replace(_SERVERS, each="$host"))
    scene.tree.offer(*range(6))

    async def begins() -> None:
        await asyncio.sleep(1)

    scene.play(monkeypatch, begins)
    scene.restart()
    scene.tree.offer(1, 2)

    async def goes_on() -> None:
        await asyncio.sleep(1)
        assert (len(scene.lines()), scene.kept.state) == (6, HELD)

    scene.play(monkeypatch, goes_on)


def test_a_set_that_says_the_same_is_not_written(monkeypatch: _Patch) -> None:
    scene = Scene(_SERVERS)

    async def play() -> None:
        for _ in range(5):
            scene.tree.offer(1, 2)
            await asyncio.sleep(1)
        assert scene.kept.changes == 1

    scene.play(monkeypatch, play)


def test_files_stay_without_a_server_and_grow_stale(
    monkeypatch: _Patch, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(_SETTINGS)
    scene.tree.set(b"one", 7)
    caplog.set_level(logging.INFO, "coterie.agent")

    async def play() -> None:
        await asyncio.sleep(100)
        scene.kept.beat()
        assert scene.kept.age_s == 0
        scene.tree.fresh = False
        await asyncio.sleep(599)
        scene.kept.beat()
        assert (scene.kept.stale, scene.kept.alarmed) == (False, False)
        await asyncio.sleep(2)
        for _ in range(3):
            scene.kept.beat()
        assert (scene.kept.stale, scene.held) == (True, b"one")
        scene.tree.fresh = True
        scene.kept.beat()
        assert not scene.kept.stale
        said = [record.message for record in caplog.records if record.levelname == "ERROR"]
        assert said == ["host/a.json is stale: not confirmed for 601 s: no server has told"]
        assert "is confirmed again" in caplog.records[-1].message

    scene.play(monkeypatch, play)


def test_a_restart_makes_no_file_younger(monkeypatch: _Patch) -> None:
    scene = Scene(_SETTINGS)
    scene.tree.set(b"one", 7)

    async def begins() -> None:
        await asyncio.sleep(1)

    scene.play(monkeypatch, begins)
    scene.tree.reachable = False

    async def passes() -> None:
        await asyncio.sleep(400)

    scene.loop.run_until_complete(passes())
    scene.restart()
    scene.tree.reachable = False

    async def goes_on() -> None:
        await asyncio.sleep(201)
        assert scene.kept.stale
        assert (scene.held, scene.kept.there) == (b"one", True)
        assert scene.kept.trouble
        scene.tree.reachable = True
        scene.tree.set(b"two", 8)
        await asyncio.sleep(16)
        assert (scene.held, scene.kept.stale, scene.kept.trouble) == (b"two", False, "")

    scene.play(monkeypatch, goes_on)


def test_what_somebody_has_changed_by_hand_is_written_again(monkeypatch: _Patch) -> None:
    scene = Scene(_SETTINGS)
    scene.tree.set(b"one", 7)

    async def play() -> None:
        await asyncio.sleep(1)
        replace_file(scene.files, f"{PLACE}/a.json", b"by hand")
        await asyncio.sleep(1500)
        assert scene.held == b"by hand"
        await asyncio.sleep(500)
        assert (scene.held, scene.tree.opened) == (b"one", 2)
        scene.files.delete(f"{PLACE}/a.json")
        scene.kept.check_again()
        await asyncio.sleep(1)
        assert (scene.held, scene.tree.opened) == (b"one", 3)

    scene.play(monkeypatch, play)


def test_what_is_not_valid_is_not_written(monkeypatch: _Patch) -> None:
    scene = Scene(replace(_SETTINGS, check="json"))
    scene.tree.set(b"{}", 1)

    async def play() -> None:
        await asyncio.sleep(1)
        scene.tree.set(b"{", 2)
        await asyncio.sleep(1)
        assert (scene.held, scene.kept.state) == (b"{}", FAILING)
        scene.tree.set(b'{"a": 1}', 3)
        await asyncio.sleep(1)
        assert (scene.held, scene.kept.state) == (b'{"a": 1}', GOOD)

    scene.play(monkeypatch, play)


def test_a_command_checks_the_candidate(monkeypatch: _Patch) -> None:
    scene = Scene(replace(_SETTINGS, check="look"), {"look": Command(("look", "-f"))})
    candidate = f"{PLACE}/.a.json.new"
    scene.tree.set(b"one", 1)

    def outcome(words: object) -> str:
        found = scene.files.read(candidate, 0, 100)
        return "it is bad" if found == b"bad" else ""

    scene.outcome = outcome

    async def play() -> None:
        await asyncio.sleep(1)
        assert (scene.held, scene.ran) == (
            b"one",
            [(("look", "-f", candidate), {"COTERIE_FILE": candidate})],
        )
        scene.tree.set(b"bad", 2)
        await asyncio.sleep(1)
        assert (scene.held, scene.kept.reason) == (b"one", "check look: it is bad")
        # The same is not checked all the time, but again after a while.
        scene.kept._nudged.set()
        await asyncio.sleep(30)
        assert len(scene.ran) == 2
        scene.outcome = lambda words: ""
        await asyncio.sleep(40)
        assert (len(scene.ran), scene.held, scene.kept.state) == (3, b"bad", GOOD)

    scene.play(monkeypatch, play)


def test_the_command_follows_a_change_and_no_more(monkeypatch: _Patch) -> None:
    scene = Scene(replace(_SETTINGS, reload="tell"), {"tell": Command(("tell",))})
    scene.tree.set(b"one", 1)

    async def play() -> None:
        await asyncio.sleep(1)
        assert scene.ran == [(("tell",), {"COTERIE_FILES": f"{PLACE}/a.json"})]
        assert scene.kept.version is not None
        assert scene.kept.version.reload == "done"
        scene.tree.set(b"one", 2)
        scene.kept.check_again()
        await asyncio.sleep(4000)
        assert len(scene.ran) == 1
        scene.tree.set(b"two", 3)
        await asyncio.sleep(1)
        assert len(scene.ran) == 2

    scene.play(monkeypatch, play)


@pytest.mark.parametrize("calls", range(30))
def test_a_change_whose_command_was_not_run_is_not_forgotten(
    monkeypatch: _Patch, calls: int
) -> None:
    scene = Scene(replace(_SETTINGS, reload="tell"), {"tell": Command(("tell",))})
    scene.tree.set(b"one", 1)

    async def begins() -> None:
        await asyncio.sleep(1)
        # The agent is killed somewhere on the way to what comes now.
        scene.disk.fuse, scene.disk.fuse_kills = calls, True
        scene.tree.set(b"two", 2)
        await asyncio.sleep(1)

    try:
        scene.play(monkeypatch, begins)
    except BaseException as error:
        assert type(error).__name__ in ("HaltedError", "AssertionError"), error  # noqa: PT017
    before = len(scene.ran)
    scene.disk.kill()
    again = Scene(scene.one, scene.host.commands)
    again.disk = scene.disk
    again.files = again.host.files = scene.disk.mount()
    again.kept = Kept(again.one, again.host)
    again.tree.set(b"two", 2)

    async def goes_on() -> None:
        await asyncio.sleep(1)

    again.play(monkeypatch, goes_on)
    assert again.held == b"two"
    assert before + len(again.ran) >= 2


def test_a_disk_that_fails_is_tried_again(monkeypatch: _Patch) -> None:
    scene = Scene(_SETTINGS)
    scene.tree.set(b"one", 1)

    async def play() -> None:
        await asyncio.sleep(1)
        scene.disk.sync_fails = True
        scene.tree.set(b"two", 2)
        await asyncio.sleep(1)
        assert (scene.held, scene.kept.state) == (b"one", FAILING)
        assert "error" in scene.kept.reason
        scene.disk.sync_fails = False
        await asyncio.sleep(61)
        assert (scene.held, scene.kept.state) == (b"two", GOOD)

    scene.play(monkeypatch, play)


def test_a_template_is_a_file_beside_it(monkeypatch: _Patch) -> None:
    scene = Scene(replace(_SETTINGS, template="a.template"))
    scene.files.make_directory(PLACE)
    scene.tree.set(b'{"colour": "blue"}', 1)

    async def play() -> None:
        await asyncio.sleep(1)
        assert (scene.held, scene.kept.reason) == (None, "the template a.template is not there")
        replace_file(scene.files, f"{PLACE}/a.template", b"colour = $colour\n")
        scene.kept.check_again()
        await asyncio.sleep(1)
        assert scene.held == b"colour = blue\n"

    scene.play(monkeypatch, play)


def test_a_set_that_flaps_is_written_now_and_then(monkeypatch: _Patch) -> None:
    rails = Rails(jitter_s=0, flaps=3, flap_window_s=60, flap_hold_s=30)
    scene = Scene(replace(_SERVERS, rails=rails))
    times: list[float] = []
    scene.kept._told = lambda: times.append(scene.loop.time())

    async def play() -> None:
        for number in range(200):
            scene.tree.offer(1, number % 3)
            await asyncio.sleep(1)
        assert scene.kept.state == WAITING
        await asyncio.sleep(60)
        assert scene.kept.state == GOOD

    scene.play(monkeypatch, play)
    assert len(times) <= 12
    assert all(later - sooner >= 29 for sooner, later in pairwise(times[4:]))


def test_who_is_left_out_is_told(monkeypatch: _Patch) -> None:
    scene = Scene(replace(_SERVERS, each="$host ${metadata.zone}"))
    known = Instance("web", "2.0", "h1", 80, metadata={"zone": "eu"}, id="i1")
    scene.tree.value = Offer(found=(known, replace(known, id="i2", metadata={})))

    async def play() -> None:
        await asyncio.sleep(1)
        assert (scene.held, scene.kept.state) == (b"h1 eu\n", GOOD)
        assert scene.kept.reason.startswith("i2 is left out")
        assert scene.kept.version is not None
        assert len(scene.kept.version.members or ()) == 1
        scene.tree._tell(Offer(found=(known,), unreadable=("i3",)), 2)
        await asyncio.sleep(1)
        assert scene.kept.reason == "i3: left out, for it makes no sense"

    scene.play(monkeypatch, play)


def test_who_may_not_read_keeps_the_file(monkeypatch: _Patch) -> None:
    scene = Scene(_SETTINGS)
    scene.tree.set(b"one", 1)

    async def play() -> None:
        await asyncio.sleep(1)

        async def refuse() -> None:
            raise NoAuthError("/a", "get")

        monkeypatch.setattr(scene.tree, "open", refuse)
        scene.kept.check_again()
        await asyncio.sleep(100)
        assert (scene.held, scene.kept.fresh) == (b"one", False)
        assert "/a" in scene.kept.trouble

    scene.play(monkeypatch, play)
