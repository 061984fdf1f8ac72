"""The primary by day, by days since the first exposure and by attribute, beside plain loops."""

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from abside.report.ask import Ask
from abside.report.command import main
from abside.report.page.cuts import Slice
from abside.report.page.experiment import ExperimentPage
from abside.report.report import build
from abside.report.settings import ReportSettings
from abside.report.stats.adjust import benjamini_hochberg
from abside.report.store.engine import Engine
from abside.report.store.source import open_source
from abside.report.tally.slices import NO_VALUE, OTHERS, TOP
from abside.snapshot import Attribute, Snapshot

DAY = 24 * 60
ATTRIBUTES = {"country": Attribute("string", log=True), "tier": Attribute("string")}
OPENED = 9 * 60  # the shop opens at nine
ARMS = ("control", "treatment")


class Person(NamedTuple):
    """One shopper. Minutes: of the first exposure since the shop opened, of the cart since then."""

    day: int
    variant: str
    country: str
    start: float
    cart: float | None


@pytest.fixture
def people(till: Any) -> list[Person]:
    """Three hundred persons over five days; carts happen up to four days later."""
    rng = random.Random(5)
    till.config(0)
    found = []
    for number in range(300):
        day, variant = rng.randrange(5), rng.choice(["control", "treatment"])
        country, user = rng.choice(["DE", "AT", "CH"]), f"u{number}"
        start = day * DAY + rng.random() * 600
        till.expose(start, variant, user_id=user, attributes={"country": country})
        till.expose(start + 30, variant, user_id=user, attributes={"country": "moved"})
        cart = start + rng.random() * 4 * DAY if rng.random() < 0.5 else None
        if cart is not None:
            till.add("add_to_cart", cart, user_id=user, item_id="i")
        found.append(Person(day, variant, country, start, None if cart is None else cart - start))
    till.add("click", 9 * DAY, user_id="u0")
    return found


@pytest.fixture
def cut(till: Any, engine: Engine, documents: Callable[..., Snapshot]) -> Callable[..., ExperimentPage]:
    def make(*by: str, logged: tuple[str, ...] = ("country",), **analysis: Any) -> ExperimentPage:
        snapshot = documents(analysis={"window_seconds": 7 * 86_400, **analysis})
        ask = Ask(by=by, logged=logged)
        (page,) = build(engine, open_source(engine, till.close()), snapshot, ask).pages
        return page

    return make


def figures(slices: tuple[Slice, ...]) -> Iterator[tuple[str, dict[str, int], float | None, float | None]]:
    for one in slices:
        (each,) = one.estimates
        yield one.key, one.units, each.control, each.value


def rate(people: list[Person]) -> float:
    return sum(one.cart is not None for one in people) / len(people)


def test_by_day_is_what_would_have_been_seen_at_the_end_of_each_day(
    people: list[Person], cut: Callable[..., ExperimentPage]
) -> None:
    page = cut(planned_units=300)
    found = list(figures(page.cuts.days))
    assert [key for key, *_ in found] == [f"2026-11-{2 + day:02}" for day in range(9)]  # the carts of the last, too
    for day, (_, units, control, value) in enumerate(found):
        until = {arm: [one for one in people if one.day <= day and one.variant == arm] for arm in ARMS}
        assert units == {arm: len(ones) for arm, ones in until.items()}
        ends = (day + 1) * DAY - OPENED
        seen = [sum(one.cart is not None and one.start + one.cart < ends for one in until[arm]) for arm in ARMS]
        assert (control, value) == pytest.approx(tuple(n / len(until[arm]) for n, arm in zip(seen, ARMS, strict=True)))
    last, (whole,) = page.cuts.days[-1].estimates, [one for one in page.estimates if one.role == "primary"]
    assert last[0].lift_interval == whole.lift_interval
    assert last[0].band == whole.band
    assert page.cuts.days[1].estimates[0].band != last[0].band


def test_by_days_since_the_first_exposure_counts_those_seen_so_long(
    people: list[Person], cut: Callable[..., ExperimentPage]
) -> None:
    found = list(figures(cut().cuts.since))
    assert [key for key, *_ in found] == ["0", "1", "2", "3", "4", "5", "6"]
    for number, (_, units, control, value) in enumerate(found):
        expected = {}
        for arm in ("control", "treatment"):
            mine = [one.cart for one in people if one.variant == arm]
            hit = sum(cart is not None and number <= cart / DAY < number + 1 for cart in mine)
            expected[arm] = (len(mine), hit / len(mine))
        if number < 4:  # the store ends four days after the last first exposures
            assert units == {arm: count for arm, (count, _) in expected.items()}
            assert (control, value) == pytest.approx(tuple(share for _, share in expected.values()))


def test_by_an_attribute_is_its_value_at_the_first_exposure(
    people: list[Person], cut: Callable[..., ExperimentPage]
) -> None:
    page = cut("country")
    assert page.cuts.by is not None
    slices = page.cuts.by["country"]
    by_country: defaultdict[str, list[Person]] = defaultdict(list)
    for one in people:
        by_country[one[2]].append(one)
    for key, units, control, value in figures(slices):
        arms = {arm: [one for one in by_country[key] if one[1] == arm] for arm in ("control", "treatment")}
        assert units == {arm: len(ones) for arm, ones in arms.items()}
        assert (control, value) == pytest.approx((rate(arms["control"]), rate(arms["treatment"])))
    ps = [one.estimates[0].p or math.nan for one in slices]
    assert [one.estimates[0].p_adjusted for one in slices] == pytest.approx(benjamini_hochberg(ps))


def test_of_many_values_the_most_frequent_are_shown_and_the_rest_is_one(
    till: Any, cut: Callable[..., ExperimentPage]
) -> None:
    for number in range(400):
        country = f"c{number % 3}" if number < 300 else f"rare{number}"
        attributes = {"country": country} if number != 399 else {}
        till.expose(0, "treatment" if number % 2 else "control", user_id=f"u{number}", attributes=attributes)
        till.add("add_to_cart", 1, user_id="u1", item_id="i")
    page = cut("country")
    assert page.cuts.by is not None
    slices = page.cuts.by["country"]
    assert len(slices) == TOP + 1
    assert [sum(one.units.values()) for one in slices[:3]] == [100, 100, 100]
    assert slices[-1].key == OTHERS
    assert sum(sum(one.units.values()) for one in slices) == 400
    assert NO_VALUE in {one.key for one in slices} | {OTHERS, NO_VALUE}


def test_a_mismatch_is_looked_for_by_day_placement_unit_and_attribute(
    till: Any, cut: Callable[..., ExperimentPage]
) -> None:
    till.config(0)
    for number in range(600):
        country = "DE" if number % 3 else "AT"
        if country == "AT" and number % 2 and number % 5:
            continue  # a page of AT that fails in the treatment
        variant = "treatment" if number % 2 else "control"
        boot = "new" if country == "AT" else "old" if number % 5 else "silent"
        till.expose(0, variant, event_id=f"{boot}-{number:x}", user_id=f"u{number}", attributes={"country": country})
    for boot, version in (("new", "5.0"), ("old", "4.9")):  # one from before clusters were told
        where = {"namespace": "", "cluster": "eu-1"} if boot == "new" else {}
        source = {"pod": boot, "app": "recs", "version": version, **where}
        till.add("config", 0, event_id=f"{boot}-fffff", revision="r0", source=source, placements=[])
    page = cut()
    assert page.sample_ratio.is_mismatch
    assert page.cuts.ratios is not None
    assert list(page.cuts.ratios) == ["day", "placement", "unit_type", "app version", "cluster", "country"]
    assert [(one.key, one.sample_ratio.is_mismatch) for one in page.cuts.ratios["app version"]] == [
        ("4.9", False),
        ("5.0", True),
        (NO_VALUE, False),
    ]
    assert [(one.key, one.sample_ratio.is_mismatch) for one in page.cuts.ratios["cluster"]] == [
        (NO_VALUE, False),
        ("eu-1", True),
    ]
    by_country = {one.key: one.sample_ratio for one in page.cuts.ratios["country"]}
    assert by_country["AT"].is_mismatch
    assert by_country["DE"].p == pytest.approx(1.0)


def test_an_attribute_with_the_name_of_another_cut_is_shown_beside_it(
    till: Any, cut: Callable[..., ExperimentPage]
) -> None:
    till.config(0)
    for number in range(200):
        variant = "treatment" if number % 5 == 0 else "control"
        till.expose(0, variant, user_id=f"u{number}", event_id=f"new-{number:x}", attributes={"country": "DE"})
    source = {"pod": "p", "app": "recs", "version": "5.0", "cluster": "eu-1"}
    till.add("config", 0, event_id="new-fffff", revision="r0", source=source, placements=[])
    page = cut(logged=("cluster", "day"))
    assert page.cuts.ratios is not None
    assert list(page.cuts.ratios) == [
        *("day", "placement", "unit_type", "app version", "cluster", "attribute cluster", "attribute day")
    ]
    assert [one.key for one in page.cuts.ratios["cluster"]] == ["eu-1"]


def test_values_in_two_currencies_are_added_up_in_no_cut_either_and_a_mismatch_is_cut_all_the_same(
    till: Any, cut: Callable[..., ExperimentPage]
) -> None:
    till.config(0)
    for number in range(200):
        user, variant = f"u{number}", "treatment" if number % 5 == 0 else "control"
        till.expose(0, variant, user_id=user, attributes={"country": "DE"})
        till.add("purchase", 1, user_id=user, value=10.0, currency="EUR" if number % 3 else "USD")
    page = cut("country", primary="revenue_per_user")
    assert page.values["revenue_per_user"] == {"control": None, "treatment": None}
    assert (page.cuts.by, page.cuts.days, page.cuts.since, page.sensitivity) == (None, (), (), ())
    assert page.cuts.ratios is not None
    assert list(page.cuts.ratios) == ["day", "placement", "unit_type", "app version", "country"]


def test_an_attribute_that_is_not_logged_is_refused_before_the_work(
    tmp_path: Path, config_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(ReportSettings(events=tmp_path, config=(config_file(),), by=("country",))) == 1
    assert "--by country: no attribute of the documents with log: true; logged are: none" in capsys.readouterr().err


def test_an_attribute_that_is_declared_and_not_logged_is_refused_with_what_to_write(
    tmp_path: Path, documents: Callable[..., Snapshot], capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = documents()
    declared = {"plan": Attribute("string", source="shop.yaml"), "country": Attribute("string", log=True)}
    snapshot.head.attributes.update(declared)
    settings = ReportSettings(events=tmp_path, config=(tmp_path,), by=("plan",))
    assert main(settings, lambda: snapshot) == 1
    assert capsys.readouterr().err == (
        "abside report: --by plan: it is declared without log: true, so no exposure carries it; write "
        "`plan: {type: string, log: true}` in shop.yaml: those from then on do\n"
    )
