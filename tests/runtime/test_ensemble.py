"""Three real servers of ours as one ensemble: killed, cut off, paused, and with a full disk.

Writers go on all the while. In the end no acknowledged write is lost, no zxid was given twice,
every session that came back in time was let in, and all members show the same tree.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.compat import raw
from tests.interop.crowd import Crowd, bad_day, kill_leaders
from tests.interop.ensembles import ALL_WELL, Ensemble, until
from tests.runtime.network import Network, missing
from tests.runtime.test_sasl import jaas

_THREE = ("coterie",) * 3
_DISK_BYTES = 16 << 20

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Ensemble]:
    with Ensemble(tmp_path, _THREE) as ensemble:
        yield ensemble.start()


def test_a_leader_is_killed(three: Ensemble) -> None:
    with Crowd(three) as crowd:
        kill_leaders(three, crowd, 1, random.Random(1))
        crowd.judge()


@pytest.mark.slow
def test_ten_leaders_are_killed(three: Ensemble) -> None:
    with Crowd(three) as crowd:
        kill_leaders(three, crowd, 10, random.Random(1))
        told = crowd.judge()
    assert sum(each.acknowledged for each in told) > 1000


@pytest.mark.slow
def test_all_are_killed_at_once(three: Ensemble) -> None:
    with Crowd(three) as crowd:
        for _ in range(3):
            crowd.go_on()
            for number in three.members:
                three.kill(number)
            three.start()
        crowd.go_on()
        crowd.judge()


@pytest.mark.slow
def test_a_bad_day(three: Ensemble) -> None:
    with Crowd(three) as crowd:
        bad_day(three, crowd, 8, random.Random(1))
        crowd.judge()


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 3])
def test_a_leader_that_stood_still_leads_no_more(three: Ensemble, times: int) -> None:
    """SIGSTOP for longer than a session lives: what it was asked meanwhile it must not promise."""
    timeout_ms = 4000
    with Crowd(three, timeout_ms) as crowd:
        for number in range(times):
            crowd.go_on()
            old = three.leader()
            with three.client(old, timeout_ms) as client:
                three.pause(old)
                client.send(raw.CREATE2, raw.create(f"/late-{number}", b"late"))
                paused_at = time.monotonic()
                assert three.leader() != old
                crowd.go_on()
                time.sleep(max(0.0, paused_at + 1.5 * timeout_ms / 1000 - time.monotonic()))
                three.resume(old)
                acknowledged = _zxid_of_reply(client)
            until(lambda: three.roles() == ALL_WELL, three.said)
            crowd.go_on()
            with three.client(old) as client:
                client.ok(raw.SYNC, raw.string("/"))
                reply = client.call(raw.EXISTS, raw.path_watch(f"/late-{number}"))
                client.close_session()
            if acknowledged is not None:
                assert raw.Reader(reply.body).stat().czxid == acknowledged
        crowd.judge()


def _zxid_of_reply(client: raw.Client) -> int | None:
    """The czxid of an acknowledged create; None if the connection ends without an answer."""
    try:
        reply = client.reply()
    except (raw.ClosedError, OSError):
        return None
    if reply.error:
        return None
    reader = raw.Reader(reply.body)
    reader.string()
    return reader.stat().czxid


@pytest.fixture(scope="module")
def networks() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.mark.slow
@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize("heard", [False, True], ids=["unheard leader", "deaf leader"])
@pytest.mark.parametrize("whole", [False, True], ids=["one follower", "both followers"])
def test_one_direction_is_cut(tmp_path: Path, heard: bool, whole: bool) -> None:
    """The leader does not reach a follower or two that reach it, or does not hear them."""
    with (
        Network(3) as network,
        Ensemble(tmp_path, _THREE, places=network).start() as three,
        Crowd(three) as crowd,
    ):
        for _ in range(2):
            crowd.go_on()
            leader = three.leader()
            followers = three.others(leader)[: 2 if whole else 1]
            lines = [(f, leader) if heard else (leader, f) for f in followers]
            for line in lines:
                network.cut(*line)
            _settle(three, crowd, leader, followers)
            for line in lines:
                network.heal(*line)
            until(lambda: three.roles() == ALL_WELL, three.said)
            crowd.go_on()
        crowd.judge()


def _settle(three: Ensemble, crowd: Crowd, old: int, cut_off: list[int]) -> None:
    """Wait until everybody has noticed, and write: with a leader who has a majority."""
    if len(cut_off) > 1:
        until(lambda: three.leaders() not in ([], [old]), three.said)
        until(lambda: three.mode(old) != "leader", three.said)
    else:
        until(lambda: three.mode(cut_off[0]) != "follower", three.said)
    crowd.go_on()


@contextmanager
def _small_disk(where: Path) -> Iterator[None]:
    where.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(where)],
        check=False,
        capture_output=True,
    )
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


def _fill(disk: Path) -> Path:
    """A file that takes all that is left."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        block = bytes(1 << 16)
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2]
    return path


@pytest.mark.slow
def test_a_full_disk_of_the_leader(tmp_path: Path) -> None:
    """The others are a majority that can write, and it comes back when its disk has room."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk")
    with ExitStack() as stack:
        for number in (1, 2, 3):
            stack.enter_context(_small_disk(tmp_path / str(number)))
        three = stack.enter_context(Ensemble(tmp_path, _THREE).start())
        crowd = stack.enter_context(Crowd(three))
        for _ in range(2):
            crowd.go_on()
            leader = three.leader()
            filler = _fill(three[leader].directory)
            for _ in range(3):
                crowd.go_on()
            filler.unlink()
            crowd.go_on()
            until(lambda: three.roles() == ALL_WELL, three.said)
        crowd.judge()


@pytest.mark.slow
def test_who_knows_no_password_stays_out_until_its_file_is_mended(tmp_path: Path) -> None:
    words = "enableSasl", "learnerRequireSasl", "serverRequireSasl"
    with Ensemble(tmp_path, _THREE, {f"quorum.auth.{word}": "true" for word in words}) as three:
        files = {id: tmp_path / f"{id}.conf" for id in three.members}
        for id, file in files.items():
            file.write_text(jaas("another" if id == 3 else "secret"))
            file.chmod(0o600)
            three[id].settings["quorum.auth.jaasFile"] = str(file)
        three.start(1, 2)
        three.spawn(3)
        said = "no SASL with server 2 at ", ": wrong user or password"
        until(
            lambda: any(all(map(line.__contains__, said)) for line in three[3].lines()), three.said
        )
        with Crowd(three) as crowd:
            crowd.go_on()
            assert three.roles() == [None, "follower", "leader"]
            files[3].write_text(jaas("secret"))
            until(lambda: three.roles() == ALL_WELL, three.said)
            crowd.go_on()
            three.kill(three.leader())
            crowd.go_on()
            three.start()
            crowd.judge()
