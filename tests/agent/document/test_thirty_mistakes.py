"""Thirty mistakes that people make: each is blamed on its own line, and the remedy has the words that mend it.

`python -m tests.agent.document.test_thirty_mistakes` prints them as a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from abside_agent.document.reading import File
from abside_agent.settle.check import check

if TYPE_CHECKING:
    from abside.snapshot import Problem

DOCUMENT = """\
placements:
  pdp:
    parameters: {model: ranker-v1, weights: {margin: 0.0, fresh: 1.0}, count: 12}
layers: {ranking: {}}
attributes: {country: {type: string}}
retired: [old-one]
experiments:
  reranker:
    name: Re-ranker
    hypothesis: It lifts
    status: running
    placements: [pdp]
    layer: ranking
    slots: 0%-50%
    traffic: 20%
    start: "2026-12-01T09:00:00Z"
    eligibility:
      - {attribute: country, op: in, value: [DE]}
    variants:
      control:
        weight: 50%
      treatment:
        weight: 50%
        parameters: {pdp: {model: ranker-v2}}
"""
START = 'start: "2026-12-01T09:00:00Z"'


class Mistake(NamedTuple):
    """What is written instead of what; the line that is blamed, and words of its message and remedy."""

    right: str
    wrong: str
    line: int
    words: str


MISTAKES = [
    Mistake("layers: {ranking: {}}", "layers: {ranking: yes}", 4, "write a mapping, for example {}"),
    Mistake("status: running", "status: blabla", 11, "write one of draft, ended, paused, running"),
    Mistake("status: running", "status:running", 11, "write `status: running`"),
    Mistake("status: running", "status running", 11, "write `key: value`"),
    Mistake("status: running", "status: active", 11, "did you mean running?"),
    Mistake("placements: [pdp]", "placements: pdp", 12, "write [pdp]"),
    Mistake("placements: [pdp]", "placements: [pdpp]", 12, "did you mean pdp?"),
    Mistake("layer: ranking", "layer: rankin", 13, "did you mean ranking?"),
    Mistake("layer: ranking", "layer: {ranking: 0%-50%}", 13, "write an id"),
    Mistake("    slots: 0%-50%\n", "", 13, "add slots: 0%-50%"),
    Mistake("slots: 0%-50%", "slots: 0-50", 14, "write for example 0%-50%"),
    Mistake("traffic: 20%", "traffic: 20", 15, "write 20%"),
    Mistake("traffic: 20%", "traffic: [20%]", 15, "write 20%"),
    Mistake("traffic: 20%", "trafic: 20%", 15, "did you mean traffic?"),
    Mistake("traffic: 20%", "steps: 5%", 15, "write a list, for example [{from: 2026-12-01T09:00:00Z, traffic: 20%}]"),
    Mistake("traffic: 20%", "unit: cookie", 15, "write one of session, user, user_or_session"),
    Mistake("traffic: 20%", "force: qa-1", 15, "write a mapping, for example {…: […]}"),
    Mistake(START, 'start: "2026-13-01T09:00:00Z"', 16, "there is no month 13"),
    Mistake(START, 'start: "2027-02-30T09:00:00Z"', 16, "February 2027 has no day 30: it has 28"),
    Mistake(START, 'start: "2026-12-01T25:00:00Z"', 16, "there is no hour 25"),
    Mistake(START, 'start: "2026-12-01T09:00Z"', 16, "the seconds are missing: write 2026-12-01T09:00:00Z"),
    Mistake(START, "start: 2026-12-01", 16, "the time of day is missing: write 2026-12-01T00:00:00Z"),
    Mistake(START, 'start: "2026-12-01T09:00:00"', 16, "a time needs its zone: write 2026-12-01T09:00:00Z for UTC"),
    Mistake(
        START, 'start: "2026-12-01 09:00 CET"', 16, "CET is no zone: it is Z or an offset: write 2026-12-01T09:00:00Z"
    ),
    Mistake(START, 'start: "2026-12-01T09:00:00+1"', 16, "write 2026-12-01T09:00:00+01:00"),
    Mistake(START, "start: 1.12.2026 9:00", 16, "the year comes first, then month and day: write 2026-12-01"),
    Mistake("      - {attribute", "      {attribute", 17, "put a dash before its first key"),
    Mistake("op: in", "op: is", 18, "write one of eq, ne, in"),
    Mistake("control:\n        weight: 50%", "control: 50%", 20, "write {weight: 50%}"),
    Mistake("control:\n        weight: 50%", "control: {weight:50%}", 20, "write `weight: 50%`"),
    Mistake("parameters: {pdp: {model: ranker-v2}}", "parameters: {model: ranker-v2}", 24, "put it under pdp: "),
    Mistake("{pdp: {model: ranker-v2}}", "{weights: {margin: 0.3}}", 24, "put it under pdp: {pdp: {weights: …}}"),
    Mistake("{model: ranker-v2}", "{modle: ranker-v2}", 24, "did you mean model?"),
    Mistake("  reranker:\n", "  old-one:\n", 8, "choose a new id"),
    Mistake("  reranker:\n    name", "  - id: reranker\n    name", 8, "without the dash: {reranker: {name: …"),
]


def found(mistake: Mistake) -> list[Problem]:
    text = DOCUMENT.replace(mistake.right, mistake.wrong, 1)
    assert text != DOCUMENT
    return [one.problem for one in check([File("x.yaml", text.encode())]).flaws() if one.is_error]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.wrong.strip().replace("\n", " "))
def test_a_mistake_is_blamed_on_its_line_with_the_words_that_mend_it(mistake: Mistake) -> None:
    first = next(one for one in found(mistake) if one.line == mistake.line)
    assert mistake.words in f"{first.message}: {first.remedy}"


def test_the_document_without_the_mistakes_has_none() -> None:
    assert len(MISTAKES) >= 30
    assert check([File("x.yaml", DOCUMENT.encode())]).flaws() == []


if __name__ == "__main__":
    print("| written | line | message | remedy |\n|---|---|---|---|")
    for one in MISTAKES:
        problem = next(each for each in found(one) if each.line == one.line)
        written = one.wrong.strip().replace("\n", " ⏎ ") or f"(no `{one.right.strip()}`)"
        print(f"| `{written}` | {problem.line} | {problem.message} | {problem.remedy} |")
