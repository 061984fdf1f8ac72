"""The world of these tests, and ClickHouse's engine for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from urllib.request import urlopen

import orjson
import pytest
from tests.warehouse.world import DOCUMENTS, World, arms_of, close, shop

from abside.report.command import main
from abside.report.settings import ReportSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IN_CI = os.environ.get("CI") == "true"  # noqa: TID251 CI sets it
ENGINE = Path(sys.prefix) / "clickhouse"
STAND_IN = Path(__file__).parent / "clickhouse_stand_in.py"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("warehouse")
    (folder / "config").mkdir()
    (folder / "config" / "shop.yaml").write_text(DOCUMENTS)
    events = shop()
    close(events, folder / "store")
    asked = ReportSettings(events=folder / "store", config=(folder / "config",), json=folder / "report.json")
    assert main(asked) == 0
    report = orjson.loads((folder / "report.json").read_bytes())
    return World(folder, events, {page["experiment"]: arms_of(page) for page in report["experiments"]})


@pytest.fixture(scope="module")
def clickhouse(world: World) -> Iterator[str]:
    """Return the address of ClickHouse's engine; `store/` is in its directory."""
    if not (ENGINE / ".installed").exists():
        say = pytest.fail if IN_CI else pytest.skip
        say("ClickHouse's engine is not installed: make clickhouse")
    command = [sys.executable, str(STAND_IN), str(world.folder)]
    with subprocess.Popen(command, env={"PYTHONPATH": str(ENGINE)}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


@pytest.fixture
def ask(clickhouse: str) -> Callable[..., list[list[object]]]:
    """Ask the engine, as a program does: a statement in the body; rows as JSON, if there are any."""

    def post(statement: str, database: str) -> list[list[object]]:
        address = f"{clickhouse}/?{urlencode({'database': database})}"
        with urlopen(address, data=f"{statement} FORMAT JSONCompactEachRow".encode()) as answer:
            return [orjson.loads(line) for line in answer]

    return post
