from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

from abside_agent.commands.check import main
from abside_agent.settings import CheckSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.conftest import Doc


def test_problems_stand_by_file_with_a_closing_line(
    tmp_path: Path, doc: type[Doc], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.yaml").write_text(doc.one("x", traffic="20", status="runing"))
    (tmp_path / "a.yaml").write_text(doc.GROUND + "retird: []\n")
    (tmp_path / ".c.yaml").write_text("\t")
    (tmp_path / "notes.txt").write_text("\t")
    assert main(CheckSettings((str(tmp_path),))) == 1
    lines = capsys.readouterr().out.splitlines()
    place = f"{tmp_path}/a.yaml:8:1: error: retird: there is no such section"
    assert lines[:4] == [
        f"{place} [UNKNOWN_SECTION]",
        "  8 | retird: []",
        "    | ^^^^^^",
        "    = did you mean retired?",
    ]
    assert lines[4] == ""
    assert [line.partition(": ")[0] for line in (lines[5], lines[9])] == [
        f"{tmp_path}/b.yaml:2:51",
        f"{tmp_path}/b.yaml:2:173",
    ]
    assert lines[13:] == ["", "free slots", "  ranking: 0%-100%", "", "2 files, 1 experiment: 3 errors, 0 warnings"]


def test_as_json_the_problems_are_records_with_a_summary(
    tmp_path: Path, doc: type[Doc], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "any.name"
    path.write_text(doc.GROUND + doc.one("x", analysis="{primary: ctrr}"))
    assert main(CheckSettings((str(path), str(path)), json=True)) == 1
    said = orjson.loads(capsys.readouterr().out)
    assert said["summary"] == {"files": 1, "experiments": 1, "errors": 1, "warnings": 0}
    (problem,) = said["problems"]
    assert list(problem) == ["severity", "code", "file", "line", "column", "path", "value", "message", "remedy"]
    assert (problem["severity"], problem["code"], problem["line"]) == ("error", "UNKNOWN_METRIC", 9)


@pytest.mark.parametrize(("text", "code"), [("", "NO_PLACEMENT"), ("# nothing", "EMPTY"), (None, "NO_FILE")])
def test_what_an_agent_would_refuse_as_a_whole_is_an_error(
    text: str | None, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "a.yaml").write_text(text or "layers: {}")
    assert main(CheckSettings((str(tmp_path),))) == 1
    assert f"[{code}]" in capsys.readouterr().out


def test_a_path_that_is_not_there_is_a_mistake_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(CheckSettings((str(tmp_path), str(tmp_path / "x"), "/nowhere"))) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"abside check: {tmp_path / 'x'}: no such file or directory")


def test_the_command_exits_with_what_was_found(tmp_path: Path, doc: type[Doc]) -> None:
    (tmp_path / "a.yaml").write_text(doc.GROUND)
    command = [sys.executable, "-m", "abside", "check"]
    assert subprocess.run([*command, str(tmp_path)], capture_output=True, check=False).returncode == 0
    assert subprocess.run([*command, str(tmp_path / "no")], capture_output=True, check=False).returncode == 2
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
