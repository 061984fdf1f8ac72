"""The console of a guide: a line as a reader would type it, and what it prints."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from click.testing import CliRunner

from abside.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = re.compile(r"""abside ([\w ./:=%,\[\]{}-]|'[^']*')+""")  # nothing that a shell has a part in, but for quotes


def environment() -> dict[str, str]:
    scripts = str(Path(sys.executable).parent)
    return {"PATH": f"{scripts}:{os.environ['PATH']}", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}  # noqa: TID251 the path only


def typed(line: str, world: Path) -> tuple[int, str]:
    """Run a line in a folder; return the exit code and the output, errors among it.

    A plain call of ours runs in this process: to start one takes longer than most commands.
    """
    if PLAIN.fullmatch(line):
        with of_its_own(world):
            done = CliRunner().invoke(main, shlex.split(line)[1:], prog_name="abside")
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output
    command = ["bash", "-o", "pipefail", "-c", f"{line} 2>&1"]
    ran = subprocess.run(
        command, cwd=world, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in ran.stdout, ran.stdout
    return ran.returncode, ran.stdout


@contextlib.contextmanager
def of_its_own(world: Path) -> Iterator[None]:
    """Stand in the folder, with the environment of a process that is started there."""
    with contextlib.chdir(world), patch.dict(os.environ, environment(), clear=True):  # noqa: TID251 a child's own
        yield
