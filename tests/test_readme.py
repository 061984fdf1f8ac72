"""The README is true: its settings are the code's, its commands run, its links lead somewhere."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import pytest

from abside.cli import COMMANDS
from abside.environ import Setting, settings_of

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SETTINGS = ROOT / "docs" / "settings.md"
HOW_THEY_ARE_READ = """\
Every option is also an environment variable. Sizes take B, KiB, MiB, GiB (or Ki, Mi, Gi); times are seconds, or
`250ms`, `5s`, `2m`, `1h`. Words, units and switches may be in upper or lower case; `warn` means `warning`, and true,
yes and 1 mean `on`. Blanks at the ends of a variable are ignored, and so is an empty variable. A variable of several
values separates them by blanks, or by commas where they are ids or names. In an address, host `*` is every address of
this machine, of IPv4 and IPv6 (of IPv4 alone where there is no IPv6); `0.0.0.0` is those of IPv4, `[::]` those of IPv6.
Quote `'*:7601'` in a shell. A wrong value ends the command with code 2 and a message that names the variable, the value
and what would be right. A variable `ABSIDE_…` that is no setting is a warning, unless Kubernetes made it for a Service.
"""


def settings_page() -> str:
    """Return docs/settings.md as the settings records define it; `python tests/test_readme.py` writes it."""
    lines = [
        "# Settings",
        "",
        *HOW_THEY_ARE_READ.splitlines(),
        "",
    ]
    for name, room in COMMANDS.items():
        module, _, record = room.settings.partition(":")
        lines += [
            f"## abside {name}",
            room.summary,
            "",
            "| option | default | variable | what for |",
            "|---|---|---|---|",
        ]
        lines += [row(one) for one in settings_of(getattr(import_module(module), record))]
        lines.append("")
    return "\n".join(lines)


def row(one: Setting) -> str:
    if one.required:
        default = "required"
    elif one.default is None or one.default == ():
        default = "—"
    elif isinstance(one.default, tuple):
        default = " ".join(f"`{item}`" for item in one.default)
    else:
        default = "off" if one.flag else f"`{one.default}`" if one.default else "—"
    option = one.name.upper() if one.words else f"`{one.option}`"
    variable = "" if one.words else f"`{one.variable}`"
    return f"| {option} | {default} | {variable} | {one.help.replace('|', '/')} |"


def test_the_settings_page_says_what_the_code_says() -> None:
    assert SETTINGS.read_text() == settings_page(), "write it anew: python tests/test_readme.py"


def test_every_command_is_named_on_the_settings_page_and_every_link_leads_to_a_file() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        prose = re.sub(
            r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE
        )  # brackets of code are no links
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.fixture
def up(tmp_path: Path) -> Iterator[tuple[str, str, Path]]:
    """Run the README's `abside up` in an empty folder; return the addresses of decisions and health, and the folder."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    listen, admin, collect = (f"127.0.0.1:{one.getsockname()[1]}" for one in held)
    for one in held:
        one.close()
    command = [sys.executable, "-m", "abside", "up", "--listen", listen, "--admin", admin, "--collect", collect]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=log)
    try:
        wait_for(lambda: json.load(urllib.request.urlopen(f"http://{listen}/v1/status", timeout=5))["revision"])
        yield listen, admin, tmp_path
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


Found = TypeVar("Found")


def wait_for(ask: Callable[[], Found | None], seconds: float = 30.0) -> Found:
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = ask()
        except (OSError, subprocess.CalledProcessError):  # not yet there
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def block(after: str) -> list[str]:
    """Return the lines of the first sh block behind a heading."""
    found = re.search(rf"^## {re.escape(after)}\n.*?```sh\n(.*?)```", README, re.DOTALL | re.MULTILINE)
    assert found, f"the README has no sh block under {after}"
    return [line for line in found[1].splitlines() if line and not line.startswith("#")]


def test_the_readmes_first_steps_do_what_it_says(up: tuple[str, str, Path]) -> None:
    listen, admin, folder = up
    start, *steps = block("Try it")
    assert start.split("#")[0].strip() == "abside up"
    steps = [step.replace("localhost:7600", listen).replace("localhost:7601", admin) for step in steps]
    first, event, pause, _, paused, resume, _, resumed, crowd, metrics, report = steps  # here it is awaited instead
    shown = json.loads(run(first, folder))
    assert {**shown, "exposure_id": ""} == {**answer_shown(), "exposure_id": ""}
    assert json.loads(run(event, folder)) == {"accepted": 1}
    run(pause, folder)
    asked = wait_for(lambda: when(json.loads(run(paused, folder)), lambda answer: answer["assignments"] == []))
    assert asked["config"]["model"] == "ranker-v1"
    run(resume, folder)
    wait_for(lambda: when(json.loads(run(resumed, folder)), lambda answer: answer["config"] == shown["config"]))
    run(crowd, folder)
    counted = dict(line.rsplit(" ", 1) for line in run(metrics, folder).splitlines())
    assert float(counted['abside_events_accepted_total{type="exposure"}']) >= 100
    assert float(counted['abside_requests_total{route="/v1/assign",status="200"}']) >= 103
    page = wait_for(lambda: when(run(report, folder), lambda text: "sample ratio" in text), 60)
    assert "first-experiment" in page


def test_every_command_stands_in_the_readme() -> None:
    assert [name for name in COMMANDS if f"`abside {name}" not in README] == []


def run(command: str, folder: Path) -> str:
    """Run a line of the README as its reader does: with bash, `abside` on the path."""
    bash = ["bash", "-c", f'PATH="{Path(sys.executable).parent}:$PATH"; {command}']
    return subprocess.run(bash, cwd=folder, capture_output=True, text=True, check=True, timeout=60).stdout


def when(value: Found, holds: Callable[[Found], bool]) -> Found | None:
    return value if holds(value) else None


def answer_shown() -> dict[str, Any]:
    """Return the answer that the README prints."""
    found = re.search(r"^## Try it\n.*?```json\n(.*?)```", README, re.DOTALL | re.MULTILINE)
    assert found
    document: dict[str, Any] = json.loads(found[1])
    return document


if __name__ == "__main__":
    SETTINGS.write_text(settings_page())
