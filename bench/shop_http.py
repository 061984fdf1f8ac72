"""The simulated shop through real processes: agent, sidecar and collector on loopback, every page a request.

`python bench/shop_http.py [SHOPPERS]` runs one from opening to report.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from shop import PLACEMENT, Shop, crowd, document, item_id, items, session_id, user_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from shop import Crowd

CONNECTIONS = 16
READY_SECONDS = 60.0
TWICE = 50  # every so many pages' events are sent again, as a client does that missed the answer


@dataclass(slots=True)
class Walked:
    """What the shoppers met, as they remember it."""

    first: dict[int, str] = field(default_factory=dict)  # shopper → variant of the first page, bots and QA left out
    met: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))  # shopper → all variants
    carted: set[int] = field(default_factory=set)  # shoppers with a cart, bots and QA left out
    exposures: Counter[str] = field(default_factory=Counter)  # by variant, bots and QA included
    sent: Counter[str] = field(default_factory=Counter)  # outcome events by type, each once


@dataclass(slots=True)
class Stand:
    """An `abside up` that runs: its folder, where it answers, and its process."""

    home: Path
    url: str
    process: subprocess.Popen[bytes]
    http: aiohttp.ClientSession

    @property
    def store(self) -> Path:
        return self.home / "store"

    async def post(self, path: str, body: Any) -> Any:
        async with self.http.post(self.url + path, json=body) as answer:
            document = await answer.json(content_type=None)
            if answer.status not in (200, 202):
                raise SystemExit(f"{path} answered {answer.status}: {document}")
            return document

    async def status(self) -> Any:
        async with self.http.get(self.url + "/v1/status") as answer:
            return await answer.json()

    async def close(self) -> int:
        """Stop and drain; return the exit code. Accepted events are then in the store."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, READY_SECONDS)


@asynccontextmanager
async def open_stand(home: Path, documents: str) -> AsyncIterator[Stand]:
    """Run `abside up` over these documents until it answers by them."""
    (home / "config").mkdir(parents=True)
    (home / "config" / "shop.yaml").write_text(documents)
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    listen, admin, collect = (f"127.0.0.1:{one.getsockname()[1]}" for one in held)
    for one in held:
        one.close()
    command = [sys.executable, "-m", "abside", "up", "--config", str(home / "config"), "--dir", str(home)]
    command += ["--listen", listen, "--admin", admin, "--collect", collect]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220 a millisecond
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as http:
            stand = Stand(home, f"http://{listen}", process, http)
            await _ready(stand)
            yield stand
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(READY_SECONDS)


async def walk(stand: Stand, shop: Shop, people: Crowd, shoppers: Iterable[int], walked: Walked) -> None:
    """Send some of the shoppers through the shop, several at a time, each page after page."""
    order = defaultdict(list)
    for page, shopper in enumerate(people.shopper.tolist()):
        order[shopper].append(page)
    waiting = iter(shoppers)

    async def worker() -> None:
        for shopper in waiting:
            for page in order[shopper]:
                await _page(stand, shop, people, page, walked)

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))


async def _page(stand: Stand, shop: Shop, people: Crowd, page: int, walked: Walked) -> None:
    """One page: assigned and exposed, shown, perhaps clicked; a cart where the first page's variant led to one."""
    shopper = int(people.shopper[page])
    who: dict[str, Any] = {"session_id": session_id(shopper, int(people.visit[page]))}
    if people.logged_in[page]:
        who["user_id"] = user_id(shopper)
    if people.bot[shopper]:
        who["bot"] = True
    answer = await stand.post("/v1/assign", {"placement": PLACEMENT, **who})
    (assigned,) = answer["assignments"]
    variant = assigned["variant"]
    walked.exposures[variant] += 1
    first = variant
    if not people.bot[shopper] and not people.qa[shopper]:
        first = walked.first.setdefault(shopper, variant)
        walked.met[shopper].add(variant)
    shown = int(people.first_item[page])
    here = {**who, "placement": PLACEMENT, "exposure_id": answer["exposure_id"]}
    events = [{"type": "impression", "items": items(shown), **here}]
    if people.click_draw[page] < shop.click_rate:
        events.append({"type": "click", "item_id": item_id(shown), "position": 0, **here})
    if page == people.cart_page[shopper] and people.cart_draw[shopper] < shop.cart_rate_of(first):
        walked.carted |= {shopper} & walked.first.keys()
        item = item_id(shown if people.cart_shown[shopper] else shown + 1)
        events.append({"type": "add_to_cart", "item_id": item, "value": 19.9, "currency": "EUR", **who})
        if people.buy_draw[shopper] < shop.buy_rate:
            events.append({"type": "purchase", "order_id": f"o{shopper}", "value": 30.0, "currency": "EUR", **who})
    for number, event in enumerate(events):
        event["event_id"] = f"page-{page}-{number}"
        walked.sent[event["type"]] += 1
    for _ in range(2 if page % TWICE == 0 else 1):
        await stand.post("/v1/events", events)


async def _ready(stand: Stand) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and stand.process.poll() is None:
        try:
            if (await stand.status())["revision"]:
                return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.02)
    raise SystemExit(f"abside up is not ready: {(stand.home / 'log').read_text()}")


async def main(shoppers: int) -> int:
    """Open the shop, let everyone through, close it, and print the report."""
    shop = Shop(seed=1, shoppers=shoppers, lifts={"treatment": 0.5}, cart_rate=0.2)
    with tempfile.TemporaryDirectory(prefix="abside-shop-") as folder:
        async with open_stand(Path(folder), document(shop)) as stand:
            walked = Walked()
            since = time.monotonic()
            await walk(stand, shop, crowd(shop), range(shoppers), walked)
            print(f"{walked.exposures.total():,} pages in {time.monotonic() - since:.1f} s; true lift +50 %")
            await stand.close()
        command = [sys.executable, "-m", "abside", "report", "--events", f"{folder}/store", "--config"]
        return subprocess.run([*command, f"{folder}/config"], check=False).returncode  # noqa: ASYNC221 the last step


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)))
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell reports it: 128 and SIGINT
