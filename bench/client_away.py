"""Outcomes while the sidecar is away: how many are sent at once, later, dropped, stored twice, at a wrong time.

    python bench/client_away.py [seconds away] [events a second] [max_waiting]

One blocking client reports an outcome at a steady pace: for 3 s, while the sidecar is killed and away, and for 8 s
after it was started again. What its spool then contains is compared with what was reported.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from abside import event
from abside.client import Client
from abside.snapshot import Placement, assemble, encode
from abside.spool.frame import good_frames
from client_hung import kill, start

BEFORE_SECONDS, AFTER_SECONDS = 3.0, 8.0
TIME_TOLERANCE_US = 1_000_000


def main() -> None:
    """Print the figures; exit 1 where one is stored twice, or is neither stored nor counted."""
    given = [float(one) for one in sys.argv[1:]]
    away_seconds, rate, most = given + [30.0, 100.0, 1_000.0][len(given) :]
    folder = Path(tempfile.mkdtemp(prefix="abside-bench-"))
    (folder / "snapshot").write_bytes(encode(assemble({}, [Placement("pdp", {"model": "v1"})], written_at_us=1)))
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    sidecar = start(folder, port)
    client = Client(f"http://127.0.0.1:{port}", max_waiting=int(most))
    reported: dict[str, int] = {}
    at_once = 0
    slowest = 0.0
    begun = time.monotonic()
    back = begun + BEFORE_SECONDS + away_seconds
    is_away = False
    while (now := time.monotonic()) < back + AFTER_SECONDS:
        if not is_away and begun + BEFORE_SECONDS <= now < back:
            kill(sidecar)
            is_away = True
        elif is_away and now >= back:
            sidecar = start(folder, port)
            is_away = False
        name = f"e{len(reported)}"
        reported[name] = time.time_ns() // 1000
        since = time.perf_counter()
        at_once += bool(client.event("click", user_id=f"u{len(reported) % 1000}", item_id="i1", event_id=name))
        slowest = max(slowest, time.perf_counter() - since)
        time.sleep(max(0.0, begun + len(reported) / rate - time.monotonic()))
    client.close()
    stats = client.stats
    kill(sidecar)
    paths = [path for path in (folder / "spool" / "q").iterdir() if path.suffix in {".open", ".seg"}]
    events = [event.decode(one) for path in paths for one in good_frames(path.read_bytes()).payloads]
    clicks = [one for one in events if one["type"] == "click"]
    copies = Counter(one["event_id"] for one in clicks)
    off = sum(abs(one["ts"] - reported[one["event_id"]]) > TIME_TOLERANCE_US for one in clicks)
    twice = sum(count > 1 for count in copies.values())
    print(
        f"away {away_seconds:.0f} s at {rate:.0f} events a second, at most {most:,.0f} wait: "
        f"{len(reported):,} reported, {at_once:,} accepted at once, {stats.sent_later:,} sent later, "
        f"{stats.dropped:,} dropped, {stats.waiting} waiting; stored {len(copies):,}, in two copies {twice}, "
        f"with a time off by more than 1 s {off}; slowest call {slowest * 1000:.1f} ms"
    )
    missing = len(reported) - len(copies) - stats.lost_reports - stats.waiting
    sys.exit(twice != 0 or missing != 0)


if __name__ == "__main__":
    main()
