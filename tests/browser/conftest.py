"""Chromium without a window, over its DevTools: what it fetched, what its console says, what a person would see.

Nothing is downloaded: the browser and its driver are the system's own, named to selenium by their paths. Screenshots
are kept in the folder that TESTBED_SCREENSHOTS names, else in the test's own.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

WIDTH, HEIGHT = 1280, 900
SWITCHES = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking")


@dataclass(frozen=True)
class Browser:
    """A browser and the folder for its files."""

    driver: Any
    folder: Path

    def open(self, name: str, html: str) -> str:
        """Show a page from a file; gives its address. What was logged before is forgotten."""
        path = self.folder / f"{name}.html"
        path.write_text(html, encoding="utf-8")
        self.requests(), self.complaints()
        self.driver.get(path.as_uri())
        return path.as_uri()

    def run(self, script: str, *values: object) -> Any:
        """What a script gives, run in the page by the driver."""
        return self.driver.execute_script(script, *values)

    def command(self, name: str, **values: object) -> Any:
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, values)

    def requests(self) -> list[str]:
        """Every address that was asked for since the last look."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent]

    def complaints(self) -> list[str]:
        """What the console said since the last look: errors, refusals of the page's policy, warnings."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def theme(self, scheme: str) -> None:
        """Light or dark, as the system would ask for."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, name: str, *, most: int = 6000) -> Path:
        """The whole page as a picture, at most so high."""
        height = min(self.run("return document.documentElement.scrollHeight"), most)
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
        shot = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return self.keep(f"{name}.png", shot["data"])

    def keep(self, name: str, encoded: str) -> Path:
        """Keep an artefact that came in base64."""
        folder = Path(os.environ.get("TESTBED_SCREENSHOTS") or self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_bytes(base64.b64decode(encoded))
        return path


def _start() -> Any:
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for switch in (*SWITCHES, f"--window-size={WIDTH},{HEIGHT}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return Chrome(options=options, service=Service(shutil.which("chromedriver")))


@pytest.fixture(scope="session")
def _driver() -> Iterator[Any]:
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            pytest.skip(f"{program} is missing (apt-get install chromium chromium-driver)")
    driver = _start()
    yield driver
    driver.quit()


@pytest.fixture
def browser(_driver: Any, tmp_path: Path) -> Iterator[Browser]:
    """A browser 1280 pixels wide, light, with scripts."""
    made = Browser(_driver, tmp_path)
    made.command("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)
    made.theme("light")
    yield made
    made.command("Emulation.setScriptExecutionDisabled", value=False)
    made.driver.get("about:blank")
