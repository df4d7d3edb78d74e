"""The pages before the gateway that really runs: right results, and real kills that are seen."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coterie.testing.ports import free_port
from tests.examples.gateway import browser as browsers
from tests.examples.gateway.browser import Browser

pytestmark = [
    pytest.mark.gateway,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not browsers.DRIVER or not browsers.CHROMIUM, reason="needs chromium"),
]

_START_S = 90
_JOB_S = 60
_HEAL_S = 60


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the portal of a whole gateway is."""
    port = free_port()
    data = tmp_path_factory.mktemp("gateway")
    words = ["-m", "examples.gateway", "--data", str(data), "--port", str(port)]
    with (data / "launcher.log").open("w+", encoding="utf-8") as log:
        launcher = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log)
        try:
            _await_start(launcher, Path(log.name))
            yield f"http://127.0.0.1:{port}"
        finally:
            launcher.send_signal(signal.SIGTERM)
            launcher.wait(30)


def _await_start(launcher: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(_START_S * 5):
        if "everything is up" in log.read_text(encoding="utf-8"):
            return
        try:
            launcher.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(f"it did not start:\n{log.read_text(encoding='utf-8')}")


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browsers.opened() as browser:
        yield browser


@pytest.fixture
def browser(window: Browser, url: str) -> Browser:
    window.begin(url)
    window.wait(lambda: _is_well(window.state()), _HEAL_S, "a gateway that is well")
    return window


def _is_well(state: dict[str, Any]) -> bool:
    return all(one["state"] == "serving" for one in state["components"]) and all(
        one["role"] in ("leader", "follower") for one in state["ensemble"]
    )


def _heals(browser: Browser, name: str) -> None:
    """The page tells that somebody came back, and after that, that all is well."""
    browser.hear(f"{name} joined", _HEAL_S)
    browser.wait(
        lambda: (
            browser.told().index("healed: everyone serves")
            < next(n for n, line in enumerate(browser.told()) if line.startswith(f"{name} joined"))
        ),
        _HEAL_S,
        "healed",
    )


def _run_sample(browser: Browser, application: str, output: str) -> dict[str, Any]:
    browser.open("/applications")
    browser.sign_in("ada")
    browser.one(f'[data-application="{application}"] .button').click()
    browser.one("#sample").click()
    browser.one("#submit .primary").click()
    browser.one('main[data-state="done"]', _JOB_S)
    browser.see(f'[data-output="{output}"] pre', "}")
    return dict(json.loads(browser.text(f'[data-output="{output}"] pre')))


def test_two_proteins_are_aligned(browser: Browser) -> None:
    result = _run_sample(browser, "align", "result.json")
    # The alpha and beta chains of human haemoglobin share some 43% of their residues.
    assert result["score"] == 292.5
    assert round(result["identity"]) == 44
    browser.size(1000, 940)
    browser.picture("experiment")


def test_an_outbreak_is_fitted(browser: Browser) -> None:
    fit = _run_sample(browser, "outbreak", "fit.json")
    # The boarding school of 1978: R0 is 3.7 or 3.8 in the textbooks.
    assert 3.6 < fit["R0"] < 3.9
    browser.one('[data-output="sweep.csv"] table')


def test_a_dead_managers_job_is_moved(browser: Browser) -> None:
    """An application of a user's own that takes long enough to be interrupted."""
    browser.open("/applications")
    browser.sign_in("grace")
    browser.one("summary").click()
    browser.one("#new-name").send_keys("nap")
    browser.one("#new-command").send_keys("sleep\n{seconds}")
    browser.one("#inputs [name=name]").send_keys("seconds")
    browser.one("#inputs [name=type] option[value=number]").click()
    browser.one("#outputs [aria-label='Remove this output']").click()
    browser.one("#register .primary").click()
    browser.one('[data-application="nap"] .button').click()
    browser.one("#input-seconds").send_keys("12")
    browser.one("#submit .primary").click()
    browser.one('main[data-state="running"]', _JOB_S)
    place = browser.script("return location.pathname")

    browser.open("/")

    def nap() -> dict[str, Any] | None:
        jobs = browser.state().get("jobs", [])
        return next((job for job in jobs if job["application"] == "nap"), None)

    job = browser.wait(nap, _JOB_S, "the job on the live page")
    assert job is not None
    browser.kill(job["manager"])
    browser.hear(f"{job['manager']} died; its session is not over yet")
    moved = f"nap {job['id'][:8]} moved"
    lines = browser.hear(moved, _HEAL_S)
    assert lines[-1].endswith("attempt 2")
    _heals(browser, job["manager"])
    browser.open(place)
    browser.one('main[data-state="done"]', _JOB_S)
    browser.see("main", "attempt 2")


def test_another_metadata_server_leads(browser: Browser) -> None:
    was = browser.leader("metadata")
    browser.kill(was)
    browser.hear(f"{was} died; its session is not over yet")
    browser.wait(lambda: browser.leader("metadata") != was, _HEAL_S, "another leader")
    now = browser.leader("metadata")
    browser.hear(f"{now} leads metadata")
    browser.one(f'#sea [data-name="{now}"].leads')
    _heals(browser, was)
    # And what it is for works.
    assert _run_sample(browser, "align", "result.json")["score"] == 292.5


def test_another_coterie_server_leads(browser: Browser) -> None:
    was = browser.leader("coterie")
    browser.kill(was)
    browser.hear(f"{was} is down (it led)")
    browser.wait(lambda: browser.leader("coterie") != was, _HEAL_S, "another leader")
    browser.hear(f"{was} is back as follower", _HEAL_S)
    browser.wait(lambda: _is_well(browser.state()), _HEAL_S, "a gateway that is well")
    assert _run_sample(browser, "align", "result.json")["score"] == 292.5


def test_the_portal_itself_comes_back(browser: Browser) -> None:
    (portal,) = [one for one in browser.state()["components"] if one["kind"] == "portal"]
    # Which can no more tell of it.
    browser.press_twice(portal["name"])

    def another() -> bool:
        found = [one for one in browser.state().get("components", ()) if one["kind"] == "portal"]
        return [one["pid"] for one in found] not in ([], [portal["pid"]])

    browser.wait(another, _HEAL_S, "another portal")
    # The page goes on by itself.
    assert browser.hear("the portal began to watch", _HEAL_S) == browser.told()
    browser.wait(lambda: not browser.one("#old").is_displayed(), _HEAL_S)
