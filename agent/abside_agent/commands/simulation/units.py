"""The units of a simulation: made-up ids, or those of a file, each once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.assignment.unit import UnitError, parse_unit_id
from abside_agent.commands.in_force import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_IDS = 10_000_000  # each is kept in memory, so that a repeated one counts once; a gigabyte
MAX_LINE_BYTES = 4096  # an id has at most 256: a longer line is another kind of file
TICK_UNITS = 5_000  # between two signs of progress: 20 ms


@dataclass(slots=True)
class Skipped:
    """Lines that are no unit: ids that many share (and blank lines), and repeated ids."""

    shared: int = 0
    repeated: int = 0


def synthetic(number: int, tick: Callable[[int], None]) -> Iterator[str]:
    """Yield made-up ids, always the same; `tick` gets the number of further ids."""
    for index in range(number):
        if index % TICK_UNITS == TICK_UNITS - 1:
            tick(TICK_UNITS)
        yield f"user-{index:07}"
    tick(number % TICK_UNITS)


def from_lines(name: str, lines: Iterable[bytes], skipped: Skipped, tick: Callable[[int], None]) -> Iterator[str]:
    """Yield the id of each line, each once; `tick` gets the number of further bytes. Raises UsageError."""
    seen: set[str] = set()
    taken = 0
    for number, line in enumerate(lines, 1):
        taken += len(line)
        if number % TICK_UNITS == 0:
            tick(taken)
            taken = 0
        unit = _id(name, number, line)
        if unit is None:
            skipped.shared += 1
        elif unit in seen:
            skipped.repeated += 1
        else:
            if len(seen) >= MAX_IDS:
                raise UsageError(f"{name}: more than {MAX_IDS:,} ids; a part of them says as much")
            seen.add(unit)
            yield unit
    tick(taken)


def _id(name: str, number: int, line: bytes) -> str | None:
    if len(line) > MAX_LINE_BYTES:
        raise UsageError(f"{name}: line {number} has {len(line):,} bytes; write one id a line")
    try:
        text = line.rstrip(b"\r\n").decode("utf-8-sig" if number == 1 else "utf-8")
        return parse_unit_id(text)
    except UnicodeDecodeError as exc:
        raise UsageError(f"{name}: line {number} is not UTF-8") from exc
    except UnitError as exc:
        raise UsageError(f"{name}: line {number}: {exc}") from exc
