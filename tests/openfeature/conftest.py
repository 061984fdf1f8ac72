"""A real sidecar with the document of docs/api.md, and docs/openfeature.md, whose files and figures are held to it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from abside import event
from abside.spool.frame import good_frames
from stage import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs"
PATIENCE_SECONDS = 30.0
RUN_SECONDS = 120.0  # of a driver: a compiler on a shared machine
# The page's timeouts, and those of a shared machine that may stall.
PATIENT = {
    "deadline_seconds=0.1": "deadline_seconds=10",
    "timeoutMs = 1000": "timeoutMs = 10_000",
    "timeoutMs = 100)": "timeoutMs = 10_000)",
    "100*time.Millisecond": "10*time.Second",
    "Duration.ofMillis(500)": "Duration.ofSeconds(10)",
}
# Beside the page's document: an experiment that has nobody of those who ask here.
NOBODYS = """
experiments:
  nobodys:
    name: Nobody's
    hypothesis: Nobody is in it
    status: running
    placements: [newsfeed]
    eligibility: [{attribute: country, op: in, value: [AQ]}]
    variants: {control: {weight: 50%}, treatment: {weight: 50%, parameters: {newsfeed: {rows: 7}}}}
"""


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def trips(*command: str, cwd: Path, env: dict[str, str] | None = None) -> dict[str, str]:
    """Run a driver, which prints one JSON object a case; return each as the page shows it."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {one["case"]: cell(one) for one in found}


def cell(one: dict[str, Any]) -> str:
    """Show a round trip as the page does."""
    code = one.get("error") or ""
    if code:
        return f"default, `{code}`"
    return f"{'default' if one['value'] == 'default' else '`' + str(one['value']) + '`'}, `{one['reason']}`"


@dataclass(frozen=True, slots=True)
class Backend:
    """Where the sidecar answers, an address where nothing does, and what it has on disk."""

    url: str
    away: str
    folder: Path
    page: str

    def file(self, name: str) -> str:
        """Return a whole file of the page: the block that begins with its name in a comment."""
        for text in re.findall(r"^```\w+\n(.*?)^```$", self.page, re.MULTILINE | re.DOTALL):
            if re.match(rf"(//|#) {re.escape(name)}(:|\n)", text):
                for written, here in {"http://127.0.0.1:7600": self.url, **PATIENT}.items():
                    text = text.replace(written, here)  # noqa: PLW2901 the same text, for this machine
                return str(text)
        raise AssertionError(f"docs/openfeature.md has no file {name}")

    def stored(self, kind: str, user: str) -> list[event.EventMap]:
        """Read back the events of one type and user, oldest first, without what differs each time."""
        segments = sorted(one for one in (self.folder / "spool" / "q").iterdir() if one.suffix in {".open", ".seg"})
        events = [event.decode(one) for path in segments for one in good_frames(path.read_bytes()).payloads]
        changing = {"event_id", "ts", "seen_ts", "revision"}
        return [
            {name: value for name, value in one.items() if name not in changing}
            for one in events
            if one["type"] == kind and one["user_id"] == user
        ]

    cell = staticmethod(cell)
    trips = staticmethod(trips)

    def column(self, sdk: str) -> dict[str, str]:
        """Return one column of the page's table of round trips, by case."""
        lines = self.page.partition("| case |")[2].partition("\n\n")[0].splitlines()
        heads = [one.strip() for one in lines[0].strip("|").split("|")]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
        return {row[0]: row[1 + heads.index(sdk)] for row in rows}


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    folder = tmp_path_factory.mktemp("openfeature")
    (folder / "config").mkdir()
    (folder / "config" / "page.yaml").write_text(blocks((DOCS / "api.md").read_text(), "yaml")[0])
    (folder / "config" / "nobodys.yaml").write_text(NOBODYS)
    abside = [sys.executable, "-m", "abside"]
    agent = ["agent", "--config", "config", "--snapshot", "snapshot", "--once"]
    made = subprocess.run([*abside, *agent], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    address = f"127.0.0.1:{free_port()}"
    where = ["--snapshot", "snapshot", "--spool", "spool", "--listen", address, "--admin", "127.0.0.1:0"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*abside, "sidecar", *where, "--linger-seconds", "0"], cwd=folder, stderr=log)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with closing(urllib.request.urlopen(f"http://{address}/v1/status", timeout=1)):
                break
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.02)
    try:
        yield Backend(
            f"http://{address}", f"http://127.0.0.1:{free_port()}", folder, (DOCS / "openfeature.md").read_text()
        )
    finally:
        process.kill()
        process.wait()
