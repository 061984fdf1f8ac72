from __future__ import annotations

import itertools
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from abside.serve.bounds import RESERVED_DESCRIPTORS, connections_within, raise_descriptor_limit

if TYPE_CHECKING:
    from pathlib import Path


def test_the_soft_limit_on_descriptors_is_raised_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(128, hard), hard))
        assert raise_descriptor_limit() == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("limit", "connections"),
    [(2**20, 1024), (1280, 1024), (1024, 1024 - RESERVED_DESCRIPTORS), (128, 64), (2, 1), (0, 1)],
)
def test_connections_leave_descriptors_for_everything_else(limit: int, connections: int) -> None:
    assert connections_within(limit, 1024) == connections


@pytest.mark.parametrize(
    ("role", "options"),
    [
        ("sidecar", ("--snapshot", "none", "--spool", "spool", "--admin", "127.0.0.1:0", "--linger-seconds", "0")),
        ("collector", ("--store", "store")),
    ],
)
def test_a_process_takes_all_descriptors_it_may_and_no_more_connections_than_they_bear(
    tmp_path: Path, role: str, options: tuple[str, ...]
) -> None:
    limited = 'ulimit -Sn 100; ulimit -Hn 200; exec "$0" "$@"'
    command = ["bash", "-c", limited, sys.executable, "-m", "abside", role, "--listen", "127.0.0.1:0", *options]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = list(itertools.takewhile(lambda line: "listening" not in line, process.stderr))
        limit = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        process.terminate()
        process.stderr.read()
    assert (limit, process.returncode) == ((200, 200), 0)
    [line] = [line for line in lines if "max_connections_lowered" in line]
    assert "wanted=1024 to=100 descriptor_limit=200" in line
