"""JavaScript: the real SDKs for servers and for pages, with the files of docs/openfeature.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.openfeature.conftest import Backend

HERE = Path(__file__).resolve().parent
PACKAGES = Path(sys.prefix) / "openfeature" / "js"
IN_CI = os.environ.get("CI") == "true"  # noqa: TID251 CI sets it
RUN_SECONDS = 60


@pytest.fixture
def folder(tmp_path: Path, backend: Backend) -> Path:
    """Return a folder with the page's files and the SDKs."""
    if not (PACKAGES / ".installed").exists():
        say = pytest.fail if IN_CI or shutil.which("npm") else pytest.skip
        say("the SDKs for JavaScript need npm: make openfeature")
    (tmp_path / "node_modules").symlink_to(PACKAGES / "node_modules")
    for name in ("abside.mjs", "shop.mjs", "shop.test.mjs", "abside-web.mjs", "page.mjs"):
        (tmp_path / name).write_text(backend.file(name))
    for one in (HERE / "js").glob("*.mjs"):
        shutil.copy(one, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("sdk", "driver", "user"), [("JS, server", "server.mjs", "u-js"), ("JS, page", "web.mjs", "u-web")]
)
def test_each_round_trip_is_what_the_page_says(
    backend: Backend, folder: Path, sdk: str, driver: str, user: str
) -> None:
    exposures = len(backend.stored("exposure", "u9"))
    trips = backend.trips("node", driver, backend.url, backend.away, cwd=folder)
    (stored,) = backend.stored("add_to_cart", user)
    assert (stored["value"], stored["item_id"], stored["properties"]) == (19.9, "i7", {"shelf": "top"})
    assert {**trips, "track": "stored"} == backend.column(sdk)
    # An object and a string; a server's boolean of a placement, too. A page's second use of a flag is none.
    assert len(backend.stored("exposure", "u9")) - exposures == (3 if driver == "server.mjs" else 2)
    assert backend.stored("add_to_cart", "u-secret") == []


@pytest.mark.parametrize("name", ["shop.mjs", "page.mjs"])
def test_the_pages_file_runs(backend: Backend, folder: Path, name: str) -> None:
    before = len(backend.stored("add_to_cart", "u9"))
    done = subprocess.run(["node", name], cwd=folder, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    assert (done.returncode, done.stdout) == (0, "ranker-v2 treatment\n"), done.stderr
    (stored,) = backend.stored("add_to_cart", "u9")[before:]
    assert (stored["item_id"], stored["session_id"], stored["properties"]) == ("i7", "s1", {"shelf": "top"})


def test_the_pages_test_passes(folder: Path) -> None:
    command = ["node", "--test", "shop.test.mjs"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    assert done.returncode == 0, done.stdout
    assert "pass 1" in done.stdout
