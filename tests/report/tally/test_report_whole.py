"""Every built-in metric beside a computation written apart: plain loops over the rows, numpy for the intervals."""

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats

from abside.metric import METRICS
from abside.report.ask import Ask
from abside.report.engines.embedded import Embedded
from abside.report.page.experiment import ExperimentPage
from abside.report.report import build
from abside.report.store.source import open_source
from shop import Shop
from shop_store import snapshot, write
from shop_whole import PRIMARY, SECONDARY, Effects, Whole, gini_by_hand

Column = np.ndarray[Any, np.dtype[np.float64]]
SHOP = Shop(seed=11, shoppers=3_000, weights={"control": 50, "treatment": 50}, bots=0.03, qa=0.01, days=3.0)
EFFECTS = Effects(cart=0.3, click=0.3, items=0.5, money=0.2, load=0.1, favourites=0.2)
RATIOS = {  # metric → its two columns; of a mean the second is one a unit
    "ctr": ("clicks", "impressions"),
    "revenue_per_session": ("revenue", "sessions"),
    "revenue_per_user": ("revenue", "ones"),
    "bounce_rate": ("bounces", "sessions"),
    "slow_page_share": ("slow", "views"),
    "page_load_mean": ("load", "views"),
    "items_per_cart": ("amount", "carted"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, Column]], ExperimentPage]:
    """Columns of one entry a unit, by variant, as a loop finds them; and the report's page."""
    folder = tmp_path_factory.mktemp("whole")
    table = Whole(SHOP, EFFECTS, flaws=False).rows()
    write(folder, table)
    analysis = {"primary": PRIMARY, "secondary": list(SECONDARY)}
    with Embedded.open(memory_bytes=2**30, spill=folder) as engine:
        (page,) = build(engine, open_source(engine, folder), snapshot(SHOP, analysis=analysis), Ask()).pages
    table = table.set_column(table.schema.get_field_index("ts"), "ts", table["ts"].cast(pa.int64()))
    return columns(table.to_pylist()), page


def columns(rows: list[dict[str, Any]]) -> dict[str, dict[str, Column]]:
    """Every rule, one after the other. No window ends in this shop, and every shopper is one person."""
    rows = sorted((row for row in rows if not row["bot"]), key=lambda row: row["ts"])
    user_of = {row["session_id"]: row["user_id"] for row in rows if row["user_id"] and row["session_id"]}
    variants: dict[str, str] = {}
    sessions: defaultdict[str, set[str]] = defaultdict(set)
    units: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    views: defaultdict[str, int] = defaultdict(int)
    acted: set[str] = set()
    for row in rows:
        person = row["user_id"] or user_of.get(row["session_id"]) or row["session_id"]
        if row["type"] == "exposure" and not row["forced"]:
            variants.setdefault(person, row["variant"])
            sessions[person].add(row["session_id"])
        views[row["session_id"]] += row["type"] == "page_view"
        if row["type"] in ("click", "add_to_cart", "purchase"):
            acted.add(row["session_id"])
        unit = units[person]
        unit["clicks"] += row["type"] == "click"
        unit["impressions"] += row["type"] == "impression"
        unit["carted"] = max(unit["carted"], row["type"] == "add_to_cart")
        unit["bought"] = max(unit["bought"], row["type"] == "purchase")
        unit["amount"] += (row["quantity"] or 0) if row["type"] == "add_to_cart" else 0
        unit["revenue"] += float(row["value"] or 0) if row["type"] == "purchase" else 0
        if row["type"] == "page_view":
            unit["views"] += 1
            unit["load"] += row["page_load_ms"]
            unit["slow"] += row["page_load_ms"] > 2500
    for person, mine in sessions.items():
        units[person]["sessions"] = len(mine)
        units[person]["bounces"] = sum(views[one] <= 1 and one not in acted for one in mine)
        units[person]["ones"] = 1
    names = {"carted", "bought", *(name for pair in RATIOS.values() for name in pair)}
    return {
        arm: {name: np.array([units[one][name] for one, met in variants.items() if met == arm]) for name in names}
        for arm in ("control", "treatment")
    }


def test_every_built_in_metric_has_figures(world: tuple[dict[str, dict[str, Column]], ExperimentPage]) -> None:
    _, page = world
    assert [one.metric for one in page.estimates] == [metric.name for metric in METRICS]
    assert all(one.difference_interval is not None for one in page.estimates)


@pytest.mark.parametrize(("metric", "pair"), RATIOS.items())
def test_a_ratios_value_interval_and_p_are_those_of_the_delta_method(
    world: tuple[dict[str, dict[str, Column]], ExperimentPage], metric: str, pair: tuple[str, str]
) -> None:
    arms, page = world
    (found,) = (one for one in page.estimates if one.metric == metric)
    values, spreads, counts = [], [], []
    for arm in ("control", "treatment"):
        above, below = (arms[arm][name] for name in pair)
        ratio = above.sum() / below.sum()
        residuals = (above - ratio * below) / below.mean()
        values.append(ratio)
        spreads.append(residuals.var(ddof=1) / len(residuals))
        counts.append(len(residuals))
    difference, ratio = values[1] - values[0], values[1] / values[0]
    half = quantile(spreads, counts)
    log_half = quantile([spread / value**2 for spread, value in zip(spreads, values, strict=True)], counts)
    expected = (ratio * math.exp(-log_half) - 1, ratio * math.exp(log_half) - 1)
    assert (found.control, found.value) == pytest.approx(tuple(values), rel=1e-9)
    assert found.lift == pytest.approx(ratio - 1, rel=1e-9)
    assert found.difference_interval == pytest.approx((difference - half, difference + half), rel=1e-6)
    assert found.lift_interval == pytest.approx(expected, rel=1e-6)
    t = abs(difference) / math.sqrt(sum(spreads))
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(t, degrees(spreads, counts)), rel=1e-6)


@pytest.mark.parametrize(("metric", "column"), [("add_to_cart_rate", "carted"), ("conversion_rate", "bought")])
def test_a_proportion_is_the_share_of_units(
    world: tuple[dict[str, dict[str, Column]], ExperimentPage], metric: str, column: str
) -> None:
    arms, page = world
    (found,) = (one for one in page.estimates if one.metric == metric)
    means = arms["control"][column].mean(), arms["treatment"][column].mean()
    assert (found.control, found.value) == pytest.approx(means, rel=1e-9)


def test_the_ginis_are_near_the_pairwise_one_of_what_the_arms_were_shown(
    world: tuple[dict[str, dict[str, Column]], ExperimentPage],
) -> None:
    _, page = world
    (found,) = (one for one in page.estimates if one.metric == "inventory_exposure_gini")
    assert found.difference_interval is not None
    assert found.difference_interval[0] < Whole(SHOP, EFFECTS).truth()["inventory_exposure_gini"]
    assert found.difference_interval[1] > Whole(SHOP, EFFECTS).truth()["inventory_exposure_gini"]
    assert gini_by_hand(np.array([0, 0, 0, 4])) == 0.75


def degrees(spreads: list[float], counts: list[int]) -> float:
    """Welch and Satterthwaite's degrees of freedom."""
    return sum(spreads) ** 2 / sum(one**2 / (count - 1) for one, count in zip(spreads, counts, strict=True))


def quantile(spreads: list[float], counts: list[int]) -> float:
    return float(scipy.stats.t.ppf(0.975, degrees(spreads, counts))) * math.sqrt(sum(spreads))
