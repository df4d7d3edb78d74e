"""The pytest plugin, in pytest runs of its own: plain, with pytest-asyncio, with anyio."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

# An inner run forgets what it imports first.
from coterie.client.blocking import connect_blocking
from coterie.testing.cluster import Cluster, Server

pytest_plugins = ["pytester"]

_READY_S_MAX = 0.5
_NO_ASYNCIO = ["-p", "no:asyncio"]
_NO_ANYIO = ["-p", "no:anyio"]
_PLAIN = [*_NO_ASYNCIO, *_NO_ANYIO]
# Hypothesis is imported anew by every inner run otherwise, which takes seconds.
_ALWAYS = ["-W", "error", "-p", "no:hypothesispytest"]


@pytest.fixture
def elsewhere() -> Iterator[Server]:
    """A server that an inner run has not started."""
    with Server() as server:
        yield server


def _run(pytester: pytest.Pytester, text: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(text)
    return pytester.runpytest_inprocess(*_ALWAYS, *(options or _PLAIN))


def test_every_test_has_a_place_of_its_own(pytester: pytest.Pytester) -> None:
    text = """
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_alone(coterie_client, coterie_server, number):
            assert coterie_client.children("/") == []
            coterie_client.create("/mine/deep", b"x", parents=True)
            assert coterie_server.chroot.endswith(f"test_alone-{number}-")

        def test_nothing_stays(coterie_server):
            import coterie
            with coterie.connect_blocking(coterie_server.address) as zk:
                places = zk.children("/")
            assert [f"/{name}" for name in places if name != "zookeeper"] == [
                coterie_server.chroot
            ]
    """
    _run(pytester, text).assert_outcomes(passed=3)


def test_even_what_nobody_may_delete_goes(pytester: pytest.Pytester) -> None:
    text = """
        from coterie import ACL, Id, Perms

        def test_guarded(coterie_connect):
            zk = coterie_connect.blocking(auth=[("digest", b"me:secret")])
            nobody = (ACL(Perms.READ, Id("auth", "")),)
            zk.create("/guarded", acl=nobody)
    """
    _run(pytester, text).assert_outcomes(passed=1)


def test_faults_are_mended(pytester: pytest.Pytester) -> None:
    faults = "stop kill pause cut_clients"
    text = f"""
        import pytest

        @pytest.mark.parametrize("fault", {faults.split()})
        def test_fault(coterie_client, coterie_server, fault):
            getattr(coterie_server, fault)()

        def test_partition(coterie_client, coterie_ensemble):
            coterie_client.create("/before")
            coterie_ensemble.partition(coterie_ensemble.leader())

        def test_expiry(coterie_client, coterie_ensemble):
            before = coterie_client.session_id
            coterie_client.create("/mine", ephemeral=True)
            coterie_ensemble.expire(coterie_client)
            assert coterie_client.exists("/mine") is None
            assert coterie_client.session_id != before
    """
    _run(pytester, text).assert_outcomes(passed=6)


def test_the_ensemble_is_used_when_it_is_asked_for(pytester: pytest.Pytester) -> None:
    text = """
        def test_three(coterie_hosts, coterie_ensemble):
            assert coterie_hosts == ",".join(coterie_ensemble.addresses) + coterie_ensemble.chroot

        def test_one(coterie_hosts, coterie_server):
            assert coterie_hosts == coterie_server.address + coterie_server.chroot
    """
    _run(pytester, text).assert_outcomes(passed=2)


def test_a_failure_shows_the_log(pytester: pytest.Pytester) -> None:
    text = """
        def test_passes(coterie_client, coterie_server):
            coterie_server.expire(coterie_client)

        def test_fails(coterie_client, coterie_server):
            coterie_server.expire(coterie_client)
            assert hex(coterie_client.session_id) == "different"
    """
    result = _run(pytester, text)
    result.assert_outcomes(passed=1, failed=1)
    shown = [line for line in result.outlines if "is made to expire" in line]
    assert len(shown) == 1
    result.stdout.re_match_lines([r"-+ Coterie's log \(127\.0\.0\.1:\d+/test-.*test_fails\) -+"])


def test_asyncio_alone(pytester: pytest.Pytester) -> None:
    text = """
        import asyncio

        def test_two_clients(coterie_connect):
            async def run():
                async with coterie_connect() as one, coterie_connect() as other:
                    await one.create("/told", b"x")
                    await other.sync()
                    return (await other.get("/told")).data

            assert asyncio.run(run()) == b"x"
    """
    _run(pytester, text).assert_outcomes(passed=1)


_COROUTINE = """
    async def test_it(coterie_async_client, coterie_connect):
        await coterie_async_client.create("/told", b"x")
        async with coterie_connect() as other:
            await other.sync()
            assert (await other.get("/told")).data == b"x"
"""


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_pytest_asyncio(pytester: pytest.Pytester, mode: str) -> None:
    mark = "    import pytest\n    pytestmark = pytest.mark.asyncio\n"
    text = (mark if mode == "strict" else "") + _COROUTINE
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    _run(pytester, text, *_NO_ANYIO, "--asyncio-mode", mode).assert_outcomes(passed=1)


def test_anyio(pytester: pytest.Pytester) -> None:
    text = """
    import pytest
    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend():
        return "asyncio"
    """
    _run(pytester, text + _COROUTINE, *_NO_ASYNCIO).assert_outcomes(passed=1)


def test_kazoo(pytester: pytest.Pytester) -> None:
    text = """
        from kazoo.client import KazooClient

        def test_it(coterie_hosts):
            zk = KazooClient(coterie_hosts)
            zk.start()
            assert zk.get_children("/") == []
            zk.stop()
            zk.close()
    """
    _run(pytester, text).assert_outcomes(passed=1)


@pytest.mark.parametrize("where", ["option", "file"])
def test_another_ensemble(pytester: pytest.Pytester, elsewhere: Server, where: str) -> None:
    text = """
        def test_client(coterie_client):
            coterie_client.create("/here")

        def test_fault(coterie_server):
            coterie_server.stop()

        def test_faults(coterie_ensemble):
            coterie_ensemble.kill()
    """
    hosts = f"{elsewhere.address}/team"
    options = ["--coterie-hosts", hosts] if where == "option" else []
    if where == "file":
        pytester.makeini(f"[pytest]\ncoterie_hosts = {hosts}\n")
    with connect_blocking(elsewhere.address) as zk:
        zk.create("/team")
        result = _run(pytester, text, *_PLAIN, *options)
        result.assert_outcomes(passed=1, skipped=2)
        assert zk.children("/team") == []
        assert zk.get("/team").stat.cversion == 2


def test_what_cannot_be_deleted_is_told(pytester: pytest.Pytester, elsewhere: Server) -> None:
    text = """
        from coterie import ACL, Id, Perms

        def test_guarded(coterie_connect):
            zk = coterie_connect.blocking(auth=[("digest", b"me:secret")])
            zk.create("/guarded/deep", parents=True)
            zk.set_acl("/guarded", (ACL(Perms.READ, Id("auth", "")),))
    """
    result = _run(pytester, text, *_PLAIN, "--coterie-hosts", elsewhere.address)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"*PytestWarning: *test_guarded stays at {elsewhere.address}: *"])


def test_nothing_is_imported_before_a_fixture_is_used() -> None:
    code = (
        "import sys, coterie.testing.plugin; "
        "print(*sorted(name for name in sys.modules if name.startswith('coterie')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["coterie", "coterie.testing", "coterie.testing.plugin"]


@pytest.mark.parametrize("kind", [Server, Cluster])
def test_ready_at_once(kind: type[Server | Cluster]) -> None:
    def seconds() -> float:
        started_s = time.perf_counter()
        with kind() as target, connect_blocking(target.hosts):
            return time.perf_counter() - started_s

    # A machine that is busy otherwise may be slow once, or twice.
    assert min(seconds() for _ in range(3)) < _READY_S_MAX


def test_a_process_of_its_own(pytester: pytest.Pytester) -> None:
    """All as a user has it: no warning when the interpreter ends, either."""
    pytester.makepyfile(
        """
        def test_it(coterie_client, coterie_ensemble):
            coterie_client.create("/x")
        """
    )
    result = pytester.runpytest_subprocess(*_ALWAYS, *_PLAIN)
    result.assert_outcomes(passed=1)
    result.stderr.no_fnmatch_line("*")
