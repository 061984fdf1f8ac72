"""Stands for a rec service and its shoppers: visits to a product page, for ever or as many as are asked for.

shopper.py GATEWAY [VISITS [SIDECAR [SECONDS]]]: the page asks the sidecar beside it, the cart tells the gateway, and
so many seconds lie between two visits.
"""

# ruff: noqa: INP001, S310, T201 a script that prints, mounted alone; its addresses are the manifest's

from __future__ import annotations

import json
import random
import signal
import sys
import time
import urllib.request
from itertools import count

from abside.client import Client

BUY = 0.1  # the share of visits that put something into the cart


def main(gateway: str, visits: str = "", sidecar: str = "http://127.0.0.1:7600", between: str = "1") -> None:
    """Pay visits and say of each what was shown; never who came."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # process 1 ignores SIGTERM without a handler
    client = Client(sidecar)
    for number in range(int(visits)) if visits else count():
        if number:
            time.sleep(float(between))
        shopper = f"shopper-{random.randrange(10_000)}"
        shown = client.assign("pdp", user_id=shopper, attributes={"country": random.choice(["DE", "AT", "FR"])})
        items = [f"item-{rank}" for rank in range(int(shown.config.get("item_count", 4)))]
        client.event("impression", user_id=shopper, placement="pdp", exposure_id=shown.exposure_id, items=items)
        cart = {"user_id": shopper, "placement": "pdp", "exposure_id": shown.exposure_id, "item_id": items[0]}
        arrived = add_to_cart(gateway, cart) if random.random() < BUY else None
        line = {"revision": shown.revision, "why": shown.why, "config": shown.config, "cart": arrived}
        print(json.dumps(line), flush=True)


def add_to_cart(gateway: str, event: dict[str, str | None]) -> bool:
    """Report an outcome from elsewhere: true when the gateway has it on disk."""
    body = json.dumps({"type": "add_to_cart", **event}).encode()
    request = urllib.request.Request(f"{gateway}/v1/events", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 202)
    except OSError:
        return False


if __name__ == "__main__":
    main(*sys.argv[1:])
