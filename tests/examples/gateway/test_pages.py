"""The portal's pages in a real browser, before a gateway whose components only say they are there.

With COTERIE_TEST_SCREENSHOTS=1 it takes the pictures of docs/gateway/ anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.examples.gateway import browser as browsers
from tests.examples.gateway.browser import Browser
from tests.examples.gateway.fake_gateway import FakeGateway, played

pytestmark = [
    pytest.mark.gateway,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not browsers.DRIVER or not browsers.CHROMIUM, reason="needs chromium"),
]


@pytest.fixture(scope="module")
def gateway() -> Iterator[FakeGateway]:
    with played() as gateway:
        yield gateway


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browsers.opened() as browser:
        yield browser


@pytest.fixture
def browser(window: Browser, gateway: FakeGateway) -> Iterator[Browser]:
    """One in front of a gateway that is well."""
    window.begin(gateway.url)
    window.wait(lambda: _is_well(window), why="a gateway that is well")
    yield window
    assert window.problems() == []


def _is_well(browser: Browser) -> bool:
    state = browser.state()
    return (
        all(one["state"] == "serving" for one in state["components"])
        and all(one["role"] in ("leader", "follower") for one in state["ensemble"])
        and all(state["leaders"].get(kind) for kind in ("metadata", "scheduler"))
    )


# The live page


def test_everyone_is_shown_and_who_leads(browser: Browser, gateway: FakeGateway) -> None:
    browser.open("/")
    browser.one('#sea [data-name="manager-dask-1"]')
    for place in ("#sea", "#everyone"):
        names = {one.get_attribute("data-name") for one in browser.all(f"{place} [data-name]")}
        assert names == set(gateway.processes)
    crowned = {one.get_attribute("data-name") for one in browser.all("#sea .node.leads")}
    leaders = {browser.leader(kind) for kind in ("metadata", "scheduler", "coterie")}
    assert crowned == leaders
    label = browser.node("manager-dask-1").get_attribute("aria-label") or ""
    assert label.startswith("manager-dask-1, manager, dask, v1.0.0, serving")
    assert not browser.one("#old").is_displayed()


def test_a_kill_takes_two_presses_and_is_noticed_and_healed(browser: Browser) -> None:
    button = browser.one('#sea [data-name="manager-local-1"] .kill')
    button.click()
    assert button.get_attribute("aria-label") == "Really kill manager-local-1 with -9"
    button.send_keys(Keys.ESCAPE)
    assert button.get_attribute("aria-label") == "Kill manager-local-1"
    browser.kill("manager-local-1")
    browser.hear("manager-local-1 died; its session is not over yet")
    browser.one('#sea [data-name="manager-local-1"].silent')
    browser.hear("manager-local-1 is found by nobody any more")
    lines = browser.hear("healed: everyone serves")
    assert any(line.startswith("manager-local-1 joined") for line in browser.told())
    assert not any("died" in line for line in lines)


def test_a_kill_by_keyboard(browser: Browser) -> None:
    selector = '#everyone [data-name="api-2"] button'
    browser.one(selector)
    browser.script("document.querySelector(arguments[0]).focus()", selector)
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.see(selector, "kill -9 ?")
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.hear("api-2 was killed with -9 by hand")
    browser.hear("api-2 joined")


def test_when_a_leader_dies_another_is_crowned(browser: Browser) -> None:
    was = browser.leader("metadata")
    browser.kill(was)
    browser.hear(f"{was} died")
    browser.wait(lambda: browser.leader("metadata") != was, why="another leader")
    now = browser.leader("metadata")
    browser.one(f'#sea [data-name="{now}"].leads')
    browser.hear(f"{now} leads metadata, after {was}")


def test_when_the_leader_of_the_ensemble_dies_another_is_crowned(browser: Browser) -> None:
    was = browser.leader("coterie")
    browser.kill(was)
    browser.hear(f"{was} is down (it led)")
    browser.wait(lambda: browser.leader("coterie") != was, why="another leader")
    now = browser.leader("coterie")
    browser.one(f'#sea [data-name="{now}"].leads')
    browser.hear(f"{was} is back as follower")


def test_jobs_flow_and_move_from_a_dead_manager(browser: Browser, gateway: FakeGateway) -> None:
    browser.size(1100, 700)
    gateway.holding = True
    browser.one("#run").click()
    browser.see("#counts", "8 running")
    browser.wait(lambda: _dots_below(browser) == 8, why="eight dots on the legs")
    browser.picture("live")
    held = [job["manager"] for job in browser.state()["jobs"] if job["application"] == "align"]
    holder = str(held[0])
    browser.looks(dark=True)
    browser.kill(holder)
    browser.one(f'#sea [data-name="{holder}"].silent')
    moved = f"moved from {holder} to"
    browser.wait(lambda: any(moved in line for line in browser.told()), why="a job that moves")
    browser.picture("killed")
    lines = [line for line in browser.told() if moved in line]
    assert all(line.endswith("attempt 2") for line in lines)
    gateway.holding = False
    browser.see("#counts", "8 done", 30)
    # They come home once.
    browser.wait(lambda: not browser.all(_DOTS), why="no dots")
    browser.hear("healed")
    assert not browser.all(_DOTS)


_DOTS = "#sea svg > g > .dot"


def _dots_below(browser: Browser) -> int:
    """How many have reached the legs."""
    return sum(float(dot.get_attribute("cy") or 0) > 590 for dot in browser.all(_DOTS))


def test_on_a_telephone_the_list_says_it_all(browser: Browser) -> None:
    for path in ("/", "/experiments", "/applications"):
        browser.size(360, 740)
        browser.open(path)
        browser.one("h1")
        wide = browser.script("return document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, path
    browser.open("/")
    browser.one("#everyone [data-name]")
    assert not browser.one("#sea").is_displayed()
    assert browser.one('#everyone [data-name="metadata-1"] button').is_displayed()


def test_who_wants_no_motion_has_none(browser: Browser) -> None:
    browser.looks(still=True)
    browser.open("/")
    browser.one("#run").click()
    browser.wait(lambda: browser.all("#sea .dot"), why="dots")
    assert browser.script("return document.getAnimations().length") == 0


def test_a_portal_that_does_not_answer_is_told_of(browser: Browser, gateway: FakeGateway) -> None:
    browser.one("#everyone [data-name]")
    gateway.let_portal(False)
    browser.see("#old", "The portal does not answer", 30)
    browser.one("#sea.old")
    gateway.let_portal(True)
    browser.wait(lambda: not browser.one("#old").is_displayed(), 30)
    browser.problems()


def test_old_answers_are_said_to_be_old(browser: Browser, gateway: FakeGateway) -> None:
    assert gateway.cluster is not None
    browser.one("#everyone [data-name]")
    gateway.cluster.kill()
    browser.see("#old", "No server of the ensemble answers", 30)
    assert browser.all('#sea [data-name="metadata-1"]')
    gateway.cluster.start()
    browser.wait(lambda: not browser.one("#old").is_displayed(), 40)


# The pages of users


def test_an_experiment_with_the_sample(browser: Browser) -> None:
    browser.open("/applications")
    browser.sign_in("Ada")
    browser.one('[data-application="align"] .button').click()
    browser.one("#sample").click()
    browser.one("#submit .primary").click()
    browser.one('main[data-state="done"]')
    browser.see('[data-output="result.json"]', '"score": 292')
    # What users and programs say is text, whatever it looks like.
    browser.see('[data-output="alignment.txt"]', "<img src=x onerror")
    browser.see("main", "computing <b>hard</b>")
    assert "owned" not in browser.driver.title
    assert browser.all("main img, main b[onerror]") == []


def test_an_experiment_with_files_of_ones_own(browser: Browser, tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("day,cases\n1,2\n")
    browser.open("/applications/outbreak")
    browser.sign_in("grace")
    browser.one("#input-cases").send_keys(str(mine))
    browser.one("#submit .primary").click()
    browser.one('main[data-state="done"]')
    browser.see("main", "mine.csv")
    cells = [cell.text for cell in browser.all(".csv td")]
    assert cells == ["1.66", "0.44", "best", "1.70", "0.50", 'a "second" one']
    browser.one('[data-output="sweep.csv"] button').click()
    browser.open("/experiments")
    row = browser.one("tbody tr")
    assert "done" in row.text
    browser.one(".choice button:last-child").click()
    browser.wait(lambda: len(browser.all("tbody tr")) > 1, why="everybody's")


def test_an_application_is_registered(browser: Browser, gateway: FakeGateway) -> None:
    browser.open("/applications")
    browser.sign_in("alan")
    browser.one("summary").click()
    browser.one("#new-name").send_keys("sorter")
    browser.one("#new-command").send_keys("sort\n-n\n{lines}")
    browser.one("#inputs [name=name]").send_keys("lines")
    browser.one("#outputs [name=name]").send_keys("sorted.txt")
    browser.one("#register .primary").click()
    browser.one('[data-application="sorter"]')
    (made,) = [one for one in gateway.applications if one["name"] == "sorter"]
    assert made["command"] == ["sort", "-n", "{lines}"]
    assert made["inputs"] == [
        {"name": "lines", "type": "file", "required": True, "description": ""}
    ]
    assert made["outputs"] == [{"name": "sorted.txt", "type": "file", "description": ""}]
    gateway.applications.remove(made)


def test_a_page_that_is_not_there(browser: Browser) -> None:
    browser.open("/nowhere")
    browser.see("h1", "There is no such page")
    assert len(browser.problems()) == 1


# For everybody

_NAMELESS = """
return [...document.querySelectorAll("button, input, select, textarea, a, [role=button]")]
  .filter((one) => !(one.labels?.length || one.getAttribute("aria-label")
    || one.textContent.trim()))
  .map((one) => one.outerHTML)
"""

_CONTRAST = """
const style = getComputedStyle(document.documentElement);
const light = (name) => {
  const colour = style.getPropertyValue(name).trim();
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
return arguments[0].map(([front, back]) => {
  const [high, low] = [light(front), light(back)].sort((a, b) => b - a);
  return [front, back, (high + 0.05) / (low + 0.05)];
});
"""

_PAIRS = [
    *[[front, back] for front in ("--ink", "--muted") for back in ("--card", "--bg", "--sunken")],
    *[[f"--{name}", f"--{name}-bg"] for name in ("good", "warn", "bad", "calm", "violet")],
    *[["--accent", "--card"], ["--accent", "--sunken"], ["--accent-ink", "--accent"]],
    *[["--bad", "--card"], ["--bad", "--node"], ["--ink", "--node"], ["--muted", "--node"]],
]


@pytest.mark.parametrize("dark", [False, True])
def test_texts_are_readable(browser: Browser, dark: bool) -> None:
    browser.looks(dark=dark)
    found = browser.script(_CONTRAST, _PAIRS)
    # Level AA of the Web Content Accessibility Guidelines.
    assert [pair for pair in found if not pair[2] >= 4.5] == []


def test_all_that_can_be_pressed_has_a_name(browser: Browser) -> None:
    browser.one("#sea .kill")
    assert browser.script(_NAMELESS) == []
    browser.open("/applications")
    assert browser.script(_NAMELESS) == []
    browser.sign_in("ada")
    for path in ("/applications", "/applications/align", "/experiments"):
        browser.open(path)
        browser.one("main button, main a.button")
        assert browser.script(_NAMELESS) == [], path
