"""Placements as flags: OFREP beside `/v1/assign`, and Python's two providers beside each other; all of one run.

    python bench/flags.py

prints the section of `make bench` alone.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

from abside.client.local import Local
from abside.openfeature import Provider
from openfeature import api
from over_http import Run, measured, ratio
from stage import Stage, publish, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 7
SECONDS = 2
CONNECTIONS = (1, 16)
CALLS = 1_000  # of a provider in one round
CLIENTS = {"assign": "plain", "ofrep": "ofrep", "flags": "flags"}


def measure(stage: Stage, folder: Path, upstream: str) -> Iterator[str]:
    snapshot = folder / "flags"
    publish(snapshot_of(3, 3), snapshot)
    process, port, _ = stage.sidecar(snapshot, "--upstream", upstream)
    yield "## As flags"
    yield from BOTH.format(rounds=ROUNDS).splitlines()
    yield ""
    yield "| connections | | one flag ÷ assign | all flags (5) ÷ assign |"
    yield "|---:|---|---:|---:|"
    table: dict[tuple[str, int], list[Run]] = {(name, count): [] for name in CLIENTS for count in CONNECTIONS}
    for _ in range(ROUNDS):
        for count in CONNECTIONS:
            for name, client in CLIENTS.items():
                table[name, count].append(measured(process, port, count, SECONDS, client=client))
    for count in CONNECTIONS:
        for what, shown in (("cpu", "CPU µs"), ("p50", "p50 µs"), ("a_second", "requests/s")):
            row = " | ".join(f"{ratio(table, name, 'assign', count, what):.2f}" for name in ("ofrep", "flags"))
            yield f"| {count} | {shown} | {row} |"
    yield ""
    yield "| an object, evaluated in Python | µs | CPU µs of the client | CPU ÷ that of the OFREP provider |"
    yield "|---|---:|---:|---:|"
    found = providers(port, snapshot, folder / f"spool-{port}")
    protocols = found[PROTOCOLS]
    for name, rounds in found.items():
        wall, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        times = statistics.median(one[1] / other[1] for one, other in zip(rounds, protocols, strict=True))
        yield f"| {name} | {wall:.0f} | {cpu:.0f} | {times:.2f} |"
    yield ""


def providers(port: int, snapshot: Path, spool: Path) -> dict[str, list[tuple[float, float]]]:
    """Return (µs, CPU µs of this process) of one evaluation, for each provider and interleaved round."""
    url = f"http://127.0.0.1:{port}"
    protocols, local = OFREPProvider(url, timeout=10), Local(snapshot, spool, strict=True)
    used = {
        PROTOCOLS: protocols,
        "`abside.openfeature.Provider`": Provider(url, deadline_seconds=10),
        "the same over `Local`": Provider(client=local),
    }
    for name, provider in used.items():
        api.set_provider(provider, name)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in used}
    for number in range(ROUNDS + 1):
        for name, rounds in found.items():
            client = api.get_client(name)
            own, since = time.process_time(), time.perf_counter()
            for call in range(CALLS):
                who = EvaluationContext(f"{name}-{number}-{call}", {"session_id": "s1", "country": "DE"})
                if client.get_object_details("pdp", {}, who).error_code is not None:
                    raise SystemExit(f"{name} got no answer")
            wall, cpu = time.perf_counter() - since, time.process_time() - own
            if number:  # the first connects and loads
                rounds.append((wall / CALLS * 1e6, cpu / CALLS * 1e6))
    protocols.session.close()
    api.clear_providers()
    return found


PROTOCOLS = "the SDK's OFREP provider"
BOTH = """\
The placement of three experiments over OFREP, beside `/v1/assign`: the same exposures, wrk as above, medians of
{rounds} interleaved rounds of one sidecar. CPU is the sidecar's for each request. All flags at once are no exposure,
and go by aiohttp. Below, a fresh shopper in each call of the SDK, one call at a time."""

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        built = Stage(Path(place))
        try:
            for line in measure(built, Path(place), f"http://127.0.0.1:{built.collector()}"):
                print(line, flush=True)
        finally:
            built.stop()
