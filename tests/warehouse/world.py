"""A shop of a few hundred shoppers: its events, its store, what `abside report` prints, and the queries of the page."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import SCHEMA, Footer, write_file

if TYPE_CHECKING:
    from abside.event import EventMap

PAGE = Path(__file__).parents[2] / "docs" / "warehouse.md"
BEGIN_US = 1_795_424_400_000_000
BOOT = "0123456789abcdef"
MINUTE_US, HOUR_US = 60_000_000, 3_600_000_000
WINDOW_HOURS = 24
RUNNING = {"status": "running", "phase": 1, "control": "control", "traffic_bp": 10_000, "pause": None}
WEIGHTS = {"weights_bp": {"control": 5_000, "treatment": 5_000}}
DOCUMENTS = """
placements:
  pdp: {parameters: {model: ranker-v1}}
  home: {parameters: {model: ranker-v1}}
experiments:
  pdp-reranker:
    name: PDP re-ranker
    hypothesis: A better order lifts add-to-cart
    status: running
    placements: [pdp]
    variants: {control: {weight: 50%}, treatment: {weight: 50%, parameters: {pdp: {model: ranker-v2}}}}
    analysis: {window: 1d}
  visit-banner:
    name: Banner of a visit
    hypothesis: A banner lifts add-to-cart
    status: running
    unit: session
    placements: [home]
    variants: {control: {weight: 50%}, treatment: {weight: 50%, parameters: {home: {model: ranker-v2}}}}
    analysis: {window: 1d}
"""


@dataclass
class Shop:
    """Events as sidecars send them, in the order of their time."""

    events: list[EventMap] = field(default_factory=list)
    numbers: count[int] = field(default_factory=count)

    def add(self, kind: str, at_us: int, user: str | None, session: str | None, **fields: Any) -> EventMap:
        known = {"ts": BEGIN_US + at_us, "seen_ts": BEGIN_US + at_us, "user_id": user, "session_id": session}
        event = {"event_id": f"{BOOT}-{next(self.numbers):x}", "type": kind, **known, **fields}
        self.events.append(event)
        return event

    def expose(
        self, experiment: str, variant: str, at_us: int, user: str | None, session: str | None, **fields: Any
    ) -> None:
        by_session = experiment == "visit-banner" or user is None
        unit = {"unit_type": "session", "unit_id": session} if by_session else {"unit_type": "user", "unit_id": user}
        one = {"experiment": experiment, "phase": 1, "variant": variant, "traffic_bp": 10_000, "forced": False, **unit}
        one |= {name: fields.pop(name) for name in ("forced", "phase") if name in fields}
        placement = "home" if experiment == "visit-banner" else "pdp"
        head = {"placement": placement, "revision": "r0", "config_id": "c0", "algo": 1, "attributes": {"country": "DE"}}
        self.add("exposure", at_us, user, session, **head, assignments=[one], **fields)

    def buy(self, at_us: int, user: str | None, session: str | None, value: float, **fields: Any) -> None:
        money = {"quantity": 1, "value": value, "currency": "EUR", "properties": {"paid": "card"}}
        self.add("add_to_cart", at_us, user, session, item_id="i1", **money, **fields)
        self.add("purchase", at_us + MINUTE_US, user, session, order_id="o", **money, **fields)


def shop() -> list[EventMap]:
    """Make every case in which a row of the store is no unit, or no outcome, of its own."""
    made, rng = Shop(), random.Random(5)
    source = {"pod": "rec-0", "app": "rec", "version": "4.2", "namespace": "recs", "cluster": "eu-1"}
    states = [{"experiment": name, **RUNNING, **WEIGHTS} for name in ("pdp-reranker", "visit-banner")]
    made.add("config", 0, None, None, revision="r0", source=source, part=1, parts=1, experiments=states)
    for number in range(300):
        user, session, at = f"u{number}", f"s{number}", number * MINUTE_US
        variant = rng.choice(["control", "treatment"])
        anonymous = number % 4 == 0  # until the login in the middle of the visit
        made.expose("pdp-reranker", variant, at, None if anonymous else user, session)
        made.expose("visit-banner", rng.choice(["control", "treatment"]), at, None if anonymous else user, session)
        if number % 3 == 0:
            made.expose("pdp-reranker", variant, at + HOUR_US, user, session)
        if number % 20 == 1:
            made.expose("pdp-reranker", "treatment", at + HOUR_US, user, session)  # some met the other one later
        if rng.random() < (0.5 if variant == "treatment" else 0.3):
            made.buy(at + 2 * HOUR_US, user, None if number % 2 else session, 10.0 + number)
        if number % 7 == 0:
            made.buy(at - 5 * MINUTE_US, user, session, 1_000.0)  # before the exposure
        if number % 11 == 0:
            made.buy(at + (WINDOW_HOURS + 1) * HOUR_US, user, session, 2_000.0)  # after the window
    for number in range(8):  # who is in no figure
        made.expose("pdp-reranker", "treatment", 0, f"bot{number}", None, bot=True)
        made.buy(HOUR_US, f"bot{number}", None, 5_000.0, bot=True)
        made.expose("pdp-reranker", "treatment", 0, f"qa{number}", None, forced=True)
        made.buy(HOUR_US, f"visitor{number}", None, 3_000.0)
        made.expose("pdp-reranker", "control", number, f"u{number}", None, phase=0)
        made.expose("visit-banner", "control", 0, None, f"only{number}")  # never logs in
        made.buy(HOUR_US, None, f"only{number}", 7.5)
    last = made.events[-1]
    made.events += [*made.events[40:80], {**last, "ts": last["ts"] + 5}]  # sent twice; a caller's retry
    return made.events


def close(events: list[EventMap], store: Path) -> None:
    """Write the events as a collector does."""
    batch_id, folder = f"rec-0.{BEGIN_US:020d}-{BOOT}", store / "dt=2026-11-23"
    folder.mkdir(parents=True)
    rows = [row for event in events for row in rows_of(event, batch_id=batch_id, recv_us=event["ts"] + 1_000_000)]
    write_file(
        folder / f"{batch_id}.parquet", [pa.Table.from_batches([record_batch(rows)], SCHEMA)], Footer((batch_id,))
    )


Arms = list[tuple[str, int, int, float]]  # of each arm: its name, units, those who bought, revenue
UNITS = {"pdp-reranker": "person", "visit-banner": "session_id"}  # by experiment: the views' column of its units
# What a tool does with a query of assignments and one of purchases.
TOOL = """
WITH assigned AS ({assignments}), bought AS ({purchases}),
first AS (SELECT {unit}, min({at}) AS since, min_by({variation}, {at}) AS arm
          FROM assigned WHERE {experiment} = '{key}' AND {unit} IS NOT NULL GROUP BY {unit}),
made AS (SELECT f.{unit}, f.arm, count(b.{unit}) AS purchases, sum(b.{value}) AS revenue
         FROM first AS f LEFT JOIN bought AS b
         ON f.{unit} = b.{unit} AND b.{when} >= f.since AND b.{when} < f.since + INTERVAL 1 DAY
         GROUP BY f.{unit}, f.arm)
SELECT arm, count(*), sum(CASE WHEN purchases > 0 THEN 1 ELSE 0 END), CAST(sum(revenue) AS DOUBLE)
FROM made GROUP BY arm ORDER BY arm
"""


@dataclass(frozen=True)
class Tool:
    """What a tool calls the columns of its two queries."""

    name: str
    assignments: str
    purchases: str
    columns: dict[str, str]

    def statement(self, experiment: str) -> str:
        """Return the statement that computes an experiment's arms from the page's two queries."""
        found = statement_of(f"{self.name}: {self.assignments}"), statement_of(f"{self.name}: {self.purchases}")
        assignments, purchases = (one.replace("person", UNITS[experiment]) for one in found)
        if self.name == "Statsig":  # a metric there is a filter on the source
            purchases = f"SELECT * FROM ({purchases}) AS source WHERE event = 'purchase'"  # noqa: S608 the page's own
        return TOOL.format(assignments=assignments, purchases=purchases, key=f"{experiment}-p1", **self.columns)


TOOLS = [
    Tool(
        "GrowthBook",
        "experiment assignment query",
        "fact table",
        {"unit": "user_id", "at": "timestamp", "when": "timestamp", "value": "value"}
        | {"experiment": "experiment_id", "variation": "variation_id"},
    ),
    Tool(
        "Eppo",
        "assignment SQL",
        "fact SQL",
        {"unit": "user_id", "at": "assigned_at", "when": "occurred_at", "value": "revenue"}
        | {"experiment": "experiment_key", "variation": "variation"},
    ),
    Tool(
        "Statsig",
        "assignment source",
        "metric source",
        {"unit": "user_id", "at": "ts", "when": "ts", "value": "value"}
        | {"experiment": "experiment_id", "variation": "group_id"},
    ),
]


def statement_of(title: str) -> str:
    """Return the statements of the page that begin with a title, without it."""
    found = re.findall(rf"^```sql\n-- {title}\n(.+?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(found) == 1, title
    return str(found[0]).strip()


def statements(script: str) -> list[str]:
    """Divide a script into its statements."""
    return [one for one in (part.strip() for part in script.split(";")) if one]


@dataclass(frozen=True)
class World:
    """A store, the events in it, and what the report prints of each experiment's arms."""

    folder: Path
    events: list[EventMap]
    reported: dict[str, Arms]


def arms_of(page: Any) -> Arms:
    assert page["window_seconds"] == WINDOW_HOURS * 3_600
    sums = [(arm["variant"], arm["units"], arm["sums"]["bought"], arm["sums"]["revenue"] / 1e6) for arm in page["arms"]]
    assert all(bought > 20 for _, _, bought, _ in sums)
    return sorted(sums)
