from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abside.assignment.unit import SHARED_IDS, Subject, UnitError, UnitId, choose_unit, parse_unit_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.snapshot import UnitKind

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "assignment-1.json").read_text())


@pytest.mark.parametrize("row", VECTORS["units"], ids=lambda row: repr(row["sent"]))
def test_an_id_is_read_as_the_vectors_answer(row: dict[str, object]) -> None:
    assert parse_unit_id(row["sent"]) == row["unit"]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "a boolean"),
        (False, "a boolean"),
        (42.0, "a float"),
        (float("nan"), "a float"),
        (["u1"], "a list"),
        ({"id": "u1"}, "an object"),
        (b"u1", "another type"),
        (2**64, "an integer"),
        (-(2**63) - 1, "an integer"),
        ("a" * 257, "a string"),
        ("é" * 129, "a string"),
        ("shopper-\ud800", "a string"),
    ],
)
def test_what_cannot_be_an_id_is_refused_by_kind(value: object, kind: str) -> None:
    with pytest.raises(UnitError) as refused:
        parse_unit_id(value)

    assert refused.value.value_kind == kind
    assert str(refused.value) == f"got {kind}: {refused.value.why}"


@pytest.mark.parametrize(
    "value", ["secret" * 50, "secret\ud800", ["secret"], {"secret": 1}, 77770000777700007777, 7777.5]
)
def test_the_sentence_of_a_refusal_never_holds_the_id(value: object) -> None:
    with pytest.raises(UnitError) as refused:
        parse_unit_id(value)

    assert "secret" not in str(refused.value)
    assert "7777" not in str(refused.value)


def test_the_refusal_of_a_surrogate_carries_no_other_error_that_shows_the_id() -> None:
    with pytest.raises(UnitError) as refused:
        parse_unit_id("secret-\udfff")

    assert refused.value.__suppress_context__


def test_the_limits_themselves_are_ids() -> None:
    assert parse_unit_id("é" * 128) == "é" * 128
    assert parse_unit_id(2**64 - 1) == "18446744073709551615"
    assert parse_unit_id(-(2**63)) == "-9223372036854775808"


def test_shared_ids_are_a_setting() -> None:
    assert parse_unit_id("kiosk") == "kiosk"
    assert parse_unit_id("kiosk", frozenset({"kiosk"})) is None
    assert parse_unit_id("guest", frozenset({"kiosk"})) == "guest"


@pytest.mark.parametrize("shared", sorted(SHARED_IDS))
def test_a_shared_id_is_nobody_in_any_case_and_only_to_the_letter(shared: str) -> None:
    for text in (shared, shared.upper(), shared.title(), shared.swapcase()):
        assert parse_unit_id(text) is None, text
        for near in (f" {text}", f"{text} ", f"{text}1", f"x{text}"):
            assert parse_unit_id(near) == near


@pytest.mark.parametrize("blank", [" ", "   ", "\t", "\n", "\u00a0", "\u2003 "])
def test_blanks_only_are_nobody(blank: str) -> None:
    assert parse_unit_id(blank) is None
    assert parse_unit_id(f"{blank}u") == f"{blank}u"


def test_what_is_too_long_is_refused_and_never_nobody() -> None:
    with pytest.raises(UnitError, match="257 bytes"):
        parse_unit_id(" " * 257)


@given(st.text(alphabet="0nulGé\u0301用😀\0 \t|#", max_size=32))
def test_any_text_is_kept_to_the_letter(text: str) -> None:
    assert parse_unit_id(text) == (None if not text.strip() or text.casefold() in SHARED_IDS else text)


@pytest.mark.parametrize(
    ("kind", "user_id", "session_id", "pinned", "unit"),
    [
        ("user_or_session", "u1", "s1", None, ("user", "u1")),
        ("user_or_session", None, "s1", None, ("session", "s1")),
        ("user_or_session", None, None, None, None),
        ("user_or_session", "u1", "s1", ("session", "s1"), ("session", "s1")),
        ("user_or_session", "u1", "s1", ("user", "u1"), ("user", "u1")),
        ("user", "u1", "s1", None, ("user", "u1")),
        ("user", None, "s1", None, None),
        ("user", "u1", "s1", ("session", "s1"), ("user", "u1")),
        ("session", "u1", "s1", None, ("session", "s1")),
        ("session", "u1", None, None, None),
        ("session", "u1", "s1", ("user", "u1"), ("session", "s1")),
    ],
)
def test_the_unit_of_an_experiment_follows_its_kind(
    subject: Callable[..., Subject],
    kind: UnitKind,
    user_id: str | None,
    session_id: str | None,
    pinned: UnitId | None,
    unit: UnitId | None,
) -> None:
    assert choose_unit(kind, subject(user_id, session_id, pinned=pinned)) == unit
