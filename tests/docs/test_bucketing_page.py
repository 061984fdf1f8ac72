"""The page of the bucketing contract says what the vectors and the code say."""

import json
import re
from pathlib import Path

from abside.assignment.attribute import READERS
from abside.assignment.operators import OPERATORS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "bucketing.md").read_text()


def test_the_vectors_of_the_page_are_those_of_the_file() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \| (.+) \| ([0-9a-f]{8}) \| (\d+) \|$", PAGE, re.MULTILINE)
    vectors = json.loads((ROOT / "tests" / "vectors" / "assignment-1.json").read_text())["buckets"]
    shown = [(salt, purpose, unit_hex(unit), digest, int(bucket)) for salt, purpose, unit, digest, bucket in rows]
    assert shown == [(v["salt"], v["purpose"], v["unit_utf8_hex"], v["hash"], v["bucket"]) for v in vectors]


def unit_hex(shown: str) -> str:
    if shown.startswith("bytes"):
        return shown.split("`")[1]
    text, _, times = shown.replace("`", "").partition(" \u00d7 ")
    return (text * int(times or 1)).encode().hex()


def test_the_page_lists_every_operator_with_its_types() -> None:
    rows = re.findall(r"^\| ((?:`\w+` ?)+) \| ([\w, -]+)", PAGE, re.MULTILINE)
    listed = {name: kinds for names, kinds in rows for name in re.findall(r"`(\w+)`", names)}
    for one in OPERATORS.values():
        named = (
            set(READERS) if "any type" in listed[one.name] else set(re.findall(r"\w+", listed[one.name])) & set(READERS)
        )
        assert named == set(one.types), one.name
