"""The reference is the code's: its fields, its examples, its codes.

`python tests/docs/test_reference.py` writes docs/reference.md anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from reference_codes import found
from reference_fields import RECORDS, default, example, fields_of
from reference_page import by_code, page, words_of
from reference_world import AROUND, CODES, WORDS, experiment, flow, settled, world

from abside.assignment.assign import Reason
from abside.assignment.attribute import READERS
from abside.assignment.operators import OPERATORS
from abside.snapshot import encode

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"
FIELDS = [(record, name) for record, kind in RECORDS.items() for name in fields_of(kind)]


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page(), "write it anew: python tests/docs/test_reference.py"


def test_every_field_has_words_and_no_words_are_without_a_field() -> None:
    for record, kind in RECORDS.items():
        assert [*WORDS[record]] == [*fields_of(kind)], record


@pytest.mark.parametrize(("record", "name"), FIELDS)
def test_every_example_and_every_change_is_one_that_check_accepts(record: str, name: str) -> None:
    changed = WORDS[record][name]["changed"]
    for value in (None, *([changed] if isinstance(changed, str) else changed)):
        text = example(record, name, value)
        errors = [one for one in settled(text).problems if one.severity == "error"]
        is_change_of_ground = value is not None and (record, name) == ("attributes", "type")
        assert not errors or is_change_of_ground, (text, [str(one) for one in errors])


@pytest.mark.parametrize(("record", "name"), FIELDS)
def test_what_the_page_calls_the_default_means_the_same_as_leaving_it_out(record: str, name: str) -> None:
    value, _ = default(record, fields_of(RECORDS[record])[name])
    if value:
        left_out, written = (settled(AROUND[record]({name: one})) for one in ("", value))
        assert [one.code for one in left_out.problems] == [one.code for one in written.problems]
        assert left_out.snapshot is not None or record in ("sections", "placements")  # others need what it leaves out
        in_force = [one.snapshot and encode(one.snapshot) for one in (left_out, written)]
        assert in_force[0] == in_force[1]


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operators_example_holds_for_the_one_value_and_not_for_the_other(name: str) -> None:
    words = WORDS["operators"][name]
    made = settled(experiment(eligibility=f"[{words['example']}]"))
    assert made.snapshot is not None
    assert not made.problems, [str(one) for one in made.problems]
    leaf: Any
    (leaf,) = made.snapshot.experiments["pdp-reranker"].eligibility
    one, declared = OPERATORS[name], leaf["type"]
    assert one.types, declared in one.types
    stored = leaf.get("value")  # a date is stored as it is compared, a version as text
    test = one.test(READERS[declared](stored) if one.operand == "one" and declared != "date" else stored)
    for key, wanted in (("holds", True), ("fails", False)):
        sent = json.loads(words[key])
        assert test(sent if name == "missing" else READERS[declared](sent)) is wanted, key


@pytest.mark.parametrize("name", WORDS["groups"])
def test_every_groups_example_passes_check(name: str) -> None:
    assert not settled(experiment(eligibility=f"[{WORDS['groups'][name]['example']}]")).problems


@pytest.mark.parametrize("name", WORDS["kinds"])
def test_every_kind_of_metric_has_an_example_that_passes_check(name: str) -> None:
    text = world(metrics=flow({"own": WORDS["kinds"][name]["example"]}))
    assert not [one for one in settled(text).problems if one.severity == "error"]


def test_every_code_in_the_source_has_words_and_no_words_are_without_a_code() -> None:
    everything = found()
    assert not everything.hidden, "a code is written out where it is used, so that this test can find it"
    for kind, codes in by_code(everything.sites).items():
        assert [code for code, sites in codes.items() if words_of(kind, code, sites) is None] == [], kind
        assert sorted(CODES[kind].keys() - codes.keys()) == [], kind


def test_every_reason_of_a_decision_has_words_and_no_words_are_without_a_reason() -> None:
    assert sorted(CODES["decisions"]) == sorted(get_args(Reason))


def test_the_codes_are_found_where_they_are_known_to_be() -> None:
    sites = by_code(found().sites)
    assert {"WEIGHTS", "NOT_A_VERSION", "UNKNOWN_SECTION", "UNDECLARED_PARAMETER", "LAYER_UNIT", "LEFT_OUT"} <= {
        *sites["documents"]
    }
    assert {"NOT_READY", "TOO_LARGE", "INVALID_EVENT", "UNAUTHORIZED"} <= {*sites["http"]}
    assert {*sites["client"]} == {"UNSENDABLE", "INCOMPLETE_FALLBACK"}


if __name__ == "__main__":
    PAGE.write_text(page())
