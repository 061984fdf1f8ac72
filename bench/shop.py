"""The simulated shop: shoppers who browse, log in mid-visit, fill carts, come back; robots and QA beside them.

Everything a shopper will do is drawn beforehand from a seed, given what variant they meet first, so that the same
crowd can walk through real processes (shop_http.py) or be written straight to Parquet (shop_store.py). A shopper's
cart depends on the variant of the first page alone: the true lift is `lifts`, whatever a login changes later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

EXPERIMENT = "pdp-reranker"
PLACEMENT = "pdp"
CATALOGUE = 500  # items
SHOWN = 6  # items a list
STRIDE = 7  # of the catalogue's ring: a list is start, start + 7, …
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
KNOWN, LOGS_IN, ANONYMOUS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Shop:
    """What the shop is like. Shares and rates are fractions; `weights` are in percent and sum to 100."""

    seed: int
    shoppers: int = 5_000
    weights: dict[str, int] = field(default_factory=lambda: {"control": 80, "treatment": 20})
    lifts: dict[str, float] = field(default_factory=dict)  # variant → relative lift of the cart rate; absent: none
    cart_rate: float = 0.10
    buy_rate: float = 0.40  # of those with a cart
    click_rate: float = 0.15  # a page
    logs_in: float = 0.20  # began anonymous, log in mid-visit
    anonymous: float = 0.20  # never log in
    returns: float = 0.30  # of those who log in or are known: a second visit, logged in
    bots: float = 0.01
    qa: float = 0.002  # forced
    days: float = 5.0  # within which visits begin

    def cart_rate_of(self, variant: str) -> float:
        """The true probability that a shopper who met this variant first fills a cart."""
        return self.cart_rate * (1 + self.lifts.get(variant, 0.0))


@dataclass(frozen=True, slots=True)
class Crowd:
    """What every shopper will do. Arrays of one entry a shopper, then arrays of one entry a page, in time order."""

    kind: Ints  # KNOWN, LOGS_IN, ANONYMOUS
    bot: Flags
    qa: Flags
    cart_draw: Floats  # a cart where below the variant's rate
    buy_draw: Floats
    cart_page: Ints  # the page, of all pages, after which it happens
    cart_shown: Flags  # the item was on that page's list
    shopper: Ints  # page → shopper
    visit: Ints  # page → 0, or 1 for the second visit
    at_us: Ints  # page → µs after the shop opened
    logged_in: Flags
    click_draw: Floats
    first_item: Ints  # the list's first item, 0 … CATALOGUE-1


def crowd(shop: Shop) -> Crowd:
    """Draw the crowd. Same shop, same crowd."""
    rng = np.random.default_rng(shop.seed)
    count = shop.shoppers
    kind = rng.choice(3, count, p=[1 - shop.logs_in - shop.anonymous, shop.logs_in, shop.anonymous])
    first = 1 + rng.poisson(1.2, count) + (kind == LOGS_IN)  # who logs in mid-visit has a page before and one after
    second = np.where((kind != ANONYMOUS) & (rng.random(count) < shop.returns), 1 + rng.poisson(0.8, count), 0)
    total = first + second
    shopper = np.repeat(np.arange(count), total)
    number = np.arange(len(shopper)) - np.repeat(np.cumsum(total) - total, total)
    visit = (number >= first[shopper]).astype(np.int64)
    login_page = 1 + (rng.random(count) * (first - 1)).astype(np.int64)  # 1 … first-1 for those who log in
    logged_in = (kind[shopper] == KNOWN) | ((kind[shopper] == LOGS_IN) & (number >= login_page[shopper]))
    opened = (rng.random(count) * shop.days * DAY_US).astype(np.int64)
    back = DAY_US // 4 + (rng.random(count) * DAY_US).astype(np.int64)
    pause = np.where(number == 0, 0, 5 * SECOND_US + (rng.exponential(60.0, len(shopper)) * SECOND_US).astype(np.int64))
    elapsed = np.cumsum(pause)
    at_us = opened[shopper] + elapsed - np.repeat(elapsed[np.cumsum(total) - total], total) + visit * back[shopper]
    return Crowd(
        kind=kind,
        bot=rng.random(count) < shop.bots,
        qa=rng.random(count) < shop.qa,
        cart_draw=rng.random(count),
        buy_draw=rng.random(count),
        cart_page=(np.cumsum(total) - total) + (rng.random(count) * first).astype(np.int64),
        cart_shown=rng.random(count) < 0.7,
        shopper=shopper,
        visit=visit,
        at_us=at_us,
        logged_in=logged_in,
        click_draw=rng.random(len(shopper)),
        first_item=rng.integers(0, CATALOGUE, len(shopper)),
    )


def items(first: int) -> list[str]:
    """Name the items of the list that begins with this one, in rank order."""
    return [item_id((first + STRIDE * rank) % CATALOGUE) for rank in range(SHOWN)]


def item_id(number: int) -> str:
    """Name one item of the catalogue."""
    return f"i{number}"


def user_id(shopper: int) -> str:
    """Name a shopper who is logged in."""
    return f"u{shopper}"


def session_id(shopper: int, visit: int) -> str:
    """Name one of a shopper's two visits."""
    return f"s{shopper * 2 + visit}"


def document(shop: Shop) -> str:
    """Return the document a PM would write for this shop; QA's ids are forced into the last variant."""
    arms = "\n".join(f"      {name}: {{weight: {weight}%{_parameters(name)}}}" for name, weight in shop.weights.items())
    staff = np.flatnonzero(crowd(shop).qa).tolist()
    forced = ", ".join(name for one in staff for name in (user_id(one), session_id(one, 0), session_id(one, 1)))
    force = f"\n    force: {{{list(shop.weights)[-1]}: [{forced}]}}" if forced else ""
    return f"""\
placements:
  {PLACEMENT}:
    parameters: {{model: ranker-v1}}
experiments:
  {EXPERIMENT}:
    name: PDP re-ranker
    hypothesis: A better order lifts add-to-cart
    status: running
    placements: [{PLACEMENT}]{force}
    variants:
{arms}
"""


def _parameters(variant: str) -> str:
    return "" if variant == "control" else f", parameters: {{{PLACEMENT}: {{model: ranker-{variant}}}}}"
