from __future__ import annotations

import tracemalloc
from time import process_time

import pytest

from abside_agent.document.parse import parse
from abside_agent.document.reading import MAX_FILE_BYTES
from abside_agent.document.syntax import MAX_DEPTH
from abside_agent.document.tree import MAX_FLAWS, plain

LAUGHS = "a: &a [x, x]\n" + "".join(f"k{i}: &k{i} [{', '.join(['*a'] * 9)}]\n" for i in range(9))


def read(text: str | bytes) -> object:
    tree = parse("f.yaml", text if isinstance(text, bytes) else text.encode())
    assert not tree.flaws, tree.flaws
    return None if tree.root is None else plain(tree.root)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("1:30", "1:30"),
        ("2026-12-01", "2026-12-01"),
        ("2026-12-01T09:00:00Z", "2026-12-01T09:00:00Z"),
        ("0o14", 12),
        ("014", 14),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("+7", 7),
        ("-7", -7),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-1.5E-2", -0.015),
        ("20%", "20%"),
        ("0%-50%", "0%-50%"),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("~", None),
        ("", None),
        ("null", None),
        ("nUll", "nUll"),
        ('"12"', "12"),
        ("'NO'", "NO"),
        ("v1", "v1"),
        ("-", ["-"]),
    ],
)
def test_a_plain_scalar_means_what_yaml_1_2_says(text: str, value: object) -> None:
    if text == "-":
        assert read("a:\n  - '-'") == {"a": value}
    else:
        assert read(f"a: {text}") == {"a": value}
        assert type(read(f"a: {text}")["a"]) is type(value)  # type: ignore[index]


def test_keys_are_text_as_written() -> None:
    assert read("NO: a\n1: b\n1.50: c\ntrue: d\nnull: e\n0o14: f") == {
        "NO": "a",
        "1": "b",
        "1.50": "c",
        "true": "d",
        "null": "e",
        "0o14": "f",
    }


@pytest.mark.parametrize("text", ["a: ü\r\nb: [1]\r\n", "\ufeffa: ü\nb: [1]", "---\na: ü\nb: [1]\n...\n"])
def test_line_ends_byte_order_mark_and_document_marks_are_harmless(text: str) -> None:
    assert read(text) == {"a": "ü", "b": [1]}


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "~", "\ufeff"])
def test_a_file_without_content_has_no_root(text: str) -> None:
    tree = parse("f.yaml", text.encode())
    assert tree.root is None
    assert not tree.flaws


def test_nesting_that_libyaml_itself_refuses_is_too_deep_as_well() -> None:
    (flaw,) = parse("f.yaml", b"a: " + b"[" * 100_000).flaws
    assert (flaw.problem.line, flaw.problem.code, flaw.problem.remedy) == (1, "TOO_DEEP", "flatten them")


@pytest.mark.parametrize(
    ("text", "line", "column", "code"),
    [
        ("a:\n\tb: 1", 2, 1, "TAB"),
        ("a:\n  b: 1\n \tc: 2", 3, 2, "TAB"),
        ("a: b\n  c: d", 2, 4, "SYNTAX"),
        ("a: 'x\nb: c\n", 1, 4, "SYNTAX"),
        ("a: [1,\nb: c\n", 1, 4, "SYNTAX"),
        ("a: {b: 1\n", 1, 4, "SYNTAX"),
        ("a: b\nccc\nd: e", 2, 1, "SYNTAX"),
        ("a:\n  b: 1\n c: 2", 3, 2, "SYNTAX"),
        ("a: %20", 1, 4, "SYNTAX"),
        ("a: @x", 1, 4, "SYNTAX"),
        ('a: "\\d"', 1, 5, "SYNTAX"),
        ("a: - b", 1, 4, "SYNTAX"),
        ("a: !x!y z", 1, 4, "SYNTAX"),
        ("a: {{ x }}", 1, 5, "KEY_NOT_TEXT"),
        ("? [a]\n: b", 1, 3, "KEY_NOT_TEXT"),
        ("a: 1\n---\nb: 2", 2, 1, "SEVERAL_DOCUMENTS"),
        ("a: \x00", 1, 4, "CONTROL_CHARACTER"),
        ("a: x\u2028y", 1, 5, "LINE_SEPARATOR"),
        (b"a: 1\nb: \xfc", 2, 4, "NOT_UTF8"),
        ("a: 1".encode("utf-16"), 1, 1, "NOT_UTF8"),
        (bytes(range(1, 256)), 3, 115, "NOT_UTF8"),
        (b"a: b\n" * 1_000_000, 0, 0, "FILE_TOO_BIG"),
        ("a: " + "[" * 900, 1, 3 + MAX_DEPTH, "TOO_DEEP"),
        ("{a: " * 1000, 1, 4 * MAX_DEPTH + 1, "TOO_DEEP"),
        ("a: [" + "1," * 250_000 + "1]", 1, 399_999, "TOO_MANY_VALUES"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_problem_with_its_place(
    text: str | bytes, line: int, column: int, code: str
) -> None:
    tree = parse("f.yaml", text if isinstance(text, bytes) else text.encode())
    (flaw,) = tree.flaws
    assert (flaw.problem.line, flaw.problem.column, flaw.problem.code) == (line, column, code)
    assert flaw.problem.remedy
    assert not tree.is_usable


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: {b: 1, b: 2}", ["1:11: a.b DUPLICATE_KEY"]),
        ("a:\n  b: 1\n  b:\n    c: 2", ["3:3: a.b DUPLICATE_KEY"]),
        ("a: &x {b: 1}", ["1:4: a ANCHOR"]),
        ("a: {b: *x}", ["1:8: a.b ALIAS"]),
        ("a: {<<: {b: 1}}", ["1:5: a.<< MERGE_KEY"]),
        ("a: {<<: *x, c: 1}", ["1:5: a.<< MERGE_KEY"]),
        ("a: [!!str 1]", ["1:5: a[0] TAG"]),
        ("a: !!python/object/apply:os.system [ls]", ["1:4: a TAG"]),
        ("a: {b: .inf, c: -.INF, d: .NaN}", ["1:8: a.b NUMBER", "1:17: a.c NUMBER", "1:27: a.d NUMBER"]),
        ("a: 1e999", ["1:4: a NUMBER"]),
        (f"a: {'9' * 5000}", ["1:4: a NUMBER"]),
        ('a: {"": 1, b: 2}', ["1:5: a EMPTY_KEY"]),
    ],
)
def test_what_is_refused_inside_a_file_is_noted_and_reading_goes_on(text: str, found: list[str]) -> None:
    tree = parse("f.yaml", f"{text}\nlast: read\n".encode())
    problems = [flaw.problem for flaw in tree.flaws]
    assert [f"{p.line}:{p.column}: {p.path} {p.code}" for p in problems] == found
    assert tree.place_of(("last",)) != (0, 0)


def test_a_duplicate_key_names_the_line_of_the_first() -> None:
    (flaw,) = parse("f.yaml", b"a: 1\nb: 2\na: 3").flaws
    said = "f.yaml:3:1: error: a: this key stands twice here, first on line 1 (got a) — keep one of the two"
    assert str(flaw.problem) == f"{said} [DUPLICATE_KEY]"


def test_places_are_those_of_values_and_of_keys() -> None:
    tree = parse("f.yaml", b"a:\n  b: [1, {c: d}]\n  e:\n")
    assert tree.place_of(("a", "b")) == (2, 6)
    assert tree.place_of(("a", "b"), at_key=True) == (2, 3)
    assert tree.place_of(("a", "b", 1, "c")) == (2, 14)
    assert tree.place_of(("a", "e")) == (3, 3)
    assert tree.place_of(("a", "nowhere", "x")) == (1, 1)
    assert tree.shown(("a", "b", 0)) == "1"


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "- *a\n" * 200_000,
        "a: b\n" * 200_000,
        "[" * 1_000_000,
        "? " * 500_000,
        "- " * 500_000,
        "a: " + "x" * 1_000_000,
        "".join(f"k{i}: !!x 1\n" for i in range(70_000)),
        "a: " + "[],[" * 250_000,
        '"' + "\\u0041" * 170_000,
        "#" * 1_000_000,
        "# " + "\u00a0" * 500_000,
        "a: " + "\u00a0" * 500_000,
        "a: " + "\u00a0\n   " * 180_000,
        "- \u200b\n" * 160_000,
        "\u2028" * 340_000,
        "x\u0430" * 330_000,
    ],
)
def test_a_hostile_file_is_bounded_in_time_memory_and_words(text: str) -> None:
    data = text.encode()[:MAX_FILE_BYTES]
    begun = process_time()
    tree = parse("f.yaml", data)
    assert process_time() - begun < 10
    assert len(tree.flaws) <= MAX_FLAWS + 1


def test_the_laughs_are_not_multiplied() -> None:
    tracemalloc.start()
    parse("f.yaml", LAUGHS.encode())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000


def test_a_colon_without_its_blank_is_named_as_a_cause() -> None:
    (flaw,) = parse("a.yaml", b"a:\n  name:More\n  text: x\n").flaws
    assert (flaw.problem.code, flaw.problem.line) == ("SYNTAX", 3)
    assert "the blank that the line above lacks" in flaw.problem.remedy
