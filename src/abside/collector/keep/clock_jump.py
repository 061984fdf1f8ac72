"""A person's decision about the clock: `CLOCK_JUMP` in the store keeps every day until somebody has looked."""

from __future__ import annotations

import os
from datetime import date
from typing import TYPE_CHECKING

from abside.files import read_regular

if TYPE_CHECKING:
    from pathlib import Path

NAME = "CLOCK_JUMP"
CONFIRMED = "CLOCK_JUMP.confirmed"
MAX_BYTES = 4096
_TEXT = """{day}
From this day on the store's days are far from those before: the clock jumped, or nothing came for a long time.
Nothing is dropped while this file is here.
The days are right:  mv {name} {confirmed}
The clock was wrong: set it, give the folders dt={day} and later their right dates (or move them out), then rm {name}
"""


def is_open(store: Path) -> bool:
    """Return whether a jump waits for a person; whatever has the name counts."""
    return os.path.lexists(store / NAME)


def keep_all(store: Path, day: date) -> None:
    """Keep every day from now on, whatever the days look like later. Raises OSError."""
    text = _TEXT.format(day=day.isoformat(), name=NAME, confirmed=CONFIRMED)
    handle = os.open(store / NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(handle, "w") as file:
        file.write(text)


def confirmed(store: Path) -> date:
    """Return the day up to which a person has confirmed all; `date.min` without one. Raises OSError, ValueError."""
    try:
        text = read_regular(store / CONFIRMED, MAX_BYTES).decode("ascii", "replace")
    except FileNotFoundError:
        return date.min
    return date.fromisoformat(text.split("\n", 1)[0].strip())
