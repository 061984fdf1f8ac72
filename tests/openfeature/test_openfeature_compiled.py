"""Go and Java: the real SDKs, with the files of docs/openfeature.md."""

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
SDKS = Path(sys.prefix) / "openfeature"
RUN_SECONDS = 120


def run(*command: str, cwd: Path) -> str:
    env = {**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off"}  # noqa: TID251 a child's own, made from ours
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def needs(language: str, *commands: str) -> None:
    """Skip where the tools are missing; where they are, the SDK must be installed."""
    if not (SDKS / language / ".installed").exists():
        say = pytest.fail if all(map(shutil.which, commands)) else pytest.skip
        say(f"the SDK for {language} needs {' and '.join(commands)}: make openfeature")


def written(backend: Backend, folder: Path, *names: str) -> None:
    folder.mkdir()
    for name in names:
        (folder / name).write_text(backend.file(name))


def go(backend: Backend, folder: Path) -> tuple[list[str], list[str]]:
    """Build both programs: each is the page's provider with one main function."""
    needs("go", "go")
    for program, main in (("trips", HERE / "go" / "trips.go"), ("shop", None)):
        written(backend, folder / program, "abside.go", *(["shop.go"] if main is None else []))
        for one in (*(SDKS / "go").glob("go.*"), *([main] if main else [])):
            shutil.copy(one, folder / program)
        run("go", "build", "-o", "program", ".", cwd=folder / program)
    return [str(folder / "trips" / "program")], [str(folder / "shop" / "program")]


def java(backend: Backend, folder: Path) -> tuple[list[str], list[str]]:
    """Compile both programs together."""
    needs("java", "mvn", "javac")
    place = folder / "java"
    written(backend, place, "AbsideProvider.java", "Shop.java")
    shutil.copy(HERE / "java" / "Trips.java", place)
    jars = f"{SDKS / 'java'}/*"
    run("javac", "-cp", jars, "AbsideProvider.java", "Shop.java", "Trips.java", cwd=place)
    start = ["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", f"{place}:{jars}"]
    return [*start, "Trips"], [*start, "Shop"]


@pytest.mark.parametrize(("sdk", "build", "user"), [("Go", go, "u-go"), ("Java", java, "u-java")])
def test_the_pages_files_run_and_each_round_trip_is_what_it_says(
    backend: Backend, tmp_path: Path, sdk: str, build: type, user: str
) -> None:
    trips, shop = build(backend, tmp_path)
    found = backend.trips(*trips, backend.url, backend.away, cwd=tmp_path)
    (stored,) = backend.stored("add_to_cart", user)
    assert (stored["value"], stored["item_id"], stored["properties"]) == (19.9, "i7", {"shelf": "top"})
    (free,) = backend.stored("add_to_cart", f"{user}-free")
    assert "value" not in free
    assert {**found, "track": "stored"} == backend.column(sdk)
    before = len(backend.stored("add_to_cart", "u9"))
    assert run(*shop, cwd=tmp_path) == "ranker-v2 treatment\n"
    assert len(backend.stored("add_to_cart", "u9")) == before + 1
