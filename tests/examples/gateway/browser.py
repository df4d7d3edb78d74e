"""A headless Chromium for the tests of pages, in the few words that they need."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

T = TypeVar("T")

CHROMIUM: Final = shutil.which("chromium")
DRIVER: Final = shutil.which("chromedriver")
PATIENCE_S: Final = 20.0
_PRESSES_MAX: Final = 5
_ASKS_S: Final = 5.0
"""Longer than the button asks."""
_PICTURES: Final = Path(__file__).parent.parent.parent.parent / "docs" / "gateway"
_TAKES_PICTURES: Final = bool(os.environ.get("COTERIE_TEST_SCREENSHOTS"))
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


class Browser:
    """One window. What is looked for is waited for."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self._base = ""

    def begin(self, base: str) -> None:
        """As nobody, who has never been here, in a wide window and by day."""
        self._base = base
        self.looks()
        self.size(1280, 1000)
        self.open("/")
        self.script("localStorage.clear()")
        self.problems()

    def open(self, path: str) -> None:
        self.driver.get(self._base + path)

    def script(self, text: str, *arguments: object) -> Any:
        return self.driver.execute_script(text, *arguments)

    def size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def looks(self, *, dark: bool = False, still: bool = False) -> None:
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    # Looking

    def wait(self, what: Callable[[], T], seconds: float = PATIENCE_S, why: str = "") -> T:
        """The first that is neither false nor empty."""
        gone = [StaleElementReferenceException]
        waiting = WebDriverWait(self.driver, seconds, 0.05, ignored_exceptions=gone)
        found: T = waiting.until(lambda _: what(), why)
        return found

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str, seconds: float = PATIENCE_S) -> WebElement:
        return self.wait(lambda: self.all(selector), seconds, selector)[0]

    def text(self, selector: str) -> str:
        found = self.script(
            "return document.querySelector(arguments[0])?.textContent ?? ''", selector
        )
        return str(found)

    def see(self, selector: str, text: str, seconds: float = PATIENCE_S) -> str:
        """Wait for a text in an element; all of that element's."""

        def seen() -> str:
            found = self.text(selector)
            return found if text in found else ""

        return self.wait(seen, seconds, f"{text!r} in {selector}")

    def told(self) -> list[str]:
        """The log of the live page, the newest first."""
        found = self.script(
            "return [...document.querySelectorAll('#log li')]"
            ".map((line) => line.querySelector('span').textContent)"
        )
        return [str(line) for line in found]

    def hear(self, text: str, seconds: float = PATIENCE_S) -> list[str]:
        """Wait for a line of that log that begins like this; the lines since."""

        def heard() -> list[str]:
            lines = self.told()
            at = next((n for n, line in enumerate(lines) if line.startswith(text)), None)
            return [] if at is None else lines[: at + 1]

        return self.wait(heard, seconds, f"the line {text!r}")

    def state(self) -> dict[str, Any]:
        """What the live page was told last, asked for anew."""
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "fetch('/live/state').then((answer) => answer.json()).then(done, () => done({}))"
        )
        return dict(found)

    def leader(self, kind: str) -> str:
        """Who leads, once somebody does whose process lives."""

        def leads() -> str:
            state = self.state()
            if kind == "coterie":
                found = [one for one in state["ensemble"] if one["role"] == "leader"]
            else:
                found = [
                    one
                    for one in state["components"]
                    if one["kind"] == kind and one["leader"] and one["state"] == "serving"
                ]
            return str(found[0]["name"]) if found else ""

        return self.wait(leads, why=f"a leader of {kind}")

    def problems(self) -> list[str]:
        """What the console has complained about since the last look."""
        log: Any = self.driver
        return [str(entry["message"]) for entry in log.get_log("browser")]

    # Doing

    def node(self, name: str) -> WebElement:
        return self.one(f'#sea [data-name="{name}"]')

    def press_twice(self, name: str) -> None:
        button = self.one(f'#sea [data-name="{name}"] .kill')
        button.click()
        button.click()

    def kill(self, name: str) -> None:
        """Press the button in the drawing, twice; anew if the question was over before that."""
        line = f"{name} was killed with -9 by hand"
        before = self.told().count(line)
        for _ in range(_PRESSES_MAX):
            self.press_twice(name)
            with suppress(TimeoutException):
                self.wait(lambda: self.told().count(line) > before, _ASKS_S)
                return
        raise AssertionError(f"{name} was not killed")

    def sign_in(self, name: str) -> None:
        self.one("#name").send_keys(name)
        self.one("form button").click()
        self.see("#user", name.lower())

    def picture(self, name: str) -> None:
        """For the documents, if that is asked for (COTERIE_TEST_SCREENSHOTS)."""
        if _TAKES_PICTURES:
            _PICTURES.mkdir(exist_ok=True)
            self.driver.save_screenshot(str(_PICTURES / f"{name}.png"))


@contextmanager
def opened() -> Iterator[Browser]:
    """A browser with a profile of its own, for the time of a block."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        try:
            yield Browser(driver)
        finally:
            driver.quit()
