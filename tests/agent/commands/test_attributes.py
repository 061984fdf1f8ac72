"""`abside explain` reads attributes of its command line as a sidecar reads a request, for every type and value."""

from __future__ import annotations

from typing import Any, get_args

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from abside.assignment.operators import of_type
from abside.assignment.target import build
from abside.assignment.unit import SHARED_IDS, Subject, parse_unit_id
from abside.sidecar.decide.request import Rules, parse_assign
from abside.snapshot import Attribute, AttributeType
from abside_agent.commands.attributes import read_attributes
from abside_agent.commands.in_force import UsageError

KINDS: tuple[AttributeType, ...] = get_args(AttributeType)
RULES = Rules()
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["1770000000", "true", "V4.2", "2024.08.01", "2026-01-01T00:00:00Z", "a,b", "[]", '["a"]', "=", ":=3", " "]
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2))
OPERANDS: dict[str, Any] = {
    "string": "a,b",
    "number": 1770000000,
    "boolean": True,
    "version": "4.2.0",
    "date": 1770000000 * 10**6,
    "list": ["a"],
}


def requested(value: Any) -> Any:
    """Send an attribute to a sidecar."""
    body = {"placement": "pdp", "user_id": "u1", "attributes": {"a": value}}
    return parse_assign(orjson.dumps(body), RULES).attributes["a"]


def decisions(kind: AttributeType, value: Any) -> list[bool]:
    """Ask every op of a type about a value."""
    found = []
    for op in of_type(kind):
        operand = OPERANDS[kind]
        operand = [operand] if op in ("in", "not_in") else operand
        for or_missing in (False, True):
            node = {"attribute": "a", "type": kind, "op": op, "value": operand, "or_missing": or_missing}
            found.append(build([node]).admits(Subject("u1", None, {"a": value}, "pdp")))
    return found


@pytest.mark.parametrize("kind", KINDS)
@given(value=VALUES)
def test_a_value_written_as_json_is_what_a_request_holds(kind: AttributeType, value: Any) -> None:
    read, ignored = read_attributes([f"a:={orjson.dumps(value).decode()}"], {"a": Attribute(kind)})
    assert repr(read["a"]) == repr(requested(value))
    assert not ignored
    assert decisions(kind, read["a"]) == decisions(kind, requested(value))


SENT: dict[AttributeType, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "version": TEXTS | st.from_regex(r"[vV]?[0-9]{1,4}(\.[0-9]{1,4}){0,6}(-rc\.[0-9])?", fullmatch=True),
    "number": NUMBERS,
    "boolean": st.booleans(),
    "date": NUMBERS | st.datetimes().map(lambda at: f"{at.isoformat()}Z"),
    "list": st.lists(st.text("abc ü", min_size=1).filter(lambda text: text == text.strip()), max_size=4),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_value_written_plainly_is_what_a_rec_service_sends_of_that_type(
    kind: AttributeType, data: st.DataObject
) -> None:
    value = data.draw(SENT[kind])
    plain = ",".join(value) if isinstance(value, list) else value
    text = plain if isinstance(plain, str) else orjson.dumps(plain).decode()
    read, _ = read_attributes([f"a={text}"], {"a": Attribute(kind)})
    assert decisions(kind, read["a"]) == decisions(kind, requested(value)), text


def test_a_date_in_seconds_is_a_number_as_the_sidecar_reads_it() -> None:
    read, _ = read_attributes(["signup=1770000000"], {"signup": Attribute("date")})
    assert read == {"signup": 1770000000}
    assert decisions("date", 1770000000) != decisions("date", "1770000000")


@given(st.sampled_from(sorted(SHARED_IDS)) | TEXTS | st.integers(-(2**63), 2**64 - 1))
@example(-1)
@example("Guest")
def test_an_id_is_read_as_in_a_request(value: str | int) -> None:
    body = orjson.dumps({"placement": "pdp", "user_id": value, "session_id": "s"})
    assert parse_unit_id(str(value)) == parse_assign(body, RULES).user_id


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("contry=DE", "attribute contry is not declared, so the sidecar ignores it; did you mean country?"),
        ("x:=1", "attribute x is not declared, so the sidecar ignores it; declared are: country"),
        ("logged_in=true", "attribute logged_in is built in"),
    ],
)
def test_what_the_sidecar_ignores_is_said(word: str, said: str) -> None:
    _, ignored = read_attributes([word], {"country": Attribute("string")})
    assert len(ignored) == 1
    assert ignored[0].startswith(said)


@pytest.mark.parametrize("word", ["country", "=DE", ":=3", "x:=", "x:={", "age=", "age=1,5", "member=yes", "tags=[1"])
def test_what_cannot_be_read_is_refused(word: str) -> None:
    declared = {"age": Attribute("number"), "member": Attribute("boolean"), "tags": Attribute("list")}
    with pytest.raises(UsageError, match="--attribute"):
        read_attributes([word], declared)
