"""`abside up`: agent, sidecar and collector on this machine as three processes, in the foreground."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from abside import log as logging
from abside.environ import setting
from abside.log import Log

log = Log("abside.up")
STOP_SECONDS = 30.0  # the sidecar's own drain bound is 25 s
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class UpSettings:
    """Where the three meet on this machine."""

    config: Path | None = setting(None, "directory of documents; default DIR/config, started with a sample", Path)
    dir: Path = setting(".abside", "where snapshot, spool, store and pauses live", Path)
    listen: str = setting("127.0.0.1:7600", "where the sidecar answers decisions")
    admin: str = setting("127.0.0.1:7601", "where the sidecar answers health and metrics")
    collect: str = setting("127.0.0.1:7700", "where the collector takes batches")


@dataclass(frozen=True, slots=True)
class Role:
    """One of the three processes: its name and what follows `abside` on its command line."""

    name: str
    arguments: tuple[str, ...]


def main(settings: UpSettings) -> int:
    """Run until SIGINT or SIGTERM (exit 0), or until one of the three dies (exit 1, named in the log)."""
    logging.setup("up")
    home = settings.dir.resolve()
    config = _documents(settings.config, home)
    for folder in ("paused", "spool", "store", "snapshot"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: stopping.append(got))
    running = [(role.name, _start(role)) for role in _roles(settings, home, config)]
    log.info("up", decisions=f"http://{settings.listen}", config=str(config), paused=str(home / "paused"))
    dead: str | None = None
    while not stopping and dead is None:
        time.sleep(LOOK_SECONDS)
        dead = next((name for name, process in running if process.poll() is not None), None)
    codes = {name: _stop(process) for name, process in _stop_order(running)}
    if dead is not None:
        log.error("process_died", process=dead, code=codes[dead])
        return 1
    unclean = {name: code for name, code in codes.items() if code != 0}
    log.info("down", unclean=unclean) if unclean else log.info("down")
    return 1 if unclean else 0


def _documents(config: Path | None, home: Path) -> Path:
    """Give the directory of documents; without one, a sample to start from."""
    if config is not None:
        return config.resolve()
    folder = home / "config"
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob("*.yaml")):
        (folder / "starter.yaml").write_text(files("abside").joinpath("starter.yaml").read_text())
        log.info("sample_written", file=str(folder / "starter.yaml"))
    return folder


def _roles(settings: UpSettings, home: Path, config: Path) -> list[Role]:
    snapshot = str(home / "snapshot" / "abside.snapshot")
    upstream = f"http://{settings.collect}"
    agent = ("agent", "--config", str(config), "--paused", str(home / "paused"), "--snapshot", snapshot)
    sidecar = ("sidecar", "--snapshot", snapshot, "--spool", str(home / "spool"), "--upstream", upstream)
    where = ("--listen", settings.listen, "--admin", settings.admin)
    collector = ("collector", "--listen", settings.collect, "--store", str(home / "store"))
    return [Role("agent", agent), Role("collector", collector), Role("sidecar", (*sidecar, *where))]


def _start(role: Role) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches this process alone, and the three are stopped in their order.
    command = [sys.executable, "-m", "abside", *role.arguments]
    return subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)  # noqa: S603 our own command


def _stop_order(running: list[tuple[str, subprocess.Popen[bytes]]]) -> list[tuple[str, subprocess.Popen[bytes]]]:
    """Stop the sidecar first: its drain still needs the collector."""
    order = {"sidecar": 0, "agent": 1, "collector": 2}
    return sorted(running, key=lambda one: order[one[0]])


def _stop(process: subprocess.Popen[bytes]) -> int:
    """Ask, wait, and only then insist."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
