"""What a Kafka collector did since its start, in numbers that only its own thread changes."""

from __future__ import annotations

from dataclasses import dataclass, field

from abside.collector.consume.gather import TakenCounts


@dataclass(slots=True)
class ConsumeTotals:
    """Counts since start. `taken` counts records each time they are read, the others what is in the store by us."""

    taken: TakenCounts = field(default_factory=TakenCounts)
    files: int = 0
    rows: int = 0
    fenced: int = 0
    lost: int = 0  # partitions that another owned before this collector knew; what was gathered is dropped
    overrun_records: int = 0  # deleted by retention before they were read
    write_failures: int = 0
