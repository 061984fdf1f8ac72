from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abside.assignment.attribute import READERS
from abside.assignment.condition import (
    MAX_CONDITIONS,
    MAX_VALUES,
    ConditionError,
    compile_eligibility,
)
from abside.assignment.operators import OPERATORS
from abside.assignment.target import build
from abside.snapshot import Attribute, digest


def mistakes(tree: object, declared: dict[str, Attribute]) -> list[ConditionError]:
    return compile_eligibility(tree, declared)[1]


def test_a_rule_is_stored_with_its_type_and_its_operands_in_one_form(declared: dict[str, Attribute]) -> None:
    conditions, errors = compile_eligibility(
        [
            {"attribute": "country", "op": "in", "value": ["DE", "AT", "DE"]},
            {"attribute": "number", "op": "in", "value": [2.5, 3.0, 3, 1]},
            {"attribute": "version", "op": "gte", "value": "v2.1+build", "or_missing": True},
            {"attribute": "date", "op": "lt", "value": "2026-12-01T01:00:00+01:00", "or_missing": False},
            {"any": [{"attribute": "logged_in", "op": "eq", "value": True}, {"attribute": "list", "op": "exists"}]},
        ],
        declared,
    )

    assert errors == []
    assert conditions == (
        {"attribute": "country", "type": "string", "op": "in", "value": ["AT", "DE"]},
        {"attribute": "number", "type": "number", "op": "in", "value": [1, 2.5, 3]},
        {"attribute": "version", "type": "version", "op": "gte", "value": "2.1.0", "or_missing": True},
        {"attribute": "date", "type": "date", "op": "lt", "value": 1796083200000000},
        {
            "any": [
                {"attribute": "logged_in", "type": "boolean", "op": "eq", "value": True},
                {"attribute": "list", "type": "list", "op": "exists"},
            ]
        },
    )
    assert tuple(msgpack.unpackb(msgpack.packb(conditions))) == conditions


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"attribute": "number", "op": "eq", "value": 1}, {"attribute": "number", "op": "eq", "value": 1.0}),
        (
            {"attribute": "number", "op": "in", "value": [0, 2]},
            {"attribute": "number", "op": "in", "value": [2.0, -0.0]},
        ),
        ({"attribute": "version", "op": "lt", "value": "1"}, {"attribute": "version", "op": "lt", "value": "v1.0.0+x"}),
        (
            {"attribute": "date", "op": "lt", "value": 0},
            {"attribute": "date", "op": "lt", "value": "1970-01-01T00:00:00Z"},
        ),
        ({"attribute": "list", "op": "exists"}, {"op": "exists", "attribute": "list", "or_missing": False}),
    ],
)
def test_equal_rules_have_equal_digests(declared: dict[str, Attribute], one: object, other: object) -> None:
    (first, none), (second, neither) = compile_eligibility([one], declared), compile_eligibility([other], declared)

    assert none == neither == []
    assert digest(list(first)) == digest(list(second))


def leaf(attribute: object, op: object, *value: object, **more: object) -> dict[Any, Any]:
    return {"attribute": attribute, "op": op} | ({"value": value[0]} if value else {}) | more


AT_LEAF = [
    (leaf("contry", "exists"), ["attribute"], "UNKNOWN_ATTRIBUTE", '"contry"', "did you mean 'country'?"),
    (leaf("loged_in", "exists"), ["attribute"], "UNKNOWN_ATTRIBUTE", '"loged_in"', "did you mean 'logged_in'?"),
    (leaf("qqq", "exists"), ["attribute"], "UNKNOWN_ATTRIBUTE", '"qqq"', "declare it"),
    (leaf("", "exists"), ["attribute"], "UNKNOWN_ATTRIBUTE", '""', "declare it"),
    (leaf("x" * 99, "exists"), ["attribute"], "UNKNOWN_ATTRIBUTE", '"' + "x" * 78 + "…", "declare it"),
    (leaf(5, "exists"), ["attribute"], "WRONG_TYPE", "5", "name"),
    (leaf("country", "not in", ["DE"]), ["op"], "UNKNOWN_OP", '"not in"', "did you mean 'not_in'?"),
    (leaf("country", "==", "DE"), ["op"], "UNKNOWN_OP", '"=="', "did you mean 'eq'?"),
    (leaf("number", ">=", 1), ["op"], "UNKNOWN_OP", '">="', "did you mean 'gte'?"),
    (leaf("country", "matches", "D"), ["op"], "UNKNOWN_OP", '"matches"', "write one of eq, ne, in"),
    (leaf("country", True, "D"), ["op"], "UNKNOWN_OP", "true", "write one of eq, ne, in"),
    (leaf("boolean", "in", [True]), ["op"], "OP_NOT_FOR_TYPE", '"in"', "a boolean has eq, ne"),
    (leaf("date", "eq", 0), ["op"], "OP_NOT_FOR_TYPE", '"eq"', "a date has lt, lte"),
    (leaf("list", "contains", "x"), ["op"], "OP_NOT_FOR_TYPE", '"contains"', "a list has has_any"),
    (leaf("country", "eq", "DE", valeu=1), ["valeu"], "UNKNOWN_FIELD", '"valeu"', "did you mean 'value'?"),
    (leaf("country", "eq", "DE") | {1: 1}, [1], "UNKNOWN_FIELD", "1", "known here: attribute, op"),
    (leaf("country", "missing", or_missing=True), ["or_missing"], "UNEXPECTED_FIELD", "true", "drop it"),
    (leaf("country", "eq", "D", or_missing="yes"), ["or_missing"], "WRONG_TYPE", '"yes"', "or_missing: true"),
    (leaf("country", "exists", 1), ["value"], "UNEXPECTED_VALUE", "1", "drop it"),
    (leaf("country", "eq", 49), ["value"], "WRONG_TYPE", "49", "quotes"),
    (leaf("country", "eq", None), ["value"], "WRONG_TYPE", "null", "quotes"),
    (leaf("country", "eq", "\ud800"), ["value"], "WRONG_TYPE", '"\\ud800"', "the character itself"),
    (leaf("country", "eq", ["DE"]), ["value"], "WRONG_TYPE", "a list of 1", "op: in"),
    (leaf("country", "in", "DE"), ["value"], "WRONG_TYPE", '"DE"', "write value: [DE]"),
    (leaf("country", "in", "12"), ["value"], "WRONG_TYPE", '"12"', "[a, b]"),
    (leaf("country", "in", []), ["value"], "EMPTY_LIST", "a list of 0", "add one"),
    (leaf("country", "in", ["DE", 1]), ["value", 1], "WRONG_TYPE", "1", "quotes"),
    (leaf("list", "has_any", [False]), ["value", 0], "WRONG_TYPE", "false", "quotes"),
    (leaf("number", "eq", "1"), ["value"], "WRONG_TYPE", '"1"', "without quotes"),
    (leaf("number", "eq", True), ["value"], "WRONG_TYPE", "true", "without quotes"),
    (leaf("number", "lt", float("nan")), ["value"], "WRONG_TYPE", "NaN", "without quotes"),
    (leaf("number", "lt", 2**53 + 1), ["value"], "OUT_OF_RANGE", "9007199254740993", "string"),
    (leaf("number", "lt", -1e300), ["value"], "OUT_OF_RANGE", "-1e+300", "string"),
    (leaf("number", "lt", 1 << 20000), ["value"], "OUT_OF_RANGE", "an integer of 20001 bits", "string"),
    (leaf("boolean", "eq", "true"), ["value"], "WRONG_TYPE", '"true"', "without quotes"),
    (leaf("version", "lt", 2.1), ["value"], "NOT_A_VERSION", "2.1", "quotes"),
    (leaf("version", "lt", "2.x"), ["value"], "NOT_A_VERSION", '"2.x"', "write one like "),
    (leaf("number", "eq", 2**53 + 1), ["value"], "OUT_OF_RANGE", str(2**53 + 1), "declare the attribute as a string"),
    (
        leaf("number", "eq", str(2**53 + 1)),
        ["value"],
        "WRONG_TYPE",
        f'"{2**53 + 1}"',
        "declare the attribute as a string",
    ),
    (leaf("number", "eq", "9" * 41), ["value"], "WRONG_TYPE", f'"{"9" * 41}"', "declare the attribute"),
    (leaf("boolean", "eq", "TRUE"), ["value"], "WRONG_TYPE", '"TRUE"', "write true without quotes"),
    (leaf("date", "lt", "2026-12-01"), ["value"], "NOT_A_DATE", '"2026-12-01"', "with a zone"),
    (leaf("date", "lt", 1796083200000), ["value"], "NOT_A_DATE", "1796083200000", "seconds"),
]
ELSEWHERE = [
    ("country = DE", [], "WRONG_TYPE", '"country = DE"', "write {attribute"),
    ({"op": "exists"}, [], "MISSING_FIELD", "", "add attribute"),
    ({"attribute": "country"}, [], "MISSING_FIELD", "", "add op"),
    (leaf("country", "eq"), [], "MISSING_FIELD", "", "add value"),
    ({"any": []}, ["any"], "EMPTY_LIST", "a list of 0", "drop the group"),
    ({"all": {"attribute": "country"}}, ["all"], "WRONG_TYPE", "a mapping of 1", '"- "'),
    ({"any": [leaf("list", "exists")], "op": "eq"}, ["op"], "UNKNOWN_FIELD", '"op"', "known here: any"),
]


@pytest.mark.parametrize(("condition", "path", "code", "value", "remedy"), [*AT_LEAF, *ELSEWHERE])
@pytest.mark.parametrize("group", [None, "any", "all"])
def test_a_mistake_says_where_it_is_what_was_there_and_what_would_be_right(
    declared: dict[str, Attribute],
    condition: object,
    path: list[str | int],
    code: str,
    value: str,
    remedy: str,
    group: str | None,
) -> None:
    tree, above = ([condition], (0,)) if group is None else ([{group: [condition]}], (0, group, 0))
    (mistake,) = mistakes(tree, declared)

    assert (mistake.path, mistake.code, mistake.value) == ((*above, *path), code, value)
    assert remedy in mistake.remedy
    assert mistake.message


@pytest.mark.parametrize("tree", [None, "all", {"attribute": "country", "op": "exists"}, 5])
def test_an_eligibility_that_is_no_list_is_one_mistake_at_its_root(
    declared: dict[str, Attribute], tree: object
) -> None:
    (mistake,) = mistakes(tree, declared)
    assert (mistake.path, mistake.code) == ((), "WRONG_TYPE")


def test_one_mistake_never_hides_another(declared: dict[str, Attribute]) -> None:
    found = mistakes(
        [
            {"attribute": "contry", "op": "inn", "value": "DE", "or_mising": True},
            {"any": [{"attribute": "version", "op": "lt", "value": "x"}, 7], "also": 1},
            {"attribute": "number", "op": "in", "value": ["a", 1, "b"], "or_missing": 0},
        ],
        declared,
    )

    assert {mistake.path for mistake in found} == {
        (0, "attribute"),
        (0, "op"),
        (0, "or_mising"),
        (1, "also"),
        (1, "any", 0, "value"),
        (1, "any", 1),
        (2, "value", 0),
        (2, "value", 2),
        (2, "or_missing"),
    }


def test_groups_nest_three_deep_and_no_deeper(declared: dict[str, Attribute]) -> None:
    def nested(levels: int) -> dict[str, Any]:
        return {"any": [nested(levels - 1)]} if levels else leaf("list", "exists")

    assert mistakes([nested(3)], declared) == []
    (mistake,) = mistakes([nested(4)], declared)
    assert (mistake.code, mistake.path) == ("TOO_DEEP", (0, "any", 0, "any", 0, "any", 0))


def test_fifty_conditions_are_allowed_groups_included_and_fifty_one_are_one_mistake(
    declared: dict[str, Attribute],
) -> None:
    one = leaf("list", "exists")

    assert mistakes([one] * 25 + [{"any": [one] * 25}], declared) == []
    (mistake,) = mistakes([{"any": [one] * MAX_CONDITIONS}, one, one], declared)
    assert (mistake.code, mistake.path) == ("TOO_MANY_CONDITIONS", (1,))


def test_ten_thousand_values_are_allowed_and_one_more_is_not(declared: dict[str, Attribute]) -> None:
    def listing(length: int) -> list[Any]:
        return [{"attribute": "country", "op": "in", "value": [str(number) for number in range(length)]}]

    assert mistakes(listing(MAX_VALUES), declared) == []
    (mistake,) = mistakes(listing(MAX_VALUES + 1), declared)
    assert (mistake.code, mistake.value) == ("TOO_MANY_VALUES", "a list of 10,001")


def test_a_declared_attribute_cannot_take_the_name_of_a_built_in_one() -> None:
    (mistake,) = mistakes([{"attribute": "logged_in", "op": "eq", "value": "yes"}], {"logged_in": Attribute("string")})
    assert mistake.code == "WRONG_TYPE"


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet="eqin1.\ud800é\0 ", max_size=8)
    | st.sampled_from(["eq", "in", "lt", "has_any", "exists", "list", "number", "1.2.3"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["attribute", "op", "value", "or_missing", "any", "all", "x"]), inner),
    max_leaves=12,
)  # fmt: skip
LEAF = st.fixed_dictionaries(
    {
        "attribute": st.sampled_from(sorted(READERS)),
        "op": st.sampled_from(sorted(OPERATORS)),
    },
    optional={"value": PLAIN, "or_missing": st.booleans()},
)


@given(st.one_of(PLAIN, st.lists(LEAF, max_size=3)))
def test_any_plain_tree_is_either_usable_or_has_mistakes_that_can_be_shown(tree: object) -> None:
    conditions, found = compile_eligibility(tree, {kind: Attribute(kind) for kind in READERS})

    for mistake in found:
        json.dumps([mistake.code, mistake.value, mistake.message]).encode()
        mistake.value.encode()
    if not found:
        build(conditions)
        digest(list(conditions))
