"""What was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Ask:
    """Experiments (none: all), a phase (None: the latest one that has exposures), first exposures since and until."""

    experiments: tuple[str, ...] = ()
    phase: int | None = None
    since: datetime | None = None
    until: datetime | None = None  # first exposures before it; their windows go on
    by: tuple[str, ...] = ()  # attributes to cut by
    logged: tuple[str, ...] = ()  # attributes that exposures carry
    with_rows: bool = False  # keep units and outcomes for --export
    is_aa: bool = False  # read as an A/A test
