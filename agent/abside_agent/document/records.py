"""The document a PM writes, as records: the one place that names its fields, their types and their defaults.

`conform` reads a tree against these records; a JSON Schema can be made from the same. A form (`Percent`) is written as
one word and read by its function in forms.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, field

from abside_agent.document import forms


def _form(reader: Any, pattern: str, *examples: str) -> Meta:
    schema = {"type": "string", "pattern": pattern, "examples": list(examples)}
    return Meta(extra={"form": reader}, extra_json_schema=schema)


EntryId = Annotated[str, _form(forms.identifier, forms.ID_PATTERN, "pdp-reranker")]
UnitIdText = Annotated[str, _form(forms.unit_id, "^.{1,256}$", "qa-user-1")]
Percent = Annotated[int, _form(forms.percent, forms.PERCENT_PATTERN, "20%", "2.5%")]
Slots = Annotated[tuple[int, int], _form(forms.slots, forms.SLOTS_PATTERN, "0%-50%")]
Instant = Annotated[int, _form(forms.instant, forms.INSTANT_PATTERN, "2026-12-01T09:00:00Z")]
Window = Annotated[int, _form(forms.window, forms.WINDOW_PATTERN, "7d")]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Prose = Annotated[str, Meta(min_length=1, max_length=2000)]
Currency = Annotated[str, _form(forms.currency, forms.CURRENCY_PATTERN, "EUR")]
Values: TypeAlias = dict[str, Any]  # JSON, whatever the rec service reads


class Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record that refuses fields it does not know.

    While rules run, a field that could not be read is `msgspec.UNSET`; only flawless records are compiled.
    """


class AttributeEntry(Strict, frozen=True, kw_only=True):
    """What the rec service may send for targeting."""

    type: Literal["string", "number", "boolean", "version", "date", "list"]
    log: bool = False


class PlacementEntry(Strict, frozen=True, kw_only=True):
    """A place where recommendations are shown, and every knob read there with its value outside experiments."""

    parameters: Values = {}


class LayerEntry(Strict, frozen=True, kw_only=True):
    """Mutual exclusion: experiments of one layer hold disjoint slots."""


class StepEntry(Strict, frozen=True, kw_only=True):
    """A share of traffic from an instant on."""

    from_: Instant = field(name="from")
    traffic: Percent


class VariantEntry(Strict, frozen=True, kw_only=True):
    """One arm: its weight, and by placement the parameters that differ. A mapping names only the keys that differ."""

    weight: Percent
    parameters: dict[EntryId, Values] = {}


class Margin(Strict, frozen=True, kw_only=True):
    """How far a guardrail may move before it is crossed."""

    max_increase: Percent | None = None
    max_decrease: Percent | None = None


class Analysis(Strict, frozen=True, kw_only=True):
    """How the report reads the experiment."""

    primary: EntryId = "add_to_cart_rate"
    secondary: list[EntryId] = []
    window: Window = 7 * 86_400
    planned_units: Annotated[int, Meta(ge=1, le=10**12)] | None = None
    guardrails: dict[EntryId, Margin] = {}


class ExperimentEntry(Strict, frozen=True, kw_only=True):
    """An experiment as its PM describes it."""

    name: Name
    hypothesis: Prose
    status: Literal["draft", "running", "paused", "ended"]
    placements: Annotated[list[EntryId], Meta(min_length=1, max_length=32)]  # as many as one request may ask for
    variants: Annotated[dict[EntryId, VariantEntry], Meta(min_length=1, max_length=20)]
    owner: Annotated[str, Meta(max_length=200)] = ""
    unit: Literal["user_or_session", "user", "session"] = "user_or_session"
    layer: EntryId | None = None
    slots: Slots | None = None
    traffic: Percent | None = None
    steps: Annotated[list[StepEntry], Meta(max_length=100)] | None = None
    start: Instant | None = None
    end: Instant | None = None
    eligibility: list[Any] = []
    control: EntryId | None = None
    force: dict[EntryId, Annotated[list[UnitIdText], Meta(max_length=1000)]] = {}
    phase: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    analysis: Analysis = Analysis()


class MetricEntry(Strict, frozen=True, kw_only=True):
    """An own metric of the report. Which fields a kind takes, and what they may name, rules/metrics.py knows."""

    kind: Literal["proportion", "mean", "ratio", "gini"]
    event: Name | None = None
    of: Name | None = None
    cap: Any = None
    numerator: Any = None
    denominator: Any = None
    where: list[Any] = []
    good: Literal["up", "down"] = "up"
    text: Annotated[str, Meta(max_length=200)] = ""


class Document(Strict, frozen=True, kw_only=True):
    """All sections of one file. Any may be missing, and each may be spread over files."""

    attributes: dict[EntryId, AttributeEntry] = {}
    placements: dict[EntryId, PlacementEntry] = {}
    layers: dict[EntryId, LayerEntry] = {}
    experiments: dict[EntryId, ExperimentEntry] = {}
    retired: list[EntryId] = []
    metrics: Annotated[dict[EntryId, MetricEntry], Meta(max_length=100)] = {}
    currency: Currency | None = None


def known(*fields: object) -> bool:
    """Whether all of these fields could be read."""
    return all(one is not UNSET for one in fields)
