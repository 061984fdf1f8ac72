"""schemathesis holds the running sidecar to docs/openapi.json: a bounded, seeded number of cases.

Two runs. What breaks the document must be refused, by the document as it is. What keeps it must be taken: by a copy
narrowed where JSON Schema cannot say the rule (bytes of UTF-8, tokens, a unit that must be the request's own, a time
that must be recent), since there a valid body by the letter may rightly be a 422.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from tests.cases import cases

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Served

SEED = 20261123
CASES_EACH = cases(
    20
)  # for each operation, drawn at random; most cases are those of the phase "coverage", which is whole
FLAG_CASES = 10  # of OFREP, whose requests are one context; tests/sidecar/decide/test_flags_at_random.py has more
# Its imports take a second, and are done once.
ONE_BY_ONE = """
import json, sys
from schemathesis.cli import schemathesis
for run in json.loads(sys.argv[1]):
    try:
        schemathesis(run)
    except SystemExit as end:
        if end.code:
            raise
"""
CHECKS = """
[checks.negative_data_rejection]
expected-statuses = [400, 404, 413, 415, 422]
[checks.positive_data_acceptance]
expected-statuses = [200, 202, 304]
"""


def test_what_breaks_the_document_is_refused(served: Served, tmp_path: Path) -> None:
    assert run(served, tmp_path, json.loads(served.openapi.read_text()), "negative") >= 200


def test_what_keeps_the_document_is_taken_and_answered_as_it_says(served: Served, tmp_path: Path) -> None:
    document = json.loads(served.openapi.read_text())
    assert run(served, tmp_path, narrowed(document, token(served)), "positive") >= 200


def run(served: Served, folder: Path, document: dict[str, Any], mode: str) -> int:
    """Run schemathesis over both listeners, in one process; give the number of cases."""
    (folder / "schemathesis.toml").write_text(CHECKS)
    (folder / "openapi.json").write_text(json.dumps(document))
    runs = []
    for url, paths, most in (
        (served.decisions, "^/v1/", CASES_EACH),
        (served.decisions, "^/ofrep/", FLAG_CASES),
        (served.admin, "^/[a-z]+$", CASES_EACH),
    ):
        how = ["--phases", "examples,coverage,fuzzing", "--mode", mode, "--max-examples", str(most)]
        sure = ["--seed", str(SEED), "--generation-database", "none", "--no-color"]
        where = ["--url", url, "--include-path-regex", paths, "openapi.json"]
        runs.append(["--config-file", "schemathesis.toml", "run", *how, *sure, *where])
    done = subprocess.run(
        [sys.executable, "-c", ONE_BY_ONE, json.dumps(runs)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"(\d+) generated, \d+ passed", done.stdout)
    assert len(found) == len(runs), done.stdout
    print(f"{mode}: {', '.join(found)} cases")
    return sum(map(int, found))


def token(served: Served) -> str:
    body = json.dumps({"placement": "pdp", "session_id": "s1", "expose": False}).encode()
    request = urllib.request.Request(f"{served.decisions}/v1/assign", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["exposure_token"])


def narrowed(document: dict[str, Any], exposure_token: str) -> dict[str, Any]:
    """Narrow the document to what JSON Schema can say exactly."""
    schemas = document["components"]["schemas"]
    for one in walk(schemas):
        if one.get("maxLength") == 256:
            one["maxLength"] = 64  # of at most 4 bytes each
        if "integer" in one.get("type", []) and "string" in one["type"]:
            one["type"] = [kind for kind in one["type"] if kind != "integer"]  # 1.0 is an integer to JSON Schema only
    for name in ("AssignOne", "AssignMany"):
        fields = schemas[name]["properties"]
        del fields["pinned_unit"], fields["force"]
        fields["expose"] = {"type": "boolean"}
    schemas["AssignOne"]["properties"]["placement"]["enum"] = ["pdp", "newsfeed"]
    schemas["AssignMany"]["properties"]["placements"]["items"]["enum"] = ["pdp", "newsfeed"]
    schemas["Time"]["type"] = "null"
    schemas["Count"] = {"enum": [None, 0, 1, 2**31 - 1]}
    schemas["Quantity"] = {"enum": [None, 1, 2**31 - 1]}
    schemas["Exposure"]["properties"]["exposure_token"] = {"const": exposure_token}
    document["paths"]["/ofrep/v1/evaluate/flags/{key}"]["post"]["parameters"][0]["schema"] = {
        "enum": ["pdp", "newsfeed"]
    }
    tracking = schemas["Tracking"]["properties"]
    schemas["TrackedExposure"]["properties"]["attributes"]["properties"]["exposureToken"] = {"const": exposure_token}
    tracking["event"] = {"enum": ["click", "pageView", "add_to_cart", "rated"]}
    tracking["value"]["minimum"] = 0
    # No field of an event, whose types differ by event, and no nested value.
    few = {"pattern": "^x[a-z]{1,8}$"}
    tracking["attributes"] = {**SCALARS, "type": ["object", "null"], "maxProperties": 20, "propertyNames": few}
    return document


SCALARS = {"additionalProperties": {"type": ["string", "boolean", "null"]}}


def walk(value: Any) -> list[dict[str, Any]]:
    """List every object inside."""
    if isinstance(value, dict):
        return [value, *(one for part in value.values() for one in walk(part))]
    return [one for part in value for one in walk(part)] if isinstance(value, list) else []


@pytest.mark.parametrize("value", [{"a": [{"b": 1}]}])
def test_the_walk_finds_every_object(value: dict[str, Any]) -> None:
    assert walk(value) == [value, {"b": 1}]
