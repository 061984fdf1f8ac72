"""A report beside a collector that writes and merges has every row once, and never has to give up."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path

from abside.collector.keep.upkeep import Upkeep
from abside.collector.keep.writer import ReceivedBatch, Writer
from abside.collector.receive.rows import record_batch, rows_of
from abside.report.ask import Ask
from abside.report.engines.embedded import Embedded
from abside.report.report import build
from abside.report.store.source import open_source
from abside.snapshot import Snapshot

FILES = 80  # 2,000 take a minute to write, and show the same
REPORTS = 3
NEW_FILES = 10  # while a report runs
NOON_US = 1_793_620_800_000_000  # 2026-11-02T12:00:00Z
NIGHT_US = NOON_US + 86_400 * 1_000_000


class Collecting:
    """A collector's own writer and upkeep; `units` were exposed so far."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._upkeep = Upkeep(writer, lambda: NIGHT_US if self.is_night else NOON_US, known_days=7, keep_days=None)
        self.is_night = False  # the day is over
        self.units = 0

    def write(self, files: int) -> None:
        for _ in range(files):
            number = self.units
            one = {"experiment": "e", "phase": 1, "variant": ("control", "treatment")[number % 2], "traffic_bp": 10_000}
            one |= {"unit_type": "user", "unit_id": f"u{number}", "forced": False}
            event = {"event_id": f"e{number}", "type": "exposure", "ts": NOON_US + number, "seen_ts": NOON_US + number}
            event |= {"user_id": f"u{number}", "placement": "pdp", "config_id": "c0", "revision": "r0", "algo": 1}
            rows = rows_of({**event, "assignments": [one]}, batch_id=f"b{number}", recv_us=NOON_US + number)
            self._writer.write([ReceivedBatch(f"b{number}", NOON_US, (record_batch(rows),))])
            self.units += 1

    def round(self) -> None:
        """Do what falls due within ten minutes, in which a report is made."""
        self.write(NEW_FILES // 2)
        self._upkeep.once()
        self.write(NEW_FILES // 2)
        assert self._upkeep.last_error is None


@contextmanager
def beside(work: Callable[[], None], after_seconds: float) -> Iterator[None]:
    """Work in a thread, from a moment on."""
    thread = threading.Timer(after_seconds, work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_every_report_beside_a_collector_at_work_counts_each_unit_once(
    tmp_path: Path, documents: Callable[..., Snapshot]
) -> None:
    chance = random.Random(20261102)
    store = tmp_path / "store"
    with closing(Writer.open(store, known_since=date(2000, 1, 1))) as writer:
        collecting = Collecting(writer)
        collecting.write(FILES)
        for number in range(REPORTS):
            least = collecting.units
            collecting.is_night = number == REPORTS - 1
            with (
                beside(collecting.round, chance.uniform(0, 0.3)),
                Embedded.open(memory_bytes=2**30, spill=tmp_path / "spill") as engine,
            ):
                source = open_source(engine, store)
                report = build(engine, source, documents(), Ask())
            assert least <= source.rows <= collecting.units
            (page,) = report.pages
            assert sum(arm.units for arm in page.arms) == source.rows
        assert list(store.glob("dt=*/merged~*.parquet"))
