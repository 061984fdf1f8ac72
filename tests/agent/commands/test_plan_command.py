from __future__ import annotations

import subprocess
import sys
from statistics import NormalDist

import orjson
import pytest

from abside_agent.commands.plan import main, plan
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
    assert plan(PlanSettings(base, lift, 1000, split(weights))).units == pytest.approx(wanted, rel=1e-3)


def test_half_the_traffic_takes_twice_the_days(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(PlanSettings(300, 200, 200_000, json=True)) == 0
    said = orjson.loads(capsys.readouterr().out)
    days = {one["traffic"]: one["days"] for one in said["days"]}
    assert days["100%"] == -(-said["units"] // 200_000)
    assert days["50%"] == -(-said["units"] // 100_000)
    assert list(days) == ["1%", "5%", "20%", "50%", "100%"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--base", "3", "--lift", "2%", "--units-per-day", "9"], "a percentage needs its sign"),
        (["--base", "0%", "--lift", "2%", "--units-per-day", "9"], "lie between 0% and 100%"),
        (["--base", "90%", "--lift", "20%", "--units-per-day", "9"], "lie between 0% and 100%"),
        (["--base", "3%", "--lift", "2%", "--units-per-day", "0"], "1 or more"),
        (["--base", "3%", "--lift", "2%", "--units-per-day", "9", "--split", "80/30"], "is no split"),
        (["--base", "3%", "--lift", "2%", "--units-per-day", "9", "--alpha", "0%"], "above 0% and below 100%"),
    ],
)
def test_what_says_nothing_is_a_mistake_of_usage(words: list[str], said: str) -> None:
    done = subprocess.run([sys.executable, "-m", "abside", "plan", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
