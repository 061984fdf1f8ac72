"""`make bench`: the sidecar beside a bare aiohttp handler in one run; ratios first, since machines differ."""

from __future__ import annotations

import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import load

ROUNDS = 5
SECONDS = 2.0
EXPERIMENTS = 100
HERE = Path(__file__).resolve().parent


def documents() -> str:
    """100 experiments over 20 placements; three of them, in a layer each, at pdp."""
    places = ["pdp", *(f"page-{number}" for number in range(1, 20))]
    lines = ["attributes:\n  country: {type: string, log: true}\nplacements:"]
    lines += [f"  {place}:\n    parameters: {{{', '.join(f'p{n}: v1' for n in range(6))}}}" for place in places]
    lines.append("experiments:")
    for number in range(EXPERIMENTS):
        place = "pdp" if number < 3 else places[1 + number % 19]
        lines.append(
            f"  e{number}:\n    name: Experiment {number}\n    hypothesis: Lifts.\n    status: running\n"
            f"    placements: [{place}]\n    variants:\n      control: {{weight: 50%}}\n"
            f"      treatment: {{weight: 50%, parameters: {{{place}: {{p{number % 6}: v2}}}}}}"
        )
    return "\n".join(lines)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def resident_mb(process: subprocess.Popen[bytes]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_ready(url: str, since: float) -> float:
    while time.monotonic() - since < 30:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError as answered:
            answered.close()
            if answered.code < 500:
                return time.monotonic() - since
        except OSError:
            time.sleep(0.002)
        else:
            return time.monotonic() - since
    raise SystemExit(f"{url} is not ready")


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        measure(Path(place))


def measure(folder: Path) -> None:
    (folder / "config").mkdir()
    (folder / "config" / "experiments.yaml").write_text(documents())
    listen, admin, collect, bare = (free_port() for _ in range(4))
    abside = [sys.executable, "-m", "abside"]
    snapshot = str(folder / "abside.snapshot")
    running: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        running.append(process)
        return process

    try:
        agent = start(*abside, "agent", "--config", str(folder / "config"), "--snapshot", snapshot)
        start(*abside, "collector", "--listen", f"127.0.0.1:{collect}", "--store", str(folder / "store"))
        wait_ready(f"http://127.0.0.1:{collect}/livez", time.monotonic())
        start(sys.executable, str(HERE / "bare.py"), str(bare))
        wait_ready(f"http://127.0.0.1:{bare}/", time.monotonic())
        since = time.monotonic()
        where = ["--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{admin}"]
        upstream = ["--spool", str(folder / "spool"), "--upstream", f"http://127.0.0.1:{collect}"]
        while not Path(snapshot).exists() and time.monotonic() - since < 30:
            time.sleep(0.01)
        since = time.monotonic()
        sidecar = start(*abside, "sidecar", "--snapshot", snapshot, *upstream, *where)
        ready = wait_ready(f"http://127.0.0.1:{admin}/readyz", since)
        time.sleep(2.0)
        idle = resident_mb(sidecar), resident_mb(agent)
        table(rounds(listen, bare, sidecar), ready, idle)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)


Round = dict[str, float]


def rounds(listen: int, bare: int, sidecar: subprocess.Popen[bytes]) -> list[Round]:
    """Interleave: bare, sidecar, bare, sidecar … so that a slow minute of the machine meets both."""
    found = []
    first = 0
    for _ in range(ROUNDS):
        one: Round = {}
        for name, port in (("bare", bare), ("sidecar", listen)):
            for connections in (1, 16):
                before = cpu_seconds(sidecar)
                got = load.run(port, connections, SECONDS, first)
                first += len(got.micros)
                if got.wrong:
                    raise SystemExit(f"{got.wrong} answers of {name} were not 200")
                one |= {f"{name}.{connections}.p50": got.at(0.5), f"{name}.{connections}.p99": got.at(0.99)}
                one[f"{name}.{connections}.rps"] = got.a_second
                if name == "sidecar":
                    one[f"sidecar.{connections}.cpu"] = (cpu_seconds(sidecar) - before) * 1e6 / len(got.micros)
        found.append(one)
    return found


def table(found: list[Round], ready: float, idle: tuple[float, float]) -> None:
    def median(name: str) -> float:
        return statistics.median(one[name] for one in found)

    def ratio(over: str, under: str) -> float:
        return statistics.median(one[over] / one[under] for one in found)

    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; {ROUNDS} interleaved rounds"
    )
    print(f"{EXPERIMENTS} experiments, 3 at the placement, exposures spooled and shipped to a running collector\n")
    print(f"{'':<38}{'ratio to bare aiohttp':>22}{'sidecar':>12}{'bare':>12}")
    for text, name in (
        ("assign, 1 connection, p50 (µs)", "1.p50"),
        ("assign, 1 connection, p99 (µs)", "1.p99"),
        ("assign, 16 connections, requests/s", "16.rps"),
        ("assign, 16 connections, p99 (µs)", "16.p99"),
    ):
        over, under = f"sidecar.{name}", f"bare.{name}"
        print(f"{text:<38}{ratio(over, under):>22.2f}{median(over):>12,.0f}{median(under):>12,.0f}")
    print(f"{'CPU a request at 16 connections (µs)':<38}{'':>22}{median('sidecar.16.cpu'):>12,.0f}")
    print(f"{'start to ready (s)':<38}{'':>22}{ready:>12.2f}")
    print(f"{'idle sidecar, resident (MB)':<38}{'':>22}{idle[0]:>12.1f}")
    print(f"{'idle agent, resident (MB)':<38}{'':>22}{idle[1]:>12.1f}")


if __name__ == "__main__":
    main()
