"""`make cluster-of-one`: Kafka, two sidecars, three collectors, an S3 server and Sail on this machine, end to end.

Sidecars, collectors and the broker are killed while shoppers come; then everything that was accepted is looked for.
Exit 1 where an event is lost or doubled. `--minutes 10` is the long form.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "bench"))
from cluster import COLLECTORS, DOCUMENTS, SIDECARS, ClusterOfOne
from cluster_life import outcome, run, trouble
from kafka_broker import KafkaBroker
from s3_server import S3Server
from versitygw import VersityGateway

if TYPE_CHECKING:
    from collections.abc import Iterator

JARS = Path(sys.prefix) / "kafka"
EXPERIMENT = "pdp-reranker"
FIGURES = ("accepted", "stored", "lost", "doubled", "resends", "fenced")


def report(cluster: ClusterOfOne, engine: str) -> int:
    """Print the analyst's page, computed over the bucket; return the command's exit code."""
    words = ["report", "--events", cluster.store, "--config", str(DOCUMENTS), "--experiment", EXPERIMENT]
    with sail(cluster.folder / "sail") if engine == "sail" else nullcontext("") as url:
        words += ["--engine", url] if url else []
        return subprocess.run([sys.executable, "-m", "abside", *words], check=False).returncode


@contextmanager
def sail(place: Path) -> Iterator[str]:
    """Run a Spark Connect server without a JVM; yield its URL."""
    os.environ["SAIL_EXECUTION__CHECKPOINT__PATH"] = place.as_uri()  # noqa: TID251 it reads its settings when it is imported
    server = import_module("pysail.spark").SparkConnectServer(ip="127.0.0.1", port=0)
    server.start(background=True)
    host, port = server.listening_address
    try:
        yield f"sc://{host}:{port}"
    finally:
        server.stop()


def s3_server(binary: Path | None, folder: Path, ends: ExitStack) -> S3Server:
    """Start the S3 server that was chosen; it ends with `ends`."""
    if binary is None:
        server = S3Server()
        server.start()
        ends.callback(server.stop)
        return server
    gateway = VersityGateway(binary, folder / "s3")
    ends.callback(gateway.end)
    return gateway.server


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--minutes", type=float, default=0.4, help="how long shoppers come, amid trouble (0.4)")
    asked.add_argument("--engine", choices=("sail", "duckdb"), default="sail", help="what computes the report (sail)")
    asked.add_argument("--s3", type=Path, help="the program versitygw, a real S3 server; default moto, in this process")
    asked.add_argument("--keep", type=Path, help="also copy the bucket into this directory")
    asked.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the kills; default by chance")
    given = asked.parse_args()
    if not (JARS / ".installed").exists():
        raise SystemExit("a Kafka broker needs its jars: make kafka")
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="abside-cluster-")))
        (folder / "kafka").mkdir()
        cluster = ClusterOfOne(folder, KafkaBroker(JARS, folder / "kafka"), s3_server(given.s3, folder, ends))
        cluster.group_seconds = max(1.0, given.minutes)  # a bucket of some hundred files, however long it takes
        ends.callback(cluster.broker.kill)
        kind = "a real S3 server (versitygw)" if given.s3 else "an S3 server (moto)"
        print(f"1. Kafka, {kind}, {SIDECARS} sidecars and {COLLECTORS} collectors; seed {given.seed}")
        print(f"  Kafka answers after {cluster.broker.start():.1f} s")
        os.environ.update(cluster.s3.environment)  # noqa: TID251 with which this process reads the bucket
        cluster.start(ends)
        print(f"2. Shoppers come for {given.minutes * 60:g} s; everything is killed")
        seen = asyncio.run(run(cluster, lambda: trouble(cluster, given.minutes * 60, random.Random(given.seed))))
        for one in (*cluster.sidecars, *cluster.collectors):
            print(f"  {one.name}: killed {one.kills} times")
        print("  the broker: killed once; a collector: frozen beyond its session")
        print("3. Everything that was accepted is looked for in the bucket")
        became = outcome(cluster, seen)
        for name in FIGURES:
            print(f"  {name:<10}{getattr(became, name):>10,}")
        if given.keep:
            shutil.copytree(cluster.copy(), given.keep)
        print(f"4. What an analyst reads, computed by {given.engine}: {EXPERIMENT}", flush=True)
        code = report(cluster, given.engine)
    print("right" if became.is_right and code == 0 else "WRONG")
    return 0 if became.is_right and code == 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
