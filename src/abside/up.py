"""`abside up`: collector, agent and sidecar on this machine as three processes, in the foreground."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from abside import log as logging
from abside.child import FAILED, LOOK_SECONDS, USAGE, CannotRun, Child
from abside.environ import setting
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator

log = Log("abside.up")
ANSWER_SECONDS = 30.0  # a process that does not answer by then will not: each starts within 2 s


def address(value: str) -> str:
    """Take `host:port` (`[::1]:7600` too) as written. Raises ValueError."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65_535:
        raise ValueError(f"{value!r} is not an address: write host:port, for example 127.0.0.1:7600")
    return value


@dataclass(frozen=True, slots=True)
class UpSettings:
    """Where the three meet on this machine."""

    config: Path | None = setting(None, "directory of documents; default DIR/config, started with a sample", Path)
    dir: Path = setting(".abside", "where snapshot, spool, store and pauses live", Path)
    listen: str = setting("127.0.0.1:7600", "where the sidecar answers decisions", address)
    admin: str = setting("127.0.0.1:7601", "where the sidecar answers health and metrics", address)
    collect: str = setting("127.0.0.1:7700", "where the collector takes batches", address)


def main(settings: UpSettings) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP: 0; 1 when it cannot run or go on, 2 for wrong settings."""
    logging.setup("up")
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda got, _frame: told.append(got))
    try:
        with ExitStack() as owned:
            home, config = _folders(settings, owned)
            _check_addresses(settings)
            return _run(settings, home, config, told)
    except CannotRun as exc:
        print(exc, file=sys.stderr)  # noqa: T201 for the person at the terminal
        return exc.code


def _run(settings: UpSettings, home: Path, config: Path, told: list[int]) -> int:
    """Start the three in their order, say where they are, and tend them until told to stop."""
    children = _children(settings, home, config)
    codes: dict[str, int] = {}
    try:
        for number, child in enumerate(children, 1):
            _until_alive(child, children[:number], told)
        if not told:
            _say(_welcome(settings, home, config))
        while not told:
            time.sleep(LOOK_SECONDS)
            for child in children:
                child.tend(time.monotonic())
    finally:
        # The sidecar first: its drain still needs the collector.
        for child in reversed(children):
            codes[child.name] = child.stop(told)
        unclean = {name: code for name, code in codes.items() if code != 0}
        log.info("down", **({"unclean": unclean} if unclean else {}))
    return FAILED if unclean else 0


def _folders(settings: UpSettings, owned: ExitStack) -> tuple[Path, Path]:
    """Make and lock the folder, find the documents. Raises CannotRun."""
    home = settings.dir.absolute()
    if settings.config is not None:
        with _usage("--config", settings.config):
            next(settings.config.iterdir(), None)
    with _usage("--dir", settings.dir):
        for folder in ("", "paused", "spool", "store", "snapshot"):
            (home / folder).mkdir(parents=True, exist_ok=True)
            if not os.access(home / folder, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(home / folder))
        owned.enter_context(_lock(home / "up.lock"))
        if settings.config is None:
            return home, _sample(home / "config")
    return home, settings.config.absolute()


@contextmanager
def _usage(option: str, path: Path) -> Iterator[None]:
    """Turn what the disk refuses into the option that names it."""
    try:
        yield
    except OSError as exc:
        place = f" ({exc.filename})" if exc.filename and str(exc.filename) != str(path) else ""
        raise CannotRun(USAGE, f"{option} {path} cannot be used: {exc.strerror or exc}{place}") from exc


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Own the folder while this process lives; the kernel gives it up even after kill -9. Raises CannotRun."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            file.seek(0)
            sentence = f"abside up already runs here (pid {file.read(20).strip()}): stop it, or use --dir"
            raise CannotRun(FAILED, sentence) from exc
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _sample(folder: Path) -> Path:
    """Give the directory of documents, with a sample to start from where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob("*.yaml")):
        (folder / "starter.yaml").write_text(files("abside").joinpath("starter.yaml").read_text())
        log.info("sample_written", file=str(folder / "starter.yaml"))
    return folder


def _check_addresses(settings: UpSettings) -> None:
    """Try all three addresses before anything starts. Raises CannotRun with every one that will not do."""
    taken, wrong = [], []
    with ExitStack() as held:
        for name in ("listen", "admin", "collect"):
            given = getattr(settings, name)
            host, _, port = given.rpartition(":")
            try:
                info = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
                one = held.enter_context(socket.socket(*info[:3]))
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind(info[4])
                one.listen()  # held, so that two of ours do not share one either
            except (OSError, UnicodeError) as exc:
                number = getattr(exc, "errno", None)
                if number == errno.EADDRINUSE:
                    taken.append(f"{given} is in use: choose another with --{name}")
                elif number in (errno.EACCES, errno.EPERM):
                    taken.append(
                        f"{given} is not ours to take (ports below 1024 need root): choose another with --{name}"
                    )
                else:
                    wrong.append(f"--{name} {given} is not an address of this machine: {getattr(exc, 'strerror', exc)}")
    if taken or wrong:
        raise CannotRun(USAGE if wrong else FAILED, *wrong, *taken)


def _children(settings: UpSettings, home: Path, config: Path) -> list[Child]:
    """List the three in the order they start: a sidecar that has no collector yet could find somebody else's."""
    snapshot = str(home / "snapshot" / "abside.snapshot")
    collect, admin = _url(settings.collect), _url(settings.admin)
    collector = ("collector", "--listen", settings.collect, "--store", str(home / "store"))
    agent = ("agent", "--config", str(config), "--paused", str(home / "paused"), "--snapshot", snapshot)
    sidecar = ("sidecar", "--snapshot", snapshot, "--spool", str(home / "spool"), "--upstream", collect)
    # Nobody routes to this sidecar but the person who just stopped it: nothing to linger for.
    where = ("--listen", settings.listen, "--admin", settings.admin, "--linger-seconds", "0")
    return [
        Child("collector", collector, f"{collect}/livez"),
        Child("agent", agent, ""),  # it has no address: the sidecar says when it has published
        Child("sidecar", (*sidecar, *where), f"{admin}/startupz"),
    ]


def _url(given: str) -> str:
    """Give the URL by which this machine reaches an address; one of all interfaces is asked on loopback."""
    host, _, port = given.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "::": "[::1]"}.get(host, host)  # noqa: S104 not bound, asked
    return f"http://{host}:{port}"


def _until_alive(child: Child, started: list[Child], told: list[int]) -> None:
    """Start a child and wait until it answers, tending those before it. Raises CannotRun."""
    until = time.monotonic() + ANSWER_SECONDS
    while not told:
        for one in started:
            one.tend(time.monotonic())
        if child.process is not None and (not child.alive or _answers(child.alive)):
            return
        if time.monotonic() > until:
            raise CannotRun(FAILED, f"{child.name} does not answer at {child.alive} after {ANSWER_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)


def _answers(url: str) -> bool:
    """Ask past any proxy: these are this machine's own."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _welcome(settings: UpSettings, home: Path, config: Path) -> str:
    decisions = _url(settings.listen)
    body = '{"placement": "pdp", "user_id": "u3"}'
    return f"""
abside is up
  decisions   {decisions}/v1/assign
  status      {decisions}/
  documents   {config}
  pauses      {home / "paused"}  (a file named like an experiment pauses it)
  store       {home / "store"}  (Parquet)
try
  curl -s {decisions}/v1/assign -H 'content-type: application/json' -d '{body}'
Ctrl-C stops it (about 3 s; up to 25 s where events wait to be shipped)
"""


def _say(text: str) -> None:
    with suppress(OSError):  # a closed pipe is no reason to end an experiment
        print(text, flush=True)  # noqa: T201 for the person at the terminal
