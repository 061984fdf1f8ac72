"""`abside plan --events`: mean and standard deviation of a store, by hand and by the command."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pytest
from click.testing import CliRunner

from abside.cli import main as cli
from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import SCHEMA, Footer, write_file
from abside_agent.commands.plan import main, plan
from abside_agent.settings import PlanSettings, split

if TYPE_CHECKING:
    from pathlib import Path

BEGIN_US = int(datetime(2026, 11, 2, tzinfo=UTC).timestamp()) * 1_000_000
DAY_US = 86_400 * 1_000_000
SHOPPERS = 400
COMMON = {"config_id": "c", "revision": "r", "algo": 1, "attributes": {}}


class Shop:
    """Four weeks of shoppers at two placements; what each bought within seven days is known here too."""

    def __init__(self, seed: int = 7, currency: str = "EUR") -> None:
        self.rng = random.Random(seed)
        self.currency = currency
        self.rows: list[dict[str, Any]] = []
        self.spent: dict[str, float] = {}  # of those first exposed at pdp on the days 7 to 20
        self.sessions: dict[str, int] = {}
        for number in range(SHOPPERS):
            self.shopper(number)
        self.exposed("home-only", 10 * DAY_US, "home")
        self.add("page_view", 28 * DAY_US, "closing", page_type="pdp")  # the store's last event

    def shopper(self, number: int) -> None:
        """A first visit on some day, perhaps another one, and purchases within the window, after it and by nobody."""
        name, first = f"u{number}", round(self.rng.random() * 27 * DAY_US)
        spent, visits = 0.0, 1 + self.rng.randrange(2)
        for visit in range(visits):
            self.exposed(name, first + visit * 1000, "pdp", session=f"s{number}-{visit}")
        for _ in range(self.rng.choice((0, 0, 0, 1, 2))):
            value = float(self.rng.randrange(10, 300))
            spent += value
            self.add("purchase", first + DAY_US, name, value=value, currency=self.currency)
        self.add("purchase", min(first + 8 * DAY_US, 28 * DAY_US), name, value=5000.0, currency=self.currency)
        if 7 * DAY_US <= first < 21 * DAY_US:
            self.spent[name] = spent
            self.sessions[name] = visits

    def exposed(self, name: str, at_us: int, placement: str, session: str = "s") -> None:
        one = {"experiment": "e", "phase": 1, "variant": self.rng.choice("ab"), "forced": False, "traffic_bp": 10_000}
        arms = [
            {**one, "unit_type": "user", "unit_id": name},
            {**one, "experiment": "f", "unit_type": "user", "unit_id": name},
        ]
        self.add("exposure", at_us, name, session, placement=placement, assignments=arms, **COMMON)

    def add(self, kind: str, at_us: int, name: str, session: str | None = None, **fields: Any) -> None:
        ts = BEGIN_US + at_us
        known = {"event_id": f"b-{len(self.rows):x}", "type": kind, "ts": ts, "seen_ts": ts}
        self.rows.append({**known, "user_id": name, "session_id": session, **fields})

    def close(self, folder: Path) -> Path:
        day = folder / "dt=2026-11-02"
        day.mkdir(parents=True)
        rows = [row for one in self.rows for row in rows_of(one, batch_id="b", recv_us=one["ts"])]
        number = len(list(day.iterdir()))
        write_file(day / f"b{number}.parquet", [pa.Table.from_batches([record_batch(rows)], SCHEMA)], Footer(("b",)))
        return folder


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop()


@pytest.fixture(scope="module")
def store(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shop.close(tmp_path_factory.mktemp("plan") / "store")


def asked(store: Path, **changes: Any) -> PlanSettings:
    return PlanSettings(**{"units_per_day": 1000, "events": str(store), "placement": "pdp", "lift": 500, **changes})


def said(settings: PlanSettings, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(settings) == 0
    found: dict[str, Any] = orjson.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("weights", ["50/50", "34/33/33"])
def test_mean_and_deviation_are_those_of_the_units_first_exposed_there_whose_windows_are_over(
    weights: str, shop: Shop, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = said(asked(store, json=True, split=split(weights)), capsys)
    spent = [*shop.spent.values()]
    today = found["today"]
    assert today["units"] == len(spent)
    assert today["mean"] == pytest.approx(fmean(spent), rel=1e-9)
    assert today["sd"] == pytest.approx(stdev(spent), rel=1e-9)
    assert (today["since"], today["until"]) == ("2026-11-09T00:00:00+00:00", "2026-11-23T00:00:00+00:00")
    by_hand = plan(PlanSettings(1000, mean=fmean(spent), sd=stdev(spent), lift=500, split=split(weights)))
    assert found["units"] == by_hand.units


def test_a_ratio_has_the_deviation_of_its_linear_form(
    shop: Shop, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Source: the sample variance of x - r y over units, by the mean of y."""
    today = said(asked(store, json=True, metric="revenue_per_session"), capsys)["today"]
    spent, visits = [*shop.spent.values()], [*shop.sessions.values()]
    ratio = sum(spent) / sum(visits)
    linear = stdev(x - ratio * y for x, y in zip(spent, visits, strict=True))
    assert today["mean"] == pytest.approx(ratio, rel=1e-9)
    assert today["sd"] == pytest.approx(linear / fmean(visits), rel=1e-9)


def test_a_share_of_units_is_planned_as_its_rate(shop: Shop, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(asked(store, json=True, metric="conversion_rate"), capsys)
    rate = fmean(one > 0 for one in shop.spent.values())
    assert found["today"]["mean"] == pytest.approx(rate)
    wanted = plan(PlanSettings(1000, mean=rate, sd=(rate * (1 - rate)) ** 0.5, lift=500)).units
    assert found["units"] == pytest.approx(wanted, rel=0.02)  # n - 1 for n
    assert main(asked(store, metric="conversion_rate", lift=40_000)) == 2
    assert "cannot be lifted to 100 % or above" in capsys.readouterr().err


def test_the_days_that_there_are_and_another_period_go_with_it(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked(store, lift=None, days=14, last=28, window=2, split=split("80/20"))) == 0
    text = capsys.readouterr().out
    assert "revenue_per_user at pdp: mean " in text
    assert "first exposed from 2026-10-31 00:00 to 2026-11-28 00:00 UTC" in text
    assert "each with 2 days afterwards: " in text
    assert "The smallest lift of a mean of " in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"placement": "pdpp"}, "--placement pdpp: has no exposure in "),
        ({"placement": "pdpp"}, "did you mean pdp?"),
        ({"metric": "ctr"}, "ctr is not known there: no data: the store holds no click and no impression"),
        ({"metric": "revenue_per_usr"}, "--metric revenue_per_usr: is no metric of units; did you mean"),
        ({"metric": "inventory_exposure_gini"}, "is no metric of units"),
        ({"placement": "home"}, "fewer than two units were exposed at home from 2026-11-09"),
        ({"placement": "home"}, "write a smaller --window, or a larger --last"),
        ({"window": 60}, "write --window 27, or wait"),
        ({"config": ("/nonexistent",)}, "/nonexistent"),
    ],
)
def test_what_the_store_does_not_have_is_a_sentence(
    changes: dict[str, Any], sentence: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(store, **changes)) == 1
    assert sentence in capsys.readouterr().err


def test_a_folder_that_is_no_store_and_money_of_two_kinds_are_sentences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(tmp_path)) == 1
    assert "holds no dt=YYYY-MM-DD/*.parquet" in capsys.readouterr().err
    assert main(asked(tmp_path / "away")) == 1
    assert "is no directory" in capsys.readouterr().err
    two = Shop(1)
    two.rows += Shop(2, "USD").rows
    store = two.close(tmp_path / "store")
    assert main(asked(store)) == 1
    assert "several currencies: " in capsys.readouterr().err
    config = tmp_path / "config"
    config.mkdir()
    (config / "a.yaml").write_text("currency: EUR\nplacements: {pdp: {}}\n")
    assert main(asked(store, config=(str(config),))) == 0


def test_a_store_that_is_young_says_from_when_on_there_is_an_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for hours, sentence in {
        2: "the first exposure there was 2026-11-02 00:00 UTC: wait until 2026-11-03 00:00 UTC, then write --window 1",
        80: "the first exposure there was 2026-11-02 00:00 UTC: write --window 3, or wait",
    }.items():
        shop = Shop()
        shop.rows = []
        shop.exposed("one", 0, "pdp")
        shop.add("purchase", hours * DAY_US // 24, "one", value=5.0, currency="EUR")
        assert main(asked(shop.close(tmp_path / str(hours)))) == 1
        assert capsys.readouterr().err.endswith(f"are over; {sentence}\n")


def test_documents_without_a_store_are_refused_on_the_command_line_only(tmp_path: Path) -> None:
    """Their variable may be set for other commands."""
    words = ["plan", "--units-per-day", "1000", "--base", "3%", "--lift", "2%"]
    done = CliRunner().invoke(cli, [*words, "--config", str(tmp_path)])
    assert (done.exit_code, "--config goes with --events" in done.output) == (2, True)
    done = CliRunner().invoke(cli, words, env={"ABSIDE_CONFIG": str(tmp_path)})
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mean": 4.2, "sd": 30.0}, "leave --base, --mean and --sd out"),
        ({"base": 300}, "leave --base, --mean and --sd out"),
        ({"placement": None}, "--events needs --placement"),
        ({"events": None, "base": 300}, "--placement goes with --events"),
        ({"events": None, "placement": None, "last": 3, "base": 300}, "--last goes with --events"),
        ({"lift": None}, "write --lift"),
    ],
)
def test_what_does_not_go_together_is_refused(
    changes: dict[str, Any], sentence: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(store, **changes)) == 2
    assert sentence in capsys.readouterr().err
