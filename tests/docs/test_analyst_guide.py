"""The analyst's guide is true: every command and script in it runs on a shop's store, and prints what stands there.

`python tests/docs/test_analyst_guide.py` runs the guide and writes the outputs anew.
"""

from __future__ import annotations

import random
import re
import tempfile
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
from console import typed

from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import SCHEMA, Footer, write_file

GUIDE = Path(__file__).parents[2] / "docs" / "analyst.md"
_BLOCK = re.compile(r"^```(?P<kind>yaml|python|console)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
OPENED = datetime(2026, 11, 2, tzinfo=UTC)
DAY_US = 86_400 * 1_000_000
WEIGHTS = {"control": 5_000, "treatment": 5_000}
STATE = {"experiment": "pdp-reranker", "status": "running", "phase": 1, "control": "control", "pause": None}


class Street:
    """A shop of one week: two thousand shoppers of three countries, whose pages load slower in the treatment."""

    def __init__(self) -> None:
        self.rng = random.Random(3)
        self.days: dict[str, list[dict[str, Any]]] = {}
        self.numbers = count()
        source = {"pod": "rec-0", "app": "rec-service", "version": "4.2"}
        told = [{**STATE, "traffic_bp": 10_000, "weights_bp": WEIGHTS}]
        self.add("config", 0, revision="r0", source=source, part=1, parts=1, experiments=told)
        for number in range(2_000):
            self.shopper(f"u{number}", "treatment" if self.rng.random() < 0.5 else "control")

    def shopper(self, user: str, variant: str) -> None:
        """One visit: a page, perhaps a cart, perhaps a purchase."""
        rng, ids = self.rng, {"user_id": user, "session_id": f"s-{user}"}
        start, country = rng.random() * 6 * 86_400, rng.choice(["DE", "DE", "AT", "CH"])
        one = {"experiment": "pdp-reranker", "phase": 1, "variant": variant, "forced": False, "traffic_bp": 10_000}
        arms = {"assignments": [{**one, "unit_type": "user", "unit_id": user}], "attributes": {"country": country}}
        self.add("exposure", start, placement="pdp", config_id="c0", revision="r0", algo=1, **arms, **ids)
        load = rng.lognormvariate(7.2, 0.5) * (1.08 if variant == "treatment" else 1)
        self.add("page_view", start, page_type="pdp", page_load_ms=round(load, 1), **ids)
        items = [f"i{rng.randrange(50)}" for _ in range(6)]
        self.add("impression", start + 1, placement="pdp", items=items, **ids)
        if rng.random() < (0.30 if variant == "treatment" else 0.24):
            money = {"value": float(rng.randrange(20, 90)), "currency": "EUR"}
            self.add("add_to_cart", start + 60, item_id=items[0], quantity=1, **money, **ids)
            if rng.random() < 0.5:
                self.add("purchase", start + 300, **money, **ids)

    def add(self, kind: str, second: float, **fields: Any) -> None:
        at = OPENED + timedelta(seconds=round(second))
        us = int(at.timestamp()) * 1_000_000
        known = {"user_id": None, "session_id": None, "ts": us, "seen_ts": us}
        event = {"event_id": f"rec-{next(self.numbers):x}", "type": kind, **known, **fields}
        self.days.setdefault(at.date().isoformat(), []).append(event)

    def close(self, folder: Path) -> None:
        """Write a file a day, as a collector does."""
        for day, events in self.days.items():
            rows = [row for one in events for row in rows_of(one, batch_id="rec-0.1", recv_us=one["ts"] + 1_000_000)]
            place = folder / f"dt={day}"
            place.mkdir(parents=True)
            write_file(place / "b.parquet", [pa.Table.from_batches([record_batch(rows)], SCHEMA)], Footer((day,)))


def run(world: Path, text: str) -> str:
    """Walk through the guide beside a shop's store; give it with the real output of its commands."""
    Street().close(world / "store")
    written, reached = [], 0
    for found in _BLOCK.finditer(text):
        written.append(text[reached : found.start()])
        reached = found.end()
        if found["kind"] == "console":
            written.append(f"```console\n{session(world, found['body'])}```")
        else:
            name = re.match(r"# ([a-z/-]+\.(?:yaml|py))\n", found["body"])
            assert name, f"a block begins with the name of its file: {found['body'][:60]!r}"
            (world / name[1]).parent.mkdir(exist_ok=True)
            (world / name[1]).write_text(found["body"])
            written.append(found[0])
    return "".join([*written, text[reached:]])


def session(world: Path, body: str) -> str:
    """Run the lines that begin with `$ `, and give them with what each prints."""
    said = ""
    for line in body.splitlines():
        if line.startswith("$ "):
            code, printed = typed(line[2:], world)
            assert code == 0, f"{line}: {printed}"
            told = re.sub(r" +$", "", printed, flags=re.MULTILINE).rstrip("\n")
            said += f"{line}\n{told}\n" if told else f"{line}\n"
    return said


def test_every_command_prints_what_stands_there(tmp_path: Path) -> None:
    text = GUIDE.read_text()
    assert run(tmp_path, text) == text, "write it anew: python tests/docs/test_analyst_guide.py"


def test_it_answers_what_an_analyst_asks_first() -> None:
    titles = " ".join(re.findall("^## (.+)$", GUIDE.read_text(), re.MULTILINE)).lower()
    for question in ("country", "day", "revenue per session", "page load", "pandas", "duckdb", "colleague"):
        assert question in titles, question
    assert not re.findall(r"^```(?!yaml$|console$|python$|$)", GUIDE.read_text(), re.MULTILINE)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        GUIDE.write_text(run(Path(folder), GUIDE.read_text()))
