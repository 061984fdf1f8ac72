"""The page in a terminal of any width and encoding: nothing is cut, and nothing fails to be written."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest

from abside.report.ask import Ask
from abside.report.engines.embedded import Embedded
from abside.report.page.text.document import write_report
from abside.report.page.text.pen import Pen
from abside.report.report import Report, build
from abside.report.store.source import open_source
from abside.snapshot import Snapshot

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LONG_NAME = "An experiment with a name that no narrow terminal has room for"


@pytest.fixture(scope="module")
def report(module_till: Any, documents: Callable[..., Snapshot]) -> Report:
    """A few hundred shoppers, with a guardrail, and lists but no clicks."""
    till = module_till
    till.config(0)
    for number in range(300):
        user = f"u{number}"
        till.expose(number * 20, "treatment" if number % 2 else "control", user_id=user, session_id=user)
        till.add("page_view", number * 20, user_id=user, session_id=user, page_load_ms=1000.0 + number)
        if number % 7 < 2:
            till.add("add_to_cart", number * 20 + 1, user_id=user, session_id=user, item_id="i")
    analysis = {"planned_units": 500, "guardrails": {"page_load_mean": {"max_increase_bp": 500}}}
    snapshot = documents(name=LONG_NAME, analysis=analysis)
    with Embedded.open(memory_bytes=2**30, spill=till.folder.with_name("spill")) as engine:
        return build(engine, open_source(engine, till.close()), snapshot, Ask())


def written(report: Report, encoding: str, **pen: Any) -> str:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="\n")
    write_report(report, Pen(out, **pen))
    out.flush()
    return raw.getvalue().decode(encoding)


def test_a_terminal_of_any_width_has_every_figure_and_no_line_beyond_its_edge(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    figures = set(re.findall(r"[+-]\d+\.\d\d%", written(report, "utf-8")))
    assert len(figures) > 20
    for width in (40, 60, *range(76, 84), 130, 250):
        told = COLOUR.sub("", written(report, "utf-8", is_terminal=True, width=width))
        assert max(map(len, told.splitlines())) <= width
        whole = " ".join(told.split())
        for word in (*LONG_NAME.split(), "add_to_cart_rate", "always valid", "crossovers"):
            assert word in whole
        assert figures <= set(re.findall(r"[+-]\d+\.\d\d%", whole))
        assert [word for word in whole.split() if word.endswith("…") and word != "…"] == []  # no cell is cut


def test_an_ascii_output_gets_ascii(report: Report) -> None:
    for is_terminal in (True, False):
        told = written(report, "ascii", is_terminal=is_terminal, width=80)
        assert "..." in told
        assert "?" not in told


def test_without_colour_there_is_none(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", written(report, "utf-8", is_terminal=True))


def test_bars_show_intervals_and_margins_and_metrics_without_data_are_a_line(report: Report) -> None:
    told = written(report, "utf-8")
    (bar,) = (line for line in told.splitlines() if line.startswith("page_load_mean ") and "━" in line)
    assert bar.index("━") < bar.index("●") < bar.rindex("━")
    assert ("│" in bar or "●" in bar, "┊" in bar) == (True, True)
    (bar,) = (line for line in told.splitlines() if line.startswith("add_to_cart_rate ") and "━" in line)
    assert bar.index("─") < bar.index("━") < bar.rindex("━") < bar.rindex("─")
    assert "\nplacement_add_to_cart_rate: no data: the store holds no impression\n" in told
    assert "\nctr: no data: the store holds no click and no impression\n" in told
    assert "\nconversion_rate, revenue_per_session, revenue_per_user: no data: the store holds no purchase\n" in told


def test_a_report_on_nothing_is_written_too(
    till: Any, report_on: Callable[..., Report], documents: Callable[..., Snapshot]
) -> None:
    till.add("page_view", 0, user_id="u1")
    told = COLOUR.sub("", written(report_on(till.close(), documents()), "ascii", is_terminal=True, width=40))
    assert "no experiment of the documents has an exposure" in " ".join(told.split())
