"""The simulated shop with all that a report measures, known true effects, and what goes wrong on the way.

Beside carts and clicks there are page views with load times, amounts, prices, favourites that one arm shows more often,
pods whose clocks are apart, and exposures posted after what they caused. All of it is drawn beforehand: the same crowd
can be walked with everybody in one arm, which is where the true effects come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from shop import CATALOGUE, EXPERIMENT, PLACEMENT, SECOND_US, SHOWN, STRIDE, Shop, crowd, document
from shop_store import CART_US, CLICK_US, OPENED_US, Walk, ids_of, same, times, with_columns

if TYPE_CHECKING:
    from shop import Crowd, Flags, Floats, Ints

TREATMENT = "treatment"
CLOCKS_SECONDS = (0, 3600, 0, -1800)  # of each pod, ahead of the collector's
SLOT_US = 900 * SECOND_US  # a batch of a pod, in this shop
BOOT = "00000000000000ab"
TOKEN_LATE_US = 30 * SECOND_US
BUY_US = 300 * SECOND_US
FAVOURITES = 25  # items
PRIMARY = "add_to_cart_rate"
SECONDARY = (
    "placement_add_to_cart_rate",
    "ctr",
    "conversion_rate",
    "revenue_per_session",
    "revenue_per_user",
    "bounce_rate",
    "slow_page_share",
    "page_load_mean",
    "items_per_cart",
    "inventory_exposure_gini",
)


@dataclass(frozen=True, slots=True)
class Effects:
    """What meeting the treatment first does to a shopper: relative, but for `favourites`, a share of the lists."""

    cart: float = 0.0
    click: float = 0.0
    items: float = 0.0
    money: float = 0.0
    load: float = 0.0
    favourites: float = 0.0


@dataclass(frozen=True, slots=True)
class Course:
    """What happened: by page or by shopper."""

    clicked: Flags  # page
    load_ms: Floats  # page
    first_item: Ints  # page
    carted: Flags  # shopper
    quantity: Ints  # shopper
    bought: Flags  # shopper
    value: Floats  # shopper


def whole_document(shop: Shop, *, planned_units: int | None = None) -> str:
    """Return the document of a PM who asks for every metric there is."""
    planned = "" if planned_units is None else f"\n      planned_units: {planned_units}"
    analysis = f"    analysis:\n      primary: {PRIMARY}\n      secondary: [{', '.join(SECONDARY)}]{planned}\n"
    return document(shop) + analysis


class Whole:
    """One shop: `rows` is what its collector stored, `truth` what the treatment does to it."""

    def __init__(self, shop: Shop, effects: Effects | None = None, *, flaws: bool = True) -> None:
        self.shop = shop
        self.people: Crowd = crowd(shop)
        self.effects = effects or Effects()
        self.has_flaws = flaws
        rng = np.random.default_rng((shop.seed, 7))
        pages, shoppers = len(self.people.shopper), shop.shoppers
        self._load = rng.lognormal(7.2, 0.5, pages)  # median 1.3 s
        self._of_person = rng.lognormal(0.0, 0.15, shoppers)  # one shopper's line is slower than another's
        self._favourite = rng.random(pages)
        self._favourites = (rng.pareto(1.2, pages) * 4).astype(np.int64) % FAVOURITES
        self._amount = rng.random(shoppers)
        self._value = rng.lognormal(3.2, 0.6, shoppers)  # around 25 a purchase
        self.is_late = rng.random(pages) < (0.05 if flaws else 0.0)
        self.pod = rng.integers(0, len(CLOCKS_SECONDS), pages) if flaws else np.zeros(pages, np.int64)

    def course(self, treated: Flags) -> Course:
        """Return what happens where these shoppers met the treatment first."""
        people, effects, shop = self.people, self.effects, self.shop
        on_page = treated[people.shopper]
        carted = people.cart_draw < shop.cart_rate * (1 + effects.cart * treated)
        load = self._load * self._of_person[people.shopper]
        favourite = self._favourite < 0.1 + effects.favourites * on_page
        return Course(
            clicked=people.click_draw < shop.click_rate * (1 + effects.click * on_page),
            load_ms=(load * (1 + effects.load * on_page)).round(1).astype(np.float64),
            first_item=np.where(favourite, self._favourites, people.first_item),
            carted=carted,
            quantity=1 + (self._amount < 0.3 * (1 + effects.items * treated)) + (self._amount < 0.05),
            bought=carted & (people.buy_draw < shop.buy_rate),
            value=(self._value * (1 + effects.money * treated)).round(2).astype(np.float64),
        )

    def truth(self) -> dict[str, float]:
        """Return each metric's true lift (of the Gini: difference), over all who count: every one in both arms."""
        off, on = (self._figures(self.course(np.full(self.shop.shoppers, arm))) for arm in (False, True))
        lifts = {name: on[name] / off[name] - 1 for name in off if name != "inventory_exposure_gini"}
        return {**lifts, "inventory_exposure_gini": on["inventory_exposure_gini"] - off["inventory_exposure_gini"]}

    def rows(self, experiment: str = EXPERIMENT) -> pa.Table:
        """Return every event of the shop as rows of the collector's schema."""
        walk = _WholeWalk(self, experiment)
        table = pa.concat_tables(
            [walk.config(), walk.exposures(), walk.lists(), walk.clicks(), walk.views(), *walk.baskets()]
        )
        if not self.has_flaws:
            return table
        rng = np.random.default_rng((self.shop.seed, 8))
        twice = np.flatnonzero(rng.random(table.num_rows) < 0.01)
        return pa.concat_tables([table, table.take(pa.array(twice))])

    def _figures(self, course: Course) -> dict[str, float]:
        people = self.people
        counts = ~people.bot & ~people.qa
        of_page = counts[people.shopper]
        visits = people.shopper * 2 + people.visit
        views = np.bincount(visits[of_page], minlength=2 * self.shop.shoppers)
        clicks = np.bincount(visits[of_page & course.clicked], minlength=2 * self.shop.shoppers)
        carts = counts & course.carted
        active = np.zeros(2 * self.shop.shoppers, bool)
        active[visits[people.cart_page[carts]]] = True
        sessions = float((views > 0).sum())
        revenue = float(course.value[counts & course.bought].sum())
        shown = np.bincount(_lists(course.first_item[of_page]).ravel(), minlength=CATALOGUE)
        load = course.load_ms[of_page]
        return {
            "add_to_cart_rate": carts.sum() / counts.sum(),
            "placement_add_to_cart_rate": (carts & people.cart_shown).sum() / counts.sum(),
            "ctr": (of_page & course.clicked).sum() / of_page.sum(),
            "conversion_rate": (counts & course.bought).sum() / counts.sum(),
            "revenue_per_session": revenue / sessions,
            "revenue_per_user": revenue / counts.sum(),
            "bounce_rate": float(((views == 1) & (clicks == 0) & ~active).sum()) / sessions,
            "slow_page_share": float((load > 2500).mean()),
            "page_load_mean": float(load.mean()),
            "items_per_cart": course.quantity[carts].sum() / carts.sum(),
            "inventory_exposure_gini": gini_by_hand(shown),
        }


def gini_by_hand(counts: Ints) -> float:
    """Return the mean difference of all pairs by twice the mean: the definition, in n² steps."""
    pairs = np.abs(counts[:, None] - counts[None, :]).sum()
    return float(pairs / (2 * len(counts) ** 2 * counts.mean()))


def _lists(first: Ints) -> Ints:
    return (first[:, None] + STRIDE * np.arange(SHOWN)) % CATALOGUE


class _WholeWalk(Walk):
    """One crowd's way through the whole shop, column by column."""

    def __init__(self, whole: Whole, experiment: str) -> None:
        super().__init__(whole.shop, whole.people, experiment)
        self.whole = whole
        people = whole.people
        _, first_page = np.unique(people.shopper, return_index=True)
        met = self.variant[first_page]
        self.course = whole.course(met == self.names.index(TREATMENT))

    def exposures(self) -> pa.Table:
        """One row a page; of some the token is posted late."""
        people = self.people
        late = np.where(self.whole.is_late, TOKEN_LATE_US, 0)
        table = super().exposures()
        return self._stamped(table, np.arange(len(people.shopper)), people.at_us + late)

    def lists(self) -> pa.Table:
        """One row a page, a second later, with the exposure that it shows."""
        pages = np.arange(len(self.people.shopper))
        names = pa.array([f"i{number}" for number in range(CATALOGUE)])
        starts = pa.array(np.arange(0, len(pages) * SHOWN + 1, SHOWN), pa.int32())
        items = pa.ListArray.from_arrays(starts, names.take(pa.array(_lists(self.course.first_item).ravel())))
        return self._told("impression", pages, SECOND_US, placement=same(PLACEMENT, len(pages)), items=items)

    def clicks(self) -> pa.Table:
        """A click on the first item of some lists."""
        pages = np.flatnonzero(self.course.clicked)
        item = ids_of("i", self.course.first_item[pages])
        return self._told("click", pages, CLICK_US, placement=same(PLACEMENT, len(pages)), item_id=item)

    def views(self) -> pa.Table:
        """One page view a page."""
        pages = np.arange(len(self.people.shopper))
        load = pa.array(self.course.load_ms)
        return self._told("page_view", pages, SECOND_US // 2, page_type=same("pdp", len(pages)), page_load_ms=load)

    def baskets(self) -> list[pa.Table]:
        """Carts, and the purchases of some."""
        people, course = self.people, self.course
        who = np.flatnonzero(course.carted)
        pages = people.cart_page[who]
        first = course.first_item[pages]
        item = ids_of("i", np.where(people.cart_shown[who], first, (first + 1) % CATALOGUE))
        amount = pa.array(course.quantity[who], pa.int32())
        carts = self._told("add_to_cart", pages, CART_US, item_id=item, quantity=amount)
        bought = np.flatnonzero(course.bought)
        prices = pa.array(course.value[bought]).cast(pa.decimal128(18, 4), safe=False)
        money = {"value": prices, "currency": same("EUR", len(bought))}
        return [carts, self._told("purchase", people.cart_page[bought], BUY_US, **money)]

    def _told(self, kind: str, pages: Ints, after_us: int, **columns: Any) -> pa.Table:
        if kind in ("impression", "click"):
            columns["exposure_id"] = ids_of("exposure", pages, self.experiment)
        at_us = self.people.at_us[pages] + after_us
        return self._stamped(self._rows(kind, pages, at_us, **columns), pages, at_us)

    def _stamped(self, table: pa.Table, pages: Ints, at_us: Ints) -> pa.Table:
        """Set the times as this page's pod and the collector see them, and the batch it came in."""
        pod = self.whole.pod[pages]
        skew_us = np.array(CLOCKS_SECONDS)[pod] * SECOND_US * self.whole.has_flaws
        stamped = times(OPENED_US + at_us + skew_us)
        received = times(OPENED_US + at_us + SECOND_US)
        slots = at_us // SLOT_US
        batches = [f"rec-{one}.{slot:020d}-{BOOT}" for one, slot in zip(pod.tolist(), slots.tolist(), strict=True)]
        return with_columns(table, ts=stamped, seen_ts=stamped, recv_ts=received, batch_id=pa.array(batches))
