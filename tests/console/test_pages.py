"""The console in a browser, before a real server: what is seen, edited, and asked twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import coterie
from coterie.testing.ports import free_port
from coterie.values import CREATOR_ALL_ACL
from tests.runtime.server import Server

pytest.importorskip("selenium")

from selenium.webdriver.common.keys import Keys

from tests.examples.gateway.browser import CHROMIUM, DRIVER, Browser, opened

pytestmark = [
    pytest.mark.gateway,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Debian's chromium"),
]

_PICTURES: Final = Path(__file__).parent.parent.parent / "docs" / "console"
_TAKES_PICTURES: Final = bool(os.environ.get("COTERIE_TEST_SCREENSHOTS"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    settings = {
        "admin__enableServer": "true",
        "admin__serverPort": free_port(),
        "audit__enable": "true",
    }
    with Server(directory, None, tickTime=2000, **settings) as started:
        with coterie.connect_blocking(f"127.0.0.1:{started.port}") as zk:
            zk.create("/config/search/database", b'{"pool": 8}', parents=True)
            zk.create("/config/colour", b"green")
            zk.create("/blob", bytes(range(256)))
            for number in range(5):
                zk.create(f"/jobs/job-{number}", b"", parents=True)
        yield started
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with opened() as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser, server: Server) -> Iterator[Browser]:
    port = next(
        line.partition("=")[2]
        for line in server.file.read_text().splitlines()
        if line.startswith("admin.serverPort")
    )
    chromium.begin(f"http://127.0.0.1:{port}")
    yield chromium
    assert not [problem for problem in chromium.problems() if "Content Security" in problem]


@pytest.fixture
def zk(server: Server) -> Iterator[coterie.BlockingClient]:
    with coterie.connect_blocking(f"127.0.0.1:{server.port}") as client:
        yield client


def _picture(page: Browser, name: str) -> None:
    if _TAKES_PICTURES:
        _PICTURES.mkdir(exist_ok=True)
        page.driver.save_screenshot(str(_PICTURES / f"{name}.png"))


def _press(page: Browser, selector: str) -> None:
    page.wait(lambda: page.one(selector).is_enabled(), why=f"{selector} can be pressed")
    page.one(selector).click()


def _write(page: Browser, selector: str, text: str) -> None:
    field = page.one(selector)
    field.clear()
    field.send_keys(text)


def _no_wider_than_the_window(page: Browser) -> None:
    room = "return [document.documentElement.scrollWidth, window.innerWidth]"
    needed, there = page.script(room)
    assert needed <= there


def test_the_overview(page: Browser) -> None:
    page.see(".member .tag", "standalone")
    page.see("#state", "1 of 1 serving")
    page.wait(lambda: len(page.all(".chart path.series")) >= 3, why="lines in the charts")
    assert "Requests" in page.text(".charts")


def test_a_znode_is_edited_and_nobody_is_overwritten(
    page: Browser, zk: coterie.BlockingClient
) -> None:
    page.open("/#/tree/config/colour")
    page.wait(lambda: page.one("#data").get_property("value") == "green", why="its data")
    _write(page, "#data", "blue")
    _press(page, "#save")
    page.see("#toast", "Saved")
    assert zk.get("/config/colour").data == b"blue"
    zk.set("/config/colour", b"seen at once")
    page.wait(lambda: page.one("#data").get_property("value") == "seen at once", why="the watch")
    _write(page, "#data", "mine")
    zk.set("/config/colour", b"theirs")
    page.see(".banner", "changed meanwhile")
    _press(page, "#save")
    page.see("#toast", "Somebody else was faster")
    assert zk.get("/config/colour").data == b"theirs"
    assert page.one("#data").get_property("value") == "mine"


def test_a_child_is_made_and_a_subtree_is_deleted_only_by_name(
    page: Browser, zk: coterie.BlockingClient
) -> None:
    page.open("/#/tree/")
    page.see(".crumbs", "/")
    page.wait(
        lambda: [one for one in page.all("button") if one.text == "New child"], why="the button"
    )[0].click()
    _write(page, "#name", "made <b>here")
    _write(page, "#new-data", "x")
    page.one("dialog button[type=submit]").click()
    page.see(".crumbs", "made <b>here")
    assert zk.get("/made <b>here").data == b"x"
    zk.create("/doomed/below", parents=True)
    page.open("/#/tree/doomed")
    _press(page, "#delete")
    page.see("dialog", "1 children")
    assert not page.one("dialog button.sure").is_enabled()
    _write(page, "#typed", "doomed")
    _press(page, "dialog button.sure")
    page.see("#toast", "Deleted /doomed")
    assert zk.exists("/doomed") is None


def test_the_tree_goes_by_keys(page: Browser) -> None:
    page.open("/#/tree/")
    page.see(".rows", "jobs")
    page.script("document.querySelector('[data-path=\"/\"]').focus()")

    def press(key: str) -> None:
        page.driver.switch_to.active_element.send_keys(key)

    def at() -> str:
        return str(page.script("return document.activeElement.dataset.path"))

    press(Keys.END)
    assert at() == "/zookeeper"
    press(Keys.ARROW_RIGHT)
    page.see(".rows", "quota")
    page.wait(lambda: at() in ("/zookeeper", "/"), why="focus stays")


def test_a_search_and_what_is_no_text(page: Browser) -> None:
    page.open("/#/tree/")
    page.see(".rows", "jobs")
    page.one("#search").send_keys("DATAB", Keys.ENTER)
    page.see(".rows", "/config/search/database")
    page.open("/#/tree/blob")
    page.see("pre.hex", "0010  10 11 12")


def test_who_is_signed_in(page: Browser, server: Server) -> None:
    where = f"127.0.0.1:{server.port}"
    with coterie.connect_blocking(where, auth=[("digest", "me:secret")]) as zk:
        zk.create("/mine", b"hidden", acl=CREATOR_ALL_ACL)
    page.open("/#/tree/mine")
    page.see(".banner", "Sign in as somebody who may")
    page.one("#who").click()
    page.one("#user").send_keys("me")
    page.one("#password").send_keys("secret", Keys.ENTER)
    page.see("#who", "me")
    page.wait(lambda: page.one("#data").get_property("value") == "hidden", why="its data")


def test_sessions_and_storage(page: Browser, zk: coterie.BlockingClient) -> None:
    zk.create("/here", b"", ephemeral=True)
    page.open("/#/sessions")
    mine = f'[data-id="{zk.session_id:#x}"]'
    page.one(mine).click()
    page.see("tr.more", "/here")
    page.open("/#/storage")
    page.see("main", "Longest sync")
    page.see("main", "version-2")


def test_who_changed_what(page: Browser, server: Server) -> None:
    where = f"127.0.0.1:{server.port}"
    with coterie.connect_blocking(where, auth=[("digest", "ann:x")]) as zk:
        zk.create("/watched", b"a")
        zk.set("/watched", b"b")
        with pytest.raises(coterie.errors.BadVersionError):
            zk.set("/watched", b"c", version=7)
    page.open("/#/tree/watched")
    page.wait(lambda: page.one("#data").get_property("value") == "b", why="its data")
    page.wait(
        lambda: [one for one in page.all("main a") if one.text == "Who changed it"], why="the link"
    )[0].click()

    def rows() -> list[str]:
        return [row.text.replace("\n", " ") for row in page.all("#trail tbody tr")]

    page.wait(lambda: len(rows()) == 3, why="its three lines")
    newest, _, oldest = rows()
    assert "BadVersionError" in newest
    assert "ann" in oldest
    assert "create" in oldest
    page.one("#audit-result option[value=success]").click()
    page.wait(lambda: len(rows()) == 2, why="what succeeded")
    _write(page, "#audit-user", "nobody")
    page.see("main", "No such change")
    page.one("body").send_keys("5")
    page.open("/#/audit")
    page.see("#trail", "serverStart")
    _picture(page, "audit")


def test_how_the_audit_log_is_switched_on(page: Browser) -> None:
    page.script(
        "window.fetch = ((ask) => async (to, how) => to.startsWith('/console/audit') ? new"
        " Response(JSON.stringify({enabled: false, file: '/data/audit.jsonl'})) : ask(to, how))"
        "(window.fetch); location.hash = '#/audit'"
    )
    page.see("main", "audit.enable=true")
    page.see("main", "/data/audit.jsonl")


@pytest.mark.parametrize(
    "name", ["overview", "tree/config/colour", "sessions", "storage", "audit"]
)
def test_on_a_phone_nothing_is_wider_than_the_window(page: Browser, name: str) -> None:
    page.size(360, 740)
    page.open(f"/#/{name}")
    page.one("main .card")
    _no_wider_than_the_window(page)


def test_letters_stand_out(page: Browser) -> None:
    """Contrast of at least 4.5 in both looks, for what has a background of its own."""
    for dark in (False, True):
        page.looks(dark=dark)
        page.open("/#/overview")
        page.see(".member .tag", "standalone")
        weak = page.script(_CONTRAST)
        assert weak == [], f"dark: {dark}"


_CONTRAST: Final = """
const light = (text) => {
  const [r, g, b] = text.match(/[0-9.]+/g).map(Number).slice(0, 3)
    .map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const back = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (!/, 0\\)$|transparent/.test(colour)) return colour;
  }
  return "rgb(255, 255, 255)";
};
return [...document.querySelectorAll("body *")]
  .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
  .filter((one) => one.offsetParent && !one.closest("svg, script, noscript, .skip"))
  .map((one) => {
    const [a, b] = [light(getComputedStyle(one).color), light(back(one))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.textContent];
  })
  .filter(([contrast]) => contrast < 4.5);
"""


def test_pictures(page: Browser) -> None:
    page.open("/#/tree/config/search/database")
    page.see(".rows", "database")
    page.wait(lambda: page.one("#data").get_property("value"), why="its data")
    _picture(page, "tree")
    page.size(390, 800)
    page.looks(dark=True)
    page.open("/#/overview")
    page.wait(lambda: page.all(".chart path.series"), why="lines in the charts")
    _picture(page, "phone")
