"""`python bench/report_engines.py FOLDER ENGINE…`: one report of millions of events on each engine.

ENGINE is disk or bucket (DuckDB, from a disk and from an S3 server), sail, or spark. FOLDER keeps the store, which the
first call writes (5 million exposures, 2 million outcomes), and what was measured: the table is of all calls on it, and
compares every figure. `bucket` takes what `make cluster-of-one S3=versitygw` builds, `spark` what `make engines` does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abside.collector.store.place import open_place
from alike import differing
from report_scale import SHOPPERS, UNSEEN, write_shop
from spark_server import HOST, SparkServer, free_port, until_listens
from versitygw import VersityGateway

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = Path(sys.prefix)  # beside the packages: Spark in an environment of its own, the S3 server
SPARK, VERSITYGW = TOOLS / "spark", TOOLS / "s3" / "versitygw"
NAMES = {
    "disk": "DuckDB, from a disk",
    "bucket": "DuckDB, from S3 (versitygw)",
    "sail": "Sail, from a disk",
    "spark": "Spark, from a disk",
}
LOOK_SECONDS = 0.1
SPARK_MEMORY = "4g"  # as much as DuckDB may take


def numbers(one: Any) -> int:
    """Count the figures of a document."""
    if isinstance(one, dict | list):
        return sum(map(numbers, one.values() if isinstance(one, dict) else one))
    return isinstance(one, int | float) and not isinstance(one, bool)


def memory_bytes(roots: list[int]) -> int:
    """Return the resident bytes of processes and of all that they started."""
    parents, resident = {}, {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = place.read_text().rpartition(") ")[2].split()
        except OSError:  # it ended meanwhile
            continue
        parents[int(place.parent.name)], resident[int(place.parent.name)] = int(words[1]), int(words[21])
    found, more = set(roots), set(roots)
    while more:
        more = {pid for pid, parent in parents.items() if parent in more} - found
        found |= more
    return sum(resident.get(pid, 0) for pid in found) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(processes: list[int]) -> float:
    """Return the seconds of CPU that running processes have taken."""
    found = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in processes]
    return sum(int(words[11]) + int(words[12]) for words in found) / os.sysconf("SC_CLK_TCK")


def measure(folder: Path, name: str) -> dict[str, float]:
    """Run the command as a person does, its server beside it; the peak is of both, the S3 server left out."""
    out = folder / f"{name}.json"
    command = [sys.executable, "-m", "abside", "report", "--config", str(folder / "config"), "--json", str(out)]
    with ExitStack() as ends, tempfile.TemporaryDirectory(prefix="abside-engines-") as place:
        words, servers = beside(name, folder, Path(place), ends)
        since, peak, burnt = time.monotonic(), 0, -cpu_seconds(servers)
        with subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL) as process:
            while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                peak = max(peak, memory_bytes([process.pid, *servers]))
                time.sleep(LOOK_SECONDS)
            process.returncode = os.waitstatus_to_exitcode(ended[1])
        took = time.monotonic() - since
        burnt += cpu_seconds(servers) + ended[2].ru_utime + ended[2].ru_stime
    if process.returncode != 0:
        raise SystemExit(f"{name}: the report ended with {process.returncode}")
    return {"seconds": took, "cpu_seconds": burnt, "peak_mb": peak / 1e6}


def beside(name: str, folder: Path, place: Path, ends: ExitStack) -> tuple[list[str], list[int]]:
    """Start what an engine needs; return the options that lead to it, and its processes."""
    store = ["--events", str(folder / "store")]
    if name == "bucket":
        gateway = VersityGateway(VERSITYGW, place / "s3")
        ends.callback(gateway.end)
        os.environ.update(gateway.server.environment)  # noqa: TID251 with which the report finds it
        url = f"s3://{gateway.server.bucket()}/shop"
        for path in sorted((folder / "store").rglob("*.parquet")):
            open_place(url).create(path.relative_to(folder / "store").as_posix(), path)
        return ["--events", url], []
    if name == "sail":
        port = free_port()
        own = {"SAIL_EXECUTION__CHECKPOINT__PATH": (place / "kept").as_uri()}
        command = [str(TOOLS / "bin" / "sail"), "spark", "server", "--port", str(port)]
        with (place / "log").open("wb") as log:
            sail = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **own})  # noqa: TID251 a child's
        ends.callback(sail.wait)
        ends.callback(sail.kill)
        until_listens(port, sail, (place / "log").read_text)
        return [*store, "--engine", f"sc://{HOST}:{port}"], [sail.pid]
    if name == "spark":
        spark = SparkServer(SPARK, place, memory=SPARK_MEMORY)
        ends.callback(spark.kill)
        spark.start()
        assert spark.process is not None
        return [*store, "--engine", spark.url, "--partitions", "4"], [spark.process.pid]
    return store, []


def table(folder: Path) -> Iterator[str]:
    """Yield the rows of all that was measured here: the first engine is what the others are held to."""
    yield "| engine | seconds | of CPU | peak MB, all processes | figures that differ by more than 1e-9 |"
    yield "|---|---:|---:|---:|---:|"
    measured = json.loads((folder / "measured.json").read_text())
    whole = json.loads((folder / f"{next(iter(measured))}.json").read_text())
    for name, one in measured.items():
        found = json.loads((folder / f"{name}.json").read_text())
        differ = list(differing(whole, found))
        print(*differ[:20], sep="\n", end="\n" if differ else "")
        cost = f"{one['seconds']:,.0f} | {one['cpu_seconds']:,.0f} | {one['peak_mb']:,.0f}"
        yield f"| {NAMES[name]} | {cost} | {len(differ)} of {numbers(found):,} |"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path)
    asked.add_argument("engines", nargs="+", choices=NAMES)
    asked.add_argument("--shoppers", type=int, default=SHOPPERS, help=f"of a store that is not there yet ({SHOPPERS})")
    given = asked.parse_args()
    if not (given.folder / "store").exists():
        write_shop(given.folder, given.shoppers, UNSEEN)
    place = given.folder / "measured.json"
    for name in given.engines:
        measured = json.loads(place.read_text()) if place.exists() else {}
        place.write_text(json.dumps({**measured, name: measure(given.folder, name)}))
    for line in table(given.folder):
        print(line)


if __name__ == "__main__":
    main()
