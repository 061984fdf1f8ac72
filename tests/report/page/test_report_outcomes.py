"""`--outcomes`: a pipeline's Parquet beside our outcomes or in their place, and what is refused of it."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abside.report.command import main
from abside.report.pipeline.columns import check_files
from abside.report.pipeline.mapping import read_mapping
from abside.report.problem import NoOutcomes
from abside.report.settings import ReportSettings

OPENED = datetime(2026, 11, 2, 9, tzinfo=UTC)
USUAL = """
files = ["orders/*.parquet"]
[columns]
type_is = "purchase"
ts = "at"
event_id = "number"
user_id = "customer"
value = "total"
"""


@pytest.fixture
def store(till: Any) -> Path:
    """Four users, two an arm; u1 of the treatment bought for 10, and a cart of u0."""
    till.config(0)
    for number in range(4):
        till.expose(number, "treatment" if number % 2 else "control", user_id=f"u{number}")
    till.add("purchase", 10, user_id="u1", event_id="p1", value=10, currency="EUR", order_id="1")
    till.add("add_to_cart", 11, user_id="u0", item_id="i1", quantity=1)
    folder: Path = till.close()
    return folder


def at(minute: float) -> datetime:
    return OPENED + timedelta(minutes=minute)


def orders(folder: Path, columns: dict[str, Any] | None = None, name: str = "orders/1.parquet") -> Path:
    """Write a file of a pipeline: u0 bought for 7, u1 for 10 (the order that we know too), u3 for 5."""
    usual = {
        "number": ["p0", "p1", "p3"],
        "at": pa.array([at(20), at(10), at(30)], pa.timestamp("ms", "Europe/Berlin")),
        "customer": ["u0", "u1", "u3"],
        "total": [7.0, 10.0, 5.0],
    }
    place = folder / name
    place.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(usual | (columns or {})), place)
    return place


def asked(tmp_path: Path, store: Path, config: Path, toml: str = USUAL) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the JSON of a report with this mapping."""
    place = tmp_path / "outcomes.toml"
    place.write_text(toml, "utf-8")
    code = main(ReportSettings(events=store, config=(config,), outcomes=place, json=tmp_path / "out.json"))
    return code, json.loads((tmp_path / "out.json").read_bytes())


def revenue(found: dict[str, Any], metric: str = "revenue_per_user") -> dict[str, Any]:
    """Return the sum of an arm's figure: its mean times two persons."""
    (page,) = found["experiments"]
    return {arm: value * 2 for arm, value in page["values"][metric].items()}


def test_orders_of_a_pipeline_count_beside_ours_each_once(
    tmp_path: Path, store: Path, config_file: Callable[..., Path]
) -> None:
    """What a sidecar refuses is left out: no id, a value below 0, a value beyond all money."""
    orders(tmp_path)
    orders(tmp_path, {"number": [None, "n2", "n3"], "total": [100.0, -1.0, 1e30]}, "orders/2.parquet")
    code, found = asked(tmp_path, store, config_file())
    assert code == 0
    assert revenue(found) == {"control": 7, "treatment": 15}
    assert revenue(found, "add_to_cart_rate") == {"control": 1, "treatment": 0}
    events, outcomes = found["events"], found["outcomes"]
    assert (outcomes["rows"], outcomes["left_out"], outcomes["files"]) == ({"purchase": 3}, 3, 2)
    assert (events["rows_by_type"]["purchase"], events["duplicate_outcomes"]) == (4, 1)
    assert (events["clocks"], events["late_by_type"]) == ([], {})


def test_an_order_of_the_far_future_ends_no_window_and_is_said(
    tmp_path: Path, store: Path, config_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    times = pa.array([at(20), at(10), at(0).replace(year=2099)], pa.timestamp("us", "UTC"))
    orders(tmp_path, {"at": times})
    _, found = asked(tmp_path, store, config_file())
    assert revenue(found) == {"control": 7, "treatment": 10}
    assert (found["outcomes"]["rows"], found["outcomes"]["ahead"], found["outcomes"]["left_out"]) == (
        {"purchase": 2}, 1, 0,
    )  # fmt: skip
    assert found["events"]["last"] == "2026-11-02T09:20:00Z"
    assert [arm["mature"] for arm in found["experiments"][0]["arms"]] == [0, 0]
    assert "beside our own; 1 of the future (more than an hour ahead of now) left out\n" in capsys.readouterr().out


def test_orders_of_a_pipeline_count_in_place_of_ours(
    tmp_path: Path, store: Path, config_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    orders(tmp_path, {"number": ["a", "b", "c"], "customer": ["u0", "u0", "u9"]})
    _, found = asked(tmp_path, store, config_file(), 'instead_of = ["purchase"]' + USUAL)
    assert revenue(found) == {"control": 17, "treatment": 0}
    assert found["events"]["rows_by_type"]["purchase"] == 3
    page = capsys.readouterr().out
    assert "outcomes.toml: 3 purchase, rows of 1 file, 2026-11-02 09:10:00Z to 2026-11-02 09:30:00Z" in page
    assert "in place of our own purchase\n" in page


def test_every_column_that_can_be_mapped_is_read(tmp_path: Path, store: Path, config_file: Callable[..., Path]) -> None:
    """Carts of two pieces, times without a zone, numbers as ids, and money as decimals."""
    local = [one.astimezone(UTC).replace(tzinfo=None) + timedelta(hours=1) for one in (at(20), at(-1), at(30))]
    more = {
        "kind": pa.array(["add_to_cart", "add_to_cart", "purchase"]).dictionary_encode(),
        "number": [1, 2, 3],
        "at": pa.array(local, pa.timestamp("ns")),
        "pieces": [2, 2, None],
        "total": [Decimal("1.50"), Decimal("1.50"), Decimal("2.25")],
        "currency": ["EUR"] * 3,
    }
    orders(tmp_path, more)
    lines = ['type = "kind"', 'quantity = "pieces"', 'currency = "currency"', 'zone = "Europe/Berlin"']
    toml = lines[3] + USUAL.replace('type_is = "purchase"', "\n".join(lines[:3]))
    _, found = asked(tmp_path, store, config_file(), toml)
    assert revenue(found) == {"control": 0, "treatment": 12.25}
    assert found["experiments"][0]["unmatched"]["before"] == 1  # u1's, at minute -1
    assert found["experiments"][0]["values"]["items_per_cart"]["control"] == 3  # one of ours, and two


WRONG: list[tuple[str, str, dict[str, Any], str]] = [
    ("orders/*.parquet", "sales/*.parquet", {}, "files: sales/*.parquet matches no file"),
    ("files =", "file =", {}, "file is no key of this file; did you mean files?"),
    ("event_id =", "event_ids =", {}, "columns.event_ids is no key of this file; did you mean event_id?"),
    ('"total"', '"totl"', {}, "has no column totl; did you mean total?"),
    ('"total"', '"xyz"', {}, "has no column xyz; there is number, at, customer, total"),
    ("", "", {"total": ["7", "10", "5"]}, "columns.value: total is string in "),
    ("", "", {"at": [1, 2, 3]}, "columns.ts: at is int64 in "),
    ("", "", {"at": [date(2026, 11, 2)] * 3}, "it must be a timestamp"),
    ("", "", {"customer": [1.5, 2.5, 3.5]}, "columns.user_id: customer is double in "),
    ('user_id = "customer"', "", {}, "[columns] has no user_id and no session_id"),
    ('event_id = "number"', "", {}, '[columns] has no event_id; write event_id = "COLUMN"'),
    ('type_is = "purchase"', "", {}, "neither is given"),
    ("", "", {"at": pa.array([at(1)] * 3, pa.timestamp("us"))}, "at has no zone; say which one it is in, for example"),
    ("files", 'zone = "UTC"\nfiles', {}, "at has a zone of its own, Europe/Berlin; leave this key out"),
    ("files", 'zone = "Europe/Berln"\nfiles', {}, "'Europe/Berln' is no time zone"),
    ('"purchase"', '"exposure"', {}, "columns.type_is: exposure is a type that only a sidecar tells"),
    ("files", 'instead_of = ["account"]\nfiles', {}, "instead_of: account is a type that only a sidecar tells"),
    ("files", 'instead_of = ["click"]\nfiles', {}, "click is not the type of these rows, which is purchase"),
    ('["orders/*.parquet"]', '"orders/*.parquet"', {}, "it must be a list of texts"),
    ('"total"', "7", {}, "columns.value: 7 is no text"),
    ("files =", "files", {}, "is no TOML: "),
]


@pytest.mark.parametrize(("old", "new", "columns", "words"), WRONG, ids=[words[:40] for *_, words in WRONG])
def test_what_cannot_be_read_is_refused_before_the_work(
    tmp_path: Path, old: str, new: str, columns: dict[str, Any], words: str
) -> None:
    orders(tmp_path, columns)
    place = tmp_path / "outcomes.toml"
    place.write_text(USUAL.replace(old, new, 1), "utf-8")
    with pytest.raises(NoOutcomes) as caught:
        check_files(read_mapping(place))
    assert str(caught.value).startswith(f"--outcomes {place}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


TYPED = USUAL.replace('type_is = "purchase"', 'type = "kind"')


@pytest.mark.parametrize(
    ("toml", "kinds", "words"),
    [
        (TYPED, ["click", "config", "click"], "columns.type: rows of type config, which only a sidecar tells"),
        (
            'instead_of = ["purchases"]' + TYPED,
            ["purchase"] * 3,
            "instead_of: no row of the files is of type purchases; did you mean purchase?",
        ),
    ],
)
def test_types_that_rows_may_not_have_or_do_not_have_are_refused(
    tmp_path: Path,
    store: Path,
    config_file: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    toml: str,
    kinds: list[str],
    words: str,
) -> None:
    orders(tmp_path, {"kind": kinds})
    place = tmp_path / "outcomes.toml"
    place.write_text(toml, "utf-8")
    assert main(ReportSettings(events=store, config=(config_file(),), outcomes=place)) == 1
    assert capsys.readouterr() == ("", f"abside report: --outcomes {place}: {words}\n")


def test_files_of_two_schemas_a_broken_one_and_a_mapping_that_is_away_are_refused(
    tmp_path: Path, store: Path, config_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config, place = config_file(), tmp_path / "outcomes.toml"
    orders(tmp_path)
    other = orders(tmp_path, {"total": [1, 2, 3]}, "orders/2.parquet")
    wrong = [f"total is int64 in {other}, and double in ", f"files: {other}", "No such file or directory"]
    place.write_text(USUAL, "utf-8")
    for words in wrong:
        assert main(ReportSettings(events=store, config=(config,), outcomes=place)) == 1
        assert words in capsys.readouterr().err
        if words == wrong[0]:
            other.write_bytes(b"no Parquet at all")
        else:
            place.unlink(missing_ok=True)
    settings = ReportSettings(events=store, config=(config,), outcomes=place, engine="sc://localhost:1")
    assert main(settings) == 2
    assert "--outcomes is read by DuckDB alone" in capsys.readouterr().err
