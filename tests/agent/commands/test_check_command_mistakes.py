from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from abside_agent.commands.check import main
from abside_agent.settings import CheckSettings

if TYPE_CHECKING:
    from pathlib import Path

MISTAKES = """\
placements:
  pdp: {parameters: {model: ranker-v1, count: 12}}
layers:
  ranking: {}
attributes:
  country: {type: string}
experiments:
  better-ranker:
    name: Better ranker
    hypothesis: It sells more
    status: runing
    placements: [pdpp]
    layer: rankin
    slots: 0%-50%
    traffic: 20
    eligibility:
      - {attribute: contry, op: eq, value: DE}
      - {attribute: country, op: equal, value: DE}
    variants:
      control: {weight: 80%}
      treatment: {weight: 30%, parameters: {pdp: {modle: ranker-v2}}}
    force: {treatmnt: [qa-1]}
    end: 2026-12-01
"""


def test_ten_different_mistakes_are_named_by_line_in_one_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(MISTAKES)
    assert main(CheckSettings((str(path),), json=True)) == 1
    problems = orjson.loads(capsys.readouterr().out)["problems"]
    assert [(one["line"], one["code"]) for one in problems] == [
        (11, "UNKNOWN_VALUE"),
        (12, "UNKNOWN_PLACEMENT"),
        (13, "UNKNOWN_LAYER"),
        (15, "PERCENT"),
        (17, "UNKNOWN_ATTRIBUTE"),
        (18, "UNKNOWN_OP"),
        (19, "WEIGHTS"),
        (21, "NOT_ITS_PLACEMENT"),
        (21, "UNDECLARED_PARAMETER"),
        (22, "FORCE"),
        (23, "INSTANT"),
    ]
    meant = {one["line"]: one["remedy"].replace("'", "") for one in problems if "did you mean" in one["remedy"]}
    assert meant[11] == "did you mean running?"
    assert meant[12] == "did you mean pdp?"
    assert meant[13] == "did you mean ranking?"
    assert meant[17] == "did you mean country?"
    assert meant[21] == "did you mean model?"
    assert meant[22] == "did you mean treatment?"


def test_the_caret_stands_under_the_value_whatever_is_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(
        MISTAKES.replace("name: Better ranker", "name: [推荐, x]").replace("status: runing", "status: draft")
    )
    assert main(CheckSettings((str(path),))) == 1
    lines = capsys.readouterr().out.splitlines()
    for number, line in enumerate(lines):
        if line.strip().startswith("| "):
            quoted, carets = lines[number - 1], line
            start = carets.index("^")
            if quoted.isascii():
                assert quoted[start] not in " :{[", quoted
    assert any(line.endswith("^^") for line in lines)
    assert "\x1b" not in "".join(lines)  # plain when it is no terminal


def test_a_long_line_is_cut_around_its_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("placements: {pdp: {parameters: {a: " + '"' + "x" * 400 + '"}, nope: 1}}\n')
    assert main(CheckSettings((str(path),))) == 1
    quoted, carets = capsys.readouterr().out.splitlines()[1:3]
    assert len(quoted) < 180
    start = carets.index("^")
    assert quoted[start : start + 4] == "nope"
    assert carets[start:] == "^^^^"


MANIFEST = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: abside-experiments}
data:
  placements.yaml: |
    placements:
      pdp: {parameters: {model: a}}
  notes.txt: not read
  experiments.yaml: |
    # a comment

    experiments:
      x:
        name: A
        hypothesis: B
        status: runing
        placements: [pdp]
        variants: {control: {weight: 50%}, b: {weight: 50%, parameters: {pdp: {model: c}}}}
"""


def test_lines_inside_a_manifests_block_scalars_are_the_manifests_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "configmap.yaml"
    path.write_text(MANIFEST)
    assert main(CheckSettings((str(path),))) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{path}:16:17: error: experiments.x.status")
    assert lines[1] == "  16 |         status: runing"
    assert lines[2] == "     |                 ^^^^^^"
    assert lines[-1] == "1 file, 1 experiment: 1 error, 0 warnings"


def test_a_sound_manifest_is_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "configmap.yaml").write_text(MANIFEST.replace("runing", "running"))
    assert main(CheckSettings((str(tmp_path),), strict=True)) == 0
    assert capsys.readouterr().out == "1 file, 1 experiment: 0 errors, 0 warnings\n"


WARNED = """\
placements:
  pdp: {parameters: {model: a}}
layers: {full: {}, half: {}}
attributes: {country: {type: string}, age: {type: number}, app: {type: version}}
experiments:
  x:
    name: A
    hypothesis: B
    status: running
    placements: [pdp]
    layer: full
    slots: 0%-100%
    variants: {control: {weight: 50%}, b: {weight: 50%, parameters: {pdp: {model: c}}}}
"""


def warned(tmp_path: Path, capsys: pytest.CaptureFixture[str], *lines: str, **replaced: str) -> list[tuple[int, str]]:
    text = WARNED + "".join(f"    {line}\n" for line in lines)
    for old, new in replaced.items():
        text = text.replace(f"{old}: ", f"{new}: ") if old == "x" else text.replace(f"model: {old}", f"model: {new}")
    (tmp_path / "f.yaml").write_text(text)
    assert main(CheckSettings((str(tmp_path),), json=True)) == 0
    problems = orjson.loads(capsys.readouterr().out)["problems"]
    assert main(CheckSettings((str(tmp_path),), json=True, strict=True)) == int(bool(problems))
    return [(one["line"], one["code"]) for one in problems]


def test_a_full_layer_is_no_mistake_and_is_in_the_list_of_free_slots(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.yaml").write_text(WARNED)
    assert main(CheckSettings((str(tmp_path),), strict=True)) == 0
    out = capsys.readouterr().out
    full = "none: end an experiment, narrow its slots, or declare another layer"
    assert f"free slots\n  full: {full}\n  half: 0%-100%\n" in out
    (tmp_path / "f.yaml").write_text(WARNED.replace("0%-100%", "20%-99.5%"))
    assert main(CheckSettings((str(tmp_path),), strict=True)) == 0
    assert "full: 0%-20%, 99.5%-100%\n" in capsys.readouterr().out


def test_an_end_that_is_past_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert warned(tmp_path, capsys, 'end: "2026-01-01T00:00:00Z"') == [(14, "END_PAST")]


def test_a_step_of_more_than_thirty_points_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = (f'{{from: "2026-12-{day:02}T00:00:00Z", traffic: {share}%}}' for day, share in ((1, 30), (2, 60), (3, 91)))
    assert warned(tmp_path, capsys, "steps:", *(f"- {day}" for day in days)) == [(17, "STEEP_STEP")]


def test_variants_that_give_the_same_are_a_warning_and_an_a_a_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert warned(tmp_path, capsys, c="a") == [(13, "SAME_PARAMETERS")]
    (tmp_path / "f.yaml").write_text(WARNED.replace(", parameters: {pdp: {model: c}}", "").replace("0%-100%", "0%-9%"))
    assert main(CheckSettings((str(tmp_path),), strict=True)) == 0


@pytest.mark.parametrize(
    ("declared", "warns"),
    [
        ("margin_weight: 0", True),
        ("recencyBoost: 1", True),
        ("feature_weights: {margin: 0.0, fresh: 1}", True),
        ("weights: {by: {tier: {gold: 1}}}", False),  # named by the key itself or the one above it
        ("weights: [0, 1]", True),
        ("weights: [0, 0.5]", False),
        ("weights: [1.0]", False),
        ("weight: 0.0", False),
        ("weight: heavy", False),
        ("weight_limit: 3", False),
        ("item_count: 12", False),
        ("overweight: 1", False),
    ],
)
def test_a_whole_number_declared_for_what_is_named_as_a_weight_is_a_warning(
    declared: str, warns: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.yaml").write_text(f"placements:\n  pdp:\n    parameters: {{{declared}}}\nexperiments: {{}}\n")
    assert main(CheckSettings((str(tmp_path),), strict=True)) == int(warns)
    out = capsys.readouterr().out
    assert ("named as a weight and declared as a whole number" in out) is warns
    assert (".0" in out.partition("= write ")[2].partition("\n")[0]) is warns


def test_an_e_mail_address_as_forced_id_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert warned(tmp_path, capsys, "force: {b: [qa-1, ann@example.com]}") == [(14, "EMAIL_ID")]


@pytest.mark.parametrize(
    ("conditions", "never"),
    [
        ("[{attribute: country, op: eq, value: DE}, {attribute: country, op: eq, value: AT}]", True),
        ("[{attribute: country, op: in, value: [DE, AT]}, {attribute: country, op: in, value: [AT, CH]}]", False),
        ("[{attribute: country, op: eq, value: DE}, {attribute: country, op: missing}]", True),
        ("[{attribute: country, op: ne, value: DE, or_missing: true}, {attribute: country, op: missing}]", False),
        ("[{attribute: country, op: starts_with, value: D}, {attribute: country, op: contains, value: Z}]", False),
        ("[{attribute: country, op: ends_with, value: Z}, {attribute: country, op: starts_with, value: D}]", False),
        ("[{attribute: country, op: ends_with, value: EX}, {attribute: country, op: in, value: [DE, AT]}]", True),
        ("[{attribute: age, op: gt, value: 5}, {attribute: age, op: lt, value: 6}]", False),
        ("[{attribute: age, op: gt, value: 6}, {attribute: age, op: lt, value: 5}]", True),
        ("[{attribute: app, op: gt, value: 1.0.0}, {attribute: app, op: lt, value: 1.0.1}]", False),
        ("[{attribute: app, op: gte, value: 2.0.0}, {attribute: app, op: lt, value: 1.9.0}]", True),
        ("[{attribute: placement, op: eq, value: home}]", True),
        ("[{any: [{attribute: placement, op: eq, value: home}, {attribute: age, op: gt, value: 1}]}]", False),
        ("[{attribute: logged_in, op: eq, value: false}]", False),
    ],
)
def test_an_eligibility_that_can_never_hold_is_a_warning(
    conditions: str, never: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = warned(tmp_path, capsys, f"eligibility: {conditions}")
    assert found == ([(14, "NEVER_ELIGIBLE")] if never else [])


def test_a_directory_over_200_kib_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f.yaml").write_text("# " + "x" * 205_000 + "\n" + WARNED.replace("0%-100%", "0%-50%"))
    assert main(CheckSettings((str(tmp_path),))) == 0
    assert "warning: 200 KiB of documents" in capsys.readouterr().out


def test_a_key_of_a_manifest_that_the_agent_does_not_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "configmap.yaml"
    path.write_text(MANIFEST.replace("runing", "running").replace("experiments.yaml", "experiments.yml"))
    assert main(CheckSettings((str(path),), strict=True)) == 1
    out = capsys.readouterr().out
    assert f"{path}:9:3: warning: data.experiments.yml: only keys *.yaml are read [FILE_NAME]" in out
    assert "= rename the key to experiments.yaml" in out
    assert "notes.txt" not in out
