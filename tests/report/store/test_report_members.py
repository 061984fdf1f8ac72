"""Members of JSON texts by string functions, against a JSON parser."""

from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abside.report.engines.embedded import Embedded
from abside.report.store.members import flag_of, number_of, object_named, objects_opening, shown_of, text_of, whole_of

NASTY = (
    "",
    '"',
    "\\",
    '\\"',
    ',"a":',
    '{"a":',
    "a",
    "\n\t\r\b\f",
    "\u0001\u001f\u007f",
    "\\u0001",
    "\\n",
    "é😀",
    "}",
    "]",
)
texts = st.one_of(st.sampled_from(NASTY), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6))
scalars = st.one_of(texts, st.none(), st.booleans(), st.integers(-(10**17), 10**17), st.floats(-1e12, 1e12))
objects = st.dictionaries(st.one_of(st.sampled_from(["a", "b", "a.b"]), texts), scalars | st.lists(texts, max_size=3))


def read(engine: Embedded, told: list[Any], **columns: Any) -> list[dict[str, Any]]:
    """Apply functions of a column of texts to the JSON of these values."""
    written = pa.table({"at": range(len(told)), "told": [orjson.dumps(one).decode() for one in told]})
    table = engine.connection.create_table("told", written, temp=True, overwrite=True)
    made = table.select("at", **{name: column(table.told) for name, column in columns.items()}).order_by("at")
    return [{name: row[name] for name in columns} for row in engine.rows("members", made)]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Embedded.open(memory_bytes=2**28, spill=tmp_path_factory.mktemp("spill")) as engine:
        yield engine


@settings(max_examples=8, deadline=None)
@given(st.lists(objects, min_size=20, max_size=60))
def test_a_member_is_read_as_a_json_parser_reads_it(quick: Embedded, told: list[dict[str, Any]]) -> None:
    for name in ("a", "a.b"):
        found = read(
            quick,
            told,
            text=lambda column, name=name: text_of(column, name),
            number=lambda column, name=name: number_of(column, name),
            flag=lambda column, name=name: flag_of(column, name),
            shown=lambda column, name=name: shown_of(column, name),
        )
        for one, got in zip(told, found, strict=True):
            value = one.get(name)
            written = None if value is None else orjson.dumps(value).decode()
            assert got == {
                "text": value if isinstance(value, str) else None,
                "number": float(value) if isinstance(value, int | float) and type(value) is not bool else None,
                "flag": value if type(value) is bool else None,
                "shown": value if isinstance(value, str) else written,
            }, one


def test_a_whole_number_is_one_of_at_most_18_digits(quick: Embedded) -> None:
    told = [{"n": value} for value in (7, -7, 10**18 - 1, 10**18, 1.5, "7", None, True, [7])]
    found = [row["n"] for row in read(quick, told, n=lambda column: whole_of(column, "n"))]
    assert found == [7, -7, 10**18 - 1, None, None, None, None, None, None]


def test_an_object_is_found_by_one_of_its_members_wherever_that_stands(quick: Embedded) -> None:
    state = {"experiment": "e", "weights": {"c": 1}, "list": ["}"], "pause": '{"x}'}
    turned = dict(reversed(state.items()))
    other = {"experiment": "e2", "note": "e", "weights": {"e": 1}}
    told = [
        {"source": {"pod": "p"}, "part": 1, "experiments": [other, state, other]},
        {"experiments": [turned]},
        {"experiments": [other]},
        {"experiments": "e"},
        {"experiments": [{"experiment": ["e"]}]},
    ]
    found = [row["o"] for row in read(quick, told, o=lambda column: object_named(column, "experiment", "e"))]
    assert [one and orjson.loads(one) for one in found] == [state, turned, None, None, None]


def test_the_objects_of_a_list_are_taken_apart_by_their_opening(quick: Embedded) -> None:
    told = [{"boot": "b", "exposures": [{"experiment": "e", "n": 1}, {"experiment": '{"experiment":', "n": 2}]}, {}]
    found = [row["parts"] for row in read(quick, told, parts=lambda column: objects_opening(column, "experiment"))]
    assert found == [['{"boot":"b","exposures":[', '"e","n":1},', r'"{\"experiment\":","n":2}]}'], ["{}"]]
