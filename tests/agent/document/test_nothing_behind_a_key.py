"""A key or a list entry with nothing behind it is an error wherever a document can have one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import orjson
import pytest

from abside_agent.document.schema import schema
from abside_agent.document.tree import written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.agent.conftest import Pod

    from abside.snapshot import Problem

    Problems = Callable[..., list[Problem]]

CASES = Path(__file__).parent / "cases"
FULL: dict[str, Any] = {
    "attributes": {"country": {"type": "string", "log": True}},
    "placements": {"pdp": {"parameters": {"model": "v1", "deep": {"list": ["a", "b"], "lists": [["x"], ["y"]]}}}},
    "layers": {"ranking": {}},
    "experiments": {
        "one": {
            "name": "One",
            "hypothesis": "It lifts",
            "owner": "us",
            "status": "running",
            "placements": ["pdp"],
            "unit": "user",
            "layer": "ranking",
            "slots": "0%-50%",
            "steps": [{"from": "2026-12-01T09:00:00Z", "traffic": "5%"}],
            "start": "2026-12-01T00:00:00Z",
            "end": "2027-12-01T00:00:00Z",
            "eligibility": [
                {"attribute": "country", "op": "in", "value": ["DE", "AT"], "or_missing": False},
                {"any": [{"attribute": "country", "op": "eq", "value": "DE"}]},
            ],
            "control": "a",
            "variants": {
                "a": {"weight": "50%"},
                "b": {"weight": "50%", "parameters": {"pdp": {"deep": {"list": ["c"], "lists": [["z"]]}}}},
            },
            "force": {"b": ["qa-1"]},
            "phase": 1,
            "analysis": {
                "primary": "ctr",
                "secondary": ["conversion_rate"],
                "window": "7d",
                "planned_units": 1000,
                "guardrails": {"bounce_rate": {"max_increase": "2%", "max_decrease": "2%"}},
            },
        },
        "two": {
            "name": "Two",
            "hypothesis": "It lifts",
            "status": "draft",
            "placements": ["pdp"],
            "traffic": "20%",
            "variants": {"control": {"weight": "100%"}},
        },
    },
    "retired": ["old"],
    "metrics": {
        "share": {"kind": "ratio", "numerator": {"count": "add_to_cart"}, "denominator": {"count": "impression"}}
    },
}


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every key and of every list entry."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, item in inner:
        yield (*path, part)
        yield from places(item, (*path, part))


def emptied(path: tuple[str | int, ...]) -> dict[str, Any]:
    document = orjson.loads(orjson.dumps(FULL))
    inner: Any = document
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = None
    return dict(document)


def test_the_full_document_is_sound(problems_of: Problems) -> None:
    assert not problems_of(orjson.dumps(FULL).decode())
    assert jsonschema_rs.Draft202012Validator(schema()).is_valid(FULL)


@pytest.mark.parametrize("path", [*places(FULL)], ids=written)
def test_a_null_is_an_error_at_every_depth_for_check_and_schema(
    path: tuple[str | int, ...], problems_of: Problems
) -> None:
    document = emptied(path)
    found = [one for one in problems_of(orjson.dumps(document).decode()) if one.path == written(path)]
    assert [(one.severity, one.code) for one in found if one.code == "NULL"] == [("error", "NULL")]
    assert found[0].message == "null is not a value"
    assert not jsonschema_rs.Draft202012Validator(schema()).is_valid(document)


@pytest.mark.parametrize(
    ("text", "path", "remedy"),
    [
        ("variants:", "variants", "write {…: {weight: 20%}}"),
        ("traffic:", "traffic", "write 20%, or delete the key"),
        ("status:", "status", "write one of draft, ended, paused, running"),
        ("end: ~", "end", "write 2026-12-01T09:00:00Z, or delete the key"),
        ("eligibility: # all", "eligibility", "write […], or delete the key"),
        ("layer:", "layer", "write an id, or delete the key"),
        ("placements:\n    -", "placements[0]", "write an id, or delete the entry"),
        ("force: {b: }", "force.b", "write […], or delete the key"),
    ],
)  # fmt: skip
def test_the_problem_has_its_place_and_what_to_write(text: str, path: str, remedy: str, problems_of: Problems) -> None:
    (found,) = [one for one in problems_of(f"experiments:\n  x:\n    {text}\n") if one.code == "NULL"]
    assert (found.line, found.path, found.remedy) == (3 + text.count("\n"), f"experiments.x.{path}", remedy)
    thing = "entry" if path.endswith("]") else "key"
    assert found.message == (f"there is nothing behind this {thing}" if "~" not in text else "~ is not a value")


@pytest.mark.parametrize("section", ["attributes", "placements", "layers", "experiments", "retired", "metrics"])
def test_a_section_with_nothing_behind_it_is_an_error(section: str, problems_of: Problems) -> None:
    (found,) = problems_of(f"# a file\n{section}:\n")
    assert (found.line, found.column, found.path, found.code) == (2, 1, section, "NULL")


def test_a_layer_says_to_write_an_empty_mapping(problems_of: Problems) -> None:
    (found,) = problems_of("layers: {x: }")
    assert (found.path, found.code, found.remedy) == ("layers.x", "NULL", "write {}, or delete the key")
    assert not problems_of("layers: {x: {}}")


@pytest.mark.parametrize("case", ["variants-empty", "draft-variants-commented-out"])
def test_an_experiment_whose_variants_are_empty_is_left_out_and_keeps_its_last_good(
    case: str, problems_of: Problems, make_pod: type[Pod]
) -> None:
    text = (CASES / f"{case}.yaml").read_text()
    (found,) = problems_of(text)
    assert (found.line, found.path, found.code) == (21, "experiments.exp-a.variants", "NULL")
    new, old = make_pod(), make_pod()
    snapshot = new.sees({"f.yaml": text})
    assert snapshot is not None
    assert not snapshot.experiments
    old.sees({"f.yaml": text.replace("variants:\n", "variants: {control: {weight: 100%}}\n")})
    kept = old.sees({"f.yaml": text})
    assert kept is not None
    assert [arm.id for arm in kept.experiments["exp-a"].variants] == ["control"]
    assert kept.head.degraded


def test_collections_that_need_an_entry_are_errors_when_they_are_empty(problems_of: Problems) -> None:
    text = "experiments: {x: {variants: {}, placements: [], steps: [], eligibility: [{any: []}]}}"
    codes = {one.path: one.code for one in problems_of(text) if one.code != "MISSING_FIELD"}
    assert codes == {
        "experiments.x.variants": "OUT_OF_RANGE",
        "experiments.x.placements": "OUT_OF_RANGE",
        "experiments.x.steps": "TRAFFIC_OR_STEPS",
        "experiments.x.eligibility[0].any": "EMPTY_LIST",
    }


def test_a_pause_without_a_reason_still_pauses(make_pod: type[Pod]) -> None:
    snapshot = make_pod().sees({"f.yaml": orjson.dumps(FULL).decode()}, {"one": ""})
    assert snapshot is not None
    assert snapshot.experiments["one"].pause == "no reason given"
