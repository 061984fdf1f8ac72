"""`abside spool retry`: dead/ back into the queue, by ourselves or, where a sidecar runs, by asking it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from abside.byhand.entries import DEAD, NO_SPOOL, RETURNING, NoSpool, chosen, entries
from abside.spool.errors import SpoolBusy, SpoolFailed
from abside.spool.folder import claim
from abside.spool.queue.dead import REASON
from abside.spool.queue.returning import REQUESTS, ask, back, candidate, withdraw

if TYPE_CHECKING:
    from pathlib import Path

    from abside.byhand.entries import Entry
    from abside.byhand.settings import RetrySettings

LOOK_SECONDS = 0.1  # a sidecar looks once a second
DONE = "is back in the queue"


def main(settings: RetrySettings) -> int:
    """Bring files back. Exit 0, 1 where one of them stays, 2 where there is no such file."""
    root = settings.spool
    try:
        found = [entry for entry in entries(root) if entry.state in {DEAD, RETURNING}]
        files = chosen(found, settings.names)
        outcomes = {entry.name: why for entry in files if (why := entry.obstacle())}
        able = [entry for entry in files if entry.name not in outcomes]
        outcomes |= _bring_back(root, able, settings.wait_seconds)
    except (NoSpool, SpoolFailed, OSError) as exc:
        click.echo(f"abside spool retry: {exc}", err=True)
        return NO_SPOOL if isinstance(exc, NoSpool) else 1
    for name, outcome in outcomes.items():
        click.echo(f"{name} {outcome}", err=outcome != DONE)
    if not files:
        click.echo(f"nothing lies in {root / 'dead'}")
    return 0 if all(outcome == DONE for outcome in outcomes.values()) else 1


def _bring_back(root: Path, files: list[Entry], wait_seconds: float) -> dict[str, str]:
    """Return what became of each file, by its name. Raises SpoolFailed, OSError."""
    if not files:
        return {}
    try:
        folder = claim(root, None)
    except SpoolBusy:
        return _asked(root, files, wait_seconds)
    try:
        return {entry.name: _moved(entry.path, folder.queue) for entry in files}
    finally:
        if folder.aged_us is not None:
            with suppress(OSError):  # the ages of dead/ count from it: we leave it as its owner did
                folder.mark(folder.aged_us)
        folder.release()


def _moved(path: Path, queue: Path) -> str:
    found = candidate(path, queue)
    if found is None:
        return "stays: a file of its name is in the queue already"
    problem = back(path, found.path, durable=True)
    if problem is not None:
        return f"stays: {problem}"
    withdraw(path.with_name(path.name + REASON))
    return DONE


def _asked(root: Path, files: list[Entry], wait_seconds: float) -> dict[str, str]:
    """Ask the sidecar that owns the spool, and wait until it has done what it does. Raises OSError."""
    for entry in files:
        ask(root, entry.path.name)
    until = time.monotonic() + wait_seconds
    requests = {entry.name: root / REQUESTS / entry.path.name for entry in files}
    while any(request.exists() for request in requests.values()) and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
    return {entry.name: _answer(entry.path, requests[entry.name]) for entry in files}


def _answer(path: Path, request: Path) -> str:
    if request.exists():
        return "is asked for, and not taken yet: the sidecar takes it when its quota has room"
    return (
        "stays: the sidecar could not move it, see its log and spool.last_failure in /v1/status"
        if path.exists()
        else DONE
    )
