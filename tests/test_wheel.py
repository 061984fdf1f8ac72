"""What is shipped is the wheel: built, installed alone, and started in an empty folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def abside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `abside` of a virtual environment with the wheel and its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"), cwd=folder)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "venv" / "bin" / "python")]
    quick = ["--quiet", "--no-compile", "--disable-pip-version-check"]
    run(*pip, "install", *quick, f"{wheel}[agent,collector]", cwd=folder)
    return folder / "venv" / "bin" / "abside"


@pytest.mark.timeout(400)
def test_the_wheel_brings_the_command_and_every_room(abside: Path, tmp_path: Path) -> None:
    assert run(str(abside), "--version", cwd=tmp_path).startswith("abside, version ")
    for room in ("up", "sidecar", "agent", "collector", "check"):
        assert "--help" in run(str(abside), room, "--help", cwd=tmp_path)


@pytest.mark.timeout(400)
def test_the_installed_command_stands_up_in_an_empty_folder_and_answers(abside: Path, tmp_path: Path) -> None:
    listen, admin, collect = free_addresses(3)
    command = [str(abside), "up", "--listen", listen, "--admin", admin, "--collect", collect]
    environment = {"PATH": os.environ["PATH"]}  # noqa: TID251 nothing of this checkout may leak in
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=log)
    try:
        body = json.dumps({"placement": "pdp", "user_id": "u1"}).encode()
        answer = first_answer(f"http://{listen}/v1/assign", body)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    assert answer["config"]["item_count"] == 12
    assert answer["assignments"][0]["experiment"] == "first-experiment"
    assert code == 0, (tmp_path / "log").read_text()
    assert list((tmp_path / ".abside" / "store").rglob("*.parquet"))


def free_addresses(count: int) -> list[str]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in held]
    for one in held:
        one.close()
    return addresses


def first_answer(url: str, body: bytes) -> dict[str, Any]:
    """Ask until the sidecar is up."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                document: dict[str, Any] = json.load(answer)
                return document
        except OSError:
            assert time.monotonic() < deadline, "no answer within 30 s"
            time.sleep(0.05)
