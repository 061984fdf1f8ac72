"""A real sidecar that serves the document of docs/api.md."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).resolve().parents[2] / "docs"
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Served:
    """Where the sidecar answers, and the page it is held to."""

    decisions: str
    admin: str
    page: str
    openapi: Path

    def blocks(self) -> list[tuple[str, str]]:
        """Return every fenced block of the page: its language and its text."""
        return re.findall(r"^```(\w+)\n(.*?)^```$", self.page, re.MULTILINE | re.DOTALL)

    def here(self, text: str) -> str:
        """Return the page's text with the addresses of this sidecar."""
        return text.replace("http://127.0.0.1:7600", self.decisions).replace("http://127.0.0.1:7601", self.admin)


@pytest.fixture(scope="module", params=["on", "off"], ids=["fast", "aiohttp"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("api")
    page = (DOCS / "api.md").read_text()
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    decisions, admin = (f"127.0.0.1:{one.getsockname()[1]}" for one in held)
    for one in held:
        one.close()
    made = Served(f"http://{decisions}", f"http://{admin}", page, DOCS / "openapi.json")
    (folder / "config").mkdir()
    (folder / "config" / "page.yaml").write_text(dict(made.blocks())["yaml"])
    abside = [sys.executable, "-m", "abside"]
    agent = ["agent", "--config", "config", "--snapshot", "snapshot", "--once"]
    done = subprocess.run([*abside, *agent], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    where = ["--snapshot", "snapshot", "--spool", "spool", "--listen", decisions, "--admin", admin]
    where += ["--fast-path", request.param]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*abside, "sidecar", *where], cwd=folder, stderr=log)
    try:
        _wait(f"{made.admin}/readyz", folder / "log")
        yield made
    finally:
        process.kill()
        process.wait()


def _wait(url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
