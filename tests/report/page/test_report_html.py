"""The HTML page: one file, well formed, without scripts, whatever names it has to show."""

import random
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from abside.report.command import main
from abside.report.page.html.markup import text
from abside.report.page.html.svg import Point, line, lorenz
from abside.report.settings import ReportSettings

DAY = 24 * 60
VOID = {"meta", "br", "wbr"}
DRAWN = {"line", "circle", "polygon", "polyline"}


class Reader(HTMLParser):
    """Holds tags to be closed in order, and keeps what is there."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def store(till: Any) -> Path:
    """A shop of ten days."""
    rng = random.Random(2)
    till.config(0)
    for number in range(1_000):
        start, user = rng.random() * 10 * DAY, f"u{number}"
        treated = rng.random() < 0.5
        till.expose(start, "treatment" if treated else "control", user_id=user, session_id=user)
        till.add("page_view", start, user_id=user, session_id=user, page_load_ms=rng.lognormvariate(7, 0.5))
        if rng.random() < (0.3 if treated else 0.25):
            till.add("add_to_cart", start + 5, user_id=user, session_id=user, item_id="i")
    folder: Path = till.close()
    return folder


def page(store: Path, config: Path, place: Path) -> tuple[str, Reader]:
    assert main(ReportSettings(events=store, config=(config,), html=place)) == 0
    text = place.read_text()
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return text, reader


ANALYSIS = {
    "window_seconds": 86_400,
    "planned_units": 2_000,
    "guardrails": {"page_load_mean": {"max_increase_bp": 500}, "bounce_rate": {"max_increase_bp": 200}},
}


def test_the_page_is_one_file_with_every_picture_beside_its_table(
    store: Path, config_file: Callable[..., Path], tmp_path: Path
) -> None:
    markup, reader = page(store, config_file(analysis=ANALYSIS), tmp_path / "out.html")
    assert reader.tags.count("svg") >= 3  # forest, lift by day, share by day
    assert reader.tags.count("table") >= reader.tags.count("svg")
    assert set(reader.tags) >= DRAWN
    assert "script" not in reader.tags
    assert not [name for name, value in reader.attributes if name in ("src", "href") or name.startswith("on")]
    assert "http" not in markup.replace("http-equiv", "")
    said = "".join(reader.text).replace("\u00a0", " ")
    for words in (
        "sample ratio p =",
        "interim: 1,000 of 2,000 planned units",
        "add_to_cart_rate (primary)",
        "at most +5 %",
    ):
        assert words in said
    for kind in ('class="margin"', 'class="band"', 'class="interval"', 'class="outer"', 'class="inner"'):
        assert kind in markup


def test_a_name_is_text_and_no_markup(store: Path, config_file: Callable[..., Path], tmp_path: Path) -> None:
    name = "<script>alert(1)</script> \"><img src=x onerror=alert(1)> a\x00b\u202ec &lt; '><img>"
    markup, reader = page(store, config_file(name=name, hypothesis=name), tmp_path / "out.html")
    assert not {"script", "img"} & set(reader.tags)
    assert "<script" not in markup
    assert "".join(sign if sign.isprintable() else "?" for sign in name) in "".join(reader.text)


def test_a_store_without_figures_is_a_page_that_says_so(
    till: Any, config_file: Callable[..., Path], tmp_path: Path
) -> None:
    till.expose(0, "treatment", user_id="u1")
    place = tmp_path / "out.html"
    assert main(ReportSettings(events=till.close(), config=(config_file(),), html=place)) == 1
    assert "has no unit in its control" in place.read_text()


def test_a_day_alone_is_a_dot_with_its_interval_and_no_line_goes_over_days_that_are_not_known() -> None:
    known, unknown = Point("1", 0.1, (0.0, 0.2), (-0.1, 0.3)), Point("2", None)
    alone = line("lift", [known, unknown, unknown], 0.0)
    for drawn in ('<circle class="dot"', '<line class="interval"', '<line class="band"'):
        assert alone.count(drawn) == 1
    assert "polyline" not in alone
    apart = line("lift", [known, known, unknown, known, known], 0.0)
    assert (apart.count("<polyline"), apart.count("<polygon"), apart.count("<circle")) == (2, 4, 0)


def test_a_lorenz_curve_has_its_whole_name_below_the_square() -> None:
    names = [f"a ranker with a long name, number {number}" for number in range(3)]
    drawn = lorenz("items", dict.fromkeys(names, (0.0, 0.2, 1.0)))
    assert all(name in drawn for name in names)
    assert "…" in lorenz("items", {"n" * 60: (0.0, 1.0)})


def test_a_percent_sign_begins_no_line() -> None:
    assert text("over for 4 %.") == "over for 4\u00a0%."
