from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from abside_agent.commands.check import main as check
from abside_agent.commands.ship import main
from abside_agent.settings import CheckSettings, ShipSettings

SAMPLES = Path(__file__).parents[3] / "k8s" / "experiments" / "config"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLES, tmp_path / "config"))


def test_the_variants_parameters_become_the_placements_and_the_experiment_ends(config: Path) -> None:
    assert main(ShipSettings("pdp-reranker", "treatment", (str(config),), yes=True)) == 0
    assert check(CheckSettings((str(config),), strict=True)) == 0
    before = (SAMPLES / "placements.yaml").read_text()
    after = before.replace("model: ranker-v1", "model: ranker-v2", 1).replace("margin: 0.0", "margin: 0.3", 1)
    assert after != before
    assert (config / "placements.yaml").read_text() == after
    pdp = (SAMPLES / "pdp.yaml").read_text()
    assert (config / "pdp.yaml").read_text() == pdp.replace("status: running", "status: ended")


def test_a_mapping_in_block_style_keeps_its_comments_and_text_its_quotes_where_it_needs_them(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    text = """\
placements:
  pdp:
    parameters:
      weights:
        a: 0.5   # first
        b: 1.0   # second
      title: plain
      list: [1]
experiments:
  x:
    name: A
    hypothesis: B
    status: running
    placements: [pdp]
    variants:
      control: {weight: 50%}
      t: {weight: 50%, parameters: {pdp: {weights: {a: 2, b: 0.25}, title: "on: yes", list: [2, 3]}}}
"""
    path.write_text(text)
    assert main(ShipSettings("x", "t", (str(path),), yes=True)) == 0
    wanted = text.replace("a: 0.5  ", "a: 2  ").replace("b: 1.0  ", "b: 0.25  ").replace("plain", '"on: yes"')
    assert path.read_text() == wanted.replace("list: [1]", "list: [2, 3]").replace("status: running", "status: ended")


def test_a_key_of_a_mapping_is_shipped_alone(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    text = """\
placements:
  pdp: {parameters: {weights: {a: 0.5, b: {c: 1.0, d: 2.0}}, model: v1}}
experiments:
  x:
    name: A
    hypothesis: B
    status: running
    placements: [pdp]
    variants:
      control: {weight: 50%}
      t: {weight: 50%, parameters: {pdp: {weights: {b: {d: 9}}}}}
"""
    path.write_text(text)
    assert main(ShipSettings("x", "t", (str(path),), yes=True)) == 0
    assert path.read_text() == text.replace("d: 2.0", "d: 9").replace("running", "ended")


def test_the_control_ships_as_the_end_of_the_experiment(config: Path) -> None:
    assert main(ShipSettings("pdp-reranker", "control", (str(config),), yes=True)) == 0
    assert (config / "placements.yaml").read_text() == (SAMPLES / "placements.yaml").read_text()
    assert "status: ended" in (config / "pdp.yaml").read_text()


def test_an_unknown_variant_or_experiment_is_asked_back(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ShipSettings("pdp-reranker", "treatmnt", (str(config),), yes=True)) == 1
    assert "did you mean treatment?" in capsys.readouterr().err
    assert main(ShipSettings("pdp-rerankr", "treatment", (str(config),), yes=True)) == 1
    assert "did you mean pdp-reranker?" in capsys.readouterr().err
    assert main(ShipSettings("pdp-reranker", "treatment", ("/nowhere",), yes=True)) == 2


def test_both_files_stay_as_they_are_when_nobody_says_yes(config: Path) -> None:
    command = [sys.executable, "-m", "abside", "ship", "pdp-reranker", "treatment", "--config", str(config)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "+      model: ranker-v2" in done.stdout
    for name in ("pdp.yaml", "placements.yaml"):
        assert (config / name).read_text() == (SAMPLES / name).read_text()


def test_neither_the_agent_nor_check_loads_what_only_edits_need() -> None:
    rooms = "abside_agent.run.loop, abside_agent.commands.check, abside_agent.run.child.inside"
    code = f"import {rooms}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name for name in done.stdout.split() if name.startswith("ruamel")}


@pytest.mark.parametrize("value", ["99999999999999999999999", "9" * 50, ".inf", "&a b", ""])
def test_a_value_that_cannot_be_taken_is_a_refusal(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variants = f"{{control: {{weight: 50%}}, b: {{weight: 50%, parameters: {{pdp: {{model: {value}}}}}}}}}"
    text = (
        "placements: {pdp: {parameters: {model: 1}}}\nexperiments:\n"
        f"  x: {{name: X, hypothesis: H, status: running, placements: [pdp], variants: {variants}}}\n"
    )
    (tmp_path / "f.yaml").write_text(text)
    assert main(ShipSettings("x", "b", (str(tmp_path),), yes=True)) == 1
    assert "".join(capsys.readouterr())
    assert (tmp_path / "f.yaml").read_text() == text
