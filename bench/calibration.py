"""`python bench/calibration.py [SHOPS] [FOLDER]`: shops in which nothing differs, each through the whole command.

How often does an interval hold the true value, 0? How often does one of 14 daily looks alarm, by the fixed interval and
by the always-valid band? And, at arms of 10:1, how often does the Gini's interval hold it? A report takes seconds, so
ten times as many shops are counted by numpy alone, which first has to agree with the command in every figure. Then one
shop with known effects, and what goes wrong on the way: is each true effect inside its interval? That alone, in a
minute, is SHOPS 0. Reports are kept in FOLDER and not made again.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import scipy.stats

from abside.cli import main as abside
from shop import Shop
from shop_store import write
from shop_units import Units
from shop_whole import Effects, Whole, whole_document

SHOPS = 200
SHOPPERS = 4_000
DAYS = 14.0
EVEN, UNEVEN = {"control": 50, "treatment": 50}, {"control": 91, "treatment": 9}
GINI = "inventory_exposure_gini"
EFFECTS = Effects(cart=0.15, click=0.1, items=0.5, money=0.1, load=0.076, favourites=0.2)


def main(shops: int, folder: Path) -> None:
    """Run all of it on every core there is; print the shares."""
    if shops:
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for title, weights in (("1:1", EVEN), ("10:1", UNEVEN)):
                check_units(folder / f"units-{title[:-2]}", weights)
                units = pool.map(partial(units_of, weights), range(10 * shops), chunksize=20)
                show(f"A/A shops of {SHOPPERS:,} people, arms of {title}, by numpy", list(units))
            even = list(pool.map(partial(a_a, folder / "even", EVEN), range(shops)))
            show(f"A/A shops of {SHOPPERS:,} people, arms of 1:1, by the whole command", even)
            uneven = list(pool.map(partial(a_a, folder / "uneven", UNEVEN), range(shops // 2)))
            show(f"A/A shops of {SHOPPERS:,} people, arms of 10:1, by the whole command", uneven)
    show_truth(folder)


def units_of(weights: dict[str, int], seed: int) -> dict[str, Any]:
    """Return what the page of one flawless shop would have, counted by numpy."""
    units = Units(Whole(Shop(seed=seed, shoppers=SHOPPERS, weights=weights, days=DAYS), flaws=False))
    looks = [{"estimates": [asdict(one)]} for one in units.looks(SHOPPERS)]
    return {"estimates": [asdict(one) for one in units.estimates()], "cuts": {"days": looks}}


def check_units(folder: Path, weights: dict[str, int]) -> None:
    """Compare numpy's figures of one shop with the command's: every interval and band. Raises RuntimeError."""
    found = units_of(weights, 0)
    whole = page(folder, Whole(Shop(seed=0, shoppers=SHOPPERS, weights=weights, days=DAYS), flaws=False))
    for mine, theirs in zip(_bounds(found), _bounds(whole), strict=True):
        if not math.isclose(mine, theirs, rel_tol=1e-9, abs_tol=1e-12):
            raise RuntimeError(f"numpy finds {mine}, the command {theirs}")


def _bounds(found: dict[str, Any]) -> list[float]:
    every = [*found["estimates"], *(one for day in found["cuts"]["days"] for one in day["estimates"])]
    names = ("difference_interval", "lift_interval")
    bounds = [one[name] for one in every for name in names] + [
        one["band"] for day in found["cuts"]["days"] for one in day["estimates"]
    ]
    return [end for pair in bounds if pair is not None for end in pair]


def a_a(folder: Path, weights: dict[str, int], seed: int) -> dict[str, Any]:
    """Return the page of one shop in which nothing differs."""
    shop = Shop(seed=seed, shoppers=SHOPPERS, weights=weights, days=DAYS)
    return page(folder / str(seed), Whole(shop))


def page(folder: Path, whole: Whole) -> dict[str, Any]:
    """Return the one page of the report on a shop, as JSON; made by the command, unless it is there."""
    out = folder / "report.json"
    if not out.exists():
        (folder / "config").mkdir(parents=True, exist_ok=True)
        shop = whole.shop
        (folder / "config" / "shop.yaml").write_text(whole_document(shop, planned_units=shop.shoppers))
        with tempfile.TemporaryDirectory(dir=folder) as store:
            write(Path(store), whole.rows())
            where = ["--events", store, "--config", str(folder / "config"), "--json", str(out)]
            with redirect_stdout(io.StringIO()):  # the command, without a process of its own for each
                try:
                    abside(["report", *where, "--memory", "512MiB"], standalone_mode=False)
                except SystemExit as exc:
                    if exc.code:
                        raise RuntimeError(f"the report of {folder} ended with {exc.code}") from exc
    (found,) = json.loads(out.read_text())["experiments"]
    return dict(found)


def show(title: str, pages: list[dict[str, Any]]) -> None:
    """Print how many intervals hold zero, by metric, and how many shops had an alarm on any day."""
    print(f"{len(pages):,} {title}: intervals that hold zero, and the binomial interval of that share", flush=True)
    covered: Counter[str] = Counter()
    for found in pages:
        for one in found["estimates"]:
            bounds = one["difference_interval"]
            covered[one["metric"]] += bounds is not None and bounds[0] <= 0 <= bounds[1]
    for name, count in covered.items():
        low, high = scipy.stats.binomtest(count, len(pages)).proportion_ci()
        print(f"  {name:28s} {count / len(pages):6.1%}  {low:6.1%} … {high:6.1%}")
    fixed = sum(any(alarms(day, "lift_interval") for day in found["cuts"]["days"]) for found in pages)
    band = sum(any(alarms(day, "band") for day in found["cuts"]["days"]) for found in pages)
    looks = max(len(found["cuts"]["days"]) for found in pages)
    print(f"any of {looks} daily looks: alarm by the fixed interval {fixed / len(pages):.1%}, ", end="")
    print(f"by the always-valid band {band / len(pages):.1%}", flush=True)


def alarms(day: dict[str, Any], name: str) -> bool:
    """Whether an interval of this day leaves zero out."""
    return any(one[name] is not None and not one[name][0] <= 0 <= one[name][1] for one in day["estimates"])


def show_truth(folder: Path) -> None:
    """Print the true effects of one shop and their intervals."""
    whole = Whole(Shop(seed=3, shoppers=40_000, weights=EVEN, days=5.0), EFFECTS)
    truth = whole.truth()
    for one in page(folder / "effects", whole)["estimates"]:
        name = one["metric"]
        low, high = one["difference_interval" if name == GINI else "lift_interval"]
        inside = "inside" if low <= truth[name] <= high else "OUTSIDE"
        print(f"  {name:28s} true {truth[name]:+8.4f}  {low:+8.4f} … {high:+8.4f}  {inside}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="abside-calibration-") as place:
        shops_, folder_ = [*sys.argv[1:], "", ""][:2]
        main(int(shops_ or SHOPS), Path(folder_ or place))
