"""A peer beside the sidecar: three experiments in one question to each, in interleaved rounds, by the same wrk.

    python bench/peer.py BINARY

BINARY is Unleash Edge, which `make bench-peer` builds from its crate. It runs offline, from a file, on loopback: it
evaluates and records nothing. The sidecar writes each exposure to disk before it answers, and ships it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import over_http
from over_http import Table, measured, median, ratio
from stage import Stage, free_port, nothing_lost, publish, ready, snapshot_of

EXPERIMENTS = 3
ROUNDS = 5
SECONDS = 2
CONNECTIONS = (1, 16)
SHOWN = {"cpu": "CPU µs", "a_second": "decisions/s", "p50": "p50 µs"}
TOKEN = "*:development.0123456789abcdef0123456789abcdef0123456789abcdef01234567"  # noqa: S105 of nothing; fresh.lua sends it


def main(binary: str) -> None:
    missing = over_http.has_tools()
    if missing:
        raise SystemExit(f"missing: {missing}; on Debian: apt-get install wrk gcc libc6-dev")
    with tempfile.TemporaryDirectory() as place:
        stage = Stage(Path(place))
        try:
            show(compare(stage, Path(place), binary))
        finally:
            stage.stop()


def compare(stage: Stage, folder: Path, binary: str) -> Table:
    upstream = f"http://127.0.0.1:{stage.collector()}"
    publish(snapshot_of(EXPERIMENTS, EXPERIMENTS), folder / "three")
    sidecar, port, _ = stage.sidecar(folder / "three", "--upstream", upstream)
    peer_port = edge(stage, folder, binary)
    servers = {"sidecar": (sidecar, port), "edge": (stage.running[-1], peer_port)}
    table: Table = {(name, count): [] for name in servers for count in CONNECTIONS}
    for _ in range(ROUNDS):
        for count in CONNECTIONS:
            for name, (process, where) in servers.items():
                table[name, count].append(measured(process, where, count, SECONDS, client=name))
    nothing_lost(port)
    return table


def edge(stage: Stage, folder: Path, binary: str) -> int:
    """Start the peer with the same experiments: two halves, a value each; return its port."""
    features, port = folder / "features.json", free_port()
    features.write_text(json.dumps({"version": 2, "features": [feature(number) for number in range(EXPERIMENTS)]}))
    where = ["--interface", "127.0.0.1", "--port", str(port)]
    stage.start(binary, *where, "offline", "--bootstrap-file", str(features), "--tokens", TOKEN)
    ready(f"http://127.0.0.1:{port}/internal-backstage/health", time.monotonic())
    check(port)
    return port


def check(port: int) -> None:
    """Ask once: every experiment must be in the answer, or what is measured is none."""
    headers = {"Authorization": TOKEN, "Content-Type": "application/json"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/api/frontend", b'{"userId":"u1"}', headers)
    with urllib.request.urlopen(asked, timeout=10) as answer:
        toggles = json.load(answer)["toggles"]
    if len(toggles) != EXPERIMENTS:
        raise SystemExit(f"the peer decided {len(toggles)} of {EXPERIMENTS} experiments: {toggles}")


def feature(number: int) -> dict[str, object]:
    name = f"e{number}"
    rollout = {"rollout": "100", "stickiness": "default", "groupId": name}
    arms = {"control": "v1", "treatment": "v2"}
    return {
        "name": name,
        "type": "experiment",
        "enabled": True,
        "project": "default",
        "strategies": [{"name": "flexibleRollout", "parameters": rollout}],
        "variants": [
            {"name": arm, "weight": 500, "stickiness": "default", "payload": {"type": "string", "value": value}}
            for arm, value in arms.items()
        ],
    }


def show(table: Table) -> None:
    print("| connections | | sidecar | Unleash Edge | sidecar ÷ Unleash Edge |")
    print("|---:|---|---:|---:|---:|")
    for count in CONNECTIONS:
        for what, name in SHOWN.items():
            own, other = (median(table, server, count, what) for server in ("sidecar", "edge"))
            times = ratio(table, "sidecar", "edge", count, what)
            print(f"| {count} | {name} | {own:,.1f} | {other:,.1f} | {times:.2f} |")


if __name__ == "__main__":
    main(sys.argv[1])
