from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import orjson
import pytest

from abside_agent.document.parse import parse
from abside_agent.document.schema import schema
from abside_agent.document.tree import plain

if TYPE_CHECKING:
    from tests.agent.conftest import Doc

ROOT = Path(__file__).parents[3]
SAMPLES = sorted((ROOT / "k8s" / "experiments" / "config").glob("*.yaml"))
STORED = ROOT / "docs" / "schema.json"


def read(text: str) -> Any:
    root = parse("f.yaml", text.encode()).root
    assert root is not None
    return plain(root)


def is_valid(text: str) -> bool:
    return jsonschema_rs.Draft202012Validator(schema()).is_valid(read(text))


def test_the_schema_is_valid_against_its_own_dialect() -> None:
    jsonschema_rs.meta.validate(schema())


def test_the_stored_schema_is_what_the_command_prints() -> None:
    done = subprocess.run([sys.executable, "-m", "abside", "schema"], capture_output=True, check=True)
    assert STORED.read_bytes() == done.stdout, "write it anew: abside schema > docs/schema.json"
    assert orjson.loads(done.stdout) == schema()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_the_sample_documents_are_valid_and_name_the_schema(path: Path) -> None:
    text = path.read_text()
    assert is_valid(text)
    first = text.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve() == STORED


def test_what_check_takes_is_valid(doc: type[Doc]) -> None:
    eligibility = (
        "[{attribute: country, op: in, value: [DE]}, {any: [{attribute: logged_in, op: eq, value: true},"
        " {all: [{attribute: country, op: missing}]}]}]"
    )
    more = {"traffic": "2.5%", "layer": "ranking", "slots": "0%-50%", "eligibility": eligibility, "force": "{b: [42]}"}
    assert is_valid(doc.GROUND + doc.one("x", **more) + "retired: [007]\nmetrics: {}\n")
    assert is_valid(doc.GROUND + doc.one("x", steps='[{from: "2026-12-01T09:00:00Z", traffic: 5%}]', owner="me"))


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "runing"},
        {"variants": None},
        {"hypothesis": "[]"},
        {"placements": "pdp"},
        {"placements": "[]"},
        {"traffic": "20"},
        {"traffic": "20%", "steps": '[{from: "2026-12-01T09:00:00Z", traffic: 5%}]'},
        {"slots": "0%-50%"},
        {"slots": "50%", "layer": "ranking"},
        {"start": "2026-12-01"},
        {"variants": "{}"},
        {"variants": "{control: {weight: 100}}"},
        {"varients": "{}"},
        {"phase": "0"},
        {"unit": "device"},
        {"analysis": "{window: 7}"},
        {"eligibility": "[{attribute: country, op: equals, value: DE}]"},
        {"eligibility": "[{attribute: country, op: in, value: DE}]"},
        {"eligibility": "[{attribute: country, op: exists, value: DE}]"},
        {"eligibility": "[{attribute: country, op: eq}]"},
        {"eligibility": "[{any: []}]"},
    ],
    ids=str,
)
def test_a_broken_document_is_not_valid(changes: dict[str, Any], doc: type[Doc]) -> None:
    assert is_valid(doc.GROUND + doc.one("x"))
    assert not is_valid(doc.GROUND + doc.one("x", **changes))


def test_an_unknown_section_is_not_valid(doc: type[Doc]) -> None:
    assert not is_valid(doc.GROUND + "retird: []\n")
