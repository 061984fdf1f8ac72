"""`python bench/report_small.py [SHOPS] [SHOPPERS] [FOLDER]`: the report on 200 exposures among 30 million rows.

Every shop is an experiment of its own, with its own shoppers; the small one is the only one of the documents. Their
events are received by one collector in the order of time, from PODS sidecars, and merged by it when their day is over.
The store in a FOLDER that is named is made once, and stays.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from abside.collector.keep.compact import merge, publish
from abside.collector.receive.rows import bucket
from abside.collector.store import Footer, write_file
from report_scale import measure
from shop import DAY_US, Shop, document
from shop_store import BATCH_US, Flaws, rows, with_columns

SHOPS, SHOPPERS = 8, 935_000  # 30 million rows
SMALL = 90  # shoppers: about 200 exposures
PODS = 8
PARTS = 24  # files a day, before they are merged


def main(shops: int, shoppers: int, kept: str = "") -> None:
    """Write the store, a process for each shop and each day, then report on the small experiment."""
    with tempfile.TemporaryDirectory(prefix="abside-small-") as place:
        folder = Path(kept or place)
        if not (folder / "config").is_dir():
            make(folder, shops, shoppers)
        for _ in range(2):
            measure(folder, "4GiB", "--experiment", "pdp-reranker")


def make(folder: Path, shops: int, shoppers: int) -> None:
    """Write the shops one by one, then the days of all of them, and the document."""
    since = time.monotonic()
    sorted_by_shop, store = folder / "shops", folder / "store"
    sorted_by_shop.mkdir(parents=True)
    small = Shop(seed=99, shoppers=SMALL)
    for number in range(shops):
        _apart(_write_shop, sorted_by_shop, Shop(seed=number, shoppers=shoppers), f"shop-{number}")
    _apart(_write_shop, sorted_by_shop, small, "")
    for day in sorted({path.stem for path in sorted_by_shop.rglob("*.parquet")}):
        _apart(_write_day, sorted_by_shop, store, day)
    shutil.rmtree(sorted_by_shop)
    (folder / "config").mkdir()
    (folder / "config" / "shop.yaml").write_text(document(small))
    files = list(store.rglob("*.parquet"))
    size = sum(path.stat().st_size for path in files) / 2**20
    print(f"store of {size:,.0f} MiB in {len(files)} files written in {time.monotonic() - since:.0f} s")


def _apart(work: object, *arguments: object) -> None:
    """Run in a process of its own, whose memory goes with it."""
    child = os.fork()
    if child == 0:
        work(*arguments)  # type: ignore[operator]
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        raise SystemExit("the store could not be written")


def _write_shop(folder: Path, shop: Shop, name: str) -> None:
    """Write the events of a shop, a file for each day of receipt."""
    table = rows(shop, Flaws(duplicates=0.005, late=0.005, unseen=0.8), name) if name else rows(shop, Flaws())
    buckets = {f"{kind}_bucket": _buckets(table[f"{kind}_id"]) for kind in ("user", "session")}
    table = with_columns(table, **buckets)
    days = pc.divide(pc.cast(table["recv_ts"], pa.int64()), DAY_US)
    (folder / f"of-{name}").mkdir()
    for day in pc.unique(days).to_pylist():
        own = table.filter(pc.equal(days, day))
        pq.write_table(own.take(pc.sort_indices(own["recv_ts"])), folder / f"of-{name}" / f"{day}.parquet")


def _buckets(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the shard of each id, as a collector stamps it."""
    encoded = ids.combine_chunks().dictionary_encode()
    own = pa.array([bucket(one) for one in encoded.dictionary.to_pylist()], pa.int16())
    return pa.chunked_array([own.take(encoded.indices)])


def _write_day(folder: Path, store: Path, day: str) -> None:
    """Write the events of a day as received from all shops, in PARTS files; merge them as a collector does."""
    table = pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob(f"*/{day}.parquet")))
    hours = pc.divide(pc.cast(table["recv_ts"], pa.int64()), DAY_US // PARTS)
    date = time.strftime("%Y-%m-%d", time.gmtime(int(day) * 86_400))
    (store / f"dt={date}").mkdir(parents=True)
    for hour in sorted(pc.unique(hours).to_pylist()):
        one = _as_received(table.filter(pc.equal(hours, hour)))
        name = f"part-{hour}"
        write_file(store / f"dt={date}" / f"{name}.parquet", [one.combine_chunks()], Footer((f"{name}.{day}",)))
    merge(store / f"dt={date}", again=True)
    publish(store / f"dt={date}")


def _as_received(table: pa.Table) -> pa.Table:
    """Return rows as they are received, in batches of a sidecar each: a session's are all of one."""
    number = pc.divide(pc.cast(table["recv_ts"], pa.int64()), BATCH_US)
    pod = pc.cast(pc.fill_null(table["session_bucket"], 0), pa.int64())
    pod = pc.subtract(pod, pc.multiply(pc.divide(pod, PODS), PODS))
    name = pc.binary_join_element_wise("rec-", pc.cast(pod, pa.string()), "")
    tail = pc.binary_join_element_wise(pc.utf8_lpad(pc.cast(number, pa.string()), 20, "0"), "0" * 16, "-")
    table = with_columns(table, batch_id=pc.binary_join_element_wise(name, tail, "."))
    order = pa.table({"number": number, "pod": pod})
    return table.take(pc.sort_indices(order, sort_keys=[("number", "ascending"), ("pod", "ascending")]))


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else SHOPS,
        int(sys.argv[2]) if len(sys.argv) > 2 else SHOPPERS,
        *sys.argv[3:],
    )
