"""The JSON Schema (2020-12) of the document, made from the records of records.py, for editors. Pure.

It is wider than `abside check`, never narrower: rules between fields, files and records are left to that command.
"""

from __future__ import annotations

from typing import Any

import msgspec

from abside.assignment.condition import LIST_OPS, MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES, PRESENCE
from abside.assignment.operators import OPERATORS
from abside_agent.document.forms import ID_PATTERN
from abside_agent.document.records import Document

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_AS_WRITTEN = ["string", "integer"]  # an id is text as written: 007 and 42 are ids too
_ID_FORMS = (ID_PATTERN, "^.{1,256}$")


def schema() -> dict[str, Any]:
    """Return the schema as plain data, the same every time."""
    made = msgspec.json.schema(Document)
    definitions = {_published(name): _widened(part) for name, part in sorted(made["$defs"].items())}
    experiment = definitions["Experiment"]["properties"]
    experiment["eligibility"] = {
        "description": "Who may be in: all conditions must hold. A shopper of whom one is not known is not in.",
        "type": "array",
        "items": {"$ref": "#/$defs/Condition"},
        "maxItems": MAX_CONDITIONS,
    }
    definitions["Experiment"]["allOf"] = [
        {"not": {"required": ["traffic", "steps"], "properties": {"traffic": _WORD, "steps": _LIST}}},
    ]
    definitions["Experiment"]["dependentRequired"] = {"layer": ["slots"], "slots": ["layer"]}
    definitions["Placement"]["properties"]["parameters"]["additionalProperties"] = _VALUE
    metric = definitions["Metric"]["properties"]
    metric.update({name: part | _VALUE for name, part in metric.items() if "type" not in part and "enum" not in part})
    metric["where"]["items"] = {"$ref": "#/$defs/Condition"}
    definitions["Variant"]["properties"]["parameters"]["additionalProperties"]["additionalProperties"] = _VALUE
    definitions.update(_conditions())
    definitions["Value"] = _ANY_VALUE
    return {"$schema": DIALECT, "title": "abside document", "$ref": "#/$defs/Document", "$defs": definitions}


_WORD = {"type": "string"}
_LIST = {"type": "array"}
_VALUE = {"$ref": "#/$defs/Value"}
_ANY_VALUE = {
    "description": "Any value that is one: a key with nothing behind it is an error at every depth.",
    "type": ["string", "number", "boolean", "array", "object"],
    "items": _VALUE,
    "additionalProperties": _VALUE,
}


def _published(name: str) -> str:
    """Return the name that editors know a record by: `Experiment` for `ExperimentEntry`."""
    return name.removesuffix("Entry")


def _widened(part: Any) -> Any:
    """Turn msgspec's schema of values in memory into one of values as a file has them."""
    if isinstance(part, list):
        return [_widened(item) for item in part]
    if not isinstance(part, dict):
        return part
    if "pattern" in part:
        kind = _AS_WRITTEN if part["pattern"] in _ID_FORMS else "string"
        return {"type": kind, "pattern": part["pattern"], "examples": part.get("examples", [])}
    if "anyOf" in part:  # a field that may be left out, which is not the same as an empty one
        return _widened(next(kind for kind in part["anyOf"] if kind.get("type") != "null"))
    found = {key: _widened(value) for key, value in part.items() if key != "default"}
    found.update({key: _published(part[key]) for key in ("title", "$ref") if isinstance(part.get(key), str)})
    if "propertyNames" in part:
        found["propertyNames"] = {"pattern": part["propertyNames"]["pattern"]}
    return found


def _conditions() -> dict[str, Any]:
    group = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Condition"}}
    leaf = {
        "type": "object",
        "properties": {
            "attribute": {"type": "string", "description": "A declared attribute, or placement, or logged_in."},
            "op": {"enum": list(OPERATORS)},
            "value": {"type": ["string", "number", "boolean", "array"], "items": {"not": {"type": "null"}}},
            "or_missing": {"type": "boolean", "description": "Whether it holds where the attribute is not known."},
        },
        "required": ["attribute", "op"],
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"op": {"enum": sorted(LIST_OPS)}}},
                "then": {
                    "properties": {"value": {"type": "array", "minItems": 1, "maxItems": MAX_VALUES}},
                    "required": ["value"],
                },
            },
            {
                "if": {"properties": {"op": {"enum": sorted(PRESENCE)}}},
                "then": {"properties": {"value": False}},
                "else": {"required": ["value"]},
            },
        ],
    }
    groups = [
        {"type": "object", "properties": {word: group}, "required": [word], "additionalProperties": False}
        for word in ("any", "all")
    ]
    nested = f"One condition, or a group of them; groups nest {MAX_DEPTH} deep at most."
    return {"Condition": {"description": nested, "anyOf": [leaf, *groups]}}
