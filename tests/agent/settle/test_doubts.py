"""What is allowed but can never match, or lets nobody in: a warning at its place, and silence about what is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from abside_agent.commands.check import findings
from abside_agent.sources.given import given

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Warned = list[tuple[str, str]]

GROUND = """\
attributes:
  country: {type: string}
  age: {type: number}
  vip: {type: boolean}
  version: {type: version}
  since: {type: date}
  tags: {type: list}
placements:
  pdp: {parameters: {model: v1, big: 1}}
"""
NOW = 1_795_000_000_000_000
VARIANTS = "{control: {weight: 50%}, b: {weight: 50%, parameters: {pdp: {model: v2}}}}"


def experiment(more: str, variants: str = VARIANTS) -> str:
    head = "experiments:\n  x:\n    name: A\n    hypothesis: H\n    status: running\n    placements: [pdp]\n"
    return f"{GROUND}{head}    variants: {variants}\n    {more}\n"


@pytest.fixture
def warned(tmp_path: Path) -> Callable[[str], Warned]:
    def check(text: str) -> Warned:
        file = tmp_path / "x.yaml"
        file.write_text(text)
        found = findings(given([str(file)]), NOW)
        return [(one.code, one.path.removeprefix("experiments.x.")) for one in found.problems]

    return check


@pytest.mark.parametrize(
    ("condition", "doubts"),
    [
        ('country, op: in, value: ["DE, AT"]', [("LIST_IN_TEXT", "value[0]")]),
        ('country, op: in, value: ["DE,AT", CH]', [("LIST_IN_TEXT", "value[0]")]),
        ('country, op: eq, value: "DE|AT"', [("LIST_IN_TEXT", "value")]),
        ('tags, op: has_any, value: ["a; b"]', [("LIST_IN_TEXT", "value[0]")]),
        ('country, op: in, value: [""]', [("EMPTY_TEXT", "value[0]")]),
        ('country, op: ne, value: ""', [("EMPTY_TEXT", "value")]),
        ('country, op: starts_with, value: ""', [("EMPTY_TEXT", "value")]),
        ('country, op: not_in, value: ["DE "]', [("BLANK_ENDS", "value[0]")]),
        ('country, op: eq, value: " "', [("BLANK_ENDS", "value")]),
        ('country, op: contains, value: " DE"', [("BLANK_ENDS", "value")]),
        ("country, op: in, value: [DE, AT, DE]", [("TWICE", "value[2]")]),
        ("age, op: in, value: [1, 1.0]", [("TWICE", "value[1]")]),
        ('version, op: in, value: ["4.2", "V4.2.0"]', [("TWICE", "value[1]")]),
        ('version, op: gte, value: "2026-12-01"', [("DATE_AS_VERSION", "value")]),
        ('version, op: gte, value: "2026.12.1"', []),
        ('version, op: gte, value: "2026-rc.1"', []),
        ("""country, op: eq, value: "'DE'" """, [("QUOTES_IN_TEXT", "value")]),
        ('country, op: in, value: ["[DE]"]', [("QUOTES_IN_TEXT", "value[0]")]),
        ("placement, op: in, value: [pdp, hmoe]", [("NEVER_MATCHES", "value[1]")]),
        ("country, op: in, value: [DE, AT]", []),
        ('country, op: starts_with, value: "SM "', []),
        ('country, op: contains, value: ", "', []),
        ('country, op: eq, value: "Frankfurt am Main, Hessen"', []),
        ('version, op: gte, value: "2024.08.01"', []),
        ('version, op: gte, value: "V4.2"', []),
        ("age, op: gte, value: 18", []),
        ("since, op: gte, value: 1770000000", []),
    ],
)
@pytest.mark.parametrize("group", ["", "any", "all"])
def test_a_value_that_is_hardly_meant_is_a_warning_at_its_place(
    condition: str, doubts: Warned, group: str, warned: Callable[[str], Warned]
) -> None:
    leaf = f"{{attribute: {condition}}}"
    text = f"[{{{group}: [{leaf}]}}]" if group else f"[{leaf}]"
    above = f"eligibility[0].{group}[0]" if group else "eligibility[0]"
    assert warned(experiment(f"eligibility: {text}")) == [(code, f"{above}.{path}") for code, path in doubts]


def step(day: int, share: int) -> str:
    return f'{{from: "2027-01-{day:02}T00:00:00Z", traffic: {share}%}}'


@pytest.mark.parametrize(
    ("more", "doubts"),
    [
        (f'steps: [{step(11, 5)}]\n    end: "2027-01-05T00:00:00Z"', [("NOBODY", "end")]),
        (f'steps: [{step(11, 5)}]\n    end: "2027-01-11T00:00:00Z"', [("NOBODY", "end")]),
        (f'steps: [{step(1, 0)}, {step(11, 5)}]\n    end: "2027-01-05T00:00:00Z"', [("NOBODY", "end")]),
        (f"steps: [{step(11, 0)}]", [("NOBODY", "steps")]),
        ("traffic: 0%", [("NOBODY", "traffic")]),
        (
            f'steps: [{step(11, 5)}, {step(12, 20)}]\n    start: "2027-03-01T00:00:00Z"',
            [("STEP_NEVER", "steps[0].from"), ("START_AFTER_STEPS", "start")],
        ),
        (f'steps: [{step(11, 5)}, {step(12, 20)}]\n    end: "2027-01-12T00:00:00Z"', [("STEP_NEVER", "steps[1].from")]),
        (f'steps: [{step(11, 5)}, {step(12, 20)}]\n    start: "2027-01-11T12:00:00Z"', []),
        (f'steps: [{step(11, 5)}]\n    start: "2027-03-01T00:00:00Z"', []),
        (f'steps: [{step(11, 5)}, {step(12, 20)}]\n    end: "2027-01-13T00:00:00Z"', []),
        (f"steps: [{step(11, 5)}, {step(12, 0)}]", []),
        (
            f"steps: [{step(11, 5)}, {step(12, 0)}]".replace("2027-01", "2025-01"),
            [("NOBODY", "steps[1].traffic")],
        ),
        (f"steps: [{step(11, 5).replace('2027', '2025')}, {step(12, 0)}]", []),
        ("force: {b: [Guest]}", [("FORCE_NOBODY", "force.b")]),
        ('force: {b: ["qa-1 "]}', [("FORCE_NOBODY", "force.b")]),
        ("force: {b: [qa-1]}", []),
        ("traffic: 0.01%", []),
    ],
)
def test_times_under_which_nobody_can_be_in_are_a_warning(
    more: str, doubts: Warned, warned: Callable[[str], Warned]
) -> None:
    assert warned(experiment(more)) == doubts


def test_a_variant_that_nobody_gets_is_a_warning(warned: Callable[[str], Warned]) -> None:
    variants = "{control: {weight: 100%}, b: {weight: 0%, parameters: {pdp: {model: v2}}}}"
    assert warned(experiment("phase: 1", variants)) == [("EMPTY_VARIANT", "variants.b.weight")]


@pytest.mark.parametrize("value", ["9007199254740993", '"9007199254740993"', "9" * 41, f'"{"9" * 41}"'])
def test_no_remedy_for_a_large_number_leads_back_to_the_other(value: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(experiment(f"eligibility: [{{attribute: age, op: eq, value: {value}}}]"))
    problems = findings(given([str(file)]), NOW).problems
    assert [problem.severity for problem in problems] == ["error"]
    file.write_text(file.read_text().replace("age: {type: number}", "age: {type: string}").replace(value, '"90"'))
    assert "quotes" in problems[0].remedy
    assert findings(given([str(file)]), NOW).problems == []


@pytest.mark.parametrize("value", ['"2.x"', "2.10", "2"])
def test_a_version_in_quotes_is_not_told_to_be_put_in_quotes(value: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(experiment(f"eligibility: [{{attribute: version, op: gte, value: {value}}}]"))
    (problem,) = findings(given([str(file)]), NOW).problems
    assert problem.code == "NOT_A_VERSION"
    assert ("in quotes" in problem.remedy) == ('"' not in value)


def remedies(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    return [(one.code, one.remedy) for one in findings(given([str(file)]), NOW).problems]


@pytest.mark.parametrize("written", ["2024.10", "2.10", "1e3", "10"])
def test_a_version_without_quotes_is_quoted_as_the_file_has_it(tmp_path: Path, written: str) -> None:
    found = remedies(tmp_path, experiment(f"eligibility: [{{attribute: version, op: gte, value: {written}}}]"))
    [remedy] = [remedy for code, remedy in found if code == "NOT_A_VERSION"]
    assert f'write it in quotes, "{written}": ' in remedy


def test_a_parameter_without_its_placement_has_one_error_that_says_where_it_stands(tmp_path: Path) -> None:
    variants = "{control: {weight: 50%}, b: {weight: 50%, parameters: {model: v2}}}"
    assert remedies(tmp_path, experiment("owner: me", variants))[:1] == [
        ("WRONG_TYPE", "put it under pdp: parameters: {pdp: {model: …}}")
    ]
    assert "NOT_ITS_PLACEMENT" not in [code for code, _ in remedies(tmp_path, experiment("owner: me", variants))]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("active", "running"), ("on", "running"), ("Stopped", "paused"), ("finished", "ended"), ("runing", "running")],
)
def test_a_status_as_other_tools_have_it_says_which_is_meant(tmp_path: Path, written: str, meant: str) -> None:
    text = experiment("owner: me").replace("status: running", f"status: {written}")
    assert ("UNKNOWN_VALUE", f"did you mean {meant}?") in remedies(tmp_path, text)


def test_a_directory_with_a_file_that_the_agent_does_not_read_has_its_warning(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(experiment("owner: me"))
    (tmp_path / "y.yml").write_text(experiment("owner: me"))
    (tmp_path / "notes.txt").write_text("")
    found = findings(given([str(tmp_path)]), NOW).problems
    assert ("FILE_NAME", str(tmp_path / "y.yml"), "rename it to y.yaml", "warning") in [
        (one.code, one.file, one.remedy, one.severity) for one in found
    ]
    assert sum(one.code == "FILE_NAME" for one in found) == 1
