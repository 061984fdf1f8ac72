"""Own metrics of the documents → the records the report computes from, with every mistake noted where it stands. Pure.

A metric is read by the report alone: a mistake is an error of `check`, and stops no experiment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abside.assignment.condition import compile_eligibility
from abside.metric import BY_NAME, EVENT_FIELDS, ITEMS, OWN_COLUMN, OWN_EVENT_FIELDS, PROPERTIES, Metric, Term
from abside.snapshot import Attribute
from abside_agent.document.records import known
from abside_agent.document.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside_agent.document.records import MetricEntry
    from abside_agent.document.tree import Path, Tree

FORMS = ("count", "sum", "sessions")
OWN_TYPES = ("exposure", "config", "account")  # the sidecar's own events: no shopper did them
SESSIONS = ("exposed", "bounced")
SHOWN = "impression.items"
OF_KIND = {  # kind → the fields it takes, required ones first
    "proportion": (("event",), ("where",)),
    "mean": (("event", "of"), ("cap", "where")),
    "ratio": (("numerator", "denominator"), ("where",)),
    "gini": (("of",), ()),
}
_FIELDS = ("event", "of", "cap", "numerator", "denominator", "where")


def own_metric(tree: Tree, name: str, written: MetricEntry, number: int) -> Metric | None:
    """Return the record of one own metric; None where something is wrong with it, which is noted."""
    if not known(written) or not known(written.kind):
        return None
    reading = _Reading(tree, ("metrics", name), written, number)
    before = len(tree.flaws)
    metric = reading.metric(name)
    return metric if len(tree.flaws) == before else None


class _Reading:
    """One metric as written. `number` makes its columns' names."""

    def __init__(self, tree: Tree, path: Path, written: MetricEntry, number: int) -> None:
        self.tree = tree
        self.path = path
        self.written = written
        self.number = number

    def metric(self, name: str) -> Metric | None:
        one = self.written
        if name in BY_NAME:
            self.wrong((), "METRIC", f"{name} is built in", "give it another name", at_key=True)
        required, allowed = OF_KIND[one.kind]
        for field in _FIELDS:
            is_given = getattr(one, field) not in (None, [])
            if field in required and not is_given:
                self.wrong((field,), "MISSING_FIELD", f"a {one.kind} needs {field}", f"add {field}: …")
            elif is_given and field not in (*required, *allowed):
                takes = ", ".join((*required, *allowed))
                self.wrong((field,), "METRIC", f"a {one.kind} has no {field}", f"it takes {takes}", at_key=True)
        text = one.text if known(one.text) and one.text else name
        terms = list(self.terms())
        if any(term is None for term in terms) or not terms:
            return None
        good = one.good if known(one.good) else "up"
        return Metric(name, one.kind, text, good, *terms)  # type: ignore[arg-type]  # None was returned for

    def terms(self) -> Iterator[Term | None]:
        one, column = self.written, f"{OWN_COLUMN}{self.number}"
        if not known(one.event, one.of, one.cap, one.numerator, one.denominator, one.where):
            yield None
        elif one.kind == "proportion":
            yield self.event(column, "did", one.event, ("event",))
        elif one.kind == "mean":
            of = "count" if one.of == "count" else "sum"
            yield self.event(column, of, one.event, ("event",), field=one.of, at=("of",), cap=one.cap, cap_at=("cap",))
        elif one.kind == "ratio":
            yield self.form(f"{column}_above", one.numerator, ("numerator",))
            yield self.form(f"{column}_below", one.denominator, ("denominator",))
            if one.numerator is not None and one.numerator == one.denominator:
                message = "it is the numerator: the ratio is always 1"
                self.wrong(("denominator",), "METRIC", message, "divide by another")
        elif one.of is not None and one.of != SHOWN:
            self.wrong(("of",), "METRIC", "a gini is of the items shown", f"write of: {SHOWN}")
        else:
            yield ITEMS

    def form(self, column: str, form: Any, at: Path) -> Term | None:
        """Read {count: EVENT}, {sum: EVENT.FIELD, cap_per_unit: N} or {sessions: exposed}."""
        if form is None:
            return None
        words = [word for word in FORMS if isinstance(form, dict) and word in form]
        if len(words) != 1:
            remedy = "write {count: EVENT}, {sum: EVENT.FIELD, cap_per_unit: 100} or {sessions: exposed}"
            self.wrong(at, "METRIC", f"one of {', '.join(FORMS)} stands here", remedy)
            return None
        (word,) = words
        for other in form:
            if other != word and not (other == "cap_per_unit" and word == "sum"):
                self.wrong((*at, other), "UNKNOWN_FIELD", f"{word} has no {other}", "drop it", at_key=True)
        named = form[word]
        if not isinstance(named, str):
            self.wrong((*at, word), "WRONG_TYPE", "a name stands here", f"write {word}: page_view")
            return None
        if word == "sessions":
            if named not in SESSIONS:
                remedy = did_you_mean(named, SESSIONS) or "write exposed or bounced"
                self.wrong((*at, word), "UNKNOWN_VALUE", "there are no such sessions", remedy)
                return None
            return Term("sessions" if named == "exposed" else "bounces", "sessions", field=named)
        event, dot, field = named.partition(".")
        where = (*at, word)
        if word == "count":
            return self.event(column, "count", named, where)
        if not dot:
            self.wrong(where, "METRIC", "a sum is of a field", f"write {event}.value, or {{count: {event}}}")
            return None
        cap_at = (*at, "cap_per_unit")
        cap = form.get("cap_per_unit")
        return self.event(column, "sum", event, where, field=field, at=where, cap=cap, cap_at=cap_at)

    def event(
        self,
        column: str,
        of: Any,
        event: str | None,
        event_at: Path,
        *,
        field: str | None = None,
        at: Path = (),
        cap: Any = None,
        cap_at: Path = (),
    ) -> Term | None:
        """Read a term over one type of events."""
        if event is None or (of == "sum" and field is None):
            return None
        if event in OWN_TYPES or not event.replace("_", "a").isalnum() or event.lower() != event or "." in event:
            remedy = f"write one of {', '.join(EVENT_FIELDS)}, or a type of your own"
            self.wrong(event_at, "METRIC", "a shopper's event stands here", remedy)
            return None
        fields: dict[str, Any] = dict(EVENT_FIELDS.get(event, OWN_EVENT_FIELDS))
        if of == "sum" and field is not None and not self.adds_up(event, field, fields, at):
            return None
        if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int | float) or cap <= 0):
            self.wrong(cap_at, "WRONG_TYPE", "a cap is a number above 0", "write for example 500")
            return None
        conditions = self.conditions(event, fields)
        return Term(column, of, event, field if of == "sum" and field else "", conditions, cap=cap)

    def adds_up(self, event: str, field: str, fields: dict[str, Any], at: Path) -> bool:
        """Whether a field is there, and is a number."""
        if field.startswith(PROPERTIES) and len(field) > len(PROPERTIES):
            return True
        numbers = ", ".join([*(name for name, kind in fields.items() if kind == "number"), "properties.NAME"])
        if field not in fields:
            remedy = did_you_mean(field, fields) or f"numbers of {event}: {numbers}"
            self.wrong(at, "METRIC", f"{event} has no {field}", remedy)
            return False
        if fields[field] != "number":
            self.wrong(at, "METRIC", f"{field} is text", f"numbers of {event}: {numbers}")
            return False
        return True

    def conditions(self, event: str, fields: dict[str, Any]) -> tuple[Any, ...]:
        """Compile `where` over the fields of the event; a property has the type of what it is compared with."""
        if not self.written.where:
            return ()
        attributes = {name: Attribute(kind) for name, kind in fields.items()}
        attributes |= {name: Attribute(kind) for name, kind in _properties(self.written.where)}
        tree, errors = compile_eligibility(list(self.written.where), attributes)
        for error in errors:
            code = "METRIC" if error.code == "UNKNOWN_ATTRIBUTE" else error.code
            message = f"{event} has no such field" if error.code == "UNKNOWN_ATTRIBUTE" else error.message
            remedy = error.remedy.replace("declare it under attributes, with its type", f"it has {', '.join(fields)}")
            self.wrong(("where", *error.path), code, message, remedy, value=error.value)
        for name in ("placement", "logged_in"):
            if name not in fields and f"'attribute': '{name}'" in str(tree):
                self.wrong(("where",), "METRIC", f"{event} has no {name}", f"it has {', '.join(fields)}")
        return tree

    def wrong(self, at: Path, code: str, message: str, remedy: str, **more: Any) -> None:
        """Note what is wrong."""
        self.tree.note(code, (*self.path, *at), message, remedy, **more)


def _properties(where: Any) -> Iterator[tuple[str, Any]]:
    """List the properties that conditions name, with the type of their operand."""
    for one in where if isinstance(where, list) else ():
        if not isinstance(one, dict):
            continue
        for group in ("any", "all"):
            yield from _properties(one.get(group))
        name, value = one.get("attribute"), one.get("value")
        if isinstance(name, str) and name.startswith(PROPERTIES):
            value = value[0] if isinstance(value, list) and value else value
            kind = "boolean" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "string"
            yield name, kind
