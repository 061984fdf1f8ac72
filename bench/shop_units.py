"""The whole shop's units by numpy alone, without rows, store or engine: thousands of shops in the time of ten reports.

The columns are those that the report counts of the same shop without flaws, which `calibration.py` compares; the
intervals are the report's own. So a share that is off by chance in two hundred reports is told from one that is wrong.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import md5
from typing import TYPE_CHECKING

import numpy as np

from abside.metric import METRICS
from abside.report.stats.band import always_valid
from abside.report.stats.compare import Estimate, estimate
from abside.report.stats.gini import GROUPS, compared, jackknifed
from abside.report.tally.moments import ArmFigures, pairs_of, terms_of
from shop import ANONYMOUS, CATALOGUE, DAY_US, EXPERIMENT, SHOWN, STRIDE, session_id, user_id
from shop_store import CART_US, Walk

if TYPE_CHECKING:
    from shop import Flags, Ints
    from shop_whole import Course, Whole

MICRO = 1_000_000
SLOW_MS = 2500
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # nothing here looks at dates
GINI = "inventory_exposure_gini"


class Units:
    """One shop's units: a person each, with what they did."""

    def __init__(self, whole: Whole) -> None:
        self.people = people = whole.people
        self.names = list(whole.shop.weights)
        _, first_page = np.unique(people.shopper, return_index=True)
        self.variant = Walk(whole.shop, people, EXPERIMENT).variant[first_page]
        self.first_us = people.at_us[first_page]
        self.counts = ~people.bot & ~people.qa
        self.course: Course = whole.course(self.variant == self.names.index("treatment"))
        self.columns = {name: column[self.counts] for name, column in self._columns(whole.shop.shoppers).items()}

    def arm(self, name: str) -> ArmFigures:
        """Return the moments of one arm, at the end."""
        mine = self.variant[self.counts] == self.names.index(name)
        return _arm(name, {column: values[mine] for column, values in self.columns.items()})

    def estimates(self) -> list[Estimate]:
        """Return every metric's estimate, by the report's own statistics."""
        control, treatment = self.arm("control"), self.arm("treatment")
        ginis = (jackknifed(self.shown(name)) for name in ("control", "treatment"))
        found = [estimate(metric, control, treatment) for metric in METRICS if metric.name != GINI]
        return [*found, compared(GINI, "treatment", *ginis)]

    def looks(self, planned: int) -> list[Estimate]:
        """Return the primary as it was at the end of each day, with the always-valid band."""
        people = self.people
        cart_us = np.where(self.course.carted, people.at_us[people.cart_page] + CART_US, np.iinfo(np.int64).max)
        last_us = max(self.first_us[self.counts].max(), cart_us[self.counts & self.course.carted].max(initial=0))
        found = []
        for day in range(int(last_us // DAY_US) + 1):
            until = (day + 1) * DAY_US
            arms = []
            for number, name in enumerate(self.names):
                mine = self.counts & (self.variant == number) & (self.first_us < until)
                zeros = dict.fromkeys(self.columns, np.zeros(mine.sum(), np.int64))
                arms.append(_arm(name, {**zeros, "carted": (cart_us < until)[mine].astype(np.int64)}))
            found.append(_banded(estimate(METRICS[0], *arms), sum(arm.units for arm in arms), planned))
        return found

    def shown(self, name: str) -> Ints:
        """Count the items shown to each group of people of an arm."""
        people = self.people
        mine = (self.counts & (self.variant == self.names.index(name)))[people.shopper]
        items = (self.course.first_item[mine, None] + STRIDE * np.arange(SHOWN)) % CATALOGUE
        is_anonymous = people.kind[people.shopper] == ANONYMOUS
        users, sessions = _groups(len(people.kind))
        group = np.where(is_anonymous, sessions[people.shopper], users[people.shopper])[mine]
        counts = np.zeros((GROUPS, CATALOGUE), np.int64)
        np.add.at(counts, (group[:, None], items), 1)
        return counts

    def _columns(self, shoppers: int) -> dict[str, Ints]:
        people, course = self.people, self.course
        visits = people.shopper * 2 + people.visit
        views = np.bincount(visits, minlength=2 * shoppers)
        acted = np.bincount(visits[course.clicked], minlength=2 * shoppers) > 0
        acted[visits[people.cart_page[course.carted]]] = True
        sessions = (views > 0).reshape(-1, 2).sum(axis=1)
        bounces = ((views == 1) & ~acted).reshape(-1, 2).sum(axis=1)

        def by_person(of_page: Ints | Flags) -> Ints:
            found = np.zeros(shoppers, np.int64)
            np.add.at(found, people.shopper, of_page.astype(np.int64))
            return found

        pages = by_person(np.ones(len(people.shopper), np.int64))
        load = np.round(course.load_ms * MICRO).astype(np.int64)
        return {
            "carted": course.carted.astype(np.int64),
            "carted_shown": (course.carted & self._was_shown()).astype(np.int64),
            "clicks": by_person(course.clicked),
            "impressions": pages,
            "bought": course.bought.astype(np.int64),
            "revenue": np.where(course.bought, np.round(course.value * MICRO), 0).astype(np.int64),
            "sessions": sessions,
            "bounces": bounces,
            "slow_views": by_person(course.load_ms > SLOW_MS),
            "timed_views": pages,
            "load_ms": by_person(load),
            "carted_items": np.where(course.carted, course.quantity, 0),
        }

    def _was_shown(self) -> Flags:
        """Whether the item of each shopper's cart was on a list of theirs within the day before."""
        people, first = self.people, self.course.first_item
        found = people.cart_shown.copy()
        for one in np.flatnonzero(self.course.carted & ~people.cart_shown).tolist():
            page = people.cart_page[one]
            before = np.flatnonzero(people.shopper[: page + 1] == one)
            recent = before[people.at_us[page] + CART_US - people.at_us[before] < DAY_US]
            item = (first[page] + 1) % CATALOGUE
            found[one] = (((first[recent, None] + STRIDE * np.arange(SHOWN)) % CATALOGUE) == item).any()
        return found


def _arm(name: str, columns: dict[str, Ints]) -> ArmFigures:
    terms = terms_of(METRICS)
    exact = {column: columns[column].astype(object) for column in terms}  # squares of millionths outgrow 64 bits
    return ArmFigures(
        name,
        len(columns["carted"]),
        *(0, 0, 0, 0, EPOCH, EPOCH),
        sums={column: int(values.sum()) for column, values in exact.items()},
        nonzero={column: int((columns[column] != 0).sum()) for column in terms},
        products={pair: int((exact[pair[0]] * exact[pair[1]]).sum()) for pair in pairs_of(METRICS)},
    )


def _banded(found: Estimate, units: int, planned: int) -> Estimate:
    if found.lift is None or found.lift_interval is None:
        return found
    return replace(found, band=always_valid(found.lift, found.lift_interval, units=units, planned=planned))


@cache
def _groups(shoppers: int) -> tuple[Ints, Ints]:
    """The group of every shopper as a user, and as a session."""
    return tuple(np.array([_group(kind(one)) for one in range(shoppers)]) for kind in (user_id, _first_session))  # type: ignore[return-value]


def _first_session(shopper: int) -> str:
    return session_id(shopper, 0)


def _group(person: str) -> int:
    """The report's own grouping: of the person's key, which has the kind of id in front."""
    return int(md5(f"{person[0]}{person}@{EXPERIMENT}".encode(), usedforsecurity=False).hexdigest()[:2], 16) % GROUPS
