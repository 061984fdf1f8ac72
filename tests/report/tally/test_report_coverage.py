"""Sixty shops in which nothing differs, at 80/20, 20 % of logins in mid-visit: how often is the page wrong?"""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from abside.metric import METRICS
from abside.report.engines.embedded import Embedded
from abside.report.stats.compare import estimate
from abside.report.stats.ratio import sample_ratio
from abside.report.store.source import open_source
from abside.report.tally.units import Choice, Tally
from shop import PLACEMENT, Shop
from shop_store import Flaws, rows, write

SHOPS = 60  # `make calibrate` has hundreds, by the whole command
SHOWN = METRICS[:4]  # the shop has no page views, and one item a cart
SHOPS_A_STORE = 10  # an experiment each, with shoppers of their own
SHOPPERS = 2_000
WEIGHTS_BP = {"control": 8_000, "treatment": 2_000}
END = datetime(2026, 12, 1, tzinfo=UTC)


def shops(numbers: range) -> pa.Table:
    drawn = [Shop(seed=number, shoppers=SHOPPERS, logs_in=0.2, days=0.5) for number in numbers]
    return pa.concat_tables([rows(shop, Flaws(duplicates=0.01), f"shop-{shop.seed}") for shop in drawn])


@pytest.mark.timeout(600)
def test_the_interval_covers_no_effect_and_the_sample_ratio_keeps_quiet(tmp_path: Path) -> None:
    covered: Counter[str] = Counter()
    alarms = crossed = units = 0
    with Embedded.open(memory_bytes=2**30, spill=tmp_path / "spill") as engine:
        for first in range(0, SHOPS, SHOPS_A_STORE):
            numbers = range(first, first + SHOPS_A_STORE)
            write(tmp_path / f"store-{first}", shops(numbers))
            tally = Tally(engine, open_source(engine, tmp_path / f"store-{first}").events, END)
            for number in numbers:
                choice = Choice(f"shop-{number}", 1, "user_or_session", (PLACEMENT,), 7 * 86_400, metrics=SHOWN)
                arms = {arm.variant: arm for arm in tally.count(choice).arms}
                alarms += sample_ratio({name: arm.units for name, arm in arms.items()}, WEIGHTS_BP).is_mismatch
                crossed += sum(arm.crossed for arm in arms.values())
                units += sum(arm.units for arm in arms.values())
                for metric in SHOWN:
                    interval = estimate(metric, arms["control"], arms["treatment"]).lift_interval
                    covered[metric.name] += interval is not None and interval[0] <= 0 <= interval[1]
    shares = {name: count / SHOPS for name, count in covered.items()}
    print(f"\n{SHOPS} A/A shops: coverage {shares}, sample-ratio alarms {alarms}, crossovers {crossed / units:.1%}")
    assert crossed / units == pytest.approx(0.2 * 2 * 0.8 * 0.2, rel=0.1)
    assert all(share >= 0.86 for share in shares.values()), shares  # 0.95 less three standard errors of 60
    assert alarms <= 1
