from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from abside.assignment.bucket import bucket
from abside_agent.commands.simulate import main
from abside_agent.settings import SimulateSettings, instant

if TYPE_CHECKING:
    from pathlib import Path

NOW = instant("2026-11-23T12:00:00Z")
UNITS = 20_000
DOCUMENT = """\
attributes:
  country: {type: string}
placements:
  pdp: {parameters: {model: v1, count: 12}}
  home: {parameters: {model: h1}}
layers:
  ranking: {}
experiments:
  a:
    name: n
    hypothesis: h
    status: running
    placements: [pdp]
    layer: ranking
    slots: 0%-50%
    traffic: 40%
    variants: {control: {weight: 80%}, b: {weight: 20%, parameters: {pdp: {model: v2}}}}
  b: {name: n, hypothesis: h, status: running, placements: [pdp], layer: ranking, slots: 50%-80%,
      variants: {control: {weight: 50%}, b: {weight: 50%, parameters: {pdp: {model: v3}}}}}
  c:
    name: n
    hypothesis: h
    status: running
    unit: session
    placements: [home]
    eligibility: [{attribute: country, op: eq, value: DE}, {attribute: placement, op: eq, value: home}]
    variants: {control: {weight: 33.33%}, b: {weight: 33.33%}, c: {weight: 33.34%}}
    force: {b: [user-0000007]}
  d: {name: n, hypothesis: h, status: paused, placements: [home], variants: {control: {weight: 100%}}}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "a.yaml").write_text(DOCUMENT)
    return str(tmp_path / "config")


def asked(directory: str, **changes: Any) -> SimulateSettings:
    return SimulateSettings(**{"config": (directory,), "at": NOW, **changes})


def told(directory: str, capsys: pytest.CaptureFixture[str], **changes: Any) -> Any:
    assert main(asked(directory, json=True, **changes)) == 0
    return orjson.loads(capsys.readouterr().out)


def test_shares_are_counted_by_the_buckets_and_held_to_the_weights(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = told(config, capsys, units=UNITS)
    a, b, c = said["experiments"]
    ids = [f"user-{number:07}" for number in range(UNITS)]
    inside = [one for one in ids if bucket("ranking", "layer", one) < 5000 and bucket("a", "traffic", one) < 4000]
    control = sum(bucket("a", "variant", one) < 8000 for one in inside)
    assert (a["in"], [arm["units"] for arm in a["variants"]]) == (len(inside), [control, len(inside) - control])
    assert a["planned_share"] == pytest.approx(0.2)
    assert a["chi_square"]["p"] > 1e-4
    assert (c["forced"], c["in"], c["chi_square"]["df"]) == (1, UNITS - 1, 2)
    assert sum(b["out"].values()) + b["in"] == UNITS
    assert said["not_running"] == {"d": "PAUSED"}


def test_overlap_stands_beside_what_independence_gives_and_a_layer_has_none(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = {tuple(pair["experiments"]): pair for pair in told(config, capsys, units=UNITS)["overlap"]}
    assert (pairs["a", "b"]["units"], pairs["a", "b"]["same_layer"]) == (0, True)
    assert pairs["a", "c"]["share"] == pytest.approx(pairs["a", "c"]["independent"], abs=0.02)
    assert set(pairs) == {("a", "b"), ("a", "c"), ("b", "c")}


def test_a_layers_use_and_what_is_free_of_it(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    (layer,) = told(config, capsys, units=UNITS)["layers"]
    assert layer["free"] == pytest.approx(0.2)
    assert [(one["experiment"], one["slots"]) for one in layer["experiments"]] == [
        ("a", [0, 5000]),
        ("b", [5000, 8000]),
    ]
    assert [one["share"] for one in layer["experiments"]] == [
        pytest.approx(0.5, abs=0.02),
        pytest.approx(0.3, abs=0.02),
    ]


def test_with_attributes_eligibility_is_asked_and_without_it_is_taken_as_given(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(config, capsys, units=100)["eligible"] == "all"
    french = told(config, capsys, units=100, attribute=("country=FR",))
    assert (french["eligible"], french["experiments"][2]["out"]) == ("by attributes", {"NOT_ELIGIBLE": 99})
    assert told(config, capsys, units=100, attribute=("country=DE",))["experiments"][2]["in"] == 99


def test_ids_of_a_file_count_once_and_those_that_many_share_not_at_all(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = tmp_path / "ids"
    ids.write_bytes(b"\xef\xbb\xbfu1\r\nu2\nu1\n\nguest\n" + "café".encode())
    said = told(config, capsys, ids=str(ids))
    assert (said["units"], said["skipped"]) == (3, {"shared": 2, "repeated": 1})


def test_ids_come_from_stdin_too_and_nothing_but_the_report_is_printed(config: str) -> None:
    command = [sys.executable, "-m", "abside", "simulate", "--config", config, "--ids", "-"]
    done = subprocess.run(command, input=b"u1\nu2\n", capture_output=True, check=True)
    assert done.stdout.startswith(b"2 units at ")
    assert done.stderr == b""


def test_in_a_terminal_every_experiment_has_its_lines(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked(config, units=UNITS)) == 0
    said = capsys.readouterr().out
    for line in (
        "a: ",
        "  control  weight  80.00 %  share",
        "  chi-square ",
        "not running: d (paused)",
        "20.00 % free",
    ):
        assert line in said
    assert "a and b: 0.00 %" in said
    assert "every unit counts as eligible" in said


def test_overlap_of_very_many_experiments_is_left_out_and_said(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "".join(
        f"  x{number}: {{name: n, hypothesis: h, status: running, placements: [home],"
        " variants: {control: {weight: 100%}}}\n"
        for number in range(50)
    )
    (tmp_path / "config" / "b.yaml").write_text("experiments:\n" + lines)
    assert told(config, capsys, units=10)["overlap"] is None
    assert main(asked(config, units=10)) == 0
    assert "overlap is not counted for more than 50 experiments" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "there is no unit"),
        (b"guest\n\n", "there is no unit"),
        (b"u1\n\xff\n", "line 2 is not UTF-8"),
        (b"u1\n" + b"x" * 257, "line 2: got a string: it has 257 bytes"),
        (b"x" * 5000, "line 1 has 5,000 bytes; write one id a line"),
    ],
)
def test_ids_that_are_none_are_named_by_line(
    text: bytes, why: str, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ids").write_bytes(text)
    assert main(asked(config, ids=str(tmp_path / "ids"))) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert why in err


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"config": ("/nowhere",)}, "no such directory: /nowhere"),
        ({"units": 0}, "simulate at least one unit"),
        ({"units": 5, "ids": "-"}, "exclude each other"),
        ({"ids": "/nowhere"}, "No such file or directory: '/nowhere'"),
        ({"ids": "/tmp"}, "is a directory; name a regular file"),  # noqa: S108 any directory
        ({"attribute": ("contry=DE",)}, "did you mean country?"),
    ],
)
def test_a_bad_call_says_what_would_be_right(
    changes: dict[str, Any], why: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(SimulateSettings(**{"config": (config,), "at": NOW, **changes})) == 2
    assert why in capsys.readouterr().err


def test_what_the_documents_hold_back_is_said_beside_the_figures(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config" / "b.yaml").write_text("experiments:\n  bad: {status: running}\n")
    assert main(asked(config, units=10)) == 1
    assert "b.yaml:2:" in capsys.readouterr().err
