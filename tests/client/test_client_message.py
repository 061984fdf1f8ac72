"""Reading answers is total: any bytes at all are an answer or a CallFailed."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abside.client.message import DecisionCall, encode, read_accepted, read_answers
from abside.client.result import Assignment, CallFailed, Refused, assignment

ONE = DecisionCall(("pdp",), False, {}, {})
TWO = DecisionCall(("pdp", "home"), True, {}, {})
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
PART: dict[str, Any] = {
    "placement": "pdp",
    "config_id": "c1",
    "exposure_id": "e1",
    "config": {"model": "m"},
    "assignments": [{"experiment": "x", "variant": "v", "phase": 1}],
}
GOOD: dict[str, Any] = {**PART, "revision": "r1", "unit": {"type": "session", "id": "s1"}}
MANY: dict[str, Any] = {
    "revision": "r1",
    "unit": None,
    "placements": {"pdp": PART, "home": {**PART, "placement": "home"}},
}


def paths(value: Any) -> list[tuple[Any, ...]]:
    """List every place inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(), *((name, *path) for name, part in inside for path in paths(part))]


def changed(value: Any, path: tuple[Any, ...], into: Any) -> Any:
    if not path:
        return into
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], into)
    return copy


def outcome(question: DecisionCall, status: int, body: bytes) -> dict[str, Assignment] | CallFailed:
    try:
        return read_answers(question, status, body)
    except CallFailed as failed:
        return failed


@given(st.integers(100, 599), st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_answer_or_a_failed_call(status: int, body: bytes) -> None:
    for question in (ONE, TWO):
        outcome(question, status, body)
    try:
        read_accepted(status, body)
    except CallFailed:
        return


@given(st.sampled_from(paths(MANY)), JSON, st.booleans())
def test_an_answer_changed_anywhere_keeps_its_types_or_fails(path: tuple[Any, ...], into: Any, several: bool) -> None:
    question, document = (TWO, MANY) if several else (ONE, GOOD)
    path = path if path in paths(document) else ()
    got = outcome(question, 200, json.dumps(changed(document, path, into)).encode())
    if isinstance(got, CallFailed):
        return
    assert set(got) == set(question.placements)
    for name, answer in got.items():
        assert answer.placement == name
        assert type(answer.config) is dict
        assert type(answer.config_id) is type(answer.revision) is str
        assert isinstance(answer.exposure_id, str | None)
        assert all(type(one.variant) is str and type(one.phase) is int for one in answer.assignments)
        assert answer.unit is None or answer.unit["type"] in ("user", "session")


def test_fields_of_a_later_sidecar_are_passed_over() -> None:
    assert not isinstance(outcome(ONE, 200, json.dumps({**GOOD, "news": 1}).encode()), CallFailed)


def test_a_problem_documents_fields_come_along() -> None:
    problem = {"code": "INVALID_EVENT", "detail": "no", "status": 422, "path": "ts", "index": 3}
    with pytest.raises(Refused) as caught:
        read_accepted(422, json.dumps(problem).encode())
    refused = caught.value
    assert (refused.status, refused.code, refused.path, refused.index) == (422, "INVALID_EVENT", "ts", 3)
    assert str(refused) == "422 INVALID_EVENT: [3] no"


@pytest.mark.parametrize("value", [{"a": {1}}, {"a": float("nan")}, {"a": float("inf")}, {(1, 2): 3}, {"a": object()}])
def test_what_is_not_json_is_refused_without_being_quoted(value: object) -> None:
    with pytest.raises(Refused, match=r"not sent UNSENDABLE: (a: (a (set|object) is|NaN)|a key of it is a tuple)"):
        encode(value)


def test_what_holds_itself_is_refused() -> None:
    ring: list[object] = []
    ring.append(ring)
    with pytest.raises(Refused, match="UNSENDABLE"):
        encode(ring)


def test_an_answer_is_made_as_its_class_makes_it() -> None:
    fields: list[Any] = ["pdp", {"model": "m"}, "c1", (), "e1", None, {"type": "user", "id": "u1"}, "r1"]
    made = assignment(*fields)
    assert type(made) is Assignment
    assert made == Assignment(*fields)
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 our own
    with pytest.raises(FrozenInstanceError):
        made.placement = "home"  # type: ignore[misc]
