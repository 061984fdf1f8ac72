"""The page about the store is true: its columns are the schema's, those of the export what `--export` writes."""

import re
from pathlib import Path

from abside.collector.store import SCHEMA
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
