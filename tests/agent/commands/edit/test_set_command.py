from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from abside_agent.commands.edit.documents import editing
from abside_agent.commands.edit.spans import EditError
from abside_agent.commands.set import main
from abside_agent.settings import SetSettings

if TYPE_CHECKING:
    from pathlib import Path

GROUND = "placements: {pdp: {parameters: {model: a}}}\nlayers: {one: {}}\nattributes: {country: {type: string}}\n"
BLOCK = """\
# What we try now.
experiments:

  idea:   # the best one
    name:  "An idea"
    hypothesis: >-
      It lifts
      a lot
    status:   running     # for now
    placements:
      - pdp   # only here
    traffic: 20%
    variants:
      control:   {weight: 50%}
      b:    {weight: 50%,  parameters: {pdp: {model: b}}}   # odd   spaces
    force: {}
    analysis: {}


# The end.
"""
FLOW = """\
experiments:
  idea: {name: An idea, hypothesis: "It, too", status: running, placements: [pdp], # here
         variants: {control: {weight: 50%}, b: {weight: 50%, parameters: {pdp: {model: b}}}}}
"""


def world(tmp_path: Path, text: str) -> Path:
    (tmp_path / "ground.yaml").write_text(GROUND)
    path = tmp_path / "idea.yaml"
    path.write_bytes(text.encode())
    return path


def change(tmp_path: Path, *changes: str, name: str = "idea") -> int:
    return main(SetSettings(name, changes, (str(tmp_path),), yes=True))


@pytest.mark.parametrize(
    ("asked", "old", "new"),
    [
        ("status=paused", "status:   running     #", "status:   paused     #"),
        ("traffic=5%", "traffic: 20%", "traffic: 5%"),
        ("name=Two: ideas", '"An idea"', '"Two: ideas"'),
        ("name=An [idea]", '"An idea"', '"An [idea]"'),
        ("end=2027-01-01T00:00:00Z", "for now\n", "for now\n    end: 2027-01-01T00:00:00Z\n"),
        ("force.b=[me, you]", "force: {}", "force: {b: [me, you]}"),
        ("variants.b.parameters.pdp.model=c", "{model: b}", "{model: c}"),
        ("placements=[pdp]", "placements:\n      - pdp   # only here", "placements: [pdp]   # only here"),
        ("hypothesis=No", ">-\n      It lifts\n      a lot", None),
        ("analysis={window: 3d}", "analysis: {}\n", "analysis: {window: 3d}\n"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_nothing_but_the_value_changes(
    asked: str, old: str, new: str | None, line_end: str, mark: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (mark + BLOCK).replace("\n", line_end)
    path = world(tmp_path, text)
    code = change(tmp_path, asked)
    wanted = text if new is None else text.replace(old.replace("\n", line_end), new.replace("\n", line_end))
    assert code == int(new is None), capsys.readouterr()
    assert path.read_bytes().decode() == wanted


def test_a_key_with_nothing_behind_it_is_mended(tmp_path: Path) -> None:
    text = BLOCK.replace("analysis: {}", "analysis:")
    path = world(tmp_path, text)
    assert change(tmp_path, "analysis={window: 3d}") == 0
    assert path.read_text() == text.replace("analysis:\n", "analysis: {window: 3d}\n")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["ground.yaml", "idea.yaml"]


def test_in_a_mapping_in_braces_too(tmp_path: Path) -> None:
    path = world(tmp_path, FLOW)
    assert change(tmp_path, "status=paused", "traffic=5%", "name=a, b") == 0
    wanted = FLOW.replace("status: running", "status: paused").replace("An idea", '"a, b"')
    assert path.read_text() == wanted.replace("idea: {", "idea: {traffic: 5%, ")


def test_the_diff_is_printed_first_and_a_no_leaves_the_file(tmp_path: Path) -> None:
    path = world(tmp_path, BLOCK)
    command = [sys.executable, "-m", "abside", "set", "idea", "status=paused", "--config", str(tmp_path)]
    for answer in ("n\n", ""):
        done = subprocess.run(command, input=answer, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stdout.index("+    status:   paused     # for now") < done.stdout.index("Write it? [y/N]")
        assert done.stdout.endswith("Nothing was written.\n")
        assert path.read_text() == BLOCK
    done = subprocess.run(command, input="y\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.endswith("Written.\n")
    assert "paused" in path.read_text()


def test_what_would_not_pass_check_is_refused_with_its_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = world(tmp_path, BLOCK)
    assert change(tmp_path, "status=pausd") == 1
    said = capsys.readouterr().err
    assert "did you mean paused?" in said
    assert said.endswith("Nothing was written: the result would not pass.\n")
    assert path.read_text() == BLOCK


def test_mistakes_that_were_there_before_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = world(tmp_path, BLOCK)
    (tmp_path / "other.yaml").write_text(
        BLOCK.replace("idea:", "other:").replace("running ", "draft ").replace("20%", "20")
    )
    old = "other.yaml:12:14: error: experiments.other.traffic: a percentage needs its sign"
    for asked, said in {
        "traffic=5%": "These mistakes were there before: correct them first, or in one call, each experiment after --.",
        "status=pausd": "the result would not pass. Of 2 mistakes 1 was there before.",
    }.items():
        assert change(tmp_path, asked) == 1
        shown = capsys.readouterr().err
        assert old in shown
        assert shown.endswith(f"{said}\n")
    assert path.read_text() == BLOCK
    assert change(tmp_path, "status=draft", "other", "traffic=5%") == 0


def test_what_a_running_experiment_must_not_do_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = world(tmp_path, BLOCK)
    weights = ("variants.control.weight=40%", "variants.b.weight=60%")
    assert change(tmp_path, *weights) == 1
    assert "phase" in capsys.readouterr().err
    assert path.read_text() == BLOCK
    assert change(tmp_path, *weights, "phase=2") == 0


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        ("status", 2, "is no change"),
        ("staus=paused", 2, "did you mean status?"),
        ("variants.c.weight=5%", 1, "there is nothing there"),
        ("variants.b.wait=5%", 1, "did you mean weight?"),
        ("variants=5%", 1, "there is a mapping; name one of its keys"),
    ],
)
def test_a_change_that_says_nothing_is_refused(
    asked: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = world(tmp_path, BLOCK)
    assert change(tmp_path, asked) == code
    assert said in capsys.readouterr().err
    assert path.read_text() == BLOCK


def test_an_unknown_experiment_is_asked_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world(tmp_path, BLOCK)
    assert change(tmp_path, "status=paused", name="idee") == 1
    assert "did you mean idea?" in capsys.readouterr().err
    assert change(tmp_path / "no", "status=paused") == 2


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = world(tmp_path, BLOCK)
    edited = editing([str(tmp_path)]).changed(("experiments", "idea", "status"), "paused")
    path.write_text(BLOCK + "# more\n")
    with pytest.raises(EditError, match="changed meanwhile"):
        edited.put()
    assert path.read_text() == BLOCK + "# more\n"


def test_mode_and_links_stay(tmp_path: Path) -> None:
    path = world(tmp_path, BLOCK)
    path.chmod(0o640)
    away = tmp_path / "away"
    away.mkdir()
    target = path.rename(away / "real.yaml")
    path.symlink_to(target)
    assert change(tmp_path, "status=paused") == 0
    assert path.is_symlink()
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o640  # noqa: PTH116 the mode of the target
    assert "paused" in target.read_text()


def test_a_manifest_is_refused_and_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "configmap.yaml"
    inner = "".join(f"    {line}\n" for line in (GROUND + BLOCK).splitlines())
    manifest = f"kind: ConfigMap\ndata:\n  other.yaml: |\n    retired: []\n  all.yaml: |\n{inner}"
    path.write_text(manifest)
    assert change(tmp_path, "status=paused") == 1
    assert "ConfigMap manifest" in capsys.readouterr().err
    assert path.read_text() == manifest


def test_a_value_elsewhere_that_cannot_be_read_is_a_refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = world(
        tmp_path, BLOCK.replace("force: {}", "force: {}\n    phase: 99999999999999999999999999999999999999999")
    )
    before = path.read_bytes()
    assert change(tmp_path, "traffic=5%") == 1
    assert "the value at line" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize("character", ["\u2028", "\x85", "\ufeff", "\xa0"])
def test_prose_and_comments_with_any_character_stay_as_they_are(character: str, tmp_path: Path) -> None:
    text = BLOCK.replace("An idea", f"An{character}idea").replace("odd", f"o{character}dd")
    path = world(tmp_path, text)
    assert change(tmp_path, "variants.b.parameters.pdp.model=c", "traffic=5%") == 0
    assert path.read_text() == text.replace("{model: b}", "{model: c}").replace("traffic: 20%", "traffic: 5%")


def test_an_integer_of_any_size_is_refused_by_the_check(tmp_path: Path) -> None:
    path = world(tmp_path, BLOCK.replace("analysis: {}", "analysis:\n      window: 7d"))
    before = path.read_bytes()
    assert change(tmp_path, "analysis={planned_units: 99999999999999999999999}") == 1
    assert path.read_bytes() == before
