"""Documents → snapshot, as the agent compiles them: the report asks the agent itself, in a process of its own.

What is in the documents and in no event comes from here: an experiment's name, its unit, the window of its outcomes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from abside.report.problem import NoDocuments
from abside.snapshot import Snapshot, SnapshotError, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPILE_SECONDS = 120  # the agent's own bound is 60
SAID_LINES = 5  # of what the agent says when nothing came of it


def read_documents(places: Sequence[Path]) -> Snapshot:
    """Return the snapshot of directories of documents, or read a published file. Raises NoDocuments."""
    if len(places) == 1 and places[0].is_file():
        return _decode(places[0], places[0])
    for place in places:
        if not place.is_dir():
            raise NoDocuments(place, "is neither a directory of *.yaml documents nor a snapshot file")
    with tempfile.TemporaryDirectory(prefix="abside-report-") as folder:
        snapshot = Path(folder) / "abside.snapshot"
        said = _compile(places, snapshot)
        if not snapshot.is_file():
            _check_level(places)
            remedy = f"  (try: abside check {' '.join(map(str, places))})"
            raise NoDocuments(places[0], f"no snapshot came of these documents:\n{said}\n{remedy}")
        return _decode(places[0], snapshot)


def _check_level(places: Sequence[Path]) -> None:
    """Refuse the directory of `abside up`, whose documents are one level below. Raises NoDocuments."""
    for place in places:
        if not any(place.glob("*.yaml")) and any((place / "config").glob("*.yaml")):
            raise NoDocuments(place, f"holds no *.yaml; did you mean {place / 'config'}?")


def _compile(places: Sequence[Path], snapshot: Path) -> str:
    """Publish once; a rejected part is in the snapshot's own problems. Give the last lines of what was said."""
    where = [word for place in places for word in ("--config", str(place))]
    command = [sys.executable, "-m", "abside", "agent", *where, "--snapshot", str(snapshot), "--once"]
    try:
        done = subprocess.run(  # noqa: S603 our own command
            command, capture_output=True, text=True, errors="replace", timeout=COMPILE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise NoDocuments(places[0], f"the agent did not finish within {COMPILE_SECONDS} s") from exc
    return "\n".join(f"  {line}" for line in done.stderr.splitlines()[-SAID_LINES:])


def _decode(place: Path, file: Path) -> Snapshot:
    try:
        return decode(file.read_bytes())
    except (SnapshotError, OSError) as exc:
        raise NoDocuments(place, str(exc)) from exc
