"""A real sidecar in a process of its own, on a free loopback port, by the documents that a test gives."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from abside import event
from abside.client import Client
from abside.environ import now_us
from abside.snapshot import encode
from abside.spool.frame import good_frames
from abside.testing.shelf import OWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from abside.event import EventMap
    from abside.snapshot import Snapshot

GivenDocuments: TypeAlias = (
    "str | Path | Mapping[str, str]"  # a document's text, a file or folder of them, texts by name
)
START_SECONDS = 30.0  # it takes half a second; a build machine may stall
DEADLINE_SECONDS = 5.0  # of its clients: a test is about answers, and not about how fast this machine is
LOOK_SECONDS = 0.01
LISTENING = re.compile(r"\blistening decisions=\S*?127\.0\.0\.1:(\d+)")  # in its log


class SidecarProcess:
    """One sidecar of a test run. It starts at the first `apply`, and `stop` ends it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._published_us = 0
        self._counts: dict[str, int] = {}  # by doubt, at the last look
        self._reported = 0  # events, at the last look
        self._doubts: dict[str, None] = {}  # those to tell

    @property
    def address(self) -> str:
        """Where it answers, for example http://127.0.0.1:41234."""
        return f"http://127.0.0.1:{self._port}"

    def apply(self, documents: GivenDocuments) -> None:
        """Put documents in force, and return when the sidecar decides by them.

        Raises ValueError with every problem that `abside check` calls an error, RuntimeError where it does not start.
        """
        self._published_us = max(now_us(), self._published_us + 1)
        snapshot = _compiled(documents, self._folder / "config", self._published_us)
        if self._process is not None:
            self._look_for_doubts()
        beside = self._folder / "snapshot.tmp"
        beside.write_bytes(encode(snapshot))
        beside.replace(self._folder / "snapshot")
        if self._process is None:
            self._start()
        self._await(lambda: self.status()["snapshot"]["published_us"] == self._published_us)
        self._counts = _doubts(self.status())  # another eligibility begins its counts anew

    def status(self) -> dict[str, Any]:
        """Return what `GET /v1/status` answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=START_SECONDS)
        try:
            connection.request("GET", "/v1/status")
            found: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return found

    def recorded(self) -> list[EventMap]:
        """Return the exposures and outcomes that are in its spool, oldest first."""
        queue = self._folder / "spool" / "q"
        files = sorted(one for one in queue.glob("*") if one.suffix in {".open", ".seg"})
        found = [event.decode(one) for path in files for one in good_frames(path.read_bytes()).payloads]
        return [one for one in found if one["type"] not in OWN]

    def doubts(self) -> list[str]:
        """Return a sentence about each thing that it took since the last call, and that is probably a mistake."""
        with suppress(OSError):  # it is gone, and a test has failed for that
            self._look_for_doubts()
        found, self._doubts = list(self._doubts), {}
        return found

    def stop(self) -> None:
        """End it. What it recorded is a test's, and nobody waits for it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _look_for_doubts(self) -> None:
        status, reported = self.status(), self.recorded()
        counts = _doubts(status)
        found = [sentence for sentence, count in counts.items() if count != self._counts.get(sentence)]
        found += _doubted_places(reported[self._reported :], status["placements"])
        self._counts, self._reported = counts, len(reported)
        self._doubts |= dict.fromkeys(found)

    def _start(self) -> None:
        spool, snapshot = str(self._folder / "spool"), str(self._folder / "snapshot")
        where = ["--snapshot", snapshot, "--spool", spool, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        command = [sys.executable, "-m", "abside", "sidecar", *where, "--allow-force", "--poll-seconds", "0.02"]
        # Settings of this machine's environment are those of another sidecar.
        own = {name: value for name, value in os.environ.items() if not name.startswith("ABSIDE_")}  # noqa: TID251 a child's, made from ours
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=own)  # noqa: S603 our own command
        self._await(self._has_port)

    def _has_port(self) -> bool:
        found = LISTENING.search(self._log())
        self._port = int(found[1]) if found else 0
        return found is not None

    def _await(self, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + START_SECONDS
        while not holds():
            ended = self._process is not None and self._process.poll() is not None
            if ended or time.monotonic() > until:
                raise RuntimeError(f"the sidecar {'ended' if ended else 'is not ready'}; its log:\n{self._log()}")
            time.sleep(LOOK_SECONDS)

    def _log(self) -> str:
        return (self._folder / "log").read_text()


class TestSidecar:
    """The sidecar of a test run as one test sees it: its exposures and events are those since the test began."""

    __test__ = False  # for pytest: it is no class of tests

    def __init__(self, process: SidecarProcess) -> None:
        self._process = process
        self._before = len(process.recorded())
        self._clients: list[Client] = []

    @property
    def address(self) -> str:
        """Where it answers, for any client in any language."""
        return self._process.address

    @property
    def exposures(self) -> list[EventMap]:
        """The exposures that were logged, oldest first, each as the collector would get it."""
        return [one for one in self._process.recorded()[self._before :] if one["type"] == "exposure"]

    @property
    def events(self) -> list[EventMap]:
        """The outcomes that were reported, oldest first, each as the collector would get it."""
        return [one for one in self._process.recorded()[self._before :] if one["type"] != "exposure"]

    def apply(self, documents: GivenDocuments) -> None:
        """Edit: put other documents in force, and return when they are. Raises ValueError for what is wrong in them."""
        self._process.apply(documents)

    def status(self) -> dict[str, Any]:
        """Return what `GET /v1/status` answers."""
        return self._process.status()

    def client(self, *, strict: bool = True, deadline_seconds: float = DEADLINE_SECONDS) -> Client:
        """Return a client of it, which is closed at the end of the test."""
        self._clients.append(Client(self.address, strict=strict, deadline_seconds=deadline_seconds))
        return self._clients[-1]

    def close(self) -> None:
        """Close its clients, and warn of what the sidecar took and is probably a mistake."""
        for one in self._clients:
            one.close()
        for sentence in self._process.doubts():
            warnings.warn(f"abside_sidecar: {sentence}", stacklevel=2)


def _doubts(status: Mapping[str, Any]) -> dict[str, int]:
    """Return a sentence about each name and value that is taken and probably wrong, and how often it came."""
    found: dict[str, int] = {}
    for where, sentence in (
        ("attributes", "the attribute {} is not declared; did you mean {}?"),
        ("event_types", "the event type {} is one of your own; did you mean {}?"),
    ):
        for name, one in status["names"][where].items():
            if one["meant"]:
                found[sentence.format(name, one["meant"])] = one["count"]
    for experiment, shown in status["experiments"].items():
        for name, one in shown["sample"]["attributes"].items():
            if one["wrong_type"]:
                sentence = f"the attribute {name} has a value of another type than is declared; {experiment} needs it"
                found[sentence] = one["wrong_type"]
    return found


def _doubted_places(reported: Iterable[EventMap], placements: list[str]) -> Iterator[str]:
    for name in {one["placement"]: None for one in reported if one.get("placement")}:
        close = () if name in placements else get_close_matches(name, placements, n=1)
        for meant in close:
            yield f"an event names the placement {name}, which is in no document; did you mean {meant}?"


def _compiled(documents: GivenDocuments, folder: Path, at_us: int) -> Snapshot:
    """Return the snapshot that an agent would publish. Raises ValueError with every error, one a line."""
    from abside_agent.settle.settle import settle  # noqa: PLC0415 it needs the agent extra, and fakes do not
    from abside_agent.sources.mounted import Mounted  # noqa: PLC0415 as above

    settled = settle(Mounted((str(_written(documents, folder)),), ()).read(), None, at_us)
    errors = [str(one) for one in settled.problems if one.severity == "error"]
    if errors or settled.snapshot is None:
        raise ValueError("\n".join(["the documents are not good:", *errors]))
    return settled.snapshot


def _written(documents: GivenDocuments, folder: Path) -> Path:
    """Return a folder that has the documents, and nothing else. Raises ValueError where a path leads nowhere."""
    if isinstance(documents, Path) and documents.is_dir():
        return documents
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    if isinstance(documents, Path):
        if not documents.is_file():
            raise ValueError(f"{documents} is neither a file nor a folder of documents")
        documents = {documents.name: documents.read_text()}
    texts = {"test.yaml": documents} if isinstance(documents, str) else documents
    for name, text in texts.items():
        if not name.endswith(".yaml"):
            raise ValueError(f"{name}: a document's name ends in .yaml")
        (folder / name).write_text(text)
    return folder
