"""The page in headless Chromium, driven through chromedriver's W3C protocol: what a person on a phone really gets."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from abside import snapshot
from abside.snapshot import Problem, Step, Variant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.sidecar.conftest import Running, World

    Start = Callable[..., Awaitable[Running]]

NEEDED = {"chromium": "chromium", "chromedriver": "chromium-driver"}  # command → Debian package
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
START_SECONDS = 60.0  # a first start on a busy machine
pytestmark = pytest.mark.timeout(600)  # the first run on a machine installs a browser
DAY_US = 86_400_000_000
SHOTS = os.environ.get("ABSIDE_TEST_SHOTS")  # noqa: TID251 a folder: keep what the browser drew, for people to look at


@dataclass(slots=True)
class Browser:
    """One session of chromedriver."""

    driver: str
    session: str = ""

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send one command of the protocol and give its value."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.driver + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
            return json.load(answer)["value"]

    def cdp(self, command: str, **parameters: Any) -> Any:
        """Send a command of Chromium's own protocol."""
        return self.call("POST", f"{self.session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url: str, width: int, *, dark: bool = False) -> None:
        """Load a page as a screen of this many CSS pixels shows it."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", features=[scheme])
        self.call("POST", f"{self.session}/url", {"url": url})

    def run(self, script: str) -> Any:
        """Return what a script returns; the driver's own scripts are not bound by the page's policy."""
        return self.call("POST", f"{self.session}/execute/sync", {"script": script, "args": []})

    def complaints(self) -> list[str]:
        """Return what the console logged since it was last read: errors, warnings, violations of the policy."""
        return [entry["message"] for entry in self.call("POST", f"{self.session}/se/log", {"type": "browser"})]

    def shoot(self, name: str) -> None:
        """Keep the whole page as a picture, where a folder for it was given."""
        if SHOTS:
            drawn = self.cdp("Page.captureScreenshot", captureBeyondViewport=True)
            (Path(SHOTS) / f"{name}.png").write_bytes(base64.b64decode(drawn["data"]))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, debian: Callable[..., None]) -> Iterator[Browser]:
    debian(NEEDED)
    folder = tmp_path_factory.mktemp("browser")
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=log, stderr=log)
    browser = Browser(f"http://127.0.0.1:{port}")
    try:
        ready(browser, folder / "log")
        options = {"args": [*FLAGS, f"--user-data-dir={folder / 'profile'}"], "binary": shutil.which("chromium")}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        begun = browser.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        browser.session = f"/session/{begun['sessionId']}"
        yield browser
        browser.call("DELETE", browser.session)
    finally:
        child.terminate()
        child.wait(START_SECONDS)


def ready(browser: Browser, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if browser.call("GET", "/status")["ready"]:
                return
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


def busy_week(world: World) -> snapshot.Snapshot:
    """Every kind of experiment, texts of people who mean no good, and documents with mistakes."""
    now_us = time.time_ns() // 1000
    published = world.snapshot(
        pdp_rank_2026_11={
            "steps": (Step(0, 2000), Step(now_us + 2 * DAY_US, 5000)),
            "layer": "pdp-ranking",
            "slots": (0, 5000),
        },
        pdp_badge={"pause": "carts <b>broken</b> since noon, see the incident channel"},
        feed_ramp={"start_us": now_us + DAY_US, "name": "<script>document.title='owned'</script>"},
    )
    long = replace(
        published.experiments["search-de"],
        id="a-very-long-identifier_that-has-no-end.and-never-a-space-0123456",
        name="Nameswithoutspaces" * 6,
        status="ended",
    )
    idle = replace(
        published.experiments["pdp-rank-2026-11"],
        id="pdp-tiles",
        name="Tiles",
        owner="search-team",
        hypothesis="Tiles <i>show</i> more items, so more of them are put into the cart",
        force={},
        steps=(Step(0, 0),),
        slots=(6000, 8000),
        eligibility=({"attribute": "country", "type": "string", "op": "in", "value": ["AT", "DE"]},),
        variants=(Variant("control", 0, 5000), Variant("tiles", 5000, 10_000, {"pdp": {"item_count": 24}})),
    )
    draft = replace(long, id="home-hero", name="Hero on home", status="draft", placements=("home",), eligibility=())
    problems = (
        problem(
            "error", 42, "experiments.cart-upsell.variants", "weights sum to 90%, not 100%", "make them sum to 100%"
        ),
        problem("error", 61, "experiments.pdp-badge.traffic", "a percentage carries %", "write 20%", "20"),
        problem("warning", 9, "experiments.feed-ramp.end", "the end is past", "write status: ended"),
    )
    records = [*published.records(), idle, long, draft]
    return snapshot.assemble(
        published.head.attributes, records, written_at_us=now_us - 90_000_000, degraded=True, problems=problems
    )


def problem(severity: Any, line: int, path: str, message: str, remedy: str, value: str = "") -> Problem:
    return Problem(severity, "CODE", "experiments.yaml", line, 9, path, value, message, remedy)


async def with_traffic(start: Start, world: World) -> Running:
    """A sidecar that has worked: exposures, clicks, and a caller that forgets the country."""
    running = await start(busy_week(world), allow_force=True)
    for number in range(30):  # 90 requests: every one of a revision's first is in the sample
        await running.assign(placement="pdp", user_id=f"u{number}")
        await running.assign(
            placement="pdp", user_id="x", force={"pdp-rank-2026-11": ("control", "treatment")[number % 5 == 0]}
        )
        attributes = {"country": "DE"} if number % 10 == 0 else {}
        await running.assign(placement="search", user_id=f"u{number}", attributes=attributes)
    await running.post("/v1/events", [{"type": "click", "user_id": "u1", "item_id": "a"}] * 7)
    return running


async def test_the_page_reads_well_on_a_phone_and_a_desk_and_the_console_stays_silent(
    browser: Browser, start: Start, world: World
) -> None:
    running = await with_traffic(start, world)
    look = asyncio.to_thread
    for width, dark in ((320, False), (320, True), (768, False), (768, True), (1280, False), (1280, True)):
        await look(browser.open, f"{running.url}/", width, dark=dark)
        scrolled, inner = await look(browser.run, "return [document.scrollingElement.scrollWidth, window.innerWidth]")
        assert (scrolled <= inner, inner) == (True, width)
        await look(browser.shoot, f"page-{width}-{'dark' if dark else 'light'}")
        assert await look(browser.complaints) == []
    await look(browser.run, "for (const one of document.querySelectorAll('details')) one.open = true")
    shown = await look(browser.run, "return document.body.innerText")
    for words in (
        "running",
        "paused",
        "not started",
        "ended",
        "draft",
        "traffic becomes 50%",
        "weights sum to 90%",
        "2 errors, 1 warning",
    ):
        assert words in shown
    assert "carts <b>broken</b> since noon" in shown
    assert "country was missing in 90.0%" in shown
    assert await look(browser.run, "return document.title") == "abside: 3 running, 3 problems"


async def test_a_screen_reader_finds_a_title_headings_and_named_tables(
    browser: Browser, start: Start, world: World
) -> None:
    running = await with_traffic(start, world)
    look = asyncio.to_thread
    await look(browser.open, f"{running.url}/?refresh=off", 1280)
    tree = (await look(browser.cdp, "Accessibility.getFullAXTree"))["nodes"]
    spoken = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if "role" in node}
    assert {
        ("RootWebArea", "abside: 3 running, 3 problems"),
        ("heading", "Experiments"),
        ("heading", "PDP re-ranker v2 running"),
        ("article", "PDP re-ranker v2 running"),
        ("region", "Experiments"),
        ("table", "Variants of pdp-rank-2026-11: weight, and share of this pod"),
        ("rowheader", "treatment"),
        ("columnheader", "Exposures"),
        ("searchbox", "Find by name or id"),
        ("meter", "Spool in use"),
        ("main", ""),
    } <= spoken
    levels = await look(browser.run, "return [...document.querySelectorAll('h1,h2,h3')].map(one => one.tagName[1])")
    assert levels[0] == "1"
    assert levels.count("1") == 1
    assert not re.search("13", "".join(levels))  # no level is left out


async def test_text_stands_out_from_its_ground_in_light_and_dark(browser: Browser, start: Start, world: World) -> None:
    running = await with_traffic(start, world)
    look = asyncio.to_thread
    for dark in (False, True):
        await look(browser.open, f"{running.url}/?refresh=off", 1280, dark=dark)
        worst = await look(browser.run, CONTRAST)
        assert worst["ratio"] >= 4.5, worst  # WCAG 2.2, 1.4.3
        assert worst["dark"] is dark


async def test_finding_and_stopping_work_by_keyboard_alone_and_without_script(
    browser: Browser, start: Start, world: World
) -> None:
    running = await with_traffic(start, world)
    look = asyncio.to_thread
    await look(browser.open, f"{running.url}/", 360)
    await look(browser.run, "document.getElementById('find').focus()")
    keys = [{"type": kind, "value": key} for key in "RE-rank\ue007" for kind in ("keyDown", "keyUp")]
    actions = [{"type": "key", "id": "keyboard", "actions": keys}]
    await look(browser.call, "POST", f"{browser.session}/actions", {"actions": actions})
    headings = "return [...document.querySelectorAll('#experiments ~ .cards h3 bdi')].map(one => one.textContent)"
    deadline = time.monotonic() + START_SECONDS
    while await look(browser.run, headings) != ["PDP re-ranker v2"]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await look(browser.run, "document.querySelector('footer a').click()")
    while await look(browser.run, "return document.querySelector('meta[http-equiv]') !== null"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert await look(browser.run, "return location.search") == "?find=RE-rank&refresh=off"
    assert await look(browser.complaints) == []


async def test_a_person_asks_what_a_shopper_gets_without_script_and_the_answer_stays(
    browser: Browser, start: Start, world: World
) -> None:
    running = await with_traffic(start, world)
    before = running.spooled()
    look = asyncio.to_thread
    await look(browser.open, f"{running.url}/", 320)
    for name, text in {"placement": "pdp", "user_id": "<b>u1</b>", "attribute.country": "FR"}.items():
        await look(browser.run, f"document.querySelector(`[name='{name}']`).value = '{text}'")
    await look(browser.run, "document.querySelector('.ask button').click()")
    deadline = time.monotonic() + START_SECONDS
    while not await look(browser.run, "return document.querySelector('.answer') !== null"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    answer = await look(browser.run, "return document.querySelector('.answer').innerText")
    assert "pdp-rank-2026-11" in answer
    assert 'country in [AT, DE] does not hold, it saw "FR"' in answer
    assert "item_count" in answer
    assert await look(browser.run, "return location.hash") == "#shopper"
    assert await look(browser.run, "return document.querySelector('meta[http-equiv]')") is None
    assert await look(browser.run, "return document.querySelector('[name=user_id]').value") == "<b>u1</b>"
    for width, dark in ((320, False), (768, True), (1280, False)):
        address = await look(browser.run, "return location.href")
        await look(browser.open, address, width, dark=dark)
        scrolled, inner = await look(browser.run, "return [document.scrollingElement.scrollWidth, window.innerWidth]")
        assert (scrolled <= inner, inner) == (True, width)
        await look(browser.shoot, f"asked-{width}-{'dark' if dark else 'light'}")
        worst = await look(browser.run, CONTRAST)
        assert worst["ratio"] >= 4.5, worst
    assert await look(browser.complaints) == []
    assert running.spooled() == before


# The smallest contrast (WCAG 2.2's formula) between a text and the nearest painted ground behind it.
CONTRAST = """
const rgb = text => text.match(/[\\d.]+/g).map(Number);
const light = text => {
  const line = c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const [r, g, b] = rgb(text).slice(0, 3).map(c => line(c / 255));
  return .2126 * r + .7152 * g + .0722 * b;
};
const ground = one => {
  for (; one; one = one.parentElement) {
    const paint = getComputedStyle(one).backgroundColor;
    if (rgb(paint)[3] !== 0) return paint;
  }
};
const worst = {ratio: 99, dark: matchMedia('(prefers-color-scheme: dark)').matches};
for (const one of document.body.querySelectorAll('*')) {
  if (![...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
  const [a, b] = [light(getComputedStyle(one).color), light(ground(one))];
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < worst.ratio) Object.assign(worst, {ratio, text: one.textContent.slice(0, 60)});
}
return worst;
"""
