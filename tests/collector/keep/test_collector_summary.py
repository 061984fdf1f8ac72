"""What a merged file's footer says of its rows: the same as counting them."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abside.collector.keep import compact
from abside.collector.keep.compact import merge, publish
from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import SCHEMA, FileSummary, Footer, TypeSummary, read_metadata, summary_of, write_file
from abside.collector.store import summary as summaries

HOUR_US = 3_600_000_000
ARM = {"phase": 2, "variant": "a", "forced": False, "traffic_bp": 1, "unit_type": "user", "unit_id": "u"}


def event(kind: str, ts: int, recv_us: int, pod: str = "p", **fields: Any) -> list[Any]:
    body = {"event_id": f"{kind}{ts}", "type": kind, "ts": ts, "seen_ts": ts, "user_id": "u", "session_id": None}
    return rows_of({**body, **fields}, batch_id=f"{pod}.{7:020d}-{'0' * 16}", recv_us=recv_us)


def exposure(experiment: str, ts: int) -> list[Any]:
    more: dict[str, Any] = {
        "placement": "pdp",
        "revision": "r",
        "config_id": "c",
        "algo": 1,
        "attributes": {},
        "exposure_id": "x",
    }
    return event("exposure", ts, ts + 5, assignments=[{"experiment": experiment, **ARM}], **more)


def table(*rows: list[Any]) -> pa.Table:
    return pa.Table.from_batches([record_batch([one for each in rows for one in each])], SCHEMA)


def day_of(tmp_path: Path, *tables: pa.Table) -> Path:
    day = tmp_path / "dt=2026-11-02"
    day.mkdir()
    for number, one in enumerate(tables):
        write_file(day / f"b{number}.parquet", [one], Footer((f"b{number}",)))
    return day


def said_by(path: Path) -> FileSummary | None:
    metadata = read_metadata(path)
    return summary_of(metadata.metadata or {}, metadata.num_rows)


def test_a_merged_file_says_what_is_in_it_and_a_small_one_does_not(tmp_path: Path) -> None:
    one = table(exposure("e", 10), exposure("f", 20), event("click", 30, 30 + 2 * HOUR_US, "q", exposure_id="x"))
    other = table(
        exposure("e", 40),
        event("purchase", 50, 45, value=2.5, currency="EUR", order_id="o"),
        event("click", 60, 67, bot=True),
    )
    day = day_of(tmp_path, one, other)
    assert [said_by(path) for path in day.iterdir()] == [None, None]
    merge(day, again=True)
    publish(day)
    found = said_by(day / "merged~0001.parquet")
    assert found == FileSummary(
        types={
            "exposure": TypeSummary(3, 3, 0, 10, 40),
            "click": TypeSummary(2, 1, 1, 30, 60),
            "purchase": TypeSummary(1, 1, 0, 50, 50),
        },
        exposures=Counter({("e", 2): 2, ("f", 2): 1}),
        currencies=Counter({("purchase", "EUR"): 1}),
        delays={"p": -5, "q": 2 * HOUR_US},
        ahead_us=5,
        naming=1,
    )


def test_rows_are_in_groups_that_a_reader_can_pass_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abside.collector.store.writing.MERGED_GROUP_ROWS", 2)
    day = day_of(tmp_path, *(table(exposure("e", number), exposure("e", number + 1)) for number in range(3)))
    merge(day, again=True)
    metadata = pq.read_metadata(next(day.glob("*.next")))
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [2, 2, 2]


def test_no_more_is_in_memory_than_a_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [table(*(exposure("e", number) for number in range(100))) for _ in range(4)]
    monkeypatch.setattr(compact, "ROW_GROUP_BYTES", int(1.5 * tables[0].nbytes))
    day = day_of(tmp_path, *tables)
    merge(day, again=True)
    metadata = pq.read_metadata(next(day.glob("*.next")))
    found = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert [rows for rows in found if rows] == [200, 200]


def test_a_file_of_more_names_than_a_footer_should_list_has_no_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries, "MAX_NAMES", 3)
    day = day_of(tmp_path, table(exposure("e", 1), exposure("f", 1)), table(exposure("g", 1), exposure("h", 1)))
    merge(day, again=True)
    assert said_by(next(day.glob("*.next"))) is None


def test_a_summary_of_other_rows_than_the_file_has_is_none(tmp_path: Path) -> None:
    day = day_of(tmp_path, table(exposure("e", 1)), table(exposure("f", 1)))
    merge(day, again=True)
    metadata = read_metadata(next(day.glob("*.next")))
    assert summary_of(metadata.metadata, 2) is not None
    assert summary_of(metadata.metadata, 3) is None


def test_rows_without_a_time_are_not_summed_up() -> None:
    summary = FileSummary()
    rows = table(exposure("e", 1), exposure("e", 2))
    at = SCHEMA.get_field_index("ts")
    summary.add(rows.set_column(at, SCHEMA.field("ts"), pa.array([None, 1], SCHEMA.field("ts").type)))
    assert summary.text() is None
