"""`python bench/report_scale.py [SHOPPERS] [UNSEEN]`: time and peak memory of the report on millions of events.

The default is 5 million exposures and 2 million outcomes: four of five impressions are left out of the store, since
two million lists are what they have. UNSEEN 0 keeps them all.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from shop import Shop, document
from shop_store import Flaws, store

if TYPE_CHECKING:
    import resource

SHOPPERS = 1_750_000
UNSEEN = 0.8
BUDGETS = ("4GiB", "1GiB")  # the default, and one in which it has to spill


def main(shoppers: int, unseen: float) -> None:
    """Write the store in a process of its own, then report on it once for each budget."""
    with tempfile.TemporaryDirectory(prefix="abside-scale-") as place:
        folder = Path(place)
        since = time.monotonic()
        write_shop(folder, shoppers, unseen)
        size = sum(path.stat().st_size for path in (folder / "store").rglob("*.parquet")) / 2**20
        print(f"store of {size:,.0f} MiB written in {time.monotonic() - since:.0f} s")
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
        for budget in BUDGETS:
            measure(folder, budget)


def write_shop(folder: Path, shoppers: int, unseen: float) -> None:
    """Write `store` and `config`, in a process of its own: this one stays small."""
    child = os.fork()
    if child == 0:
        (folder / "config").mkdir(parents=True)
        (folder / "config" / "shop.yaml").write_text(document(Shop(seed=1, qa=0.0)))
        shop = Shop(seed=1, shoppers=shoppers, lifts={"treatment": 0.02})
        store(folder / "store", shop, Flaws(duplicates=0.005, late=0.005, unseen=unseen))
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        raise SystemExit("the store could not be written")


def measure(folder: Path, budget: str, *more: str) -> None:
    """Run the command as a person does; the peak is of its process."""
    out = folder / "report.json"
    where = ["--events", str(folder / "store"), "--config", str(folder / "config"), "--json", str(out)]
    command = [sys.executable, "-m", "abside", "report", *where, "--memory", budget, *more]
    since = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    took = time.monotonic() - since
    if process.returncode != 0:
        raise SystemExit(f"the report ended with {process.returncode}")
    document_ = json.loads(out.read_text())
    rows = document_["events"]["rows_by_type"]
    outcomes = sum(count for kind, count in rows.items() if kind not in ("exposure", "config", "account"))
    units = sum(arm["units"] for arm in document_["experiments"][0]["arms"])
    print(
        f"--memory {budget}: {rows['exposure']:,} exposures, {outcomes:,} outcomes, {units:,} units: "
        f"{took:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of CPU, peak {peak_mb(used):,.0f} MB"
    )


def peak_mb(used: resource.struct_rusage) -> float:
    """Return the peak resident size; Linux counts KiB."""
    return used.ru_maxrss / 1024


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else SHOPPERS,
        float(sys.argv[2]) if len(sys.argv) > 2 else UNSEEN,
    )
