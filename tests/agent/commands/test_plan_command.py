from __future__ import annotations

from statistics import NormalDist
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from abside.cli import main as abside
from abside_agent.commands.plan import main, plan, sights
from abside_agent.settings import PlanSettings, split


@pytest.mark.parametrize("base", [50, 300, 2000, 8000])
@pytest.mark.parametrize("lift", [100, 500])
@pytest.mark.parametrize("weights", ["50/50", "80/20", "20/80", "34/33/33"])
def test_the_units_are_those_of_the_textbook(base: int, lift: int, weights: str) -> None:
    """Source: n = (z(1 - alpha/2) + z(power))² var (1/w1 + 1/w2) / diff², in units of both arms and all others."""
    control, *others = (weight / 10_000 for weight in split(weights))
    rate = base / 10_000
    z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    wanted = z**2 * rate * (1 - rate) * (1 / control + 1 / min(others)) / (rate * lift / 10_000) ** 2
    assert plan(PlanSettings(1000, base, lift=lift, split=split(weights))).units == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("weights", ["50/50", "80/20", "34/33/33"])
def test_the_units_of_a_mean_are_those_of_the_textbook(weights: str) -> None:
    """Source: n = (z(1 - alpha/2) + z(power))² sd² (1/w1 + 1/w2) / diff², in units of both arms and all others."""
    control, *others = (weight / 10_000 for weight in split(weights))
    z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    wanted = z**2 * 30.0**2 * (1 / control + 1 / min(others)) / (4.2 * 0.02) ** 2
    found = plan(PlanSettings(1000, mean=4.2, sd=30.0, lift=200, split=split(weights)))
    assert found.units == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("weights", ["50/50", "80/20", "34/33/33"])
@pytest.mark.parametrize("metric", [{"base": 300}, {"mean": 4.2, "sd": 30.0}])
def test_the_days_of_a_plan_show_its_lift(weights: str, metric: dict[str, Any]) -> None:
    asked = PlanSettings(10_000, lift=500, split=split(weights), **metric)
    for (traffic, days), number in zip(plan(asked).days, range(9), strict=False):
        seen = sights(PlanSettings(10_000, days=days, split=split(weights), **metric), days)[number]
        assert (seen.traffic, seen.units) == (traffic, days * traffic)
        assert seen.lift == pytest.approx(0.05, rel=2e-2)
        assert seen.lift is not None
        assert seen.lift <= 0.0501


def test_the_lift_that_days_show_is_printed_for_each_share(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(PlanSettings(200_000, 300, days=14, split=split("80/20"))) == 0
    said = capsys.readouterr().out
    assert "The smallest lift of 3 % that 14 days at 200,000 new eligible units a day show," in said
    assert "\n  100 %   2.38 %     2,800,000\n" in said


def test_where_no_lift_can_show_it_says_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(PlanSettings(20, 9000, days=1, json=True)) == 0
    lifts = orjson.loads(capsys.readouterr().out)["lifts"]
    assert [(one["units"], one["lift"]) for one in lifts] == [(0, None), (1, None), (4, None), (10, None), (20, None)]


def test_half_the_traffic_takes_twice_the_days(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(PlanSettings(200_000, 300, lift=200, json=True)) == 0
    said = orjson.loads(capsys.readouterr().out)
    days = {one["traffic"]: one["days"] for one in said["days"]}
    assert days["100%"] == -(-said["units"] // 200_000)
    assert days["50%"] == -(-said["units"] // 100_000)
    assert list(days) == ["1%", "5%", "20%", "50%", "100%"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--base", "3", "--lift", "2%", "--units-per-day", "9"], "a percentage needs its sign"),
        (["--base", "0%", "--lift", "2%", "--units-per-day", "9"], "lies between 0% and 100%"),
        (["--base", "3%", "--units-per-day", "9"], "write --lift for the days that it needs, or --days"),
        (["--base", "3%", "--lift", "1%", "--days", "9", "--units-per-day", "9"], "write --lift for the days"),
        (["--lift", "2%", "--units-per-day", "9"], "write --base for a rate, or --mean and --sd"),
        (["--mean", "2", "--lift", "2%", "--units-per-day", "9"], "write --base for a rate, or --mean and --sd"),
        (["--base", "3%", "--sd", "2", "--lift", "2%", "--units-per-day", "9"], "write --base for a rate"),
        (["--mean", "-1", "--sd", "2", "--lift", "2%", "--units-per-day", "9"], "is not a number above 0"),
        (["--base", "3%", "--lift", "0%", "--units-per-day", "9"], "needs units without end"),
        (["--base", "3%", "--days", "0", "--units-per-day", "9"], "1 or more"),
        (["--base", "90%", "--lift", "20%", "--units-per-day", "9"], "lie between 0% and 100%"),
        (["--base", "3%", "--lift", "2%", "--units-per-day", "0"], "1 or more"),
        (["--base", "3%", "--lift", "2%", "--units-per-day", "9", "--split", "80/30"], "is no split"),
        (["--base", "3%", "--lift", "2%", "--units-per-day", "9", "--alpha", "0%"], "above 0% and below 100%"),
    ],
)
def test_what_says_nothing_is_a_mistake_of_usage(words: list[str], said: str) -> None:
    done = CliRunner().invoke(abside, ["plan", *words])
    assert done.exit_code == 2
    assert said in done.output
    assert isinstance(done.exception, SystemExit)
