"""Terms → columns of the engine: what is counted of each unit."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any

import ibis

from abside.metric import PROPERTIES
from abside.report.store.members import flag_of, number_of, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.metric import Term
    from abside.report.store.engine import Table

MAX_SUMMED = 10**10  # of one event: beyond it, it is garbage, and counts as this
MAX_UNIT = 10**17  # of one unit, in millionths: ten thousand such squares fit the engine's widest integer


def column(hits: Table, term: Term, placements: Sequence[str], currency: str | None) -> Any:
    """Return one term as an aggregate over the hits of a unit."""
    mine = hits.type == term.event
    if term.here:
        mine &= hits.placement.isin(placements)
    if term.where:
        mine &= holds({"all": term.where}, hits)
    if term.of == "did":
        return mine.any().cast("int64")
    if term.of == "count":
        return mine.sum()
    if term.field == "value" and currency is not None:
        mine &= (hits.currency == currency) | hits.currency.isnull()
    summed = ibis.ifelse(mine, scaled(hits, term), 0).sum()
    if term.cap is not None:
        summed = ibis.least(summed, int(term.cap * term.scale))
    return summed.clip(-MAX_UNIT, MAX_UNIT)


def scaled(hits: Table, term: Term) -> Any:
    """Return the field a term sums, in the term's scale; what has none is 0."""
    number = field(hits, term.field, "number").cast("float64")
    return (number.clip(-MAX_SUMMED, MAX_SUMMED) * term.scale).round().cast("int64").fill_null(0)


def field(hits: Table, name: str, kind: str) -> Any:
    """Return a field of the events; one of the properties by its declared type, null where it has another."""
    if not name.startswith(PROPERTIES):
        return hits[name]
    read = {"number": number_of, "boolean": flag_of}.get(kind, text_of)
    return read(hits.properties, name.removeprefix(PROPERTIES))


def holds(node: Any, hits: Table) -> Any:
    """Return a compiled condition tree as an expression; what is not known does not hold, unless the tree says so."""
    for word, join in (("any", or_), ("all", and_)):
        if word in node:
            return reduce(join, (holds(one, hits) for one in node[word]))
    value, operand = field(hits, node["attribute"], node["type"]), node.get("value")
    if node["op"] in ("exists", "missing"):
        return value.notnull() if node["op"] == "exists" else value.isnull()
    return _OPS[node["op"]](value, operand).fill_null(node.get("or_missing", False))


_OPS: dict[str, Any] = {
    "eq": lambda value, operand: value == operand,
    "ne": lambda value, operand: value != operand,
    "in": lambda value, operand: value.isin(operand),
    "not_in": lambda value, operand: ~value.isin(operand),
    "lt": lambda value, operand: value < operand,
    "lte": lambda value, operand: value <= operand,
    "gt": lambda value, operand: value > operand,
    "gte": lambda value, operand: value >= operand,
    "starts_with": lambda value, operand: value.startswith(operand),
    "contains": lambda value, operand: value.contains(operand),
}
