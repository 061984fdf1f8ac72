"""The processes a measurement needs, on free loopback ports, and the kernel's figures of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from abside.snapshot import Attribute, Experiment, Placement, Snapshot, Variant, assemble, encode

HERE = Path(__file__).resolve().parent
ABSIDE = [sys.executable, "-m", "abside"]
CONDITIONS = (
    {"attribute": "country", "type": "string", "op": "in", "value": ["DE", "AT"]},
    {"attribute": "tier", "type": "string", "op": "ne", "value": "gold", "or_missing": True},
)


def snapshot_of(experiments: int, here: int, *, conditions: int = 0, generation: int = 0) -> Snapshot:
    """Return a configuration of so many experiments, so many of them at the placement pdp."""
    places = ["pdp", *(f"page-{number}" for number in range(1, 1 + max(1, experiments // 5)))]
    knobs: dict[str, list[str]] = {place: ["generation"] for place in places}
    made = []
    for number in range(experiments):
        place = "pdp" if number < here else places[1 + number % (len(places) - 1)]
        knob = f"p{number}"
        knobs[place].append(knob)
        arms = (Variant("control", 0, 5000), Variant("treatment", 5000, 10_000, {place: {knob: "v2"}}))
        made.append(
            Experiment(
                f"e{number}",
                f"Experiment {number}",
                "Lifts.",
                "running",
                (place,),
                arms,
                "control",
                eligibility=CONDITIONS[:conditions],  # type: ignore[arg-type]
            )
        )
    placements = [
        Placement(place, {knob: generation if knob == "generation" else "v1" for knob in names})
        for place, names in knobs.items()
    ]
    attributes = {"country": Attribute("string", log=True), "tier": Attribute("string")}
    return assemble(attributes, [*placements, *made], written_at_us=time.time_ns() // 1000)


def publish(snapshot: Snapshot, path: Path) -> None:
    """Put a snapshot in place as the agent does: whole."""
    beside = path.with_name(".beside")
    beside.write_bytes(encode(snapshot))
    beside.replace(path)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


class Stage:
    """Everything that was started, and its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        self.running.append(process)
        return process

    def sidecar(self, snapshot: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], int, float]:
        """Start one; return the process, its port and the seconds until it was ready."""
        port, admin = free_port(), free_port()
        spool = self.folder / f"spool-{port}"
        where = ["--snapshot", str(snapshot), "--spool", str(spool), "--listen", f"127.0.0.1:{port}"]
        where += ["--spool-limit", "8GiB"]  # wrk brings more than a collector on the same cores takes
        since = time.monotonic()
        process = self.start(
            *ABSIDE, "sidecar", *where, "--admin", f"127.0.0.1:{admin}", "--linger-seconds", "0", *arguments
        )
        return process, port, ready(f"http://127.0.0.1:{admin}/readyz", since)

    def collector(self) -> int:
        port = free_port()
        self.start(*ABSIDE, "collector", "--listen", f"127.0.0.1:{port}", "--store", str(self.folder / "store"))
        ready(f"http://127.0.0.1:{port}/livez", time.monotonic())
        return port

    def bare(self) -> int:
        port = free_port()
        self.start(sys.executable, str(HERE / "bare.py"), str(port))
        ready(f"http://127.0.0.1:{port}/", time.monotonic())
        return port

    def bare_go(self) -> int | None:
        """Start the bare Go server; None where there is no Go."""
        if shutil.which("go") is None:
            return None
        binary, port = self.folder / "bare-go", free_port()
        if not binary.exists():
            subprocess.run(["go", "build", "-o", str(binary), str(HERE / "bare.go")], check=True)
        self.start(str(binary), str(port))
        ready(f"http://127.0.0.1:{port}/", time.monotonic())
        return port

    def built(self, name: str) -> str:
        """Build one of the C programs beside this file; return its path."""
        binary = self.folder / name
        if not binary.exists():
            subprocess.run(["cc", "-O2", "-o", str(binary), str(HERE / f"{name}.c")], check=True)
        return str(binary)

    def floor(self) -> int:
        """Start the C server."""
        port = free_port()
        self.start(self.built("floor"), str(port))
        time.sleep(0.2)
        return port

    def stop(self, *processes: subprocess.Popen[bytes]) -> None:
        for process in processes or self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in processes or self.running:
            process.wait(60)


def nothing_lost(port: int) -> None:
    """Stop the run where a sidecar had no room for exposures: one that writes nothing is no measure."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/status", timeout=10) as answer:
        lost = json.load(answer)["events"]["lost"]
    if lost:
        raise SystemExit(f"the sidecar at port {port} lost events: {lost}")


def ready(url: str, since: float) -> float:
    """Wait for an answer below 500; return the seconds since `since`."""
    while time.monotonic() - since < 60:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError as answered:
            answered.close()
            if answered.code < 500:
                return time.monotonic() - since
        except OSError:
            pass
        else:
            return time.monotonic() - since
        time.sleep(0.002)
    raise SystemExit(f"{url} is not ready")


def resident_mb(process: subprocess.Popen[bytes]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
