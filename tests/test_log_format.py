"""`--log-format json`: every long-running command takes it, and then writes no line that is none, at start too."""

from __future__ import annotations

import json
import subprocess
from contextlib import redirect_stderr
from typing import TYPE_CHECKING

import pytest

from abside.cli import COMMANDS, _load, main
from abside.environ import settings_of
from abside_agent.run.child.spawn import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import JsonStderr

LONG_RUNNING = ("up", "sidecar", "agent", "collector", "admission")
JSON = ("--log-format", "json")


def ended(stderr: JsonStderr, *words: str) -> int:
    """Run a command in this process until its end; return the exit code."""
    with redirect_stderr(stderr), pytest.raises(SystemExit) as exit_info:
        main(list(words))
    code = exit_info.value.code
    assert isinstance(code, int)
    return code


def test_every_command_that_runs_long_takes_it_and_no_other_does() -> None:
    takes = [
        name
        for name, room in COMMANDS.items()
        if "log_format" in {one.name for one in settings_of(_load(room.settings, room))}
    ]
    assert tuple(takes) == LONG_RUNNING


@pytest.mark.parametrize("name", LONG_RUNNING)
@pytest.mark.parametrize("form", [JSON, ("--log-format=JSON",)])
def test_a_wrong_command_line_is_one_json_line(json_lines: JsonStderr, name: str, form: tuple[str, ...]) -> None:
    assert ended(json_lines, name, *form, "--nothing") == 2
    (line,) = json_lines()
    assert (line["level"], line["role"], line["logger"], line["message"]) == (
        "error",
        name,
        "abside.cli",
        "cannot_start",
    )
    assert "--nothing" in line["reason"]


def test_the_variable_is_enough_for_errors_and_warnings_and_the_option_wins(
    json_lines: JsonStderr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ABSIDE_LOG_FORMAT", '"json"')
    monkeypatch.setenv("ABSIDE_NOTHING", "1")
    assert ended(json_lines, "collector") == 2
    assert ended(json_lines, "colector") == 2
    assert (
        ended(json_lines, "collector", "--store", str(tmp_path / "store"), "--listen", "127.0.0.1:0", "--tls-cert", "x")
        == 1
    )
    first, second, *others = json_lines()
    assert "--store" in first["reason"]
    assert "No such command 'colector'" in second["reason"]
    assert others[0]["message"] == "unknown_variable"
    assert "ABSIDE_NOTHING" in others[0]["reason"]
    assert others[-1]["message"] == "cannot_start"
    assert "--tls-key" in others[-1]["reason"]
    assert capfd.readouterr() == ("", "")


def test_commands_that_end_by_themselves_write_for_people_whatever_the_variable_says(
    json_lines: JsonStderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABSIDE_LOG_FORMAT", "json")
    assert ended(json_lines, "check", "--nothing") == 2
    assert json_lines.getvalue().startswith("Usage: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sidecar", "--snapshot", "{}/s", "--spool", "{}/spool", "--listen", "unix:{}/file/socket"), "cannot_start"),
        (("collector", "--store", "{}/file/store"), "cannot_start"),
        (("admission", "--tls-cert", "{}/none", "--tls-key", "{}/none"), "cannot_start"),
        (("up", "--dir", "{}/file"), "cannot_run"),
    ],
)
def test_a_process_that_cannot_start_writes_json_lines(
    json_lines: JsonStderr, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    (tmp_path / "file").touch()
    assert ended(json_lines, *(word.format(tmp_path) for word in words), *JSON) in {1, 2}
    assert json_lines()[-1]["message"] == message
    assert {line["role"] for line in json_lines()} == {words[0]}


def test_an_agent_tells_the_problems_of_documents_as_json_lines(
    json_lines: JsonStderr, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.yaml").write_text("placements: {pdp: {parameters: {n: 1}}}\nexperiments: [x\n")
    assert (
        ended(json_lines, "agent", "--once", "--config", str(tmp_path), "--snapshot", str(tmp_path / "s"), *JSON) == 1
    )
    problem = next(line for line in json_lines() if line["message"] == "problem")
    assert (problem["level"], problem["code"], problem["file"], problem["line"]) == ("error", "SYNTAX", "a.yaml", 2)
    assert capfd.readouterr().err == ""


def test_a_child_that_breaks_says_so_in_the_form_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABSIDE_LOG_FORMAT", "json")
    child = subprocess.run(COMMAND, input=b"no order", capture_output=True, check=False, timeout=60)
    (line,) = map(json.loads, child.stderr.splitlines())
    assert (child.returncode, line["role"], line["message"]) == (1, "child", "uncaught")
    assert line["exception"].startswith("Traceback")
