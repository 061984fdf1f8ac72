"""Ids that a crowd shares: hashed, such an id puts all of it into one variant. They are found in the sample.

The sketch is space-saving (Metwally, Agrawal, El Abbadi 2005): a bounded number of counters, and whoever finds none
free takes over the smallest. Its count is too large by at most what that one had, which is kept beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator

log = Log("abside.crowds")
ENTRIES = 64  # counters: an id with more than 1/64 of the requests has one
LEAST_SHARE = 0.05  # of the requests that were looked at; a shopper who asks all day has a thousandth
LEAST_COUNT = 20  # an id that came so often by chance has no less than half of that share
LEAST_OTHERS = 0.25  # of them are of ids without a counter: a few testers are no crowd
WINDOW = 2_000  # requests looked at, after which all counts are halved: what was mended is forgotten
MAX_LOGGED = 50  # ids that were told of in the log


@dataclass(slots=True)
class IdCount:
    """How often an id was seen, and by how much that may be too often."""

    count: int
    over: int


class SharedId(NamedTuple):
    """An id that a crowd shares, and at least what share of the requests has it."""

    field: str
    id: str
    share: float


class Crowds:
    """The ids of one field, user_id or session_id, in the requests that were looked at."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._ids: dict[str, IdCount] = {}
        self._looks = self._others = 0
        self._logged: set[str] = set()

    def look(self, unit_id: str) -> None:
        """Count one request; log an id the first time that it is found to be a crowd's, without the id itself."""
        self._looks += 1
        if self._looks >= WINDOW:
            self._halve()
        found = self._ids.get(unit_id)
        if found is None:
            self._ids[unit_id] = self._begun()
            return
        found.count += 1
        share = self._share(found)
        if share and unit_id not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add(unit_id)
            log.warning("crowd_id", field=self._field, percent=round(100 * share), id="in /v1/status, below warnings")

    def found(self) -> Iterator[SharedId]:
        """Yield the ids that a crowd shares."""
        for unit_id, one in self._ids.items():
            share = self._share(one)
            if share:
                yield SharedId(self._field, unit_id, share)

    def _share(self, one: IdCount) -> float:
        """Return the share of an id that a crowd has; 0 for every other."""
        certain = one.count - one.over
        is_crowd = certain >= LEAST_COUNT and certain >= LEAST_SHARE * self._looks
        return certain / self._looks if is_crowd and self._others >= LEAST_OTHERS * self._looks else 0.0

    def _begun(self) -> IdCount:
        if len(self._ids) < ENTRIES:
            return IdCount(1, 0)
        least = min(self._ids, key=lambda one: self._ids[one].count)
        over = self._ids.pop(least).count
        self._others += 1
        return IdCount(over + 1, over)

    def _halve(self) -> None:
        self._looks //= 2
        self._others //= 2
        self._ids = {name: IdCount(one.count // 2, one.over // 2) for name, one in self._ids.items() if one.count > 1}
