"""Merged files, whose footers say what is in them: every figure is the same as where all rows are counted."""

import random
import shutil
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abside.collector.keep.compact import merge, publish
from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import SCHEMA, Footer, write_file
from abside.report.ask import Ask
from abside.report.page.export import to_json
from abside.report.report import build
from abside.report.store import exposures
from abside.report.store.clocks import corrected
from abside.report.store.engine import Engine
from abside.report.store.exposures import overview
from abside.report.store.source import open_source
from abside.snapshot import Snapshot

DAY_MINUTES, MINUTE_US = 1440, 60_000_000
SEQUENCE = "0" * 20


def week(till: Any, chance: random.Random) -> None:
    """Shoppers of two experiments over four days; robots, sums of two currencies, outcomes that name an exposure."""
    till.config(0)
    for number in range(120):
        name = "e" if number % 4 else "other"
        at = 1 + chance.random() * 3 * DAY_MINUTES
        ids = {"user_id": f"u{number}" if number % 3 else None, "session_id": f"s{number}"}
        bot = {"bot": True} if number % 17 == 0 else {}
        variant = chance.choice(("control", "treatment"))
        till.expose(at, variant, experiment=name, exposure_id=f"x{number}", **ids, **bot)
        for step in range(chance.randint(0, 5)):
            kind = chance.choice(("click", "add_to_cart", "purchase", "page_view"))
            fields: dict[str, Any] = {"value": 9.5, "currency": chance.choice(("EUR", "USD"))} if step % 2 else {}
            if number % 5 == 0:
                fields["exposure_id"] = f"x{number}"
            till.add(kind, at + 5 * step, placement="pdp", **ids, **bot, **fields)


def stored(till: Any, folder: Path, chance: random.Random, delay_us: Callable[[str, int], int]) -> Path:
    """Put the events into three files a day, by two sidecars; some of them hours late."""
    files: defaultdict[tuple[str, int], list[Any]] = defaultdict(list)
    for number, event in enumerate(till.events):
        pod = f"pod-{number % 2}"
        recv_us = event["seen_ts"] + delay_us(pod, number)
        day = datetime.fromtimestamp(recv_us / 1e6, UTC).date().isoformat()
        batch_id = f"{pod}.{number // 8:020d}-{'0' * 16}"
        files[day, chance.randrange(3)] += rows_of(event, batch_id=batch_id, recv_us=recv_us)
    for (day, part), rows in files.items():
        (folder / f"dt={day}").mkdir(parents=True, exist_ok=True)
        name = f"{day}-{part}"
        table = pa.Table.from_batches([record_batch(rows)], SCHEMA)
        write_file(folder / f"dt={day}" / f"{name}.parquet", [table], Footer((name,)))
    return folder


def merged(store: Path, *, but_the_last: bool = False) -> Path:
    """Return a copy in which each day is one file, as the collector makes it."""
    other = store.with_name(f"merged-{but_the_last}")
    shutil.copytree(store, other)
    days = sorted(other.iterdir())
    for day in days[:-1] if but_the_last else days:
        merge(day, again=True)
        publish(day)
        publish(day)
    return other


def late(_pod: str, number: int) -> int:
    return 3 * 3600 * 1_000_000 if number % 40 == 0 else 1_000_000


def ahead(pod: str, number: int) -> int:
    return -30_000_000 if pod == "pod-1" else late(pod, number)


def behind(pod: str, number: int) -> int:
    return 300_000_000 if pod == "pod-1" else late(pod, number)


@pytest.mark.parametrize(("delay_us", "names"), [(late, ()), (late, ("other",))])
def test_a_page_is_the_same_where_footers_say_what_is_in_the_files(
    till: Any,
    tmp_path: Path,
    engine: Engine,
    documents: Callable[..., Snapshot],
    delay_us: Callable[[str, int], int],
    names: tuple[str, ...],
) -> None:
    chance = random.Random(3)
    week(till, chance)
    store = stored(till, tmp_path / "store", chance, delay_us)
    pages, statements = [], []
    for place in (store, merged(store), *([merged(store, but_the_last=True)] if names else [])):
        asked = len(engine.asked)
        source = open_source(engine, place)
        page = orjson.loads(to_json(build(engine, source, documents(), Ask(names)), ""))
        assert page["events"].pop("files") == page["events"].pop("files_read_whole")
        pages.append(page)
        statements.append({one.purpose for one in engine.asked[asked:]})
        assert (source.told is None) == (place == store)
    assert all(page == pages[0] for page in pages)
    assert pages[0]["experiments"]
    assert bool(pages[0]["events"]["clocks"]) == (delay_us is not late)
    looked_at = {"delays by batch", "rows by type", "currencies", "experiments found"}
    assert looked_at <= statements[0]
    if delay_us is late:
        assert not looked_at & statements[1], "the footers of all files say it"
        assert "delays by batch" not in statements[-1]
    else:
        assert looked_at <= statements[1], "with a wrong clock every row is looked at"


@pytest.mark.parametrize("delay_us", [late, ahead, behind])
def test_a_wrong_clock_is_found_in_footers_and_in_rows_alike(
    till: Any, tmp_path: Path, engine: Engine, delay_us: Callable[[str, int], int]
) -> None:
    chance = random.Random(6)
    week(till, chance)
    store = stored(till, tmp_path / "store", chance, delay_us)
    found = []
    for place in (store, merged(store), merged(store, but_the_last=True)):
        source = open_source(engine, place)
        events, clocks = corrected(engine, source.events, source.told)
        assert (events is source.events) == (delay_us is late)
        found.append(clocks)
    assert found[0] == found[1] == found[2]
    assert bool(found[0]) == (delay_us is not late)


def test_more_experiments_than_are_looked_at_are_cut_alike(
    till: Any, tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(4)
    for number in range(300):
        till.expose(number, "control", experiment=f"e{number % 40}", user_id=f"u{number}")
    store = stored(till, tmp_path / "store", chance, late)
    monkeypatch.setattr(exposures, "MAX_FOUND", 10)
    seen = []
    for place in (store, merged(store), merged(store, but_the_last=True)):
        source = open_source(engine, place)
        seen.append(overview(engine, source.events, ["e33"], source.told))
    assert seen[0] == seen[1] == seen[2]
    assert (len(seen[0].phases), seen[0].experiments) == (10, 40)
    assert "e33" in seen[0].phases


@pytest.mark.parametrize(
    "text", [b"[]", b"{", b'{"format": 1}', b'{"format": 2}', b'{"format": 1, "types": {"click": [1, 1, 0, "x", 2]}}']
)
def test_a_footer_that_nobody_understands_is_as_none(till: Any, tmp_path: Path, engine: Engine, text: bytes) -> None:
    week(till, random.Random(5))
    store = merged(stored(till, tmp_path / "store", random.Random(5), late))
    for path in store.rglob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        entries = {**pq.read_metadata(path).metadata, b"abside.summary": text}
        pq.write_table(table.replace_schema_metadata(entries), path)
    assert open_source(engine, store).told is None
