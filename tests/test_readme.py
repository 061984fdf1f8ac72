"""The README is true: its settings are the code's, its commands run, its links lead somewhere."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from abside.cli import ROOMS
from abside.environ import Setting, settings_of

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SETTINGS = ROOT / "docs" / "settings.md"


def settings_page() -> str:
    """Write docs/settings.md off the settings records; `python tests/test_readme.py` puts it in place."""
    lines = [
        "# Settings",
        "",
        "Every option is also an environment variable. Sizes take B, KiB, MiB, GiB; times are seconds.",
        "",
    ]
    for name, room in ROOMS.items():
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
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.fixture
def up(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Run the README's `abside up` in an empty folder, on free ports; give the decision address and the folder."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    listen, admin, collect = (f"127.0.0.1:{one.getsockname()[1]}" for one in held)
    for one in held:
        one.close()
    command = [sys.executable, "-m", "abside", "up", "--listen", listen, "--admin", admin, "--collect", collect]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=log)
    try:
        wait_for(lambda: json.load(urllib.request.urlopen(f"http://{listen}/v1/status", timeout=5))["revision"])
        yield listen, tmp_path
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_for(ask: Any, seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = ask()
        except OSError:
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def block(after: str) -> list[str]:
    """Give the lines of the first sh block behind a heading."""
    found = re.search(rf"^## {re.escape(after)}\n.*?```sh\n(.*?)```", README, re.DOTALL | re.MULTILINE)
    assert found, f"the README has no sh block under {after}"
    return [line for line in found[1].splitlines() if line and not line.startswith("#")]


def test_the_readmes_first_steps_do_what_it_says(up: tuple[str, Path]) -> None:
    listen, folder = up
    start, *steps = block("Try it")
    assert start.split("#")[0].strip() == "abside up"
    outputs = []
    for step in steps:
        command = step.replace("localhost:7600", listen)
        done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True)
        outputs.append(done.stdout)
        if ".abside/paused" in command or ".abside/config" in command:
            time.sleep(1.5)  # what the README tells the reader to wait
    first, event, paused = (json.loads(one) for one in outputs if one.startswith("{"))
    assert [one["experiment"] for one in first["assignments"]] == ["first-experiment"]
    assert event == {"accepted": 1}
    assert paused["assignments"] == []
    assert paused["config"]["model"] == "ranker-v1"


if __name__ == "__main__":
    SETTINGS.write_text(settings_page())
