"""Processes of another user than the sidecar's, and under a strict umask."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from abside.snapshot import encode

if TYPE_CHECKING:
    from pathlib import Path

    from abside.snapshot import Snapshot

PROGRAM = """
import os, sys
from abside.client.local import Local
os.setgroups([{group}]); os.setgid(65534); os.setuid(65534); os.umask(0o077)
client = Local({snapshot!r}, {spool!r})
answer = client.assign("pdp", user_id="qa-1", session_id="s1", fallback={{"model": "mine"}})
print(answer.fallback, answer.why, answer.config, client.problem)
"""
GROUP = 4_321  # of app and sidecar

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def spool(tmp_path: Path, every_kind: Snapshot) -> Path:
    """A spool as the sidecar and fsGroup leave it, where only the sidecar may look into its own queue."""
    for above in (tmp_path, *tmp_path.parents):
        if above.stat().st_uid == 0 and (above == tmp_path or above.name.startswith("pytest-")):
            above.chmod(0o755)
    (tmp_path / "snapshot").write_bytes(encode(every_kind))
    spool = tmp_path / "spool"
    for directory in (spool, spool / "local", spool / "q"):
        directory.mkdir()
        os.chown(directory, 0, GROUP)
        directory.chmod(0o2770)
    (spool / "q").chmod(0o700)
    return spool


def ask(spool: Path, group: int) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(group=group, snapshot=str(spool.parent / "snapshot"), spool=str(spool))
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)


def test_whose_group_is_not_the_spools_falls_back_and_says_why(spool: Path) -> None:
    for mode in (0o2770, 0o2755):  # closed to it, and open for reading
        spool.chmod(mode)
        done = ask(spool, 65_534)
        assert done.stdout.startswith("True unreachable {'model': 'mine'} user 65534 may not write to ")
        assert "fsGroup" in done.stdout
        assert "local cannot work" in done.stderr
        assert "docs/local.md" in done.stderr
        assert "is this its address" not in done.stderr


def test_whose_group_it_is_writes_what_the_sidecar_may_take(spool: Path) -> None:
    assert ask(spool, GROUP).stdout.startswith("False None ")
    (folder,) = (spool / "local").iterdir()
    assert (folder.stat().st_gid, folder.stat().st_mode & 0o7777) == (GROUP, 0o2770)
    files = {path.suffix or path.name: path.stat() for path in folder.iterdir()}
    assert {name: (one.st_gid, one.st_mode & 0o777) for name, one in files.items()} == {
        "LOCK": (GROUP, 0o660),
        ".open": (GROUP, 0o660),
    }
