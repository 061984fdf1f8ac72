"""Batch ids as ranges: those of one run of a sidecar are consecutive, and there are 17,000 a day of a quiet one."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Range = tuple[str, int]  # the first id, and how many follow each other from it on
# `<host>.<seq, 20 digits>-<boot>`, with `.0`, `.1.0` … where a batch was sent in pieces: before, number, behind.
NUMBERED: Final = re.compile(r"(.*\.)([0-9]{20})(-.*)", re.DOTALL)
LAST: Final = 10**20  # behind the last number of 20 digits


class BatchIds:
    """A set of batch ids. Those of another form than a sidecar's are kept one by one."""

    def __init__(self, ids: Iterable[str] = (), ranges: Iterable[Range] = ()) -> None:
        self._alone: dict[str, None] = {}  # in the order in which they came
        self._bounds: dict[tuple[str, str], list[int]] = {}  # before and behind → begin, end, begin, end, … in order
        self._numbered = 0
        self.update(ids, ranges)

    def __len__(self) -> int:
        """Return how many ids it contains."""
        return len(self._alone) + self._numbered

    def __contains__(self, batch_id: str) -> bool:
        """Return whether it contains an id."""
        if not (match := NUMBERED.fullmatch(batch_id)):
            return batch_id in self._alone
        return _is_inside(self._bounds.get((match[1], match[3]), []), int(match[2]))

    def add(self, batch_id: str) -> None:
        """Take one id."""
        if match := NUMBERED.fullmatch(batch_id):
            self._take((match[1], match[3]), int(match[2]), int(match[2]) + 1)
        else:
            self._alone[batch_id] = None

    def update(self, ids: Iterable[str], ranges: Iterable[Range] = ()) -> None:
        """Take ids and ranges of ids. Raises ValueError for what is no range."""
        for batch_id in ids:
            self.add(batch_id)
        for first, count in ranges:
            place, begin, end = _parsed(first, count)
            self._take(place, begin, end)

    def contains_all(self, ids: Iterable[str], ranges: Iterable[Range] = ()) -> bool:
        """Return whether it contains these ids and all ids of these ranges. Raises ValueError as `update` does."""
        return all(batch_id in self for batch_id in ids) and all(self._contains_range(*one) for one in ranges)

    def without(self, others: BatchIds) -> BatchIds:
        """Return the ids that are not among others."""
        left = BatchIds(one for one in self._alone if one not in others._alone)
        for place, bounds in self._bounds.items():
            theirs = others._bounds.get(place, [])
            for begin, end in pairwise(sorted({*bounds, *theirs})):
                if _is_inside(bounds, begin) and not _is_inside(theirs, begin):
                    left._take(place, begin, end)
        return left

    def alone(self) -> Iterator[str]:
        """Yield the ids that follow no other, and those of another form."""
        yield from self._alone
        yield from (first for first, count in self._ranges() if count == 1)

    def ranges(self) -> Iterator[Range]:
        """Yield the others, as ranges of two ids or more."""
        yield from ((first, count) for first, count in self._ranges() if count > 1)

    def _ranges(self) -> Iterator[Range]:
        for (before, behind), bounds in self._bounds.items():
            for begin, end in zip(bounds[::2], bounds[1::2], strict=True):
                yield f"{before}{begin:020d}{behind}", end - begin

    def _contains_range(self, first: str, count: int) -> bool:
        place, begin, end = _parsed(first, count)
        bounds = self._bounds.get(place, [])
        at = bisect_right(bounds, begin)
        return at % 2 == 1 and end <= bounds[at]

    def _take(self, place: tuple[str, str], begin: int, end: int) -> None:
        bounds = self._bounds.setdefault(place, [])
        # An even place is between ranges, an odd one inside or at the end of one, which then becomes a part of this.
        left, right = bisect_left(bounds, begin), bisect_right(bounds, end)
        edges = bounds[left:right]
        covered = [*([begin] if left % 2 else []), *edges, *([end] if right % 2 else [])]
        self._numbered += end - begin - sum(covered[1::2]) + sum(covered[::2])
        bounds[left:right] = [*([] if left % 2 else [begin]), *([] if right % 2 else [end])]


def _is_inside(bounds: Sequence[int], number: int) -> bool:
    return bisect_right(bounds, number) % 2 == 1


def _parsed(first: str, count: int) -> tuple[tuple[str, str], int, int]:
    match = NUMBERED.fullmatch(first)
    if match is None or type(count) is not int or count < 1 or int(match[2]) + count > LAST:
        raise ValueError(f"{first!r} and {count} are no range of batch ids")
    return (match[1], match[3]), int(match[2]), int(match[2]) + count
