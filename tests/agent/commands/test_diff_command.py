from __future__ import annotations

import subprocess
import sys
from textwrap import indent
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from abside_agent.commands.diff import main
from abside_agent.settings import DiffSettings, instant

if TYPE_CHECKING:
    from pathlib import Path

NOW = instant("2026-11-23T12:00:00Z")
OLD = """\
attributes:
  country: {type: string, log: true}
placements:
  pdp: {parameters: {model: v1, count: 12}}
  home: {parameters: {model: h1}}
layers:
  ranking: {}
experiments:
  reranker:
    name: n
    hypothesis: h
    status: running
    placements: [pdp]
    layer: ranking
    slots: 0%-50%
    traffic: 20%
    eligibility:
      - {attribute: country, op: in, value: [DE, AT]}
    variants:
      control: {weight: 80%}
      treatment: {weight: 20%, parameters: {pdp: {model: v2}}}
"""
RAMP = ("traffic: 20%", "traffic: 50%")
PAUSE = ("status: running", "status: paused")
WEIGHTS = ("{weight: 80%}\n      treatment: {weight: 20%", "{weight: 50%}\n      treatment: {weight: 50%")
PHASE = ("    traffic", "    phase: 2\n    traffic")


def edited(*changes: tuple[str, str]) -> str:
    text = OLD
    for was, now in changes:
        assert was in text
        text = text.replace(was, now)
    return text


def told(tmp_path: Path, capsys: pytest.CaptureFixture[str], new: str, old: str = OLD) -> tuple[int, Any]:
    (tmp_path / "old.yaml").write_text(old)
    (tmp_path / "new.yaml").write_text(new)
    code = main(DiffSettings(str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml"), at=NOW, json=True))
    return code, orjson.loads(capsys.readouterr().out)


def at(said: Any, placement: str) -> Any:
    (move,) = (one for one in said["placements"] if one["placement"] == placement)
    return {name: round(value, 9) if isinstance(value, float) else value for name, value in move.items()}


def test_a_ramp_moves_nobody_who_is_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = told(tmp_path, capsys, edited(RAMP))
    assert (code, said["problems"]) == (0, [])
    assert [change["sentence"] for change in said["changes"]] == ["reranker is ramped up from 20 % to 50 %."]
    # Half the units have its slots; of these 20 % were in and 50 % will be, a fifth of them with another model.
    assert at(said, "pdp") == {
        "placement": "pdp",
        "variant": 0.15,
        "configuration": 0.03,
        "either": 0.15,
        "enrolled": 0.1,
        "enrolled_variant": 0.0,
        "enrolled_configuration": 0.0,
        "enrolled_either": 0.0,
        "sample_units": 0,
    }
    assert at(said, "home")["enrolled_either"] is None
    (move,) = said["experiments"]
    assert {name: round(move[name], 9) for name in ("joins", "leaves", "switches")} == {
        "joins": 0.15,
        "leaves": 0,
        "switches": 0,
    }


def test_a_pause_takes_everybody_out_and_a_resume_is_its_mirror(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = told(tmp_path, capsys, edited(PAUSE))
    assert (code, [change["kind"] for change in said["changes"]]) == (0, ["paused"])
    assert (at(said, "pdp")["enrolled_variant"], at(said, "pdp")["enrolled_configuration"]) == (1.0, 0.2)
    code, said = told(tmp_path, capsys, OLD, old=edited(PAUSE))
    assert (code, [change["kind"] for change in said["changes"]]) == (0, ["resumed"])
    assert at(said, "pdp")["variant"] == 0.1


def test_weights_without_a_new_phase_are_forbidden_and_the_units_that_would_switch_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = told(tmp_path, capsys, edited(WEIGHTS))
    assert code == 1
    (problem,) = said["problems"]
    assert (problem["code"], problem["file"], problem["line"]) == ("NEEDS_PHASE", str(tmp_path / "new.yaml"), 19)
    assert "phase: 2" in problem["remedy"]
    assert at(said, "pdp")["enrolled_variant"] == 0.3


def test_with_a_new_phase_weights_may_change_and_all_are_drawn_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = told(tmp_path, capsys, edited(WEIGHTS, PHASE))
    assert (code, [change["kind"] for change in said["changes"]]) == (0, ["phase", "reweighted"])
    # Of those in before 80 % are no more in; of the others half keep their variant.
    assert at(said, "pdp")["enrolled_variant"] == 0.9


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        ([("running", "draft")], [], ["started"]),
        ([], [("status: running", "status: ended")], ["ended"]),
        ([("    traffic", '    start: "2026-12-01T00:00:00Z"\n    traffic')], [], ["started", "schedule"]),
        ([], [("count: 12", "count: 24")], ["placement"]),
        ([], [("model: v2", "model: v3")], ["parameters"]),
        ([], [("hypothesis: h", "hypothesis: other")], ["words"]),
        ([], [("    traffic", "    force: {treatment: [qa]}\n    traffic")], ["forced"]),
        ([], [("value: [DE, AT]", "value: [DE]")], ["eligibility"]),
        ([], [("0%-50%", "0%-40%")], ["slots"]),
        ([], [("  ranking: {}", "  ranking: {}\n  other: {}"), ("string, log: true", "string")], ["ground", "ground"]),
        ([], [], []),
    ],
)
def test_every_change_has_its_sentence(
    old: list[tuple[str, str]],
    new: list[tuple[str, str]],
    kinds: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = told(tmp_path, capsys, edited(*new), edited(*old))[1]
    assert [change["kind"] for change in said["changes"]] == kinds
    for change in said["changes"]:
        assert change["sentence"].endswith(".")


def test_an_experiment_comes_and_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = OLD[OLD.index("  reranker:") :].replace("reranker", "second").replace("0%-50%", "50%-100%")
    said = told(tmp_path, capsys, OLD + other)[1]
    assert [(change["kind"], change["id"]) for change in said["changes"]] == [("started", "second")]
    code, said = told(tmp_path, capsys, OLD, OLD + other)
    assert [(change["kind"], change["id"]) for change in said["changes"]] == [("removed", "second")]
    assert (code, [problem["code"] for problem in said["problems"]]) == (0, ["NOT_RETIRED"])


def test_what_check_would_refuse_is_an_error_and_the_last_good_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = told(tmp_path, capsys, edited(("weight: 80%", "weight: 90%"), RAMP))
    assert (code, [problem["code"] for problem in said["problems"]], said["changes"]) == (1, ["WEIGHTS"], [])


def test_in_a_terminal_there_is_a_sentence_a_table_and_what_is_assumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("old", OLD), ("new", edited(RAMP))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yaml").write_text(text)
    assert main(DiffSettings(str(tmp_path / "old"), str(tmp_path / "new"), at=NOW)) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[:2] == [
        "reranker is ramped up from 20 % to 50 %.",
        "    of all units 15 % join, 0 % leave, 0 % switch variant; in it before 10 %, after 25 %",
    ]
    assert lines[5].split("  ")[0] == "home"
    assert " ".join(lines[6].split()) == "pdp 15 % 3 % 15 % 10 % 0 % 0 % 0 %"
    assert "every unit is eligible" in lines[8]
    assert lines[9] == "Not everybody is eligible for reranker."
    assert lines[-1] == "1 change: 0 errors, 0 warnings"
    assert main(DiffSettings(str(tmp_path / "old"), str(tmp_path / "old"), at=NOW)) == 0
    assert capsys.readouterr().out.startswith("Nothing changes.\n")


def test_a_forbidden_change_is_quoted_with_its_line_also_inside_a_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.yaml").write_text(OLD)
    text = "kind: ConfigMap\ndata:\n  a.yaml: |\n" + indent(edited(WEIGHTS), "    ")
    (tmp_path / "new.yaml").write_text(text)
    assert main(DiffSettings(str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml"), at=NOW)) == 1
    lines = capsys.readouterr().out.splitlines()
    number = text.splitlines().index("        variants:") + 1
    assert lines[0].startswith(f"{tmp_path / 'new.yaml'}:{number}:9: error: experiments.reranker.variants: the weights")
    assert lines[1:3] == [f"  {number} |         variants:", f"  {' ' * len(str(number))} |         ^^^^^^^^"]


def test_what_the_old_documents_leave_out_is_said_and_the_rest_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.yaml").write_text(OLD + "  bad: {status: running}\n")
    (tmp_path / "new.yaml").write_text(edited(RAMP))
    assert main(DiffSettings(str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml"), at=NOW)) == 0
    out, err = capsys.readouterr()
    assert "left out of it: experiments.bad" in err
    assert out.startswith("reranker is ramped up")


@pytest.mark.parametrize("text", ["", "layers: {}\n", "\t"])
def test_where_the_old_documents_give_nothing_there_is_nothing_to_compare_with(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.yaml").write_text(text)
    (tmp_path / "new.yaml").write_text(OLD)
    assert main(DiffSettings(str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml"))) == 2
    assert "nothing there can be compared with" in capsys.readouterr().err


def test_the_command_exits_with_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD)
    (tmp_path / "new.yaml").write_text(edited(WEIGHTS))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "abside", "diff", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert run("old.yaml", "old.yaml").returncode == 0
    assert run("old.yaml", "new.yaml").returncode == 1
    assert run("old.yaml").returncode == 2
    assert run("old.yaml", "new.yaml", "--at", "tomorrow").returncode == 2
    missing = run("old.yaml", "nowhere")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "nowhere: no such file or directory" in missing.stderr
