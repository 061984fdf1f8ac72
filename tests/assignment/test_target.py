from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abside.assignment.attribute import READERS
from abside.assignment.condition import compile_eligibility
from abside.assignment.operators import of_type
from abside.assignment.target import Target, build, explain
from abside.assignment.unit import Subject
from abside.snapshot import Attribute

if TYPE_CHECKING:
    from collections.abc import Callable

# (type, op, operand, values it holds for, values of the type it does not hold for)
TABLE: list[tuple[str, str, Any, list[Any], list[Any]]] = [
    ("string", "eq", "DE", ["DE"], ["de", "DE ", "", "AT"]),
    ("string", "ne", "DE", ["de", "AT", ""], ["DE"]),
    ("string", "in", ["DE", "AT"], ["DE", "AT"], ["CH", "", "D"]),
    ("string", "not_in", ["DE", "AT"], ["CH", ""], ["DE", "AT"]),
    ("string", "starts_with", "Mo", ["Mo", "Mobile"], ["mobile", "", "aMo"]),
    ("string", "ends_with", "ile", ["ile", "Mobile"], ["MobilE", "", "ilex"]),
    ("string", "contains", "bil", ["bil", "Mobile"], ["Bil", ""]),
    ("number", "eq", 1, [1, 1.0], [2, 1.5, 0, -1]),
    ("number", "ne", 1.0, [2, 1.5, 10**30], [1, 1.0]),
    ("number", "in", [1, 2.5], [1, 1.0, 2.5], [2, 0]),
    ("number", "not_in", [1, 2.5], [2, -1], [1, 1.0, 2.5]),
    ("number", "lt", 10, [9, 9.99, -(10**30)], [10, 10.0, 11]),
    ("number", "lte", 10, [10, 10.0, 9], [10.01]),
    ("number", "gt", 10, [10.01, 10**30], [10, 9]),
    ("number", "gte", 10, [10, 10.0], [9.99]),
    ("boolean", "eq", True, [True], [False]),
    ("boolean", "ne", True, [False], [True]),
    ("version", "eq", "2.1", ["2.1", "2.1.0", "v2.1.0", "2.1.0+build.7"], ["2.1.0-rc.1", "2", "2.1.1"]),
    ("version", "ne", "2.1", ["2.1.1", "2.1.0-rc.1"], ["2.1.0", "v2.1"]),
    ("version", "in", ["1", "2.1-rc.1"], ["1.0.0", "v1", "2.1.0-rc.1+x"], ["2.1.0", "1.0.1"]),
    ("version", "not_in", ["1", "2.1-rc.1"], ["2.1.0"], ["1.0.0", "2.1.0-rc.1"]),
    ("version", "lt", "2.10.0", ["2.9.9", "2.10.0-rc.1", "0"], ["2.10.0", "2.10", "10.0.0"]),
    ("version", "lte", "2.10.0", ["2.10", "2.10.0+b"], ["2.10.1-alpha"]),
    ("version", "gt", "2.10.0", ["2.10.1", "3.0.0-alpha"], ["2.10.0", "2.9"]),
    ("version", "gte", "2.10.0", ["2.10", "11", "V2.10", "2.10.0.0.0.1", "02.010"], ["2.10.0-rc.1", "2.9", "V2.9.9.9"]),
    ("version", "lt", "2024.08.01", ["2024.7.31", "2024.08.01-rc.1", "v2024.07.31.9"], ["2024.8.1", "2024.08.02"]),
    ("version", "in", ["10.0.19041.0", "1.2.3.4"], ["10.0.19041", "01.02.03.04", "1.2.3.4.0.0"], ["1.2.3", "1.2.3.40"]),
    ("date", "lt", "2026-12-01T00:00:00Z", ["2026-11-30T23:59:59.999999Z", 0, 1.5], ["2026-12-01T01:00:00+01:00"]),
    ("date", "lte", "2026-12-01T00:00:00Z", ["2026-12-01T01:00:00+01:00", 1796083200], ["2026-12-01T00:00:01Z"]),
    ("date", "gt", 1796083200, ["2026-12-01t00:00:00.000001z", 1796083201], [1796083200, 1796083200.0]),
    ("date", "gte", 1796083200, ["2026-12-01 00:00:00Z", 1796083200], ["2026-12-01T00:00:00+00:01", -5]),
    ("list", "has_any", ["vip", "beta"], [["vip"], ["x", "beta"]], [["x"], []]),
    ("list", "has_none", ["vip", "beta"], [["x"], []], [["vip"], ["x", "beta"]]),
]
PRESENT: dict[str, list[Any]] = {
    "string": ["", "x"],
    "number": [0, 1.5],
    "boolean": [True, False],
    "version": ["1.2.3"],
    "date": ["2026-12-01T00:00:00Z", 0],
    "list": [[], ["x"]],
}
UNKNOWN: dict[str, list[Any]] = {
    "string": [1, True, ["DE"], {"DE": 1}, 1.0],
    "number": ["1", True, False, [1], {}, float("nan"), float("inf"), -float("inf")],
    "boolean": ["true", 1, 0, 1.0, [True]],
    "version": [
        2,
        2.1,
        True,
        "",
        "v",
        "2.",
        "2.1.0.0.0.0.1",
        "2..1",
        "vv2.1",
        " 2.1",
        "2.1.0-",
        "2.1.0-01",
        "2.1 ",
        "latest",
        "٢.1",
        "1" * 300,
    ],
    "date": [
        True,
        "",
        "2026-12-01",
        "2026-12-01T00:00:00",
        "2026-02-31T00:00:00Z",
        "2026-12-01T24:00:00Z",
        "1796083200",
        1796083200000,
        float("nan"),
        "0001-01-01T00:00:00+14:00",
        "٢٠٢٦-12-01T00:00:00Z",
        [],
    ],
    "list": ["vip", [1], ["vip", 1], [["vip"]], {"vip": 1}, 0, [None]],
}
ROWS = [pytest.param(row, id=f"{row[0]} {row[1]}") for row in TABLE]


def target(tree: list[Any], **declared: str) -> Target:
    types = {"x": "string"} | declared
    conditions, errors = compile_eligibility(tree, {name: Attribute(kind) for name, kind in types.items()})  # type: ignore[arg-type]
    assert errors == []
    return build(conditions)


def test_the_table_has_every_op_of_every_type() -> None:
    assert {(kind, op) for kind, op, *_ in TABLE} | {
        (kind, op) for kind in READERS for op in ("exists", "missing")
    } == {(kind, op) for kind in READERS for op in of_type(kind)}


@pytest.mark.parametrize("row", ROWS)
def test_an_op_holds_for_what_it_says_and_for_nothing_else(
    subject: Callable[..., Subject], row: tuple[str, str, Any, list[Any], list[Any]]
) -> None:
    kind, op, operand, holds, fails = row
    admits = target([{"attribute": "a", "op": op, "value": operand}], a=kind).admits

    assert [value for value in holds if not admits(subject(attributes={"a": value}))] == []
    assert [value for value in fails if admits(subject(attributes={"a": value}))] == []


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("or_missing", [False, True])
def test_missing_null_and_wrong_types_are_not_eligible_unless_the_condition_says_so(
    subject: Callable[..., Subject], row: tuple[str, str, Any, list[Any], list[Any]], or_missing: bool
) -> None:
    kind, op, operand, *_ = row
    admits = target([{"attribute": "a", "op": op, "value": operand, "or_missing": or_missing}], a=kind).admits

    unknown: list[dict[str, Any]] = [{}, {"a": None}, *({"a": value} for value in UNKNOWN[kind])]
    assert [sent for sent in unknown if admits(subject(attributes=sent)) is not or_missing] == []


@pytest.mark.parametrize("kind", READERS)
def test_exists_and_missing_know_present_absent_and_null_and_a_wrong_type_is_neither(
    subject: Callable[..., Subject], kind: str
) -> None:
    exists = target([{"attribute": "a", "op": "exists"}], a=kind).admits
    missing = target([{"attribute": "a", "op": "missing"}], a=kind).admits

    for value in PRESENT[kind]:
        assert (exists(subject(attributes={"a": value})), missing(subject(attributes={"a": value}))) == (True, False)
    nothing: list[dict[str, Any]] = [{}, {"a": None}]
    for absent in nothing:
        assert (exists(subject(attributes=absent)), missing(subject(attributes=absent))) == (False, True)
    for wrong in UNKNOWN[kind]:
        assert (exists(subject(attributes={"a": wrong})), missing(subject(attributes={"a": wrong}))) == (False, False)


def test_versions_follow_the_example_of_semver_section_11(subject: Callable[..., Subject]) -> None:
    ascending = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"]
    ascending += ["1.0.0-rc.1", "1.0.0", "1.0.1", "1.9.0", "1.10.0", "1.11.0", "2"]
    for index, operand in enumerate(ascending):
        admits = target([{"attribute": "a", "op": "lt", "value": operand}], a="version").admits
        assert [v for v in ascending if admits(subject(attributes={"a": v}))] == ascending[:index]


def test_all_conditions_of_the_list_must_hold(subject: Callable[..., Subject]) -> None:
    for length in (0, 1, 2, 3, 4):
        names = [f"a{number}" for number in range(length)]
        tree = [{"attribute": name, "op": "eq", "value": True} for name in names]
        admits = target(tree, **dict.fromkeys(names, "boolean")).admits
        assert admits(subject(attributes=dict.fromkeys(names, True)))
        for name in names:
            assert not admits(subject(attributes=dict.fromkeys(names, True) | {name: False}))


def test_any_needs_one_and_all_needs_each_three_deep(subject: Callable[..., Subject]) -> None:
    def leaf(name: str) -> dict[str, Any]:
        return {"attribute": name, "op": "eq", "value": True}

    tree = [{"any": [leaf("a"), {"all": [leaf("b"), {"any": [leaf("c"), leaf("d")]}]}]}]
    admits = target(tree, **dict.fromkeys("abcd", "boolean")).admits

    for bits in range(16):
        sent = {name: bool(bits >> place & 1) for place, name in enumerate("abcd")}
        assert admits(subject(attributes=sent)) is (sent["a"] or (sent["b"] and (sent["c"] or sent["d"])))


def test_placement_and_logged_in_need_no_declaration_and_cannot_be_sent(subject: Callable[..., Subject]) -> None:
    at_home = target([{"attribute": "placement", "op": "in", "value": ["home", "cart"]}]).admits
    logged_in = target([{"attribute": "logged_in", "op": "eq", "value": True}]).admits
    logged_out = target([{"attribute": "logged_in", "op": "ne", "value": True}]).admits

    assert at_home(subject(placement="home"))
    assert not at_home(subject(placement="pdp", attributes={"placement": "home"}))
    assert logged_in(subject("u1", None))
    assert not logged_in(subject(None, "s1", attributes={"logged_in": True}))
    assert logged_out(subject(None, "s1"))


def test_an_explanation_tells_each_condition_what_it_saw_and_whether_it_held(subject: Callable[..., Subject]) -> None:
    made = target(
        [
            {"attribute": "country", "op": "in", "value": ["DE", "AT"]},
            {"attribute": "version", "op": "gte", "value": "v2.1", "or_missing": True},
            {"any": [{"attribute": "since", "op": "lt", "value": 0}, {"all": [{"attribute": "tags", "op": "exists"}]}]},
            {"attribute": "logged_in", "op": "eq", "value": False},
            {"attribute": "country", "op": "not_in", "value": list("abcdefg")},
        ],
        country="string",
        version="version",
        since="date",
        tags="list",
    )

    assert explain(made, subject(attributes={"country": "FR", "tags": ["x"]})) == [
        ("country in [AT, DE]", "FR", False, ""),
        ("version gte 2.1.0 or missing", None, True, ""),
        ("any of (since lt 1970-01-01T00:00:00Z; all of (tags exists))", {"since": None, "tags": ["x"]}, True, ""),
        ("logged_in eq false", True, False, ""),
        ("country not_in [a, b, c, d, e, … 2 more]", "FR", True, ""),
    ]


@pytest.mark.parametrize("kind", READERS)
def test_an_explanation_says_where_a_value_is_not_of_the_declared_type(
    kind: str, subject: Callable[..., Subject]
) -> None:
    made = target([{"any": [{"attribute": "a", "op": "exists"}, {"attribute": "a", "op": "missing"}]}], a=kind)
    for value in UNKNOWN[kind]:
        assert "a is n" in explain(made, subject(attributes={"a": value}))[0][3]
    for value in (*PRESENT[kind], None):
        assert explain(made, subject(attributes={"a": value}))[0][3] == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet="Da1.v-+T:Z\ud800é٢\0 ", max_size=20)
    | st.sampled_from(["1.2.3", "2026-12-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "DE", "1." + "9" * 5000])
    | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
EVERY_OP = [
    {"attribute": kind, "op": op, "value": operand, "or_missing": or_missing}
    for kind, op, operand, *_ in TABLE
    for or_missing in (False, True)
] + [{"attribute": kind, "op": op} for kind in READERS for op in ("exists", "missing")]


@given(st.dictionaries(st.sampled_from(sorted(READERS)), JSON))
def test_no_attribute_value_whatsoever_makes_any_condition_raise(attributes: dict[str, Any]) -> None:
    sent = Subject("u1", None, attributes, "pdp")
    for condition in EVERY_OP_BUILT.conditions:
        assert condition.check(sent) in (True, False)
    explain(EVERY_OP_BUILT, sent)


NODE = st.recursive(
    st.sampled_from([row for row in EVERY_OP if row["op"] != "missing" and not row.get("or_missing")]),
    lambda inner: (
        st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=3)})
    ),
    max_leaves=6,
)


@given(st.lists(NODE, min_size=1, max_size=3), st.dictionaries(st.sampled_from(sorted(READERS)), JSON))
def test_unknown_is_not_eligible_at_every_depth(tree: list[Any], attributes: dict[str, Any]) -> None:
    conditions, errors = compile_eligibility(tree, {kind: Attribute(kind) for kind in READERS})
    if errors:
        assert {error.code for error in errors} == {"TOO_DEEP"}
        return
    admits = build(conditions).admits

    assert not admits(Subject("u1", None, {}, "pdp"))
    # Knowing less never lets anyone in.
    if not admits(Subject("u1", None, attributes, "pdp")):
        for name in attributes:
            less = {key: value for key, value in attributes.items() if key != name}
            assert not admits(Subject("u1", None, less, "pdp"))


# One condition a build: fifty are the limit of one experiment, and these are more.
EVERY_OP_BUILT = Target(
    lambda _: True,
    tuple(
        condition
        for row in EVERY_OP
        for condition in build(compile_eligibility([row], {kind: Attribute(kind) for kind in READERS})[0]).conditions
    ),
)
