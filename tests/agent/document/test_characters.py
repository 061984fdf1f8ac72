"""Characters that look like others or are invisible are errors at their place, except in prose and comments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import name as name_of

import pytest

from abside_agent.document.characters import as_meant, odd_in
from abside_agent.document.parse import parse
from abside_agent.sources.given import given

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agent.conftest import Doc, Pod

    from abside.snapshot import Problem

    Problems = Callable[..., list[Problem]]

CASES = Path(__file__).parent / "cases"
BLANKS = [*"\xa0\u1680\u202f\u205f\u2800\u3000\u3164", *map(chr, range(0x2000, 0x200B))]
SEPARATORS = [*"\x85\u2028\u2029"]
NOTHINGS = [*"\xad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff\ufe0f\U000e0041"]
QUOTES = [*"\u2018\u2019\u201a\u201c\u201d\u201e\xab\xbb\u2039\u203a\uff02\uff07"]
TWINS = [*"\u0430\u0435\u043e\u0440\u0441\u0391\u0412\uff41"]
MARKS = [*"\u201b\u275d\u275e\u02dd"]
DASHES = [*"\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d"]
FOLDED = [*"\uff0c\u3001\uff1b\uff1a\uff05\uff3f\u2026\u2024\uff24\uff11\u2160\U0001d400\U0001d7ce\u00b2\u2122"]
LOST = [*"\ufffd\ufffc\ue000\U000f0000"]
OTHERS = [*"\u13aa\u0555\ua4d0\u212e\u0261\u05f3\u05f4"]
LOOK_ALIKE = [*MARKS, *DASHES, *FOLDED, *LOST, *OTHERS]
EVERY = [*BLANKS, *SEPARATORS, *NOTHINGS, *QUOTES, *TWINS]
WHOLE = """\
placements: {pdp: {parameters: {model: v1}}}
attributes: {country: {type: string}}
experiments:
  one:
    # a comment of@ people
    name: A@ name
    hypothesis: >-
      It@ lifts
    owner: "the@ team" # and@ more
    status: running
    placements: [pdp]
    eligibility: [{attribute: country, op: eq, value: DE@}]
    variants: {control: {weight: 50%}, b: {weight: 50%, parameters: {pdp: {model: v2@}}}}
"""
SPOTS = {
    "a value": ("value: DE@", "value: DE"),
    "a value in quotes": ('value: "D@E"', "value: DE@"),
    "a parameter": ("model: v@2", "model: v2@"),
    "a word": ("status: run@ning", "status: running"),
    "a key of ours": ("at@tribute: country", "attribute: country"),
    "an id as a key": ("  on@e:\n", "  one:\n"),
    "an id in a list": ("[p@dp]", "[pdp]"),
    "a percentage": ("{weight: 5@0%}, b", "{weight: 50%}, b"),
    "the second line of a text": ('model: "v\n      2@a"', "model: v2@"),
}  # fmt: skip


def shown(character: str) -> str:
    return f"U+{ord(character):04X}"


@pytest.mark.parametrize("character", EVERY, ids=shown)
def test_in_prose_and_comments_every_character_may_stand(character: str, problems_of: Problems) -> None:
    text = WHOLE.replace("DE@", "DE").replace("v2@", "v2").replace("@", character)
    assert text.count(character) == 5
    assert not problems_of(text)


@pytest.mark.parametrize("spot", SPOTS)
@pytest.mark.parametrize("character", EVERY, ids=shown)
def test_elsewhere_it_is_an_error_with_its_name_and_code_point_at_its_place(
    character: str, spot: str, problems_of: Problems
) -> None:
    new, old = SPOTS[spot]
    text = WHOLE.replace(old, new, 1)
    marked = text.replace(new, new.replace("@", character), 1)
    marked = marked.replace("@", "")
    at = marked.index(character)
    line, column = marked[:at].count("\n") + 1, at - marked.rfind("\n", 0, at)
    problems = problems_of(marked)
    found = [one for one in problems if one.value == shown(character)]
    if (
        not found
    ):  # an apostrophe within a word is part of it; a letter among digits is refused by the form of the value
        is_apostrophe = character in "\u2018\u2019\uff07"
        assert is_apostrophe or (character in TWINS and f"({shown(character)})" in problems[0].message)
        return
    assert [(one.line, one.column, one.severity) for one in found] == [(line, column, "error")]
    assert f"{name_of(character, 'a character without a name')} ({shown(character)})" in found[0].message
    assert found[0].remedy


@pytest.mark.parametrize("character", [*BLANKS, *NOTHINGS], ids=shown)
def test_as_indentation_it_is_named_at_its_line(character: str, problems_of: Problems) -> None:
    for spoilt in (
        f"   {character}status: running",
        f"{character * 4}status: running",
        f"    status:{character}running",
    ):
        text = WHOLE.replace("@", "").replace("    status: running", spoilt)
        found = [one for one in problems_of(text) if one.value == shown(character)]
        assert found, spoilt
        assert (found[0].line, found[0].column) == (10, spoilt.index(character) + 1)


@pytest.mark.parametrize(
    "text", ["L\u2019Or\xe9al", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "Köln", "Москва", "新品"]
)
def test_what_belongs_to_a_word_stays(text: str, problems_of: Problems) -> None:
    assert not problems_of(WHOLE.replace("DE@", text).replace("v2@", text).replace("@", ""))


@pytest.mark.parametrize("character", EVERY, ids=shown)
def test_an_escape_can_be_seen_and_may_stand_in_a_value(character: str, problems_of: Problems) -> None:
    escape = f'"\\U{ord(character):08x} x"'
    assert not problems_of(WHOLE.replace("v2@", escape).replace("@", ""))


def test_a_character_gives_one_problem_and_not_several(problems_of: Problems) -> None:
    text = (
        WHOLE.replace("status: running", "stat\u200bus: run\u200bning")
        .replace("50%}, b", "50%\xa0}, b")
        .replace("@", "")
    )
    assert [one.code for one in problems_of(text)] == ["INVISIBLE_CHARACTER", "INVISIBLE_CHARACTER", "ODD_BLANK"]
    assert as_meant("\u201cDE\u201d\xa0") == "DE"
    assert as_meant("p\u0430rt") == "part"


@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("curly-quotes", ["22:46 U+201C", "22:52 U+201C", "23:25 U+201C", "26:58 U+201C"]),
        ("zero-width-in-value", ["22:48 U+200B"]),
    ],
)
def test_pasted_characters_are_found_where_they_are(case: str, found: list[str]) -> None:
    read = given([str(CASES / f"{case}.yaml")])
    problems = parse(read.files[0].name, read.files[0].data).flaws
    assert [f"{one.problem.line}:{one.problem.column} {one.problem.value}" for one in problems] == found


@pytest.mark.parametrize("section", ["placements", "experiments", "layers"])
def test_an_id_that_is_not_ascii_names_the_character(section: str, problems_of: Problems) -> None:
    found = [one for one in problems_of(f"{section}: {{\u0440: {{}}, \xfc1: {{}}}}") if one.code == "ID"]
    assert "CYRILLIC SMALL LETTER ER (U+0440)" in found[0].message
    assert "LATIN SMALL LETTER U WITH DIAERESIS (U+00FC)" in found[1].message


def test_a_list_of_experiments_says_how_they_are_written(problems_of: Problems) -> None:
    (found,) = problems_of((CASES / "list-of-experiments.yaml").read_text())
    assert (found.line, found.path, found.message) == (15, "experiments", "must be a mapping by id, this is a list")
    assert found.remedy.startswith("write each entry under its id, without the dash: {model_comparison_v1: {name: …")


def test_a_pause_of_an_id_with_such_a_character_names_it_and_pauses_nothing_else(pod: Pod, doc: type[Doc]) -> None:
    snapshot = pod.sees({"f.yaml": doc.GROUND + doc.one("x")}, {"x\xa0": "carts broken"})
    assert snapshot is not None
    assert snapshot.experiments["x"].pause is None
    (found,) = pod.last.problems
    assert found.code == "PAUSED_UNKNOWN"
    assert "NO-BREAK SPACE (U+00A0)" in found.message


def test_plain_text_has_none() -> None:
    assert odd_in("plain 'text' with \"quotes\" and `more`") is None


@pytest.mark.parametrize("spot", ["a value", "a value in quotes", "a parameter", "a word", "an id as a key"])
@pytest.mark.parametrize("character", LOOK_ALIKE, ids=shown)
def test_what_looks_like_a_character_of_the_keyboard_is_an_error(
    character: str, spot: str, problems_of: Problems
) -> None:
    new, old = SPOTS[spot]
    marked = WHOLE.replace(old, new, 1).replace(new, new.replace("@", character), 1).replace("@", "")
    assert any(one.severity == "error" and one.value == shown(character) for one in problems_of(marked))
    assert not problems_of(WHOLE.replace("DE@", "DE").replace("v2@", "v2").replace("@", character))


@pytest.mark.parametrize("text", ["\uff24\uff25", "\uff11\uff18", "\u2167", "\U0001d403\U0001d404"])
def test_wide_text_alone_is_an_error_too(text: str, problems_of: Problems) -> None:
    assert [one.code for one in problems_of(WHOLE.replace("DE@", text).replace("@", ""))] == ["LOOK_ALIKE"]
