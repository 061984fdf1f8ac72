"""`python bench/report_scale.py [SHOPPERS] [UNSEEN] [FOLDER]`: time and memory of the report on millions of events.

The default is 5 million exposures and 2 million outcomes: four of five impressions are left out of the store, since
two million lists are what they have. UNSEEN 0 keeps them all. 7,000,000 shoppers make 20 and 8 million. The store in a
FOLDER that is named is made once, and stays. As root it is also read within the limit of a container, without --memory.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from alike import differing
from container import contained, has_containers
from shop import EXPERIMENT, Shop, document
from shop_store import Flaws, rows, with_columns, write

if TYPE_CHECKING:
    import resource

SHOPPERS = 1_750_000
PART = 1_750_000  # shoppers made at once: more of them take more memory than most machines have
UNSEEN = 0.8
BUDGETS = ("4GiB", "1GiB")  # the default, and one in which it has to spill
CONTAINERS = (4096, 1536)  # MiB
SAME_WITHIN = ("experiments", "events", "accounts")  # of the JSON: what the store says, whatever the memory


def main(shoppers: int, unseen: float, kept: str = "") -> None:
    """Write the store in processes of their own, then report on it once for each budget and container."""
    with tempfile.TemporaryDirectory(prefix="abside-scale-") as place:
        folder = Path(kept or place)
        since = time.monotonic()
        if not (folder / "config").is_dir():
            write_shop(folder, shoppers, unseen)
        size = sum(path.stat().st_size for path in (folder / "store").rglob("*.parquet")) / 2**20
        print(f"store of {size:,.0f} MiB written in {time.monotonic() - since:.0f} s")
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
        pages = [measure(folder, budget) for budget in BUDGETS]
        if has_containers():
            pages += [measure(folder, "", container_mib=limit) for limit in CONTAINERS]
        for page in pages[1:]:
            found = [one for name in SAME_WITHIN for one in differing(pages[0][name], page[name])]
            print(f"figures that differ from the first one's: {len(found)} {found[:3] or ''}")


def write_shop(folder: Path, shoppers: int, unseen: float) -> None:
    """Write `store` and, in the end, `config`; in processes of their own: this one stays small."""
    for number, start in enumerate(range(0, shoppers, PART)):
        child = os.fork()
        if child == 0:
            _write_part(folder / "store", number, min(PART, shoppers - start), unseen)
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            raise SystemExit("the store could not be written")
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "shop.yaml").write_text(document(Shop(seed=1, qa=0.0)))


def _write_part(store: Path, number: int, shoppers: int, unseen: float) -> None:
    """Write some of the shoppers; those of every part but the first have the part in their ids."""
    shop = Shop(seed=1 + number, shoppers=shoppers, lifts={"treatment": 0.02})
    flaws = Flaws(duplicates=0.005, late=0.005, unseen=unseen)
    table = rows(shop, flaws, f"{EXPERIMENT}-{number}" if number else EXPERIMENT)
    if number:  # of the same experiment all the same, which the first part's sidecars told
        table = table.filter(pc.not_equal(table["type"], "config"))
        named = pc.if_else(pc.is_valid(table["experiment"]), EXPERIMENT, pa.scalar(None, pa.string()))
        table = with_columns(table, experiment=named)
    write(store, table, name=f"part-{number}")


def measure(folder: Path, budget: str, *more: str, container_mib: int = 0) -> dict[str, Any]:
    """Run the command as a person does, and return its JSON; the peak is of its process.

    With `container_mib` within such a limit, and without --memory where `budget` is none.
    """
    out = folder / "report.json"
    where = ["--events", str(folder / "store"), "--config", str(folder / "config"), "--json", str(out)]
    command = [sys.executable, "-m", "abside", "report", *where, *(["--memory", budget] if budget else []), *more]
    whole = contained(command, container_mib * 2**20) if container_mib else nullcontext((command, None))
    since = time.monotonic()
    with whole as (run, peak_file):
        with subprocess.Popen(run, stdout=subprocess.DEVNULL) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        took = time.monotonic() - since
        if process.returncode != 0:
            raise SystemExit(f"the report ended with {process.returncode}")
        group = f", {int(peak_file.read_text()) / 2**20:,.0f} with its page cache" if peak_file else ""
    page: dict[str, Any] = json.loads(out.read_text())
    count = page["events"]["rows_by_type"]
    outcomes = sum(found for kind, found in count.items() if kind not in ("exposure", "config", "account"))
    units = sum(arm["units"] for arm in page["experiments"][0]["arms"])
    print(
        f"{f'a container of {container_mib:,} MiB' if container_mib else f'--memory {budget}'}: "
        f"{count['exposure']:,} exposures, {outcomes:,} outcomes, {units:,} units: "
        f"{took:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of CPU, peak {peak_mb(used):,.0f} MB{group}",
        flush=True,
    )
    return page


def peak_mb(used: resource.struct_rusage) -> float:
    """Return the peak resident size; Linux counts KiB."""
    return used.ru_maxrss / 1024


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else SHOPPERS,
        float(sys.argv[2]) if len(sys.argv) > 2 else UNSEEN,
        *sys.argv[3:],
    )
