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
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from abside import environ
from abside import log as logging
from abside.child import FAILED, LOOK_SECONDS, USAGE, CannotRun, Child
from abside.environ import log_format, setting
from abside.log import Log
from abside.serve.address import EVERYWHERE, bind_everywhere, join_address, split_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = Log("abside.up")
# An address of all interfaces → the one of these on which this machine reaches it.
ON_LOOPBACK = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 nothing is bound here
# What agent and collector load beside the base install, by the extra that brings it.
EXTRAS = {"agent": ("yaml", "msgspec", "watchfiles"), "collector": ("msgspec", "pyarrow", "zstandard")}
ANSWER_SECONDS = 30.0  # a process that does not answer by then never will: each starts within 2 s


def address(value: str) -> str:
    """Take an address of `abside.environ` whose port is known beforehand. Raises ValueError."""
    if int(environ.address(value).rpartition(":")[2]) == 0:
        raise ValueError(f"{value!r} is not an address for this: the three must know it, so write a port above 0")
    return value.strip()


@dataclass(frozen=True, slots=True)
class UpSettings:
    """The files and addresses of the three on this machine."""

    config: Path | None = setting(None, "directory of documents; default DIR/config, which starts with a sample", Path)
    dir: Path = setting(".abside", "directory of snapshot, spool, store and pauses", Path)
    listen: str = setting("127.0.0.1:7600", "address where the sidecar answers decisions", address)
    admin: str = setting("127.0.0.1:7601", "address where the sidecar answers health and metrics", address)
    collect: str = setting("127.0.0.1:7700", "address where the collector takes batches", address)
    allow_force: bool = setting(False, "let requests force variants (flagged, left out of analysis)", flag=True)
    log_format: str = setting("text", "form of log lines: text, or json for one object a line", log_format)


def main(settings: UpSettings) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP: 0; 1 when it cannot run or go on, 2 for wrong settings."""
    logging.setup("up", form=settings.log_format)
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda got, _frame: signals.append(got))
    try:
        check_extras()
        with ExitStack() as owned:
            home, config = _folders(settings, owned)
            _check_addresses(settings)
            return _run(settings, home, config, signals)
    except CannotRun as exc:
        if settings.log_format == "json":
            log.error("cannot_run", reason=list(exc.sentences))
        else:
            print(exc, file=sys.stderr)  # noqa: T201 for the person at the terminal
        return exc.code


def check_extras(find: Callable[[str], object] = find_spec) -> None:
    """See that agent and collector can run; `find` returns None for a module that is not there. Raises CannotRun."""
    lacking = [extra for extra, modules in EXTRAS.items() if None in map(find, modules)]
    if lacking:
        raise CannotRun(FAILED, f"this installation lacks an extra: pip install 'abside[{','.join(lacking)}]'")


def _run(settings: UpSettings, home: Path, config: Path, signals: list[int]) -> int:
    """Start the three in their order, print where they are, and watch them until a signal."""
    children = _children(settings, home, config)
    codes: dict[str, int] = {}
    try:
        for number, child in enumerate(children, 1):
            _until_alive(child, children[:number], signals)
        if not signals:
            _greet(settings, home, config)
        while not signals:
            time.sleep(LOOK_SECONDS)
            for child in children:
                child.tend(time.monotonic())
    finally:
        # The sidecar first: its drain still needs the collector.
        for child in reversed(children):
            codes[child.name] = child.stop(signals)
        unclean = {name: code for name, code in codes.items() if code != 0}
        log.info("down", **({"unclean": unclean} if unclean else {}))
    return FAILED if unclean else 0


def _folders(settings: UpSettings, owned: ExitStack) -> tuple[Path, Path]:
    """Make and lock the folder, find the documents. Raises CannotRun."""
    home = settings.dir.absolute()
    if settings.config is not None:
        with _usage("--config", settings.config, _remedy_of(settings.config)):
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
def _usage(option: str, path: Path, remedy: str = "") -> Iterator[None]:
    """Turn an error of the disk into one that names the option, and what to do."""
    try:
        yield
    except OSError as exc:
        place = f" ({exc.filename})" if exc.filename and str(exc.filename) != str(path) else ""
        raise CannotRun(USAGE, f"{option} {path} cannot be used: {exc.strerror or exc}{place}{remedy}") from exc


def _remedy_of(config: Path) -> str:
    """Return what to do about a directory of documents that is none."""
    if config.is_file():
        return f"; name the directory that it is in: --config {config.parent}"
    if os.path.lexists(config):
        return ""
    return "; put *.yaml documents there, or leave --config out: DIR/config then begins with a sample"


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Lock the folder while this process lives; the kernel unlocks it even after kill -9. Raises CannotRun."""
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
    """Return the directory of documents; write a sample into one that has none."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob("*.yaml")):
        (folder / "starter.yaml").write_text(files("abside").joinpath("starter.yaml").read_text())
        log.info("sample_written", file=str(folder / "starter.yaml"))
    return folder


def _check_addresses(settings: UpSettings) -> None:
    """Try all three addresses before anything starts. Raises CannotRun that names every unusable one."""
    taken, wrong = [], []
    with ExitStack() as bound:
        for name in ("listen", "admin", "collect"):
            given = getattr(settings, name)
            try:
                one = bound.enter_context(_bind(*split_address(given)))
                one.listen()  # stays bound, so that two of ours cannot share one either
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
    """Return the three in the order they start: the sidecar last, as before its collector it might find another one."""
    snapshot = str(home / "snapshot" / "abside.snapshot")
    collect, admin = _url(settings.collect), _url(settings.admin)
    collector = ("collector", "--listen", settings.collect, "--store", str(home / "store"))
    agent = ("agent", "--config", str(config), "--paused", str(home / "paused"), "--snapshot", snapshot)
    sidecar = ("sidecar", "--snapshot", snapshot, "--spool", str(home / "spool"), "--upstream", collect)
    # No proxy routes to this sidecar, so there is no reason to linger; and whoever tries it waits for the first events.
    where = ("--listen", settings.listen, "--admin", settings.admin, "--linger-seconds", "0", "--quiet-seconds", "0")
    force = ("--allow-force",) if settings.allow_force else ()
    form = ("--log-format", settings.log_format)
    return [
        Child("collector", (*collector, *form), f"{collect}/livez"),
        Child("agent", (*agent, *form), ""),  # it has no address: the sidecar's /startupz waits for its snapshot
        Child("sidecar", (*sidecar, *where, *force, *form), f"{admin}/startupz"),
    ]


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket with this address. Raises OSError, UnicodeError."""
    if host == EVERYWHERE:
        return bind_everywhere(port)
    info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with ExitStack() as owned:
        one = owned.enter_context(socket.socket(*info[:3]))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(info[4])
        owned.pop_all()  # it is the caller's
    return one


def _url(given: str) -> str:
    """Return the URL by which this machine reaches an address; for one of all interfaces, that on loopback."""
    host, port = split_address(given)
    return f"http://{join_address(ON_LOOPBACK.get(host, host), port)}"


def _until_alive(child: Child, started: list[Child], signals: list[int]) -> None:
    """Start a child and wait until it answers; watch those before it meanwhile. Raises CannotRun."""
    until = time.monotonic() + ANSWER_SECONDS
    while not signals:
        for one in started:
            one.tend(time.monotonic())
        if child.process is not None and (not child.alive or _answers(child.alive)):
            return
        if time.monotonic() > until:
            raise CannotRun(FAILED, f"{child.name} does not answer at {child.alive} after {ANSWER_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)


def _answers(url: str) -> bool:
    """Return whether a URL of this machine answers 200; no proxy is used."""
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


def _greet(settings: UpSettings, home: Path, config: Path) -> None:
    if settings.log_format == "json":
        log.info("is_up", decisions=_url(settings.listen), config=str(config), dir=str(home))
        return
    with suppress(OSError):  # a closed pipe is no reason to stop
        print(_welcome(settings, home, config), flush=True)  # noqa: T201 for the person at the terminal
