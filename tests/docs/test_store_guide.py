"""The page about the store is true: its columns are the schema's, those of the export what `--export` writes."""

import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import SCHEMA, Footer, write_file
from abside.metric import METRICS
from abside.report.tally.before import before_of
from abside.report.tally.moments import terms_of
from abside.report.tally.rows import OF_OUTCOME

TEXT = (Path(__file__).parents[2] / "docs" / "store.md").read_text()
TYPES = {"decimal128(18, 4)": "decimal(18,4)", "list<element: string>": "list of string"}


def test_every_column_of_the_store_is_there_with_its_type() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \| [^|]+ \|$", TEXT, re.MULTILINE)
    expected = [(field.name, TYPES.get(str(field.type), str(field.type))) for field in SCHEMA]
    assert rows == [(name, kind.replace("timestamp[us, tz=UTC]", "timestamp[us, UTC]")) for name, kind in expected]


def test_every_column_of_the_export_is_there() -> None:
    exported = TEXT.partition("## What")[2]
    before = [term.column for metric in METRICS if (term := before_of(metric)) is not None]
    for name in (
        *terms_of(METRICS),
        *before,
        *OF_OUTCOME,
        "in_window",
        "shown_24h",
        "by_exposure_id",
        "first_ts",
        "until",
    ):
        assert f"`{name}`" in exported, name


def test_the_statements_name_the_pod_that_wrote_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By HTTP, by Kafka, one that waited alone there, and of a sidecar from before clusters were told."""
    batches = [
        ("rec-7c9d8b5f6d-x2x4z.00001795424400000000-0123456789abcdef.1", "0123456789abcdef", {"cluster": "eu-1"}),
        ("rec-0-fedcba9876543210-12.00001795424400000000", "fedcba9876543210", {"cluster": "us-1"}),
        ("rec-1-00000000000000aa-1795424400000000-12.00001795424400000000", "00000000000000aa", {"cluster": "us-2"}),
        ("rec-2.00001795424400000000-00000000000000bb", "00000000000000bb", {}),
    ]
    rows = []
    for batch_id, boot, where in batches:
        source = {"pod": "p", "app": "a", "version": "1", **({"namespace": "recs", **where} if where else {})}
        for event in (
            {"event_id": f"{boot}-1", "type": "account", "source": source},
            {"event_id": "a caller's", "type": "search"},
        ):
            rows += rows_of({**event, "ts": 1}, batch_id=batch_id, recv_us=1)
    (tmp_path / "store" / "dt=2026-11-30").mkdir(parents=True)
    path = tmp_path / "store" / "dt=2026-11-30" / "b.parquet"
    write_file(path, [pa.Table.from_batches([record_batch(rows)], SCHEMA)], Footer(()))
    monkeypatch.chdir(tmp_path)
    (script,) = re.findall("```sql\n-- DuckDB: one row for each process that wrote\n(.*?)```", TEXT, re.DOTALL)
    with duckdb.connect() as database:
        found = database.execute(script).fetchall()
    outcomes = [(cluster, namespace, events) for cluster, namespace, kind, events in found if kind == "search"]
    assert outcomes == [("eu-1", "recs", 1), ("us-1", "recs", 1), ("us-2", "recs", 1), (None, None, 1)]
