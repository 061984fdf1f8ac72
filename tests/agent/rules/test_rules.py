from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agent.conftest import Doc

    from abside.snapshot import Problem

GOOD = """\
attributes:
  country: {type: string}
  version: {type: version}
placements:
  pdp:
    parameters:
      model: v1
      weights: {margin: 0.0, fresh: 1.0}
      count: 12
      tags: [a]
      curve: [0, 0.5]
      on: true
layers:
  ranking: {}
experiments:
  rerank:
    name: Re-ranker
    hypothesis: It lifts
    status: running
    placements: [pdp]
    layer: ranking
    slots: 0%-50%
    traffic: 20%
    start: 2026-11-01T00:00:00Z
    end: 2026-12-01T00:00:00+01:00
    eligibility:
      - {attribute: country, op: in, value: [DE]}
    variants:
      control: {weight: 80%}
      b:
        weight: 20%
        parameters:
          pdp: {model: v2, weights: {margin: 1, fresh: 2.0}}
    force: {b: [qa-1, 123]}
    analysis: {primary: ctr, window: 7d, guardrails: {bounce_rate: {max_increase: 2%}}}
retired: [old]
metrics:
  scroll: {kind: mean, event: scroll, of: value}
"""
X = "experiments.rerank"
PDP = "{model: v2, weights: {margin: 1, fresh: 2.0}}"


def test_a_good_document_has_no_problem(problems_of: Callable[..., list[Problem]]) -> None:
    assert problems_of(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        # shape
        ("retired: [old]", "retird: [old]", "36:1 retird UNKNOWN_SECTION"),
        ("    traffic: 20%", "    trafic: 20%", f"23:5 {X}.trafic UNKNOWN_FIELD"),
        ("    hypothesis: It lifts\n", "", f"16:3 {X}.hypothesis MISSING_FIELD"),
        ("    status: running", "    status: runing", f"19:13 {X}.status UNKNOWN_VALUE"),
        ("    status: running", "    status: [running]", f"19:13 {X}.status UNKNOWN_VALUE"),
        ("    name: Re-ranker", "    name: 12", f"17:11 {X}.name WRONG_TYPE"),
        ("    name: Re-ranker", "    name:", f"17:5 {X}.name NULL"),
        ("    name: Re-ranker", "    name: ''", f"17:11 {X}.name OUT_OF_RANGE"),
        ("    placements: [pdp]", "    placements: pdp", f"20:17 {X}.placements WRONG_TYPE"),
        ("{type: version}", "{type: version, log: NO}", "3:33 attributes.version.log WRONG_TYPE"),
        ("{type: version}", "{type: semver}", "3:19 attributes.version.type UNKNOWN_VALUE"),
        ("{type: version}", "{type: version}\n  logged_in: {type: boolean}",
         "4:3 attributes.logged_in BUILT_IN_ATTRIBUTE"),
        ("  ranking: {}", "  ranking: {salt: x}", "14:13 layers.ranking.salt UNKNOWN_FIELD"),
        ("kind: mean", "kind: avg", "38:18 metrics.scroll.kind UNKNOWN_VALUE"),
        ("retired: [old]", "retired: [-old]", "36:11 retired[0] ID"),
        ("  pdp:\n    parameters:\n", "  p dp:\n    parameters:\n",
         f"5:3 placements.p dp ID; 20:18 {X}.placements[0] UNKNOWN_PLACEMENT"),
        ("    phase: 1\n", "    phase: 0\n", ""),
        # percentages
        ("traffic: 20%", "traffic: 20", f"23:14 {X}.traffic PERCENT"),
        ("traffic: 20%", "traffic: 0.2", f"23:14 {X}.traffic PERCENT"),
        ("traffic: 20%", "traffic: 20.001%", f"23:14 {X}.traffic PERCENT"),
        ("traffic: 20%", "traffic: 101%", f"23:14 {X}.traffic PERCENT"),
        ("traffic: 20%", "traffic: -1%", f"23:14 {X}.traffic PERCENT"),
        ("traffic: 20%", "traffic: a lot", f"23:14 {X}.traffic PERCENT"),
        ("traffic: 20%", "traffic: [20%]", f"23:14 {X}.traffic WRONG_TYPE"),
        ("weight: 20%", "weight: 19.99%", f"28:5 {X}.variants WEIGHTS"),
        ("weight: 20%", "weight: 20.01%", f"28:5 {X}.variants WEIGHTS"),
        # slots, steps, times
        ("slots: 0%-50%", "slots: 0-50", f"22:12 {X}.slots SLOTS"),
        ("slots: 0%-50%", "slots: 50%-50%", f"22:12 {X}.slots SLOTS"),
        ("slots: 0%-50%", "slots: 50%-101%", f"22:12 {X}.slots PERCENT"),
        ("    slots: 0%-50%\n", "", f"21:12 {X}.layer LAYER_AND_SLOTS"),
        ("    layer: ranking\n", "", f"21:12 {X}.slots LAYER_AND_SLOTS"),
        ("    traffic: 20%", "    traffic: 20%\n    steps: [{from: 2026-11-01T00:00:00Z, traffic: 5%}]",
         f"24:12 {X}.steps TRAFFIC_OR_STEPS"),
        ("    traffic: 20%", "    steps: []", f"23:12 {X}.steps TRAFFIC_OR_STEPS"),
        ("    traffic: 20%",
         "    steps: [{from: 2026-11-02T00:00:00Z, traffic: 5%}, {from: 2026-11-01T00:00:00Z, traffic: 9%}]",
         f"23:63 {X}.steps[1].from STEPS_ORDER"),
        ("    traffic: 20%", "    steps: [{traffic: 5%}]", f"23:13 {X}.steps[0].from MISSING_FIELD"),
        ("start: 2026-11-01T00:00:00Z", "start: 2026-11-01T00:00:00", f"24:12 {X}.start INSTANT"),
        ("start: 2026-11-01T00:00:00Z", "start: 2026-11-01", f"24:12 {X}.start INSTANT"),
        ("start: 2026-11-01T00:00:00Z", "start: 2026-02-30T00:00:00Z", f"24:12 {X}.start INSTANT"),
        ("start: 2026-11-01T00:00:00Z", "start: 2026-12-24T00:00:00Z", f"25:10 {X}.end START_END"),
        ("start: 2026-11-01T00:00:00Z", "start: 2026-11-30T23:00:00Z", f"25:10 {X}.end START_END"),
        # variants
        ("      control: {weight: 80%}", "      ctrl: {weight: 80%}", f"16:3 {X}.control CONTROL"),
        ("    force:", "    control: a\n    force:", f"34:14 {X}.control CONTROL"),
        ("    force:", "    phase: 0\n    force:", f"34:12 {X}.phase OUT_OF_RANGE"),
        ("    force:", "    phase: 1.0\n    force:", f"34:12 {X}.phase WRONG_TYPE"),
        ("    force:", "    unit: users\n    force:", f"34:11 {X}.unit UNKNOWN_VALUE"),
        ("force: {b: [qa-1, 123]}", "force: {c: [qa-1]}", f"34:13 {X}.force.c FORCE"),
        ("force: {b: [qa-1, 123]}", "force: {b: [qa-1], control: [qa-1]}", f"34:34 {X}.force.control[0] FORCE"),
        ("force: {b: [qa-1, 123]}", "force: {b: [q, q]}", f"34:16 {X}.force.b FORCE"),
        ("force: {b: [qa-1, 123]}", "force: {b: [1.5]}", f"34:17 {X}.force.b[0] UNIT_ID"),
        ("force: {b: [qa-1, 123]}", "force: {b: [" + "é" * 129 + "]}", f"34:17 {X}.force.b[0] UNIT_ID"),
        ("placements: [pdp]", "placements: [pdp, pdp]", f"20:23 {X}.placements[1] TWICE"),
        ("placements: [pdp]", "placements: []",
         f"20:17 {X}.placements OUT_OF_RANGE; 33:11 {X}.variants.b.parameters.pdp NOT_ITS_PLACEMENT"),
        # parameters against their placement
        ("placements: [pdp]", "placements: [pdb]",
         f"20:18 {X}.placements[0] UNKNOWN_PLACEMENT; 33:11 {X}.variants.b.parameters.pdp NOT_ITS_PLACEMENT"),
        ("          pdp: {model", "          pdq: {model", f"33:11 {X}.variants.b.parameters.pdq NOT_ITS_PLACEMENT"),
        (PDP, "{modle: v2}", f"33:17 {X}.variants.b.parameters.pdp.modle UNDECLARED_PARAMETER"),
        (PDP, "{model: 2}", f"33:24 {X}.variants.b.parameters.pdp.model PARAMETER_TYPE"),
        (PDP, "{model: null}", f"33:17 {X}.variants.b.parameters.pdp.model NULL"),
        (PDP, "{count: 1.5}", f"33:24 {X}.variants.b.parameters.pdp.count PARAMETER_TYPE"),
        (PDP, "{count: '1'}", f"33:24 {X}.variants.b.parameters.pdp.count PARAMETER_TYPE"),
        (PDP, "{count: 9007199254740993}", f"33:24 {X}.variants.b.parameters.pdp.count INTEGER_TOO_BIG"),
        (PDP, "{on: yes}", f"33:21 {X}.variants.b.parameters.pdp.on PARAMETER_TYPE"),
        (PDP, "{tags: [1]}", f"33:24 {X}.variants.b.parameters.pdp.tags[0] PARAMETER_TYPE"),
        (PDP, "{curve: [a]}", f"33:25 {X}.variants.b.parameters.pdp.curve[0] PARAMETER_TYPE"),
        (PDP, "{weights: {margin: 1.0}}", ""),
        (PDP, "{weights: {}}", f"33:17 {X}.variants.b.parameters.pdp.weights EMPTY_MAPPING"),
        (PDP, "{weights: 1}", f"33:26 {X}.variants.b.parameters.pdp.weights PARAMETER_TYPE"),
        (PDP, "{weights: {margin: ~}}", f"33:27 {X}.variants.b.parameters.pdp.weights.margin NULL"),
        (PDP, "{weights: {margin: {a: 1}}}", f"33:27 {X}.variants.b.parameters.pdp.weights.margin PARAMETER_TYPE"),
        (PDP, "{model: {a: 1}}", f"33:17 {X}.variants.b.parameters.pdp.model PARAMETER_TYPE"),
        (PDP, "{weights.margin: 1}", f"33:17 {X}.variants.b.parameters.pdp.weights.margin UNDECLARED_PARAMETER"),
        (PDP, "{weights: {margin: 1.0, fresh: 1, x: 1}}",
         f"33:50 {X}.variants.b.parameters.pdp.weights.x PARAMETER_KEYS"),
        (PDP, "{weights: {margin: a, fresh: 1}}",
         f"33:35 {X}.variants.b.parameters.pdp.weights.margin PARAMETER_TYPE"),
        ("      model: v1", "      model: ~", "7:7 placements.pdp.parameters.model NULL"),
        ("      count: 12", "      count: -9007199254740993", "9:14 placements.pdp.parameters.count INTEGER_TOO_BIG"),
        # surroundings
        ("layer: ranking", "layer: rankin", f"21:12 {X}.layer UNKNOWN_LAYER"),
        ("{attribute: country,", "{attribute: county,", f"27:21 {X}.eligibility[0].attribute UNKNOWN_ATTRIBUTE"),
        ("op: in, value: [DE]", "op: lt, value: DE", f"27:34 {X}.eligibility[0].op OP_NOT_FOR_TYPE"),
        ("op: in, value: [DE]", "op: in, value: [NO, 1]", f"27:50 {X}.eligibility[0].value[1] WRONG_TYPE"),
        ("retired: [old]", "retired: [rerank]", f"16:3 {X} RETIRED"),
        ("  rerank:", "  all:", "16:3 experiments.all RESERVED_ID"),
        ("  rerank:", "  re rank:", "16:3 experiments.re rank ID"),
        ("  ranking: {}", "  ranking: {}\n  pdp: {}", ""),  # a layer has a namespace of its own
        ("{primary: ctr", "{primary: cdr", f"35:25 {X}.analysis.primary UNKNOWN_METRIC"),
        ("{primary: ctr", "{primary: scroll", ""),
        ("window: 7d", "window: 7", f"35:38 {X}.analysis.window WINDOW"),
        ("window: 7d", "window: 91d", f"35:38 {X}.analysis.window WINDOW"),
        ("{max_increase: 2%}", "{}", f"35:55 {X}.analysis.guardrails.bounce_rate GUARDRAIL"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_problem_with_its_place_path_and_code(
    old: str, new: str, found: str, problems_of: Callable[..., list[Problem]]
) -> None:
    problems = problems_of(GOOD.replace(old, new))
    assert [f"{p.line}:{p.column} {p.path} {p.code}" for p in problems] == (found.split("; ") if found else [])
    assert all(problem.remedy for problem in problems)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("weight: 20%", "weight: 19.99%", "weights must sum to exactly 100 %, they sum to 99.99 % — add 0.01 %"),
        ("weight: 20%", "weight: 25%", "weights must sum to exactly 100 %, they sum to 105 % — take away 5 %"),
        ("traffic: 20%", "traffic: 20", "a percentage needs its sign (got 20) — write 20%"),
        ("traffic: 20%", "traffic: 0.2", "(got 0.2) — write 0.2%, or 20% if that is the share you mean"),
        ("traffic: 20%", "traffic: 33.333%", "a percentage has at most two decimals (got 33.333%) — write 33.33%"),
        ("trafic", "trafic", ""),
        ("    status: running", "    status: Running", "(got Running) — did you mean running?"),
        ("    traffic: 20%", "    trafic: 20%", "there is no such field (got trafic) — did you mean traffic?"),
        ("retired:", "retird:", "there is no such section (got retird) — did you mean retired?"),
        (PDP, "{modle: v2}", "pdp declares no such parameter (got modle) — did you mean model?"),
        (PDP, "{count: a}", "must be a whole number as pdp declares it, this is text (got a) — write for example 12"),
        (PDP, '{count: "16"}', "this is text (got 16) — write 16 without quotes"),
        (PDP, '{count: "1.5"}', "this is text (got 1.5) — write for example 12"),
        (
            PDP,
            '{weights: {margin: "-0.5"}}',
            "must be a number as pdp declares it, this is text (got -0.5) — write -0.5 w",
        ),
        (PDP, '{on: "false"}', "this is text (got false) — write false without quotes"),
        (PDP, "{weights: {x: 1}}", "(got x) — declare it in placements.pdp.parameters.weights"),
        (PDP, "{weights: {fesh: 1}}", "pdp declares no such parameter (got fesh) — did you mean fresh?"),
        (PDP, "{weights.margin: 1}", "— write the keys one inside the other: weights: {margin: …}"),
        (PDP, "{weights: {}}", "name what differs, for example {margin: 0.0}, or delete the key"),
        (PDP, "{weights: 1}", "this is a whole number (got 1) — write for example {margin: 0.0}"),
        (
            PDP,
            "{count: 0.5}",
            "— for fractions, declare 12.0 in placements.pdp.parameters.count, or write a whole number",
        ),
        ("placements: [pdp]", "placements: [pdb]", "there is no placement pdb (got pdb) — did you mean pdp?"),
        ("start: 2026-11-01T00:00:00Z", "start: 2026-11-01T00:00:00", "— write 2026-11-01T00:00:00Z for UTC"),
        ("    name: Re-ranker", "    name: 12", 'must be text, this is a whole number (got 12) — write "12" in quotes'),
        ("{primary: ctr", "{primary: add_to_card_rate", "error: experiments.rerank.analysis.primary"),
    ],
)
def test_a_problem_says_what_was_wrong_the_value_and_what_would_be_right(
    old: str, new: str, said: str, problems_of: Callable[..., list[Problem]]
) -> None:
    assert any(said in str(problem) for problem in problems_of(GOOD.replace(old, new))) or not said


def test_one_mistake_never_hides_another(problems_of: Callable[..., list[Problem]]) -> None:
    text = (
        GOOD.replace("status: running", "status: runing")
        .replace("weight: 80%", "weight: 70%")
        .replace("slots: 0%-50%", "slots: 50%-10%")
        .replace("traffic: 20%", "traffic: 20\n    owner: &me team")
        .replace(PDP, "{modle: v2, count: x, weights: {margin: .nan, fresh: y}}")
        .replace("op: in", "op: inn")
        .replace("type: version}", "type: vers}")
        .replace("    name: Re-ranker\n", "")
    )
    assert {problem.code for problem in problems_of(text)} == {
        "UNKNOWN_VALUE",
        "WEIGHTS",
        "SLOTS",
        "PERCENT",
        "ANCHOR",
        "UNDECLARED_PARAMETER",
        "PARAMETER_TYPE",
        "NUMBER",
        "UNKNOWN_OP",
        "MISSING_FIELD",
    }
    assert len(problems_of(text)) == 12


def test_what_follows_from_a_mistake_elsewhere_is_not_said_again(problems_of: Callable[..., list[Problem]]) -> None:
    codes = [problem.code for problem in problems_of(GOOD.replace("{type: string}", "{type: strng}"))]
    assert codes == ["UNKNOWN_VALUE"]
    codes = [problem.code for problem in problems_of(GOOD.replace("      model: v1", "      model: !!str v1"))]
    assert codes == ["TAG"]
    split = {"a.yaml": GOOD[: GOOD.index("experiments:")] + "\tx", "b.yaml": GOOD[GOOD.index("experiments:") :]}
    problems = problems_of(split)
    assert {problem.code for problem in problems} == {"TAB", "UNKNOWN_PLACEMENT", "UNKNOWN_LAYER", "UNKNOWN_ATTRIBUTE"}
    assert all("mend a.yaml first" in problem.remedy for problem in problems if problem.file == "b.yaml")


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ({}, {}, "PARAMETER_CONFLICT"),
        ({"status": "paused"}, {}, "PARAMETER_CONFLICT"),
        ({"status": "draft"}, {}, ""),
        ({"status": "ended"}, {}, ""),
        ({"end": "2026-12-01T00:00:00Z"}, {"start": "2026-12-01T00:00:00Z"}, ""),
        ({"end": "2026-12-01T00:00:01Z"}, {"start": "2026-12-01T00:00:00Z"}, "PARAMETER_CONFLICT"),
        ({"layer": "ranking", "slots": "0%-50%"}, {"layer": "ranking", "slots": "50%-100%"}, ""),
        ({"layer": "ranking", "slots": "0%-50%"}, {"layer": "ranking", "slots": "49.99%-100%"}, "SLOTS_OVERLAP"),
        ({"layer": "ranking", "slots": "0%-50%"}, {"layer": "other", "slots": "50%-100%"}, "PARAMETER_CONFLICT"),
        ({"layer": "ranking", "slots": "0%-50%"}, {}, "PARAMETER_CONFLICT"),
        (
            {"layer": "ranking", "slots": "0%-50%", "end": "2026-12-01T00:00:00Z"},
            {"layer": "ranking", "slots": "0%-50%", "start": "2026-12-01T00:00:00Z"},
            "",
        ),
        (
            {"layer": "ranking", "slots": "0%-50%", "unit": "user"},
            {"layer": "ranking", "slots": "50%-100%", "unit": "session"},
            "LAYER_UNIT",
        ),
        (
            {"layer": "ranking", "slots": "0%-50%", "unit": "user", "status": "ended"},
            {"layer": "ranking", "slots": "50%-100%", "unit": "session"},
            "",
        ),
        ({"eligibility": "[{attribute: country, op: eq, value: DE}]"}, {}, "PARAMETER_CONFLICT"),
    ],
)
def test_two_experiments_that_exclude_each_other_are_both_named(
    first: dict[str, str],
    second: dict[str, str],
    code: str,
    doc: type[Doc],
    problems_of: Callable[..., list[Problem]],
) -> None:
    files = {
        "ground.yaml": doc.GROUND + "  other: {}\n",
        "one.yaml": doc.one("one", **first),
        "two.yaml": doc.one("two", **second),
    }
    problems = problems_of(files)
    assert [(p.code, p.file, p.line) for p in problems] == (
        [(code, "one.yaml", 2), (code, "two.yaml", 2)] if code else []
    )
    if code:
        assert "two (two.yaml:2)" in problems[0].message
        assert "one (one.yaml:2)" in problems[1].message


def test_other_parameters_of_one_placement_do_not_conflict(
    doc: type[Doc], problems_of: Callable[..., list[Problem]]
) -> None:
    lines = [doc.experiment("one"), doc.experiment("two", variants=doc.setting("count"))]
    assert problems_of(doc.GROUND + doc.experiments(*lines)) == []


@pytest.mark.parametrize(
    ("one", "two", "over"),
    [
        ("{margin: 0.3}", "{fresh: 0.5}", ""),
        ("{margin: 0.3}", "{margin: 0.4, fresh: 1}", "weights.margin"),
        ("{fresh: 0.3, margin: 1}", "{margin: 0.4, fresh: 1}", "weights.fresh"),
        ("{margin: 0.3}", "3", "weights"),
    ],
)
def test_experiments_on_one_mapping_conflict_where_they_set_one_key_of_it(
    one: str, two: str, over: str, doc: type[Doc], problems_of: Callable[..., list[Problem]]
) -> None:
    lines = [
        doc.experiment("one", variants=doc.setting("weights", one)),
        doc.experiment("two", variants=doc.setting("weights", two)),
    ]
    found = [one for one in problems_of(doc.GROUND + doc.experiments(*lines)) if one.code == "PARAMETER_CONFLICT"]
    where = f"variants.b.parameters.pdp.{over}"
    assert [(problem.path, problem.message.partition(",")[0]) for problem in found] == [
        (f"experiments.{name}.{where}", f"both set {over} of pdp") for name in ("one", "two") if over
    ]


def test_a_draft_gives_way_to_the_unit_of_a_running_one(
    doc: type[Doc], problems_of: Callable[..., list[Problem]]
) -> None:
    lines = [
        doc.experiment("draft", layer="ranking", slots="0%-50%", unit="session", status="draft"),
        doc.experiment("live", layer="ranking", slots="50%-100%", unit="user"),
    ]
    assert [(p.code, p.path) for p in problems_of(doc.GROUND + doc.experiments(*lines))] == [
        ("LAYER_UNIT", "experiments.draft.unit")
    ]


@pytest.mark.parametrize(
    ("section", "entry"),
    [("experiments", ""), ("placements", "{parameters: {x: 1}}"), ("layers", "{}"), ("attributes", "{type: string}")],
)
def test_an_id_in_two_files_names_both(
    section: str, entry: str, doc: type[Doc], problems_of: Callable[..., list[Problem]]
) -> None:
    text = doc.one("same") if section == "experiments" else f"{section}:\n  same: {entry}\n"
    problems = [
        p for p in problems_of({"a.yaml": text, "b.yaml": text, "g.yaml": doc.GROUND}) if p.code == "DUPLICATE_ID"
    ]
    assert [(p.file, p.line, p.path, p.message) for p in problems] == [
        ("a.yaml", 2, f"{section}.same", "same is also in b.yaml:2"),
        ("b.yaml", 2, f"{section}.same", "same is also in a.yaml:2"),
    ]


def test_a_metric_in_two_files_is_noted_at_the_second(
    doc: type[Doc], problems_of: Callable[..., list[Problem]]
) -> None:
    text = "metrics:\n  scroll: {kind: mean, event: scroll, of: count}\n"
    (problem,) = problems_of({"a.yaml": text, "b.yaml": text, "g.yaml": doc.GROUND})
    assert (problem.code, problem.file, problem.line) == ("DUPLICATE_ID", "b.yaml", 2)
    assert problem.message == "scroll is also in a.yaml"


def test_experiments_and_placements_share_their_ids(doc: type[Doc], problems_of: Callable[..., list[Problem]]) -> None:
    problems = problems_of({"g.yaml": doc.GROUND, "x.yaml": doc.one("home")})
    assert [(p.code, p.file) for p in problems] == [("NAMESPACE", "g.yaml"), ("NAMESPACE", "x.yaml")]
    assert "g.yaml:5" in problems[1].message


def test_hundreds_on_one_parameter_are_one_problem_each(
    doc: type[Doc], problems_of: Callable[..., list[Problem]]
) -> None:
    lines = [doc.experiment(f"e{number:03}") for number in range(150)]
    problems = problems_of({"g.yaml": doc.GROUND, "x.yaml": doc.experiments(*lines)})
    assert len(problems) == 150
    assert problems[0].message.endswith("with e001 (x.yaml:3) and many more")


def test_a_directory_that_grows_towards_a_configmaps_limit_is_warned_of(
    doc: type[Doc], problems_of: Callable[..., list[Problem]]
) -> None:
    (problem,) = problems_of({"g.yaml": doc.GROUND + "#" + "x" * (200 * 1024)})
    assert (problem.severity, problem.code) == ("warning", "CONFIGMAP_SIZE")
    assert "--server-side" in problem.remedy
