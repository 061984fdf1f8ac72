"""No command waits for a FIFO or a link into the kernel in the place of a file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from abside.cli import main
from abside.files import FileRefusedError
from abside.serve.certificate import Certificate, CertificateUnusable
from abside.snapshot import SnapshotError, decode
from abside_agent.watch.api import Access

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.agent.conftest import Doc

PATIENCE_SECONDS = 60.0  # what hangs would hang for ever; what does not takes half a second on a quiet machine


def fifo(path: Path) -> None:
    os.mkfifo(path)


def kernel_pipe(path: Path) -> None:
    """Link to a FIFO as the kernel names it: opening it waits for a writer."""
    os.mkfifo(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def kernel_file(path: Path) -> None:
    """Link to a regular file of the kernel that has no size, and whose read may wait or never end."""
    path.symlink_to("/proc/kmsg" if os.access("/proc/kmsg", os.R_OK) else "/proc/self/maps")


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(40 * 2**30)


ODD = [fifo, kernel_pipe, kernel_file, endless, sparse]


def ended(arguments: list[str], *, in_process: bool) -> int:
    """Run a command; return the code that it exits with, by itself."""
    if in_process:
        done = CliRunner().invoke(main, arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code
    command = [sys.executable, "-m", "abside", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert "Traceback" not in process.stderr, process.stderr
    return process.returncode


@pytest.fixture
def config(tmp_path: Path, doc: type[Doc]) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "g.yaml").write_text(doc.GROUND + doc.one("x"))
    return tmp_path / "config"


@pytest.mark.timeout(PATIENCE_SECONDS)
@pytest.mark.parametrize("odd", [fifo, kernel_file, sparse])
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "DIR"),
        ("check", "FILE"),
        ("diff", "DIR", "FILE"),
        ("diff", "FILE", "DIR"),
        ("explain", "--config", "DIR", "--placement", "pdp", "--user-id", "u1"),
        ("simulate", "--config", "DIR", "--units", "10"),
        ("simulate", "--config", "DIR", "--ids", "FILE"),
        ("set", "x", "status=paused", "--config", "DIR", "--yes"),
        ("ship", "x", "b", "--config", "DIR", "--yes"),
        ("new", "y", "pdp", "--config", "DIR"),
    ],
    ids=lambda arguments: " ".join(arguments[:4]),
)
def test_no_command_waits_for_what_is_no_file(
    arguments: tuple[str, ...], odd: Callable[[Path], None], config: Path
) -> None:
    odd(config / "odd.yaml")
    names = {"DIR": str(config), "FILE": str(config / "odd.yaml")}
    # whoever read the sparse file would take all memory: not that of the tests
    said = [names.get(one, one) for one in arguments]
    assert ended(said, in_process=odd is not sparse) in (0, 1, 2)


@pytest.mark.parametrize("odd", ODD)
def test_an_agent_follows_the_others_and_pauses_by_a_key_that_is_no_file(
    odd: Callable[[Path], None], config: Path, tmp_path: Path
) -> None:
    (tmp_path / "paused").mkdir()
    odd(config / "odd.yaml")
    odd(tmp_path / "paused" / "x")
    snapshot = tmp_path / "snapshot"
    odd(snapshot)
    options = ("--config", str(config), "--paused", str(tmp_path / "paused"), "--snapshot", str(snapshot))
    process = subprocess.Popen([sys.executable, "-m", "abside", "agent", *options])
    try:
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE_SECONDS:
            if snapshot.is_file() and not snapshot.is_symlink() and snapshot.stat().st_size < 2**20:
                break
            time.sleep(0.02)
        try:
            published = decode(snapshot.read_bytes()) if snapshot.stat().st_size < 2**20 else None
        except SnapshotError:
            published = None
    finally:
        process.kill()
        process.wait()
    assert published is not None
    assert published.experiments["x"].pause is not None


@pytest.mark.parametrize("odd", [fifo, kernel_pipe, endless, sparse])
def test_credentials_and_certificates_are_refused_by_name(odd: Callable[[Path], None], tmp_path: Path) -> None:
    odd(tmp_path / "token")
    with pytest.raises(FileRefusedError):
        Access("https://host", tmp_path).read("token")
    with pytest.raises(CertificateUnusable, match=r"token (is|has) "):
        Certificate(tmp_path / "token", tmp_path / "token")
