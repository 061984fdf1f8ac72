"""Which files of a store can matter to first exposures of a period: by day of receipt, and by Parquet's statistics.

Whoever was first exposed before the period is no unit of it, and what was in force is said once: of the other files
exposures, logins and what sidecars say are read, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from abside.collector.store import date_of, summary_of
from abside.report.store.engine import moment_of
from abside.report.store.fallbacks import EVENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow.parquet as pq

    from abside.collector.store import FileSummary
    from abside.report.store.engine import Engine, Table

# Between an event and its receipt lie 7 days at most (older ones a sidecar refuses), and as many between an outcome and
# the exposure it names; a day more is for clocks, and for where a day begins.
MARGIN = timedelta(days=8)
CLOCKS = timedelta(days=1)  # by which an event's own time may be wrong, where statistics of it say when it happened
SAID = ("config", "account", EVENT)  # read from every file: what was in force, what was lost

TimeBounds = tuple[datetime, datetime]  # the least and the greatest


@dataclass(frozen=True, slots=True)
class Period:
    """The times at which something happened that matters; None: no bound. `experiments` none: all."""

    first: datetime | None = None
    last: datetime | None = None
    experiments: tuple[str, ...] = ()

    def needs(self, file: FileFacts) -> bool:
        """Whether a file may hold an event of the period. What is not known of a file may be anything."""
        if file.received is None:
            return True
        if self.first is not None and file.received[1] < self.first - MARGIN:
            return False
        if self.last is None or file.received[0] <= self.last + MARGIN:
            return True
        return file.happened is None or file.happened[0] <= self.last + CLOCKS


@dataclass(frozen=True, slots=True)
class FileFacts:
    """How many rows a file holds, when they were received and happened, and what they are, as far as it says."""

    rows: int
    received: TimeBounds | None
    happened: TimeBounds | None
    summary: FileSummary | None = None


def facts_of(path: Path, metadata: pq.FileMetaData) -> FileFacts:
    """Return what a file's name and footer say of it."""
    day = date_of(path.parent) if path.parent.name.startswith("dt=") else None
    received = _bounds(metadata, "recv_ts")
    if day is not None:
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
        received = (begin, begin + timedelta(days=1))
    rows = int(metadata.num_rows)
    return FileFacts(rows, received, _bounds(metadata, "ts"), summary_of(metadata.metadata or {}, rows))


def _bounds(metadata: pq.FileMetaData, name: str) -> TimeBounds | None:
    """Return the bounds of a column of times; None where a part of the file does not say."""
    leaf = next(number for number in range(metadata.num_columns) if metadata.schema.column(number).path == name)
    bounds: list[int] = []
    for number in range(metadata.num_row_groups):
        statistics = metadata.row_group(number).column(leaf).statistics
        if statistics is None or not statistics.has_min_max or type(statistics.min_raw) is not int:
            return None
        bounds += [statistics.min_raw, statistics.max_raw]  # µs: as datetimes they load pandas
    return (moment_of(min(bounds)), moment_of(max(bounds))) if bounds else None


def narrow(engine: Engine, events: Table, others: Table, experiments: Sequence[str]) -> list[Table]:
    """Return what is read of the `others` among all files, a table for each filter that a scan can be handed.

    `events` are those of all files: whoever was exposed in a session may have logged in on any day.

    Raises EngineFailed.
    """
    shown = exposed(events, experiments)
    anonymous = shown.filter(shown.user_id.isnull(), shown.session_id.notnull()).select("session_id").distinct()
    anonymous = engine.keep("sessions exposed before a login", "anonymous", anonymous)
    known = others.filter(others.user_id.notnull(), others.session_id.notnull(), ~others.type.isin(SAID))
    is_shown = known.type == "exposure"
    if experiments:
        is_shown &= known.experiment.isin(list(experiments)).fill_null(False)
    logins = known.filter(~is_shown).semi_join(anonymous, "session_id")
    logins = engine.keep("logins of other days", "logins", logins)
    return [exposed(others, experiments), *(others.filter(others.type == kind) for kind in SAID), logins]


def exposed(events: Table, experiments: Sequence[str]) -> Table:
    """Return the exposures of some experiments; none: of all."""
    found = events.filter(events.type == "exposure")
    return found.filter(found.experiment.isin(list(experiments))) if experiments else found
