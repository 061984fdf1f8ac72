"""docs/api.md is executed: every curl is run as it stands there, and answers what stands there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.api.conftest import Served

EACH_TIME_ANOTHER = {"exposure_id", "exposure_token", "exposureId"}  # its kind is compared, not its value


def alike(shown: Any, got: Any, name: str = "") -> bool:
    """Compare an answer with the one shown: equal, but for what is another each time."""
    if isinstance(shown, dict) and isinstance(got, dict):
        return shown.keys() == got.keys() and all(alike(shown[key], got[key], key) for key in shown)
    if isinstance(shown, list) and isinstance(got, list):
        return len(shown) == len(got) and all(alike(*pair, name) for pair in zip(shown, got, strict=True))
    return type(shown) is type(got) and (shown == got or name in EACH_TIME_ANOTHER)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's examples are written for curl")
def test_every_curl_answers_what_the_page_shows(served: Served) -> None:
    blocks = served.blocks()
    compared = ran = 0
    for (kind, text), (next_kind, shown) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind != "sh":
            continue
        command = ["sh", "-ec", served.here(text)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (0, ""), text
        ran += text.count("curl ")
        if next_kind == "json":
            compared += 1
            assert alike(json.loads(shown), json.loads(done.stdout)), f"{text}\nshown {shown}\ngot {done.stdout}"
    assert (ran, compared) >= (14, 8)


def test_every_route_has_a_curl_on_the_page(served: Served) -> None:
    for path in json.loads(served.openapi.read_text())["paths"]:
        path = path.replace("{key}", "pdp")  # noqa: PLW2901 one of its values
        assert re.search(rf"^curl -s http://127\.0\.0\.1:760[01]{path}( |$)", served.page, re.MULTILINE), path


def test_the_python_example_runs(served: Served) -> None:
    [text] = [text for kind, text in served.blocks() if kind == "python"]
    names: dict[str, Any] = {}
    exec(served.here(text).replace("deadline_seconds=0.02", "deadline_seconds=10"), names)  # noqa: S102 our own page
    assert names["answer"].config["model"] == "ranker-v2"
    assert bool(names["used"]) is True
    stats = names["client"].stats
    assert (stats.answered, stats.fallbacks, stats.lost_reports) == (3, {}, 0)


def test_every_error_code_stands_in_the_pages_table(served: Served) -> None:
    codes = json.loads(served.openapi.read_text())["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    table = served.page.partition("## Errors")[2].partition("\n## ")[0]
    assert [code for code in codes if f"`{code}`" not in table] == []
