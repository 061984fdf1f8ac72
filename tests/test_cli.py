from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from abside import __version__
from abside.cli import COMMANDS, main
from abside.environ import settings_of

if TYPE_CHECKING:
    from pathlib import Path

ROOM_MODULES = (
    "abside.sidecar",
    "abside.spool",
    "abside.upstream",
    "abside.collector",
    "abside.assignment",
    "abside.up",
)
HELP_THEN_MODULES = """
import json, sys, abside.cli
try:
    abside.cli.main(["--help"])
except SystemExit:
    print(json.dumps(list(sys.modules)))
"""
# What Kubernetes puts into a pod's environment for a Service of our name.
INJECTED = re.compile(r"(.*_)?(PORT|HOST|SERVICE)(_.*)?")


def abside(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "abside", *arguments]
    environment = {**os.environ, **variables}  # noqa: TID251 a child's own, made from ours
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)


def invoke(*arguments: str, **variables: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments), env=variables, prog_name="abside")
    return result.exit_code, result.output


def test_help_names_every_room_and_imports_none() -> None:
    result = subprocess.run(
        [sys.executable, "-c", HELP_THEN_MODULES], capture_output=True, text=True, check=True, timeout=60
    )
    text, _, modules = result.stdout.rpartition("\n[")
    for name, room in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(room.summary.split()[0])}", text, re.MULTILINE)
    loaded = json.loads("[" + modules)
    assert "abside.cli" in loaded
    assert [
        name for name in loaded if name.startswith((*ROOM_MODULES, "abside_agent", "aiohttp", "msgpack", "yaml"))
    ] == []


def test_the_version_is_the_packages() -> None:
    code, output = invoke("--version")
    assert (code, __version__ in output) == (0, True)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_the_help_with_its_words(name: str) -> None:
    code, output = invoke(name, "--help")
    assert code == 0
    module, _, record = COMMANDS[name].settings.partition(":")
    for setting in settings_of(getattr(import_module(module), record)):
        assert setting.words or setting.option in output
        assert setting.help


@pytest.mark.parametrize("name", COMMANDS)
def test_every_field_of_a_rooms_settings_is_a_setting_that_kubernetes_does_not_set(name: str) -> None:
    module, _, record = COMMANDS[name].settings.partition(":")
    kind = getattr(import_module(module), record)
    listed = settings_of(kind)
    assert len(listed) == len(fields(kind))
    for setting in listed:
        assert setting.variable == "ABSIDE_" + setting.name.upper()
        assert not INJECTED.fullmatch(setting.variable.removeprefix("ABSIDE_")), setting.variable


def test_an_option_may_come_from_the_environment_and_the_command_line_wins(tmp_path: Path) -> None:
    places = {"ABSIDE_SNAPSHOT": str(tmp_path / "s"), "ABSIDE_SPOOL": str(tmp_path / "spool")}
    code, output = invoke("sidecar", **places, ABSIDE_SEAL_SECONDS="soon")
    assert code == 2
    assert "'soon' is not a number of seconds, for example 0.25 or 30" in output
    assert "--seal-seconds" in output
    code, output = invoke("sidecar", "--fsync", "now", **places, ABSIDE_FSYNC="always")
    assert (code, "'now' is not one of never, interval, always" in output) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["sidecar", "--snapshot", "s", "--spool", "d", "--spool-limit", "256"],
            "write a number and B, KiB, MiB or GiB",
        ),
        (["sidecar", "--snapshot", "s", "--spool", "d", "--seal-events", "many"], "'many' is not a whole number"),
        (
            ["sidecar", "--snapshot", "s", "--spool", "d", "--log-level", "loud"],
            "not one of debug, info, warning, error",
        ),
        (["sidecar", "--spool", "d"], "Missing option '--snapshot'"),
        (["sidecar", "--snapshot", "s"], "Missing option '--spool'"),
        (["collector"], "Missing option '--store'"),
        (["sidecar", "--snapshot", "s", "--spool", "d", "--upsteam", "x"], "--upsteam"),
        (["sidecar", "--snapshot", "s", "--spool", "d", "surplus"], "surplus"),
        (["sidecars"], "sidecars"),
        (["--loud"], "--loud"),
    ],
)
def test_a_wrong_command_line_says_what_is_right_and_exits_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)  # were it taken, it would write here
    code, output = invoke(*arguments)
    assert (code, words in output) == (2, True), output


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ABSIDE_LOG_LEVEL": "loud"}, ("ABSIDE_LOG_LEVEL", "'loud'", "debug, info, warning, error")),
        ({"ABSIDE_FSYNC": "sometimes"}, ("ABSIDE_FSYNC", "'sometimes'", "never, interval, always")),
        ({"ABSIDE_SEAL_SECONDS": "soon"}, ("ABSIDE_SEAL_SECONDS", "'soon'", "for example 0.25 or 30")),
        ({"ABSIDE_SPOOL_LIMIT": "256MB"}, ("ABSIDE_SPOOL_LIMIT", "'256MB'", "KiB, MiB or GiB")),
        ({"ABSIDE_ALLOW_FORCE": "maybe"}, ("ABSIDE_ALLOW_FORCE", "'maybe'")),
    ],
)
def test_a_wrong_variable_is_named_with_its_value_and_what_is_right(
    variables: dict[str, str], words: tuple[str, ...]
) -> None:
    code, output = invoke("sidecar", "--snapshot", "s", "--spool", "d", **variables)
    assert code == 2
    assert [word for word in words if word not in output] == []


@pytest.mark.parametrize(
    ("variable", "name", "value"),
    [
        ("ABSIDE_LOG_LEVEL=INFO", "log_level", "info"),
        ("ABSIDE_LOG_LEVEL=warn", "log_level", "warning"),
        ("ABSIDE_FSYNC=Always", "fsync", "always"),
        ("ABSIDE_SEAL_SECONDS=5 ", "seal_seconds", 5.0),
        ("ABSIDE_SHARED_IDS=NaN,guest", "shared_ids", ("NaN", "guest")),
        ("ABSIDE_SHARED_IDS=kiosk lobby", "shared_ids", ("kiosk", "lobby")),
        ("ABSIDE_SHARED_IDS=(no id), kiosk", "shared_ids", ("(no id)", "kiosk")),
        ("ABSIDE_UPSTREAM= http://collector:7700\n", "upstream", "http://collector:7700"),
        ("ABSIDE_UPSTREAM=", "upstream", None),
        ("ABSIDE_UPSTREAM=  ", "upstream", None),
        ("ABSIDE_LOG_LEVEL=", "log_level", "info"),
        ("ABSIDE_ALLOW_FORCE= True ", "allow_force", True),
        ("ABSIDE_ALLOW_FORCE=0", "allow_force", False),
        ("ABSIDE_ALLOW_FORCE=", "allow_force", False),
        ("ABSIDE_FAST_PATH=no", "fast_path", "off"),
        ("ABSIDE_SPOOL_LIMIT=256Mi", "spool_limit", 256 * 2**20),
        ("ABSIDE_LISTEN=127.0.0.1:7600 unix:/run/a.sock", "listen", ("127.0.0.1:7600", "unix:/run/a.sock")),
    ],
)
def test_a_variable_is_read_as_people_write_it(
    variable: str, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _, text = variable.partition("=")
    monkeypatch.setenv(key, text)
    command = main.get_command(click.Context(main), "sidecar")
    assert command is not None
    context = command.make_context("sidecar", ["--snapshot", "s", "--spool", "d"])
    assert context.params[name] == value


def test_an_option_without_effect_names_the_one_it_goes_with(tmp_path: Path) -> None:
    code, output = invoke("collector", "--store", str(tmp_path / "store"), "--tls-poll-seconds", "5")
    assert (code, "--tls-poll-seconds goes with --tls-cert\n" in output) == (2, True)


def test_a_variable_that_is_no_setting_is_said_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("placements: {pdp: {}}\n")
    odd = {"ABSIDE_STRIKT": "true", "ABSIDE_LOGLEVEL": "debug", "ABSIDE_XYZZY": "1"}
    fine = {
        "ABSIDE_SPOOL": "x",
        "ABSIDE_PORT": "tcp://10.0.0.1:7700",
        "ABSIDE_COLLECTOR_PORT_7700_TCP_ADDR": "10.0.0.1",
    }
    result = abside("check", str(tmp_path), **odd, **fine, ABSIDE_SERVICE_HOST="10.0.0.1")
    assert result.returncode == 0
    warnings = [line for line in result.stderr.splitlines() if "is no setting" in line]
    assert [re.findall(r"ABSIDE_\w+", line) for line in warnings] == [
        ["ABSIDE_LOGLEVEL", "ABSIDE_LOG_LEVEL"],
        ["ABSIDE_STRIKT", "ABSIDE_STRICT"],
        ["ABSIDE_XYZZY"],
    ]


def test_without_a_command_the_help_is_shown() -> None:
    code, output = invoke()
    assert "Commands" in output
    assert code in {0, 2}  # click's habit changed in 8.2


def test_a_room_whose_extra_is_missing_says_how_to_get_it(tmp_path: Path) -> None:
    # A module of the extra's name that fails to import, before the installed one: as in a base install.
    (tmp_path / "pyarrow.py").write_text("raise ModuleNotFoundError(\"No module named 'pyarrow'\", name='pyarrow')")
    result = abside(
        "collector", "--store", str(tmp_path / "store"), PYTHONPATH=f"{tmp_path}{os.pathsep}{os.pathsep.join(sys.path)}"
    )
    assert result.returncode == 1
    assert result.stderr == (
        "Error: this command needs pyarrow, which the 'collector' extra brings: pip install 'abside[collector]'\n"
    )


def test_a_real_process_that_was_told_wrongly_exits_2_without_a_traceback() -> None:
    result = abside("sidecar", "--snapshot", "s", "--spool", "d", ABSIDE_MAX_CONNECTIONS="-1")
    assert result.returncode == 2
    assert "'-1' is not a whole number, for example 4000" in result.stderr
    assert "Traceback" not in result.stderr


ODD = os.fsdecode(b"\xff")


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "--attribute", f"country={ODD}", "--placement", "pdp"),
        ("explain", "--placement", ODD),
        ("explain", "--placement", "pdp", "--user-id", ODD),
        ("set", "x", f"name={ODD}"),
        ("set", ODD, "status=paused"),
        ("ship", "x", ODD),
        ("new", "y", ODD),
        ("simulate", "--attribute", f"country={ODD}"),
    ],
)
def test_a_word_that_is_not_utf8_is_refused_as_that(words: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "abside", *words, "--config", str(tmp_path)], capture_output=True, check=False, text=True
    )
    assert done.returncode == 2
    assert "is not UTF-8 text" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", ["check", "check --json", "diff", "explain --json --placement pdp --config", "simulate --config"]
)
def test_a_file_whose_name_is_not_utf8_is_read_and_named(command: str, tmp_path: Path) -> None:
    for name in ("a", f"b{ODD}"):
        (tmp_path / f"{name}.yaml").write_text("placements: {pdp: {parameters: {model: v1}}}")
    places = [str(tmp_path)] * (2 if command == "diff" else 1)
    done = subprocess.run(
        [sys.executable, "-m", "abside", *command.split(), *places], capture_output=True, check=False, text=True
    )
    assert done.returncode in {1, 2}
    assert "is also in" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_around_a_variable_are_no_part_of_its_value(quote: str, tmp_path: Path) -> None:
    variables = {"ABSIDE_CONFIG": f"{quote}{tmp_path}{quote}", "ABSIDE_LOG_LEVEL": f"{quote}debug{quote}"}
    done = CliRunner().invoke(main, ["agent", "--once", "--snapshot", str(tmp_path / "s"), "--help"], env=variables)
    assert done.exit_code == 0
    variables["ABSIDE_POLL_SECONDS"] = f"{quote}x{quote}"
    refused = CliRunner().invoke(main, ["agent", "--once", "--snapshot", str(tmp_path / "s")], env=variables)
    assert "ABSIDE_POLL_SECONDS" in refused.output
    assert "'x'" in refused.output
