"""docs/openapi.json says what the code does: the same routes, fields, bounds and codes."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import schemathesis

from abside import event, sidecar
from abside.assignment import explain, unit
from abside.serve import listener as serve
from abside.sidecar.app import Sidecar
from abside.sidecar.decide import request
from abside.sidecar.settings import SidecarSettings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT: dict[str, Any] = json.loads((ROOT / "docs" / "openapi.json").read_text())
API_TEXT = (ROOT / "docs" / "api.md").read_text()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
NAMES = {
    "impression": "Impression",
    "click": "Click",
    "add_to_cart": "AddToCart",
    "purchase": "Purchase",
    "page_view": "PageView",
}


def test_the_document_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(DOCUMENT).validate()


async def test_it_has_the_sidecars_routes_and_no_others(tmp_path: Path) -> None:
    built = Sidecar.build(SidecarSettings(tmp_path / "snapshot", tmp_path / "spool"))
    try:
        tables = (built.decisions.routes, built.admin.routes)
        served = {path: {method.lower() for method in methods} for table in tables for path, methods in table.items()}
        documented = {path: item.keys() - {"servers"} for path, item in DOCUMENT["paths"].items()}
        assert documented == served
        of_admin = {path for path, item in DOCUMENT["paths"].items() if "servers" in item}
        assert of_admin == built.admin.routes.keys()
    finally:
        await built.spool.close()


def test_the_request_has_the_fields_that_are_read() -> None:
    one, many = SCHEMAS["AssignOne"]["properties"].keys(), SCHEMAS["AssignMany"]["properties"].keys()
    assert one | many == request._FIELDS
    assert (one - many, many - one) == ({"placement"}, {"placements"})
    assert SCHEMAS["PinnedUnit"]["properties"].keys() == request._PINNED_FIELDS


@pytest.mark.parametrize("kind", event.FIELDS)
def test_an_event_has_the_fields_that_are_read(kind: str) -> None:
    properties = SCHEMAS[NAMES[kind]]["properties"]
    assert properties["type"] == {"const": kind}
    assert properties.keys() == event.COMMON_FIELDS | event.FIELDS[kind].keys()


def test_a_custom_event_has_the_fields_that_are_read_and_a_name_of_its_own() -> None:
    properties = SCHEMAS["CustomEvent"]["properties"]
    assert properties.keys() == event.COMMON_FIELDS | event.CUSTOM_FIELDS.keys()
    assert set(properties["type"]["not"]["enum"]) == event.FIELDS.keys() | event.OWN_TYPES
    assert properties["type"]["pattern"] == "^" + event.TYPE_NAME.pattern.replace(r"\Z", "$")
    assert NAMES.keys() == event.FIELDS.keys()


def test_the_bounds_are_those_of_the_code() -> None:
    rules = request.Rules()
    assert SCHEMAS["AssignMany"]["properties"]["placements"]["maxItems"] == rules.max_placements
    assert SCHEMAS["Attributes"]["maxProperties"] == rules.max_attributes
    assert SCHEMAS["Id"]["maxLength"] == unit.MAX_UNIT_BYTES
    assert (SCHEMAS["Id"]["minimum"], SCHEMAS["Id"]["maximum"]) == (unit.SMALLEST_INTEGER, unit.LARGEST_INTEGER)
    numbers, texts = SCHEMAS["UsableId"]["not"]["anyOf"]
    assert numbers == {"enum": [0, -1]}
    for one in unit.SHARED_IDS:
        assert all(re.search(texts["pattern"], text) for text in (one, one.upper(), one.title())), one
    assert texts["pattern"].count("|") == len(unit.SHARED_IDS)
    assert not re.search(texts["pattern"], "guest-1")
    listed = re.search(r"Those are, in any case of letters: (.*?);", API_TEXT)
    assert listed is not None
    assert {one.casefold() for one in re.findall(r"`(.*?)`", listed[1])} == unit.SHARED_IDS
    assert SCHEMAS["Text"]["maxLength"] == event.MAX_TEXT_BYTES
    assert SCHEMAS["Items"]["maxItems"] == event.MAX_ITEMS
    assert SCHEMAS["Properties"]["maxProperties"] == event.MAX_PROPERTIES
    assert SCHEMAS["Money"]["exclusiveMaximum"] == SCHEMAS["Amount"]["exclusiveMaximum"] == event.MAX_VALUE
    assert (SCHEMAS["Money"]["minimum"], SCHEMAS["Quantity"]["minimum"]) == (0, 1)
    assert SCHEMAS["Count"]["maximum"] == SCHEMAS["Quantity"]["maximum"] == event.MAX_COUNT
    for path in ("/v1/events", "/v1/exposures"):
        body = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert body["oneOf"][1]["maxItems"] == event.MAX_EVENTS_A_REQUEST


def test_the_codes_are_those_that_are_raised() -> None:
    files = [path for room in (serve, sidecar) for path in Path(inspect.getfile(room)).parent.rglob("*.py")]
    raised = {
        node.args[1].value
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Refusal"
        and isinstance(node.args[1], ast.Constant)
    }
    assert raised | set(get_args(event.ErrorCode)) == set(SCHEMAS["Problem"]["properties"]["code"]["enum"])


def test_the_steps_of_an_explanation_are_those_that_are_told() -> None:
    step = SCHEMAS["Step"]["properties"]
    assert set(step["step"]["enum"]) == set(get_args(explain.StepName))
    assert set(step["reason"]["enum"]) == {*explain.ANSWERED_BY, None}
