"""The simulated shop written straight to Parquet in the collector's schema: hundreds of shops, or one of millions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from abside.assignment.bucket import bucket_of, prefix
from abside.collector.store import SCHEMA, Footer, write_file
from abside.snapshot import Experiment, Placement, Snapshot, Variant, assemble, config_id
from shop import CATALOGUE, DAY_US, EXPERIMENT, PLACEMENT, SECOND_US, SHOWN, STRIDE, Crowd, Shop, crowd

if TYPE_CHECKING:
    from pathlib import Path

    from abside.snapshot import Parameters
    from shop import Floats, Ints

OPENED_US = int(datetime(2026, 11, 2, tzinfo=UTC).timestamp()) * SECOND_US  # a Monday
LATE_US = 3 * 3600 * SECOND_US
BATCH_US = 10 * SECOND_US  # of events shipped together
CLICK_US, CART_US, BUY_US = 2 * SECOND_US, 4 * SECOND_US, 300 * SECOND_US  # after their page


@dataclass(frozen=True, slots=True)
class Flaws:
    """What goes wrong on the way. Shares of all rows."""

    duplicates: float = 0.0
    late: float = 0.0
    unseen: float = 0.0  # share of the impressions, never sent


def snapshot(shop: Shop, experiment: str = EXPERIMENT, analysis: dict[str, Any] | None = None) -> Snapshot:
    """Return the snapshot that the agent would publish for this shop's document."""
    stops = np.cumsum([100 * weight for weight in shop.weights.values()]).tolist()
    arms = tuple(
        Variant(name, stop - 100 * weight, stop, {} if name == "control" else {PLACEMENT: {"model": f"ranker-{name}"}})
        for (name, weight), stop in zip(shop.weights.items(), stops, strict=True)
    )
    one = Experiment(
        experiment,
        "PDP re-ranker",
        "A better order.",
        "running",
        (PLACEMENT,),
        arms,
        "control",
        analysis=analysis or {},
    )
    return assemble({}, [Placement(PLACEMENT, {"model": "ranker-v1"}), one], written_at_us=OPENED_US)


def store(folder: Path, shop: Shop, flaws: Flaws | None = None, *, experiment: str = EXPERIMENT) -> Path:
    """Write one shop's events as a collector would have; return the store's folder."""
    write(folder, rows(shop, flaws or Flaws(), experiment), name=experiment)
    return folder


def write(folder: Path, table: pa.Table, *, name: str = "batch") -> None:
    """Write rows as one file a day of receipt."""
    days = pc.divide(pc.cast(table["recv_ts"], pa.int64()), DAY_US)
    for day in pc.unique(days).to_pylist():
        date = datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()
        (folder / f"dt={date}").mkdir(parents=True, exist_ok=True)
        write_file(
            folder / f"dt={date}" / f"{name}.parquet", [table.filter(pc.equal(days, day))], Footer((f"{name}.{day}",))
        )


def rows(shop: Shop, flaws: Flaws, experiment: str = EXPERIMENT) -> pa.Table:
    """Return every event of the shop as rows of the collector's schema."""
    walk = Walk(shop, crowd(shop), experiment)
    table = pa.concat_tables(
        [walk.config(), walk.exposures(), walk.impressions(flaws.unseen), walk.clicks(), *walk.baskets()]
    )
    rng = np.random.default_rng(shop.seed + 1)
    count = table.num_rows
    late = pa.array(np.where(rng.random(count) < flaws.late, LATE_US, SECOND_US), pa.duration("us"))
    table = with_columns(table, recv_ts=pc.add(table["ts"], late))
    twice = np.flatnonzero(rng.random(count) < flaws.duplicates)
    return pa.concat_tables([table, table.take(pa.array(twice))]) if len(twice) else table


def as_received(table: pa.Table) -> pa.Table:
    """Return rows in the order of their receipt, in batches of one sidecar each, as a collector has them."""
    table = table.take(pc.sort_indices(table["recv_ts"]))
    number = pc.cast(pc.divide(pc.cast(table["recv_ts"], pa.int64()), BATCH_US), pa.string())
    name = pc.binary_join_element_wise("rec-0", pc.utf8_lpad(number, 20, "0"), ".")
    return with_columns(table, batch_id=pc.binary_join_element_wise(name, "0" * 16, "-"))


def merged(variant: str) -> Parameters:
    """Return the configuration this variant's shoppers get."""
    return {"model": "ranker-v1" if variant == "control" else f"ranker-{variant}"}


class Walk:
    """One crowd's way through one shop, column by column."""

    def __init__(self, shop: Shop, people: Crowd, experiment: str) -> None:
        self.shop = shop
        self.people = people
        self.experiment = experiment
        self.names = list(shop.weights)
        stops = np.cumsum([100 * weight for weight in shop.weights.values()])
        users = np.searchsorted(stops, self._buckets("u"), side="right")
        sessions = np.searchsorted(stops, self._buckets("s"), side="right")
        forced = people.qa[people.shopper]
        variant = np.where(people.logged_in, users[people.shopper], sessions[people.shopper])
        self.variant = np.where(forced, len(self.names) - 1, variant)  # page → index of its variant
        _, first_page = np.unique(people.shopper, return_index=True)
        rates = np.array([shop.cart_rate_of(name) for name in self.names])
        self.carts = np.flatnonzero(people.cart_draw < rates[self.variant[first_page]])  # shoppers with a cart
        self.user = ids_of("u", people.shopper, experiment)
        self.session = ids_of("s", people.shopper * 2 + people.visit, experiment)

    def _buckets(self, kind: str) -> Ints:
        """The bucket of every shopper's user id, or of the session of the first visit."""
        start = prefix(self.experiment, "variant")
        step = 2 if kind == "s" else 1
        tail = f"@{self.experiment}".encode()
        numbers = range(0, self.shop.shoppers * step, step)
        return np.array([bucket_of(start, b"%s%d%s" % (kind.encode(), number, tail)) for number in numbers])

    def config(self) -> pa.Table:
        """The events a sidecar writes when the shop opens, and when it first serves each variant."""
        arms = {name: 100 * weight for name, weight in self.shop.weights.items()}
        state = {"status": "running", "phase": 1, "control": "control", "traffic_bp": 10_000, "weights_bp": arms}
        applied = {"experiment": self.experiment, **state, "pause": None}
        served = [
            {"placement": PLACEMENT, "config_id": config_id(config), "config": config}
            for config in map(merged, self.names)
        ]
        details: list[dict[str, Any]] = [{"part": 1, "parts": 1, "experiments": [applied]}]
        details += [{"placements": [one]} for one in served]
        source = {"source": {"pod": "rec-0"}}
        return _table(
            event_id=pa.array([f"config@{self.experiment}-{number:x}" for number in range(len(details))]),
            type=same("config", len(details)),
            ts=times(np.full(len(details), OPENED_US)),
            revision=same("000000000001", len(details)),
            detail=pa.array([json.dumps({**source, **detail}, separators=(",", ":")) for detail in details]),
        )

    def exposures(self) -> pa.Table:
        """One row a page."""
        people = self.people
        pages = np.arange(len(people.shopper))
        config_ids = [config_id(merged(name)) for name in self.names]
        unit = pc.if_else(pa.array(people.logged_in), self.user, self.session)
        kind = pc.if_else(pa.array(people.logged_in), "user", "session")
        return self._rows(
            "exposure",
            pages,
            people.at_us,
            exposure_id=ids_of("exposure", pages, self.experiment),
            placement=same(PLACEMENT, len(pages)),
            revision=same("000000000001", len(pages)),
            config_id=pa.array(config_ids).take(pa.array(self.variant)),
            experiment=same(self.experiment, len(pages)),
            phase=pa.array(np.ones(len(pages)), pa.int32()),
            variant=pa.array(self.names).take(pa.array(self.variant)),
            unit_type=kind,
            unit_id=unit,
            forced=pa.array(people.qa[people.shopper]),
            traffic_bp=pa.array(np.full(len(pages), 10_000), pa.int32()),
        )

    def impressions(self, unseen: float) -> pa.Table:
        """One row a page, a second later."""
        is_seen = np.random.default_rng(self.shop.seed + 2).random(len(self.people.shopper)) >= unseen
        pages = np.flatnonzero(is_seen)
        shown = (self.people.first_item[pages, None] + STRIDE * np.arange(SHOWN)) % CATALOGUE
        names = pa.array([f"i{number}" for number in range(CATALOGUE)])
        starts = pa.array(np.arange(0, len(pages) * SHOWN + 1, SHOWN), pa.int32())
        lists = pa.ListArray.from_arrays(starts, names.take(pa.array(shown.ravel())))
        at_us = self.people.at_us[pages] + SECOND_US
        return self._rows("impression", pages, at_us, placement=same(PLACEMENT, len(pages)), items=lists)

    def clicks(self) -> pa.Table:
        """A click on the first item of some lists."""
        pages = np.flatnonzero(self.people.click_draw < self.shop.click_rate)
        return self._rows(
            "click",
            pages,
            self.people.at_us[pages] + CLICK_US,
            placement=same(PLACEMENT, len(pages)),
            item_id=ids_of("i", self.people.first_item[pages]),
        )

    def baskets(self) -> list[pa.Table]:
        """Carts, and the purchases of some: an item of the list, or one found elsewhere."""
        people = self.people
        pages = people.cart_page[self.carts]
        elsewhere = (people.first_item[pages] + 1) % CATALOGUE
        item = ids_of("i", np.where(people.cart_shown[self.carts], people.first_item[pages], elsewhere))
        money = {"value": same("19.9000", len(pages)).cast(pa.decimal128(18, 4)), "currency": same("EUR", len(pages))}
        carts = self._rows("add_to_cart", pages, people.at_us[pages] + CART_US, item_id=item, **money)
        bought = people.cart_page[self.carts[people.buy_draw[self.carts] < self.shop.buy_rate]]
        return [carts, self._rows("purchase", bought, people.at_us[bought] + BUY_US)]

    def _rows(self, kind: str, pages: Ints, at_us: Ints | Floats, **columns: pa.Array) -> pa.Table:
        """Return rows of one type: of these shoppers, at these pages, at these times."""
        take = pa.array(pages)
        logged_in = pa.array(self.people.logged_in[pages])
        return _table(
            event_id=ids_of(kind, pages, self.experiment),
            type=same(kind, len(pages)),
            ts=times(OPENED_US + at_us),
            user_id=pc.if_else(logged_in, self.user.take(take), pa.scalar(None, pa.string())),
            session_id=self.session.take(take),
            bot=pa.array(self.people.bot[self.people.shopper[pages]]),
            **columns,
        )


def _table(**columns: pa.Array) -> pa.Table:
    """Return a table of the collector's schema; columns not named are null, and clocks agree."""
    count = len(columns["event_id"])
    whole = {"bot": pa.array(np.zeros(count, bool)), "seen_ts": columns["ts"], "recv_ts": columns["ts"], **columns}
    return pa.table([whole.get(field.name, pa.nulls(count, field.type)) for field in SCHEMA], schema=SCHEMA)


def with_columns(table: pa.Table, **columns: pa.ChunkedArray) -> pa.Table:
    for name, column in columns.items():
        table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), column)
    return table


def ids_of(kind: str, numbers: Ints, tail: str = "") -> pa.Array:
    text = pa.array(numbers).cast(pa.string())
    return pc.binary_join_element_wise(kind, text, f"@{tail}" if tail else "", "")


def same(value: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), count)


def times(at_us: Ints | Floats) -> pa.Array:
    return pa.array(at_us).cast(pa.timestamp("us", "UTC"))
