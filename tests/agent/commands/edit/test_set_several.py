"""`abside set` of several experiments at once, and of fields that are taken away."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from abside_agent.commands.set import main
from abside_agent.settings import SetSettings

if TYPE_CHECKING:
    from pathlib import Path

GROUND = "placements: {pdp: {parameters: {model: a}}}\nlayers: {one: {}}\n"
PAIR = """\
experiments:
  one: {name: A, hypothesis: B, status: running, placements: [pdp], traffic: 20%, # of all
        variants: {control: {weight: 50%}, b: {weight: 50%, parameters: {pdp: {model: b}}}}}
  two:
    name: A
    hypothesis: B
    status: draft
    placements: [pdp]
    steps:       # by the clock
      - {from: "2027-01-01T00:00:00Z", traffic: 5%}
      # later more
      - {from: "2027-01-02T00:00:00Z", traffic: 20%}
    # the arms
    variants: {control: {weight: 50%}, b: {weight: 50%, parameters: {pdp: {model: c}}}}
    owner: >-
      us
    force: {b: [me]}
"""


def world(tmp_path: Path) -> Path:
    (tmp_path / "ground.yaml").write_text(GROUND)
    path = tmp_path / "pair.yaml"
    path.write_text(PAIR)
    return path


def change(tmp_path: Path, *changes: str, name: str) -> int:
    return main(SetSettings(name, changes, (str(tmp_path),), yes=True))


def abside(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "abside", "set", *words, "--config", str(tmp_path), "--yes"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_several_experiments_change_in_one_go_and_are_judged_together(tmp_path: Path) -> None:
    path = world(tmp_path)
    second = ("two", "layer=one", "slots=50%-100%", "status=running")
    alone = abside(tmp_path, *second)
    assert alone.returncode == 1
    assert "write in one layer: one and slots: 0%-50%; or give" in alone.stderr
    assert path.read_text() == PAIR
    done = abside(tmp_path, "one", "layer=one", "slots=0%-50%", "--", *second)
    assert done.returncode == 0, done.stderr
    assert "[MEMBERSHIP_CHANGED]" in done.stdout
    assert "[CARRY_OVER]" in done.stdout
    wanted = PAIR.replace("one: {name", "one: {layer: one, slots: 0%-50%, name")
    new = "    status: running\n    layer: one\n    slots: 50%-100%\n"
    assert path.read_text() == wanted.replace("    status: draft\n", new)


@pytest.mark.parametrize(
    ("asked", "gone"),
    [
        (("one", "traffic="), " traffic: 20%,"),
        (("two", "owner="), "    owner: >-\n      us\n"),
        (("two", "force="), "    force: {b: [me]}\n"),
        (("two", "steps="), PAIR[PAIR.index("    steps:") : PAIR.index("    # the arms")]),
        (("one", "variants.b.parameters="), ", parameters: {pdp: {model: b}}"),
        (("one", "end=", "analysis.window="), ""),
    ],
)
def test_a_field_with_nothing_behind_the_sign_is_taken_away(
    asked: tuple[str, ...], gone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = world(tmp_path)
    assert change(tmp_path, *asked[1:], name=asked[0]) == 0, capsys.readouterr()
    assert path.read_text() == PAIR.replace(gone, "")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("one", "name="), "name is missing"),
        (("two", "force.b="), "write force= to take all of it away"),
        (("one", "status"), "'status' is no change"),
        (("one", "two", "traffic=5%"), "nothing is to change in one"),
        (("one", "traffic=5%", "--", "too", "traffic=5%"), "did you mean two?"),
        (("one", "trafic=", "two"), "did you mean traffic?"),
    ],
)
def test_what_cannot_be_taken_away_or_is_no_change_is_refused(
    asked: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = world(tmp_path)
    words = tuple(one for one in asked[1:] if one != "--")
    assert change(tmp_path, *words, name=asked[0]) != 0
    assert said in capsys.readouterr().err
    assert path.read_text() == PAIR
