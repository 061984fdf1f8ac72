"""What is in a merged file, in its footer: a reader that asks for no more than that need not look at the rows.

Rows by type, exposures by experiment, currencies, and how long after they were seen the events of each sidecar came.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping

SUMMARY: Final = b"abside.summary"  # a key of the footer
FORMAT = 1  # of its text
MAX_NAMES = 2_000  # of experiments, types, currencies and sidecars each: a file with more has no summary
LATE_SECONDS = 3600  # shipping takes seconds; an hour is an upstream that was away, or a client's queue
SIDECAR = r"^(.+)\.[0-9]{20}(-[0-9a-f]{16}|$)"  # of a batch id: the host, or the series of a Kafka record
_HOST = re.compile(SIDECAR)


@dataclass(frozen=True, slots=True)
class TypeSummary:
    """The rows of one type: all, those of no bot, those LATE_SECONDS late; when they happened, µs since 1970."""

    rows: int
    people: int
    late: int
    first_us: int
    last_us: int

    def __add__(self, other: TypeSummary) -> TypeSummary:
        """Return both together."""
        first, last = min(self.first_us, other.first_us), max(self.last_us, other.last_us)
        return TypeSummary(self.rows + other.rows, self.people + other.people, self.late + other.late, first, last)


@dataclass(slots=True)
class FileSummary:
    """What rows contain. It grows by `add`, of a table, and `take`, of another one."""

    types: dict[str, TypeSummary] = field(default_factory=dict)
    exposures: Counter[tuple[str, int]] = field(default_factory=Counter)  # rows by experiment and phase
    currencies: Counter[tuple[str, str]] = field(default_factory=Counter)  # rows with a value, by type and currency
    delays: dict[str, int] = field(default_factory=dict)  # sidecar, "" for none → least µs from seen to received
    ahead_us: int = 0  # the most that an event happened after it was received
    naming: int = 0  # rows other than exposures that name one
    unknown: int = 0  # rows without a type or a time, which no file of ours has

    def add(self, table: pa.Table) -> None:
        """Count the rows of a table of the store's schema."""
        is_shown = pc.equal(table["type"], "exposure")
        own = FileSummary(
            _types(table),
            Counter(_counts(table, is_shown, "experiment", "phase")),
            Counter(_counts(table, pc.is_valid(table["value"]), "type", "currency")),
            _delays(table),
            max(0, _us(table, "ts", "recv_ts", pc.max)),
            _count(pc.and_(pc.invert(is_shown), pc.is_valid(table["exposure_id"]))),
            sum(table[name].null_count for name in ("type", "ts", "recv_ts", "bot")),
        )
        self.take(own)

    def take(self, other: FileSummary) -> None:
        """Take the rows of another summary too."""
        for kind, found in other.types.items():
            self.types[kind] = self.types[kind] + found if kind in self.types else found
        self.exposures.update(other.exposures)
        self.currencies.update(other.currencies)
        for sidecar, delay in other.delays.items():
            self.delays[sidecar] = min(delay, self.delays.get(sidecar, delay))
        self.ahead_us = max(self.ahead_us, other.ahead_us)
        self.naming += other.naming
        self.unknown += other.unknown

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(found.rows for found in self.types.values())

    def text(self) -> bytes | None:
        """Return what a footer contains; None where it would not be all, or more names than a footer should list."""
        names = max(len(self.types), len(self.exposures), len(self.currencies), len(self.delays))
        if self.unknown or names > MAX_NAMES:
            return None
        told = {
            "format": FORMAT,
            "types": {
                kind: [one.rows, one.people, one.late, one.first_us, one.last_us] for kind, one in self.types.items()
            },
            "exposures": [[*key, rows] for key, rows in self.exposures.items()],
            "currencies": [[*key, rows] for key, rows in self.currencies.items()],
            "delays": self.delays,
            "ahead_us": self.ahead_us,
            "naming": self.naming,
        }
        return orjson.dumps(told)


def summary_of(entries: Mapping[bytes, bytes], rows: int) -> FileSummary | None:
    """Read the summary of a footer of a file of so many rows; None where it has none that can be understood."""
    try:
        told = orjson.loads(entries.get(SUMMARY, b"null"))
        if told is None or told["format"] != FORMAT:
            return None
        found = FileSummary(
            {str(kind): TypeSummary(*map(_whole, one)) for kind, one in told["types"].items()},
            Counter({(str(name), _whole(phase)): _whole(count) for name, phase, count in told["exposures"]}),
            Counter({(str(kind), str(name)): _whole(count) for kind, name, count in told["currencies"]}),
            {str(name): _whole(delay) for name, delay in told["delays"].items()},
            _whole(told["ahead_us"]),
            _whole(told["naming"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return found if found.rows == rows else None


def _whole(number: Any) -> int:
    if type(number) is not int:
        raise TypeError(f"{number!r} is no whole number")
    return number


def _types(table: pa.Table) -> dict[str, TypeSummary]:
    happened, received = (pc.cast(table[name], pa.int64()) for name in ("ts", "recv_ts"))
    is_late = pc.greater(pc.subtract(received, happened), LATE_SECONDS * 1_000_000)
    each = pa.table(
        {
            "type": table["type"],
            "person": pc.invert(table["bot"]).cast(pa.int64()),
            "late": is_late.cast(pa.int64()),
            "ts": happened,
        }
    )
    asked = [("type", "count"), ("person", "sum"), ("late", "sum"), ("ts", "min"), ("ts", "max")]
    found = each.group_by("type", use_threads=False).aggregate(asked).to_pylist()
    names = ("type_count", "person_sum", "late_sum", "ts_min", "ts_max")
    return {row["type"]: TypeSummary(*(row[name] or 0 for name in names)) for row in found}


def _counts(table: pa.Table, is_counted: pa.ChunkedArray, *names: str) -> dict[tuple[Any, ...], int]:
    """Count some rows by the values of columns, those that have all of these columns."""
    for name in names:
        is_counted = pc.and_(is_counted, pc.is_valid(table[name]))
    mine = table.select(names).filter(is_counted)
    found = mine.group_by(list(names), use_threads=False).aggregate([([], "count_all")]).to_pylist()
    return {tuple(row[name] for name in names): row["count_all"] for row in found}


def _delays(table: pa.Table) -> dict[str, int]:
    received, seen = (pc.cast(table[name], pa.int64()) for name in ("recv_ts", "seen_ts"))
    each = pa.table({"batch_id": table["batch_id"], "delay": pc.subtract(received, seen)})
    delays: dict[str, int] = {}
    for row in each.group_by("batch_id", use_threads=False).aggregate([("delay", "min")]).to_pylist():
        if (delay := row["delay_min"]) is not None:
            host = _HOST.match(row["batch_id"] or "")
            sidecar = host[1] if host else ""
            delays[sidecar] = min(delay, delays.get(sidecar, delay))
    return delays


def _count(flags: pa.ChunkedArray) -> int:
    return int(pc.sum(flags).as_py() or 0)


def _us(table: pa.Table, later: str, earlier: str, choose: Any) -> int:
    after, before = (pc.cast(table[name], pa.int64()) for name in (later, earlier))
    return int(choose(pc.subtract(after, before)).as_py() or 0)
