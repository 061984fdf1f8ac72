"""`--export`: one row a person, one row an outcome, as an analyst's own tools read them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from abside.report.command import main
from abside.report.page.experiment import ExperimentPage
from abside.report.settings import ReportSettings

Configure = Callable[..., Path]


@pytest.fixture
def store(till: Any) -> Path:
    till.config(0)
    for number in range(20):
        user, variant = f"u{number}", "treatment" if number % 2 else "control"
        till.expose(number, variant, user_id=user, exposure_id=f"x{number}", attributes={"country": "DE"})
        till.add("impression", number + 1, user_id=user, placement="pdp", items=["i1"])
        item = "i1" if number < 6 else "i2"
        till.add(
            "add_to_cart", number + 2, user_id=user, item_id=item, value=2.5, currency="EUR", exposure_id=f"x{number}"
        )
        till.add("purchase", number + 300, user_id=user, value=number + 0.25, currency="EUR", event_id=f"order{number}")
    till.expose(3, "control", session_id="s1")
    folder: Path = till.close()
    return folder


def exported(store: Path, config: Path, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    assert main(ReportSettings(events=store, config=(config,), export=folder)) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["attribution.parquet", "units.parquet"]
    rows = [pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("units", "attribution")]
    return rows[0], rows[1]


def test_units_have_a_row_each_and_add_up_to_the_page(
    till: Any, store: Path, config_file: Configure, tmp_path: Path, page_of: Callable[..., ExperimentPage]
) -> None:
    for user, day in (("u4", -13), ("u4", -15), ("u5", -1)):
        till.add("purchase", day * 24 * 60, user_id=user, value=7.5, currency="EUR")
    till.close()
    units, _ = exported(store, config_file(), tmp_path / "out")
    page = page_of(store)
    assert len(units) == 21
    for arm in page.arms:
        mine = [row for row in units if row["variant"] == arm.variant]
        assert len(mine) == arm.units
        assert sum(row["carted"] for row in mine) == arm.sums["carted"]
        assert sum(row["revenue"] for row in mine) == pytest.approx(arm.sums["revenue"] / 1e6)
    (one,) = (row for row in units if row["person"] == "u3")
    assert (one["experiment"], one["phase"], one["person_type"], one["revenue"]) == ("e", 1, "user", 3.25)
    assert one["attributes"] == '{"country":"DE"}'
    before = {row["person"]: (row["before_bought"], row["before_revenue"], row["before_carted"]) for row in units}
    assert {person: found for person, found in before.items() if any(found)} == {"u4": (1, 7.5, 0), "u5": (1, 7.5, 0)}
    assert [row["person_type"] for row in units if row["person"] == "s1"] == ["session"]


def test_outcomes_have_a_row_each_with_how_they_are_attributed(
    store: Path, config_file: Configure, tmp_path: Path
) -> None:
    config = config_file(analysis={"window_seconds": 3_600})
    _, rows = exported(store, config, tmp_path / "out")
    assert len(rows) == 60
    carts = [row for row in rows if row["type"] == "add_to_cart"]
    assert [row["shown_24h"] for row in sorted(carts, key=lambda row: int(row["person"][1:]))] == [True] * 6 + [
        False
    ] * 14
    assert all(row["by_exposure_id"] and row["in_window"] for row in carts)
    bought = [row for row in rows if row["type"] == "purchase"]
    assert {(row["in_window"], row["by_exposure_id"], row["shown_24h"]) for row in bought} == {(False, False, None)}
    assert {row["event_id"] for row in bought} == {f"order{number}" for number in range(20)}
    assert {row["variant"] for row in rows} == {"control", "treatment"}


def test_a_place_that_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, config_file: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    config = config_file()
    assert main(ReportSettings(events=tmp_path, config=(config,), export=tmp_path / "file")) == 1
    assert capsys.readouterr().err.startswith("abside report: --export: ")
