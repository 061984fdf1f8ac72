"""`python bench/report_small.py [SHOPS] [SHOPPERS] [FOLDER]`: the report on 200 exposures among 30 million rows.

Every shop is an experiment of its own, with its own shoppers; the small one is the only one of the documents. The
store in a FOLDER that is named is made once, and stays.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from report_scale import measure
from shop import Shop, document
from shop_store import Flaws, as_received, rows, write

SHOPS, SHOPPERS = 8, 935_000  # 30 million rows
SMALL = 90  # shoppers: about 200 exposures


def main(shops: int, shoppers: int, kept: str = "") -> None:
    """Write the store, a process for each shop, then report on the small experiment."""
    with tempfile.TemporaryDirectory(prefix="abside-small-") as place:
        folder = Path(kept or place)
        if not (folder / "config").is_dir():
            make(folder, shops, shoppers)
        measure(folder, "4GiB", "--experiment", "pdp-reranker")


def make(folder: Path, shops: int, shoppers: int) -> None:
    """Write the shops and the document."""
    since = time.monotonic()
    small = Shop(seed=99, shoppers=SMALL)
    write(folder / "store", as_received(rows(small, Flaws())), name="small")
    for number in range(shops):
        child = os.fork()
        if child == 0:
            shop = Shop(seed=number, shoppers=shoppers)
            flaws = Flaws(duplicates=0.005, late=0.005, unseen=0.8)
            write(folder / "store", as_received(rows(shop, flaws, f"shop-{number}")), name=f"shop-{number}")
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            raise SystemExit("the store could not be written")
    (folder / "config").mkdir()
    (folder / "config" / "shop.yaml").write_text(document(small))
    size = sum(path.stat().st_size for path in (folder / "store").rglob("*.parquet")) / 2**20
    print(f"store of {size:,.0f} MiB written in {time.monotonic() - since:.0f} s")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else SHOPS,
        int(sys.argv[2]) if len(sys.argv) > 2 else SHOPPERS,
        *sys.argv[3:],
    )
