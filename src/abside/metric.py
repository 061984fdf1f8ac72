"""The metrics: one list of records, read by `check`, the schema, the reference page and the report alike.

A metric is made of terms, each one number of a unit: events counted, or a field of them summed. A unit that did nothing
is 0. Own metrics of the documents are the same records, so that both are computed by the same code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["proportion", "mean", "ratio", "gini"]
Good = Literal["up", "down"]
Of = Literal["did", "count", "sum", "sessions", "carted_shown", "items"]

PRIMARY = "add_to_cart_rate"
FIELD_TYPES = {"string": "text", "number": "a number"}
# The fields of each event that a metric may name, beside properties.…, and their types: `where` compares them, `sum`
# adds numbers up.
EVENT_FIELDS: dict[str, dict[str, Literal["string", "number"]]] = {
    "impression": {"placement": "string"},
    "click": {"item_id": "string", "position": "number", "placement": "string"},
    "add_to_cart": {
        "item_id": "string",
        "quantity": "number",
        "value": "number",
        "currency": "string",
        "placement": "string",
    },
    "purchase": {"value": "number", "currency": "string", "item_id": "string", "quantity": "number"},
    "page_view": {"page_type": "string", "page_load_ms": "number"},
}
OWN_EVENT_FIELDS: dict[str, Literal["string", "number"]] = {"value": "number", "currency": "string"}
PROPERTIES = "properties."
OWN_COLUMN = "own"  # the columns of a document's own metrics: own0, own1_below, …
MICRO = 1_000_000  # sums of a field are exact integers of a millionth
WHOLE = frozenset({"quantity", "position"})  # fields that are whole numbers


@dataclass(frozen=True, slots=True)
class Term:
    """One number of each unit.

    `did` is 1 for a unit with such an event; `sessions` counts those with an exposure, of them those that bounced where
    `field` says so. `where` are compiled conditions over the event's fields; `here`: at the experiment's placements.
    """

    column: str
    of: Of
    event: str = ""
    field: str = ""
    where: tuple[Any, ...] = ()
    here: bool = False
    cap: float | None = None  # of one unit

    @property
    def scale(self) -> int:
        """What a sum is counted in: whole numbers, or millionths."""
        return MICRO if self.of == "sum" and self.field not in WHOLE else 1

    @property
    def needs(self) -> frozenset[str]:
        """The events it is made of: without any of them in a store it is not 0, it is not known."""
        if self.of == "sessions":
            return frozenset({"page_view"}) if self.field == "bounced" else frozenset()
        if self.of == "carted_shown":
            return frozenset({"add_to_cart", "impression"})
        return frozenset({self.event})


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of each arm.

    proportion: the share of units with `above`; mean: its mean over units; ratio: its sum by the sum of `below`; gini:
    how unequally the items of a catalogue were shown.
    """

    name: str
    kind: Kind
    text: str
    good: Good
    above: Term
    below: Term | None = None

    @property
    def terms(self) -> tuple[Term, ...]:
        """What it is made of."""
        return (self.above,) if self.below is None else (self.above, self.below)

    @property
    def needs(self) -> tuple[str, ...]:
        """The events without which there is no figure."""
        return tuple(sorted(frozenset[str]().union(*(term.needs for term in self.terms))))

    @property
    def is_money(self) -> bool:
        """Whether it is in a currency, so that several of them cannot be added up."""
        return any(term.of == "sum" and term.field == "value" for term in self.terms)

    @property
    def is_share(self) -> bool:
        """Whether people read it as percent."""
        if self.kind == "proportion":
            return True
        return self.kind == "ratio" and all(term.of in ("count", "sessions", "did") for term in self.terms)


def to_json(metric: Metric) -> dict[str, Any]:
    """Return a metric as plain data, for the snapshot's head."""
    return asdict(metric)


def from_json(fields: dict[str, Any]) -> Metric:
    """Read a metric from plain data. Raises KeyError or TypeError for another shape."""
    below = fields["below"]
    terms = {"above": _term(fields["above"]), "below": None if below is None else _term(below)}
    return Metric(**{**fields, **terms})


def _term(fields: dict[str, Any]) -> Term:
    return Term(**{**fields, "where": tuple(fields["where"])})


def _field(name: str, op: str, value: float | None = None) -> dict[str, Any]:
    node: dict[str, Any] = {"attribute": name, "type": "number", "op": op}
    return node if value is None else {**node, "value": value}


SLOW_MS = 2500  # a page that takes longer is slow, as the web's own vitals have it
EXPOSED = Term("sessions", "sessions", field="exposed")
ITEMS = Term("items", "items", "impression")
_CARTED = Term("carted", "did", "add_to_cart")
_TIMED = Term("timed_views", "count", "page_view", where=(_field("page_load_ms", "exists"),))
_SLOW = Term("slow_views", "count", "page_view", where=(_field("page_load_ms", "gt", SLOW_MS),))
_LOAD = Term("load_ms", "sum", "page_view", "page_load_ms")
_REVENUE = Term("revenue", "sum", "purchase", "value")
METRICS: tuple[Metric, ...] = (
    Metric(PRIMARY, "proportion", "persons who put anything into the cart", "up", _CARTED),
    Metric(
        "placement_add_to_cart_rate",
        "proportion",
        "persons who put an item into the cart that was shown to them there within 24 h before",
        "up",
        Term("carted_shown", "carted_shown", "add_to_cart"),
    ),
    Metric(
        "ctr",
        "ratio",
        "clicks at the experiment's placements by impressions there; an impression is one list shown",
        "up",
        Term("clicks", "count", "click", here=True),
        Term("impressions", "count", "impression", here=True),
    ),
    Metric("conversion_rate", "proportion", "persons who bought anything", "up", Term("bought", "did", "purchase")),
    Metric("revenue_per_session", "ratio", "value of purchases by sessions exposed", "up", _REVENUE, EXPOSED),
    Metric("revenue_per_user", "mean", "value of a person's purchases", "up", _REVENUE),
    Metric(
        "bounce_rate",
        "ratio",
        "sessions exposed with at most one page view and no click, cart or purchase, by sessions exposed",
        "down",
        Term("bounces", "sessions", field="bounced"),
        EXPOSED,
    ),
    Metric("slow_page_share", "ratio", "page views slower than 2500 ms by page views timed", "down", _SLOW, _TIMED),
    Metric("page_load_mean", "ratio", "ms a page view that was timed took to load", "down", _LOAD, _TIMED),
    Metric(
        "items_per_cart",
        "ratio",
        "items put into the cart by persons who put any",
        "up",
        Term("carted_items", "sum", "add_to_cart", "quantity"),
        _CARTED,
    ),
    Metric(
        "inventory_exposure_gini",
        "gini",
        "how unequally items were shown at the placements: 0 all alike, near 1 one item has all",
        "down",
        ITEMS,
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}
