"""`--aa`: the page of two arms that are alike, read as a check of the pipeline."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scipy.stats

from abside.report.command import main
from abside.report.page.aa import aa_lines
from abside.report.settings import ReportSettings
from abside.report.stats.aa import AaCheck, AaInterval, counted
from abside.snapshot import Variant

ALIKE = (Variant("control", 0, 5_000), Variant("treatment", 5_000, 10_000))


def intervals(total: int, missed: int) -> tuple[AaInterval, ...]:
    ends = [(0.01, 0.2)] * missed + [(-0.1, 0.0)] * (total - missed)
    return tuple(AaInterval("e", f"m{number}", "b", one) for number, one in enumerate(ends))


@pytest.mark.parametrize(("total", "missed"), [(20, 0), (20, 1), (20, 6), (200, 18)])
def test_the_probability_is_of_as_many_or_more_by_chance(total: int, missed: int) -> None:
    found = counted(intervals(total, missed))
    sums = sum(scipy.stats.binom.pmf(number, total, 0.05) for number in range(missed, total + 1))
    assert (found.intervals, found.missed) == (total, missed)
    assert found.expected == pytest.approx(0.05 * total)
    assert found.p == pytest.approx(sums)


def test_an_alarm_is_a_mismatch_or_more_misses_than_chance_explains() -> None:
    assert not AaCheck(intervals(20, 4), {"e": 0.5}).is_alarm
    assert AaCheck(intervals(20, 6), {"e": 0.5}).is_alarm
    assert AaCheck(intervals(20, 0), {"e": 0.5, "f": 1e-4}).mismatches == ("f",)
    assert AaCheck(intervals(20, 0), {"e": 0.5, "f": 1e-4}).is_alarm
    nothing = AaCheck((), {"e": None})
    assert not nothing.is_alarm
    assert "nothing is checked" in aa_lines(nothing)[0].text


@pytest.fixture
def store(till: Any) -> Callable[[float], Path]:
    """A shop of four hundred, where the treatment loses a share of its carts on the way."""

    def make(lost: float) -> Path:
        rng = random.Random(1)
        till.config(0)
        for number in range(400):
            variant, user = "treatment" if number % 2 else "control", f"u{number}"
            ids = {"user_id": user, "session_id": user}
            till.expose(0, variant, **ids)
            till.add("impression", 0.5, placement="pdp", items=["i"], **ids)
            till.add("page_view", 0, page_load_ms=1000 + 900 * rng.random(), **ids)
            if rng.random() < 0.5 and not (number % 2 and rng.random() < lost):
                till.add("click", 1, placement="pdp", item_id="i", **ids)
                till.add("add_to_cart", 1, item_id="i", value=10, **ids)
                till.add("purchase", 2, value=10 + rng.random(), **ids)
        folder: Path = till.close()
        return folder

    return make


def test_a_sound_pipeline_is_exit_0_and_one_that_loses_outcomes_of_an_arm_is_exit_4(
    store: Callable[[float], Path], config_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, config = tmp_path / "out.json", (config_file(variants=ALIKE),)
    assert main(ReportSettings(events=store(0.0), config=config, aa=True, json=place)) == 0
    told = json.loads(place.read_text())["aa"]
    assert (told["is_alarm"], told["whole"]["missed"], told["treated"]) == (False, 0, [])
    out = capsys.readouterr().out
    assert "A/A: nothing that chance does not explain" in out
    assert f"0 of {told['whole']['intervals']} 95 % intervals do not hold 0" in out
    html = tmp_path / "out.html"
    events = store(0.7)  # into the same store, a second time: still most of the carts of one arm are missing
    assert main(ReportSettings(events=events, config=config, aa=True, json=place, html=html)) == 4
    told = json.loads(place.read_text())["aa"]
    assert told["is_alarm"]
    assert {"add_to_cart_rate", "conversion_rate"} <= {one["metric"] for one in told["missed"]}
    assert told["by_arm"]["e, treatment"]["missed"] == told["whole"]["missed"]
    assert "more intervals miss 0 than chance explains" in html.read_text()


def test_an_experiment_whose_variants_differ_is_said_to_be_none(
    store: Callable[[float], Path], config_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    main(ReportSettings(events=store(0.0), config=(config_file(),), aa=True))
    assert "! e sets parameters in a variant: no A/A test" in capsys.readouterr().out
