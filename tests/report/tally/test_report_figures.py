"""The figures beside a computation written apart: plain loops over the rows, numpy for the formulas, no tea-tasting."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats

from abside.collector.store import scan
from abside.report.ask import Ask
from abside.report.engines.embedded import Embedded
from abside.report.page.experiment import ExperimentPage
from abside.report.report import build
from abside.report.store.source import open_source
from shop import EXPERIMENT, LOGS_IN, PLACEMENT, Shop, crowd
from shop_store import Flaws, snapshot, store

WINDOW_US = 18 * 3_600 * 1_000_000  # some second visits fall outside
DAY_US = 86_400 * 1_000_000
OUTCOMES = {"impression", "click", "add_to_cart", "purchase"}
SHOP = Shop(seed=7, shoppers=4_000, lifts={"treatment": 0.2}, bots=0.03, qa=0.01, days=3.0)
FLAWS = Flaws(duplicates=0.05, late=0.02)


@dataclass
class Unit:
    """One person, as a loop finds them."""

    first: int
    variant: str
    variants: set[str]
    seen: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    shown: list[tuple[int, list[str]]] = field(default_factory=list)
    carts: list[tuple[int, str]] = field(default_factory=list)

    @property
    def carted_shown(self) -> bool:
        return any(
            at - DAY_US <= shown <= at and item in items for at, item in self.carts for shown, items in self.shown
        )


def plain_units(rows: list[dict[str, Any]]) -> dict[str, Unit]:
    """Every rule of the definitions, one after the other."""
    rows.sort(key=lambda row: row["ts"])
    user_of: dict[str, str] = {}
    for row in rows:
        if row["user_id"] is not None and row["session_id"] is not None:
            user_of.setdefault(row["session_id"], row["user_id"])

    def person(row: dict[str, Any]) -> str:
        user = row["user_id"] or user_of.get(row["session_id"])
        return f"user {user}" if user else f"session {row['session_id']}"

    units: dict[str, Unit] = {}
    for row in rows:
        if row["type"] == "exposure" and not row["bot"] and not row["forced"]:
            unit = units.setdefault(person(row), Unit(row["ts"], row["variant"], set()))
            unit.variants.add(row["variant"])
    known: set[str] = set()
    for row in rows:
        if row["type"] not in OUTCOMES or row["bot"] or row["event_id"] in known:
            continue
        known.add(row["event_id"])
        met = units.get(person(row))
        if met is None:
            continue
        if row["type"] == "impression" and row["placement"] == PLACEMENT:
            met.shown.append((row["ts"], row["items"]))
        if not met.first <= row["ts"] < met.first + WINDOW_US:
            continue
        if row["type"] not in ("impression", "click") or row["placement"] == PLACEMENT:
            met.seen[row["type"]] += 1
        if row["type"] == "add_to_cart":
            met.carts.append((row["ts"], row["item_id"]))
    return units


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Unit], ExperimentPage]:
    """The units of one shop as the loop finds them, and the report's page on it."""
    folder = store(tmp_path_factory.mktemp("figures"), SHOP, FLAWS)
    table = scan(folder).to_table()
    table = table.set_column(table.schema.get_field_index("ts"), "ts", table["ts"].cast(pa.int64()))
    analysis = {"window_seconds": WINDOW_US // 1_000_000, "primary": "add_to_cart_rate"}
    with Embedded.open(memory_bytes=2**30, spill=folder) as engine:
        (page,) = build(engine, open_source(engine, folder), snapshot(SHOP, analysis=analysis), Ask()).pages
    return plain_units(table.to_pylist()), page


@pytest.fixture
def units(world: tuple[dict[str, Unit], ExperimentPage]) -> dict[str, Unit]:
    return world[0]


@pytest.fixture
def page(world: tuple[dict[str, Unit], ExperimentPage]) -> ExperimentPage:
    return world[1]


def columns(units: dict[str, Unit], variant: str) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    mine = [unit for unit in units.values() if unit.variant == variant]
    found = {
        "carted": [unit.seen["add_to_cart"] > 0 for unit in mine],
        "carted_shown": [unit.carted_shown for unit in mine],
        "bought": [unit.seen["purchase"] > 0 for unit in mine],
        "clicks": [unit.seen["click"] for unit in mine],
        "impressions": [unit.seen["impression"] for unit in mine],
        "crossed": [len(unit.variants) > 1 for unit in mine],
    }
    return {name: np.array(values, dtype=np.float64) for name, values in found.items()}


def test_counts_and_means_are_those_of_a_plain_loop(units: dict[str, Unit], page: ExperimentPage) -> None:
    for arm in page.arms:
        plain = columns(units, arm.variant)
        assert arm.units == len(plain["carted"]) > 500
        assert arm.crossed == plain["crossed"].sum() > 20
        for name in COUNTED:
            assert arm.sums[name] == plain[name].sum() > 0
            assert arm.nonzero[name] == (plain[name] != 0).sum()
            assert arm.products[name, name] == (plain[name] ** 2).sum()
        assert arm.products["clicks", "impressions"] == (plain["clicks"] * plain["impressions"]).sum()
        for metric, column in PROPORTIONS.items():
            assert page.values[metric][arm.variant] == pytest.approx(plain[column].mean(), rel=1e-9)
        ctr = plain["clicks"].sum() / plain["impressions"].sum()
        assert page.values["ctr"][arm.variant] == pytest.approx(ctr, rel=1e-9)


def test_a_shoppers_window_and_bots_and_logins_are_what_the_shop_made(
    units: dict[str, Unit], page: ExperimentPage
) -> None:
    people = crowd(SHOP)
    counted = sum(arm.units for arm in page.arms)
    # Who logs in is one person; bots and QA are none.
    assert counted == int((~people.bot & ~people.qa).sum())
    crossed = sum(arm.crossed for arm in page.arms)
    share = crossed / int((people.kind == LOGS_IN).sum())
    assert share == pytest.approx(2 * 0.8 * 0.2, abs=0.05)  # docs/bucketing.md: 2p(1-p) of those who log in
    assert page.left_out["bots"].units == int(people.bot.sum())
    assert page.left_out["forced"].units == int((people.qa & ~people.bot).sum())
    assert page.copies > 0
    assert page.late > 0


COUNTED = ("carted", "carted_shown", "bought", "clicks", "impressions")
PROPORTIONS = {"add_to_cart_rate": "carted", "placement_add_to_cart_rate": "carted_shown", "conversion_rate": "bought"}


@pytest.mark.parametrize(("metric", "column"), PROPORTIONS.items())
def test_a_proportions_interval_is_katz_and_its_p_a_z_test(
    units: dict[str, Unit], page: ExperimentPage, metric: str, column: str
) -> None:
    control, treated = columns(units, "control")[column], columns(units, "treatment")[column]
    (found,) = (one for one in page.estimates if one.metric == metric)
    low, high, ratio = control.mean(), treated.mean(), treated.mean() / control.mean()
    z = scipy.stats.norm.ppf(0.975)
    spread = math.sqrt((1 - low) / (low * len(control)) + (1 - high) / (high * len(treated)))
    assert found.lift == pytest.approx(ratio - 1, rel=1e-9)
    assert found.lift_interval == pytest.approx((ratio * math.exp(-z * spread) - 1, ratio * math.exp(z * spread) - 1))
    error = math.sqrt(low * (1 - low) / len(control) + high * (1 - high) / len(treated))
    assert found.difference_interval == pytest.approx((high - low - z * error, high - low + z * error), abs=1e-6)
    assert found.p == pytest.approx(2 * scipy.stats.norm.sf(abs(high - low) / error), rel=1e-6)


def test_ctrs_interval_is_welch_over_the_units_residuals(units: dict[str, Unit], page: ExperimentPage) -> None:
    (found,) = (one for one in page.estimates if one.metric == "ctr")
    values, spreads, counts = [], [], []
    for variant in ("control", "treatment"):
        plain = columns(units, variant)
        ratio = plain["clicks"].sum() / plain["impressions"].sum()
        residuals = (plain["clicks"] - ratio * plain["impressions"]) / plain["impressions"].mean()
        values.append(ratio)
        spreads.append(residuals.var(ddof=1) / len(residuals))
        counts.append(len(residuals))

    def quantile(parts: list[float]) -> float:
        down = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
        return float(scipy.stats.t.ppf(0.975, sum(parts) ** 2 / down)) * math.sqrt(sum(parts))

    half = quantile(spreads)
    difference = values[1] - values[0]
    assert found.difference_interval == pytest.approx((difference - half, difference + half), abs=1e-6)
    log_half = quantile([spread / value**2 for spread, value in zip(spreads, values, strict=True)])
    ratio = values[1] / values[0]
    expected = (ratio * math.exp(-log_half) - 1, ratio * math.exp(log_half) - 1)
    assert found.lift_interval == pytest.approx(expected, abs=1e-6)


def test_the_sample_ratio_is_pearsons_over_the_arms(page: ExperimentPage) -> None:
    found = {arm.variant: arm.units for arm in page.arms}
    total = sum(found.values())
    statistic = sum((found[name] - total * share) ** 2 / (total * share) for name, share in SHARES.items())
    assert page.sample_ratio.p == pytest.approx(scipy.stats.chi2.sf(statistic, 1), rel=1e-6)


SHARES = {"control": 0.8, "treatment": 0.2}


def test_the_true_lift_is_inside_the_interval(page: ExperimentPage) -> None:
    (found,) = (one for one in page.estimates if one.metric == "add_to_cart_rate")
    assert found.lift_interval is not None
    assert found.lift_interval[0] < SHOP.lifts["treatment"] < found.lift_interval[1]


def test_the_experiment_has_the_name_the_shop_gave_it(page: ExperimentPage) -> None:
    assert (page.experiment.id, page.phase, page.control) == (EXPERIMENT, 1, "control")
