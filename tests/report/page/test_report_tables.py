"""CSV and Markdown: the same figures, for other programs and for pull requests; and the sentence above them."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abside.report.command import main
from abside.report.page.experiment import ExperimentPage
from abside.report.page.text.tables import COLUMNS
from abside.report.page.words import sentence
from abside.report.settings import ReportSettings

Configure = Callable[..., Path]
PageOf = Callable[..., ExperimentPage]


@pytest.fixture
def store(till: Any) -> Path:
    till.config(0)
    for number in range(400):
        user = f"u{number}"
        till.expose(0, "treatment" if number % 2 else "control", user_id=user, session_id=user)
        if number % 4 < 2 or number % 8 == 3:
            till.add("add_to_cart", 1, user_id=user, session_id=user, item_id="i")
    till.add("page_view", 1, user_id="u0", session_id="u0", page_load_ms=10)
    folder: Path = till.close()
    return folder


def test_csv_has_one_row_a_metric_and_arm_with_the_pages_figures(
    store: Path, config_file: Configure, page_of: PageOf, tmp_path: Path
) -> None:
    place = tmp_path / "out.csv"
    assert main(ReportSettings(events=store, config=(config_file(),), csv=place)) == 0
    rows = list(csv.DictReader(place.read_text().splitlines()))
    page = page_of(store)
    assert tuple(rows[0]) == COLUMNS
    assert [(row["metric"], row["value"]) for row in rows[2 * len(page.metrics) :]] == [("page_load_p75", "10.0")]
    control, treated = (row for row in rows if row["metric"] == "add_to_cart_rate")
    assert (control["variant"], control["is_control"], control["units"], float(control["value"])) == (
        "control", "1", "200", 0.5
    )  # fmt: skip
    assert float(treated["value"]) == 0.75
    assert float(treated["lift"]) == pytest.approx(0.5)
    (one,) = (one for one in page.estimates if one.metric == "add_to_cart_rate")
    assert (float(treated["lift_low"]), float(treated["lift_high"])) == one.lift_interval
    (absent,) = (row for row in rows if row["metric"] == "ctr" and row["is_control"] == "0")
    assert (absent["value"], absent["p"]) == ("", "")
    assert absent["reason"].startswith("no data")


def test_markdown_is_a_table_that_no_name_can_break(store: Path, config_file: Configure, tmp_path: Path) -> None:
    place = tmp_path / "out.md"
    config = config_file(name="<script>alert(1)</script> | a\nb")
    assert main(ReportSettings(events=store, config=(config,), markdown=place)) == 0
    text = place.read_text()
    assert "## e: \\<script>alert(1)\\</script> \\| a b" in text
    figures = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in figures[:4]} == {8}
    assert {line.replace("\\|", "").count("|") for line in figures[4:]} == {10}
    assert any(line.startswith("| add\\_to\\_cart\\_rate (primary) | control | 50.000% |") for line in figures)


def test_two_forms_on_standard_output_are_refused_before_the_work(
    tmp_path: Path, config_file: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ReportSettings(events=tmp_path, config=(config_file(),), csv=Path("-"), markdown=Path("-"))
    assert main(settings) == 1
    expected = "abside report: --markdown: standard output: is what --csv is written to\n"
    assert capsys.readouterr() == ("", expected)


def test_the_sentence_says_ratio_primary_guardrails_and_how_far_it_is(store: Path, page_of: PageOf) -> None:
    analysis = {"window_seconds": 3600, "planned_units": 800, "guardrails": {"bounce_rate": {"max_decrease_bp": 100}}}
    said = sentence(page_of(store, analysis=analysis))
    assert said.startswith("sample ratio p = 1.000; add_to_cart_rate: treatment +50.00% (+27.82% … +76.03%); guard")
    assert "; guardrails not inside: bounce_rate of treatment outside; interim: 400 of 800 planned units (50 %)" in said
    said = sentence(page_of(store))
    assert said.endswith("no planned_units: windows over for 0 %.")
