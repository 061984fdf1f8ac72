from __future__ import annotations

from pathlib import Path

import pytest

from abside_agent.commands.check import main as check
from abside_agent.commands.new import main
from abside_agent.settings import CheckSettings, NewSettings

SAMPLES = str(Path(__file__).parents[3] / "k8s" / "experiments" / "config")
GROUND = "placements: {pdp: {parameters: {model: a, shares: {x: 1.0}, odd key: [1, true]}}}\n"


@pytest.mark.parametrize("aa", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_what_it_prints_passes_check_beside_its_placement(
    aa: bool, known: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ground.yaml").write_text(GROUND)
    assert main(NewSettings("idea", "pdp", (str(tmp_path),) if known else (), aa)) == 0
    written = capsys.readouterr().out
    (tmp_path / "idea.yaml").write_text(written)
    assert check(CheckSettings((str(tmp_path),))) == 0
    said = capsys.readouterr().out
    assert said.endswith(f"2 files, 1 experiment: 0 errors, {int(known and not aa)} warning{'s' * (not known or aa)}\n")
    assert ("SAME_PARAMETERS" in said) is (known and not aa)  # until someone changes what it is about


def test_with_every_comment_taken_away_it_passes_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ground.yaml").write_text(GROUND + "layers: {one: {}}\nattributes: {country: {type: string}}\n")
    assert main(NewSettings("idea", "pdp", (str(tmp_path),))) == 0
    written = capsys.readouterr().out.replace("# layer: …", "layer: one").replace("# steps:", "steps:")
    for word in ("start", "end", "slots", "eligibility", "force", "phase", "shares", '"odd key"', "  - {"):
        assert f"# {word}" in written
        written = written.replace(f"# {word}", f"{word}")
    written = written.replace("    traffic: 1%", "    # traffic: 1%")
    (tmp_path / "idea.yaml").write_text(written)
    assert check(CheckSettings((str(tmp_path),))) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("layers", "experiment", "proposed"),
    [
        ("{pdp-ranking: {}}", "", "    layer: pdp-ranking   # with slots: exp"),
        ("{pdp-ranking: {}}", "", "    slots: 0%-50%        # free now; the other half is for the next experiment\n"),
        ("{pdp-ranking: {}, l: {}}", "layer: l, slots: 0%-30%", "    layer: l "),
        ("{pdp-ranking: {}, l: {}}", "layer: l, slots: 0%-30%", "    slots: 30%-100%      # free now\n"),
        ("{l: {}}", "layer: l, slots: 0%-30%, unit: user", "    unit: user           # that of all"),
        ("{l: {}}", "layer: l, slots: 0%-100%", "    # layer: l   # it has no free slots"),
        ("{l: {}}", "layer: l, slots: 0%-100%, status: ended", "    # layer: … "),
        ("{l: {}}", "", "    # layer: … "),
    ],
)
def test_it_proposes_the_layer_of_its_placement_with_slots_that_are_free(
    layers: str, experiment: str, proposed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = "name: A, hypothesis: B, placements: [pdp], variants: {control: {weight: 100%}}"
    text = f"{GROUND}layers: {layers}\n"
    if experiment:
        experiment += "" if "status" in experiment else ", status: running"
        text += f"experiments: {{first: {{{first}, {experiment}}}}}\n"
    (tmp_path / "ground.yaml").write_text(text)
    assert main(NewSettings("idea", "pdp", (str(tmp_path),))) == 0
    written = capsys.readouterr().out
    assert proposed in written
    (tmp_path / "idea.yaml").write_text(written.replace("status: draft", "status: running"))
    assert check(CheckSettings((str(tmp_path),))) == 0, capsys.readouterr().out
    assert main(NewSettings("an-a-a", "pdp", (str(tmp_path),), aa=True)) == 0
    assert "\n    layer" not in capsys.readouterr().out  # it disturbs nobody, and finds more among all units


@pytest.mark.parametrize(
    ("name", "placement", "said"),
    [
        ("pdp-reranker", "pdp", "pdp-reranker is taken in"),
        ("cart", "pdp", "cart is taken in"),
        ("idea", "pdpp", "there is no placement pdpp: did you mean pdp?"),
        ("-idea", "pdp", "'-idea': this is not an id"),
        ("idea: {", "pdp", "this is not an id"),
        ("idea", "p d p", "'p d p': this is not an id"),
    ],
)
def test_an_id_that_will_not_do_is_refused(
    name: str, placement: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(NewSettings(name, placement, (SAMPLES,))) == 1
    out, err = capsys.readouterr()
    assert not out
    assert said in err


def test_a_directory_that_is_not_there_is_a_mistake_of_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(NewSettings("idea", "pdp", (str(tmp_path / "no"),))) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["", "99999999999999999", "\u201cx\u201d"])
def test_a_placement_that_is_not_sound_is_refused(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.yaml").write_text(f"placements: {{pdp: {{parameters: {{model: {value}}}}}}}\n")
    assert main(NewSettings("fresh", "pdp", config=(str(tmp_path),))) == 1
    out, err = capsys.readouterr()
    assert not out
    assert "the placement pdp cannot be taken as it is written" in err
