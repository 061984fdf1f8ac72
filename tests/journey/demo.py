"""`make demo`: the whole journey on this machine, with real traffic, checked as it goes; exit 1 on a wrong figure."""

import asyncio
import csv
import gzip
import io
import json
import math
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from abside.collector.store import scan

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = ROOT / "k8s" / "experiments" / "config"
TRAFFIC = ROOT / "tests" / "data" / "open-bandit-sample.csv.gz"
HOME = ROOT / ".abside" / "demo"

PLACEMENTS = ["pdp", "newsfeed", "search", "home", "cart"]
SHOPPER = "u42"  # in treatment at pdp
CONNECTIONS = 16
REASKED = 1_000  # shoppers asked again after a ramp and a pause
SHOPPERS = 1_500  # of the simulated shop
IN_FORCE_SECONDS = 1.5  # promised for an edit on this machine
FAR = 4.0  # standard deviations: one table in ten thousand is further off by chance


@dataclass
class Shopper:
    """One row of the traffic: an impression of one item, perhaps clicked."""

    user_id: str
    session_id: str
    item_id: str
    position: int
    click: bool


@dataclass
class Tally:
    """What the sidecar accepted, and which shopper got which variant."""

    accepted: Counter[str] = field(default_factory=Counter)
    variant_of: dict[tuple[str, str], str] = field(default_factory=dict)  # (experiment, user) → variant
    wrong: list[str] = field(default_factory=list)

    def check(self, holds: bool, sentence: str) -> str:
        """Note a figure that is wrong; return the mark to print."""
        if not holds:
            self.wrong.append(sentence)
        return "ok" if holds else "WRONG"


class Stand:
    """The three processes, and how to talk to them."""

    def __init__(self, http: aiohttp.ClientSession, url: str, config: Path, paused: Path) -> None:
        self.http = http
        self.url = url
        self.config = config
        self.paused = paused

    async def post(self, path: str, body: Any) -> Any:
        async with self.http.post(self.url + path, json=body) as answer:
            document = await answer.json(content_type=None)
            if answer.status not in (200, 202):
                raise SystemExit(f"{path} answered {answer.status}: {document}")
            return document

    async def status(self) -> Any:
        async with self.http.get(self.url + "/v1/status") as answer:
            return await answer.json()

    async def assign(self, shopper: Shopper, *, expose: bool) -> dict[str, Any]:
        body = {
            "placements": PLACEMENTS,
            "expose": expose,
            "user_id": shopper.user_id,
            "session_id": shopper.session_id,
            "attributes": {"country": "DE", "app_version": "5.2.0"},
        }
        placements: dict[str, Any] = (await self.post("/v1/assign", body))["placements"]
        return placements

    async def until(self, holds: Callable[[Any], bool], since: float) -> float:
        """Wait until the status shows it; return the seconds since `since`."""
        while time.monotonic() - since < 20:
            if holds(await self.status()):
                return time.monotonic() - since
            await asyncio.sleep(0.01)
        raise SystemExit("20 s passed and the edit is not in force")


def title(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}\n{'-' * len(text)}")


def shoppers() -> list[Shopper]:
    rows = csv.DictReader(io.StringIO(gzip.decompress(TRAFFIC.read_bytes()).decode()))
    return [
        Shopper(f"u{number}", f"s{number}", row["item_id"], int(row["position"]), row["click"] == "1")
        for number, row in enumerate(rows)
    ]


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@asynccontextmanager
async def stand() -> AsyncIterator[tuple[Stand, subprocess.Popen[bytes], float]]:
    shutil.rmtree(HOME, ignore_errors=True)
    config = HOME / "config"
    shutil.copytree(DOCUMENTS, config)
    listen, admin, collect = free_ports(3)
    command = [sys.executable, "-m", "abside", "up", "--config", str(config), "--dir", str(HOME)]
    command += ["--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{admin}", "--collect", f"127.0.0.1:{collect}"]
    with (HOME / "log").open("wb") as log:
        since = time.monotonic()
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220 a millisecond
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as http:
            stood = Stand(http, f"http://127.0.0.1:{listen}", config, HOME / "paused")
            yield stood, process, await ready(stood, process, since)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(40)


async def ready(stood: Stand, process: subprocess.Popen[bytes], since: float) -> float:
    while time.monotonic() - since < 30:
        if process.poll() is not None:
            raise SystemExit(f"abside up ended: {(HOME / 'log').read_text()}")
        try:
            if (await stood.status())["revision"]:
                return time.monotonic() - since
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.02)
    raise SystemExit(f"not ready after 30 s: {(HOME / 'log').read_text()}")


async def replay(stood: Stand, crowd: list[Shopper], tally: Tally) -> float:
    """Send every row as its shopper's visit; return the seconds it took."""
    waiting = iter(crowd)

    async def worker() -> None:
        for shopper in waiting:
            placements = await stood.assign(shopper, expose=True)
            for shown in placements.values():
                tally.accepted["exposure"] += shown["exposure_id"] is not None
                for one in shown["assignments"]:
                    tally.variant_of[one["experiment"], shopper.user_id] = one["variant"]
            await report(stood, shopper, placements["pdp"]["exposure_id"], tally)

    since = time.monotonic()
    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    return time.monotonic() - since


async def report(stood: Stand, shopper: Shopper, exposure_id: str | None, tally: Tally) -> None:
    who: dict[str, Any] = {
        "user_id": shopper.user_id,
        "session_id": shopper.session_id,
        "placement": "pdp",
        "exposure_id": exposure_id,
    }
    events: list[dict[str, Any]] = [{"type": "impression", "items": [shopper.item_id], **who}]
    if shopper.click:
        click = {"type": "click", "item_id": shopper.item_id, "position": shopper.position, **who}
        events += [click, {"type": "add_to_cart", "item_id": shopper.item_id, "value": 29.9, "currency": "EUR", **who}]
    answer = await stood.post("/v1/events", events)
    tally.accepted.update(one["type"] for one in events)
    tally.check(answer["accepted"] == len(events), "every event sent is accepted")


def show_shares(status: Any, tally: Tally, asked: int) -> None:
    """Print the shares by variant beside their weights, with the distance in standard deviations."""
    print(
        f"  {'experiment':<20}{'status':<10}{'traffic':>8}{'in':>8}"
        f"   {'variant':<14}{'weight':>7}{'share':>8}{'sd off':>8}"
    )
    units: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (experiment, _), variant in tally.variant_of.items():
        units[experiment][variant] += 1
    for name, one in status["experiments"].items():
        total = units[name].total()
        head = f"{name:<20}{one['status']:<10}{one['traffic_bp'] / 100:>7g}%{total:>8,}"
        if not total:
            print(f"  {head}   nobody: every shopper gets the placement's own parameters")
            mark = tally.check(one["status"] != "running", f"{name} runs and has units")
            continue
        for variant, arm in one["variants"].items():
            weight = arm["weight_bp"] / 10_000
            share = units[name][variant] / total
            off = (share - weight) / math.sqrt(weight * (1 - weight) / total)
            mark = tally.check(abs(off) < FAR, f"{name}/{variant}: {share:.2%} of {weight:.0%}")
            print(f"  {head}   {variant:<14}{weight:>7.0%}{share:>8.1%}{off:>+8.1f}  {mark}")
            head = " " * len(head)
    print(f"  ({asked:,} shoppers asked; a layer's slots, eligibility and traffic decide who is in)")
    print("  sd off: how many standard deviations the share is from its weight; within ±2 in 19 of 20 cases by chance")


async def variants(stood: Stand, crowd: list[Shopper], placement: str, experiment: str) -> dict[str, str]:
    """Ask without exposing: who is in, and with which variant."""
    found = {}
    for shopper in crowd:
        shown = (await stood.assign(shopper, expose=False))[placement]
        for one in shown["assignments"]:
            if one["experiment"] == experiment:
                found[shopper.user_id] = one["variant"]
    return found


async def ramp(stood: Stand, crowd: list[Shopper], tally: Tally) -> None:
    name = "newsfeed-diversity"
    before = await variants(stood, crowd, "newsfeed", name)
    file = stood.config / "newsfeed.yaml"
    text = file.read_text()
    edited = text.replace("traffic: 50%}", "traffic: 100%}")
    tally.check(edited != text, f"{file.name} has a step with traffic: 50%")
    since = time.monotonic()
    file.write_text(edited)
    seconds = await stood.until(lambda now: now["experiments"][name]["traffic_bp"] == 10_000, since)
    after = await variants(stood, crowd, "newsfeed", name)
    moved = sum(after.get(user) != variant for user, variant in before.items())
    print(f"  {file.name}: the last step, traffic: 50% → 100%")
    mark = tally.check(seconds < IN_FORCE_SECONDS, f"the ramp took {seconds:.2f} s")
    print(f"  in force after {seconds:.2f} s  {mark}")
    mark = tally.check(moved == 0 and len(after) > len(before), f"the ramp moved {moved} shoppers")
    print(f"  of {len(crowd):,} shoppers {len(before):,} were in, now {len(after):,}; changed variant: {moved}  {mark}")


async def pause(stood: Stand, crowd: list[Shopper], tally: Tally) -> None:
    name = "pdp-reranker"
    before = await variants(stood, crowd, "pdp", name)
    key = stood.paused / name
    since = time.monotonic()
    key.write_text("carts look broken")
    seconds = await stood.until(lambda now: now["experiments"][name]["status"] == "paused", since)
    print(f"  paused/{name}: carts look broken")
    mark = tally.check(seconds < IN_FORCE_SECONDS, f"the pause took {seconds:.2f} s")
    print(f"  in force after {seconds:.2f} s  {mark}")
    still = await variants(stood, crowd, "pdp", name)
    print(f"  still in the experiment: {len(still)}  {tally.check(not still, 'a paused experiment has nobody')}")
    since = time.monotonic()
    key.unlink()
    seconds = await stood.until(lambda now: now["experiments"][name]["status"] == "running", since)
    again = await variants(stood, crowd, "pdp", name)
    mark = tally.check(again == before, "a resume gives everyone the variant they had")
    same = sum(again.get(user) == variant for user, variant in before.items())
    print(
        f"  key deleted, resumed after {seconds:.2f} s;"
        f" {same:,} of {len(before):,} have the variant they had before  {mark}"
    )


def show_landed(tally: Tally) -> None:
    """Compare what was accepted with what is in Parquet, by type, each event once."""
    table = scan(HOME / "store").to_table(columns=["type", "event_id"])
    rows = set(zip(table["type"].to_pylist(), table["event_id"].to_pylist(), strict=True))
    landed = Counter(kind for kind, _ in rows)
    print(f"  {'type':<14}{'accepted':>10}{'in Parquet':>12}{'missing':>9}")
    for kind, count in sorted(tally.accepted.items()):
        mark = tally.check(landed[kind] == count, f"{kind}: {count} accepted, {landed[kind]} landed")
        print(f"  {kind:<14}{count:>10,}{landed[kind]:>12,}{count - landed[kind]:>9,}  {mark}")
    own = ", ".join(f"{landed[kind]} {kind}" for kind in ("config", "account"))
    files = sum(1 for _ in (HOME / "store").rglob("*.parquet"))
    print(f"  and the sidecar's own: {own}; {files} Parquet files in {HOME.relative_to(ROOT)}/store")


async def demo() -> int:
    began = time.monotonic()
    tally, crowd = Tally(), shoppers()
    async with stand() as (stood, process, seconds):
        title("1. Agent, sidecar and collector on this machine")
        first = await stood.status()
        print(
            f"  first answer after {seconds:.2f} s; revision {first['revision']},"
            f" documents in {stood.config.relative_to(ROOT)}"
        )
        title("2. One shopper opens a product page, and is in treatment")
        body = {"placement": "pdp", "user_id": SHOPPER, "attributes": {"country": "DE"}, "expose": False}
        print(f"  POST /v1/assign {json.dumps(body)}")
        answer = await stood.post("/v1/assign", body)
        answer.pop("exposure_token")
        tally.check([one["variant"] for one in answer["assignments"]] == ["treatment"], f"{SHOPPER} is in treatment")
        print("  " + json.dumps(answer, indent=2).replace("\n", "\n  "))
        title(f"3. {len(crowd):,} real impressions (Open Bandit Dataset) pass through, at five placements each")
        print("  real: which item was shown at which position, and whether it was clicked")
        print("  made up: users and sessions (one a row), placements, and a cart for every click")
        took = await replay(stood, crowd, tally)
        show_shares(await stood.status(), tally, len(crowd))
        print(f"  {len(crowd) * 2:,} requests from one Python client in {took:.1f} s")
        title("4. A PM ramps the newsfeed experiment by editing its YAML")
        await ramp(stood, crowd[:REASKED], tally)
        title("5. Somebody pauses the PDP experiment with one key")
        await pause(stood, crowd[:REASKED], tally)
        title("6. Stop, and count")
        since = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(process.wait, 60)
        mark = tally.check(code == 0, f"exit code {code}")
        print(f"  drained and stopped in {time.monotonic() - since:.1f} s, exit code {code}  {mark}")
    show_landed(tally)
    title("7. What an analyst reads: a simulated shop where the treatment truly adds 50 % to add-to-cart")
    sys.stdout.flush()
    shop = [sys.executable, str(ROOT / "bench" / "shop_http.py"), str(SHOPPERS)]
    read = subprocess.run(shop, check=False)  # noqa: ASYNC221 nothing else runs by now
    tally.check(read.returncode == 0, f"the report's exit code is {read.returncode}")
    took = time.monotonic() - began
    if tally.wrong:
        print(f"\nwrong after {took:.0f} s: " + "; ".join(tally.wrong))
        return 1
    print(f"\nall figures right, {tally.accepted.total():,} events landed, in {took:.0f} s")
    return 0


def main() -> int:
    try:
        return asyncio.run(demo())
    except KeyboardInterrupt:
        print("\nstopped")
        return 130  # as a shell reports it: 128 and SIGINT


if __name__ == "__main__":
    sys.exit(main())
