"""The tables of fields, forms, operators and metrics, from the records of the documents."""

from __future__ import annotations

import inspect as python
from typing import TYPE_CHECKING, Any

from msgspec import NODEFAULT, inspect
from reference_world import AROUND, WORDS, Fields, change

from abside.assignment.operators import OPERATORS, of_type
from abside.metric import EVENT_FIELDS, OWN_EVENT_FIELDS
from abside_agent.document import forms, records
from abside_agent.rules.metrics import OF_KIND

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RECORDS: dict[str, type[Any]] = {
    "sections": records.Document,
    "attributes": records.AttributeEntry,
    "placements": records.PlacementEntry,
    "experiments": records.ExperimentEntry,
    "variants": records.VariantEntry,
    "steps": records.StepEntry,
    "analysis": records.Analysis,
    "guardrails": records.Margin,
    "metrics": records.MetricEntry,
}
FORMS = {
    forms.identifier: "id",
    forms.unit_id: "unit id",
    forms.percent: "percentage",
    forms.slots: "range",
    forms.instant: "time",
    forms.window: "duration",
    forms.currency: "currency",
}
NAMES = {record: name for name, record in RECORDS.items()}
TYPES = ("string", "number", "boolean", "version", "date", "list")
SENT = {
    "string": '`"DE"`; letters count as they are',
    "number": "`17.5`; no text",
    "boolean": "`true` or `false`",
    "version": '`"2.10.1"`: one to six numbers, a prerelease; compared number by number',
    "date": '`"2026-12-01T09:00:00Z"`, with a zone, or seconds since 1970',
    "list": '`["new", "vip"]`: texts',
}


def fields_of(record: type[Any]) -> dict[str, Any]:
    """Return the fields of a record as a document names them."""
    return {one.encode_name: one for one in inspect.type_info(record).fields}  # type: ignore[attr-defined]  # a struct


def form(kind: Any) -> str:
    """Return what a field takes, in words."""
    match kind:
        case inspect.Metadata():
            reader = (kind.extra or {}).get("form")
            return form(kind.type) if reader is None else f"[{FORMS[reader]}](#forms)"
        case inspect.UnionType():
            return form(next(one for one in kind.types if not isinstance(one, inspect.NoneType)))
        case inspect.LiteralType():
            return ", ".join(f"`{one}`" for one in kind.values)
        case inspect.StructType():
            return f"[{NAMES[kind.cls]}](#{NAMES[kind.cls]})" if kind.cls in NAMES else "an empty mapping, `{}`"
        case inspect.ListType():
            if isinstance(kind.item_type, inspect.AnyType):
                return "list of [conditions](#eligibility)"
            return f"list of {form(kind.item_type)}{_bounds(kind, 'entries')}"
        case inspect.DictType():
            if isinstance(kind.key_type, inspect.StrType):  # not by an id of the document
                return "mapping"
            return f"mapping by {form(kind.key_type)} of {form(kind.value_type)}{_bounds(kind, 'entries')}"
        case inspect.StrType():
            return f"text{_bounds(kind, 'characters')}"
        case inspect.IntType():
            return f"whole number, {kind.ge:,} to {kind.le:,}"
        case inspect.BoolType():
            return "`true`, `false`"
        case inspect.AnyType():
            return "as in the example"
    raise TypeError(f"the page has no words for {kind}")


def _bounds(kind: Any, what: str) -> str:
    low, high = kind.min_length, kind.max_length
    return "" if high is None else f", {low or 0:,} to {high:,} {what}" if low else f", up to {high:,} {what}"


def default(record: str, field: Any) -> tuple[str, str]:
    """Return (what the absence of a field means, as YAML where that is a value; in words elsewhere)."""
    value = field.default if field.default_factory is NODEFAULT else field.default_factory()
    if field.required:
        return "", "required"
    if value is None:
        absent = WORDS[record][field.encode_name]["absent"]
        return (absent[1:-1] if absent.startswith("`") else ""), absent
    if isinstance(value, records.Analysis):
        return "{}", "`{}`"
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif field.encode_name == "window":
        text = f"{value // 86_400}d"
    else:
        text = (str(value) or '""') if isinstance(value, str | int) else "[]" if value == [] else "{}"
    return text, f"`{text}`"


def example(record: str, name: str, value: str | None = None) -> str:
    """Write a whole document with a field's example, or with another value in its place."""
    words = WORDS[record][name]
    beside: Fields = words.get("beside", {})
    return AROUND[record]({**beside, name: words["example"] if value is None else value})


def while_it_runs(record: str, name: str) -> str:
    """Return what a change of the field does to an experiment that runs, from the rules themselves."""
    changed = WORDS[record][name]["changed"]
    values = [changed] if isinstance(changed, str) else changed
    found = [(value, change(example(record, name), example(record, name, value))) for value in values]
    first, *others = [(value, _verdict(problems)) for value, problems in found]
    exceptions = [f"`{value}`: {verdict}" for value, verdict in others if verdict != first[1]]
    return "; ".join([first[1], *exceptions])


def _verdict(problems: Iterable[Any]) -> str:
    errors = sorted({one.code for one in problems if one.severity == "error"})
    warnings = sorted({one.code for one in problems if one.severity == "warning"})
    if errors == ["NEEDS_PHASE"]:
        return "only with a higher `phase`"
    if errors:
        return "no: " + ", ".join(f"`{one}`" for one in errors)
    return "yes" if not warnings else "yes, with a warning: " + ", ".join(f"`{one}`" for one in warnings)


def fields(record: str) -> Iterator[str]:
    """Yield the table of a record's fields."""
    yield "| field | what for | form | without it | while an experiment runs | example |"
    yield "|---|---|---|---|---|---|"
    for name, field in fields_of(RECORDS[record]).items():
        words = WORDS[record][name]
        cells = (f"`{name}`", words["what"], form(field.type), default(record, field)[1], while_it_runs(record, name))
        yield f"| {' | '.join(cells)} | `{name}: {words['example']}` |"


def forms_table() -> Iterator[str]:
    """Yield the table of forms, with each reader's own sentence."""
    yield "| form | read as | pattern |"
    yield "|---|---|---|"
    patterns = {
        forms.identifier: forms.ID_PATTERN,
        forms.unit_id: "^.{1,256}$",
        forms.percent: forms.PERCENT_PATTERN,
        forms.slots: forms.SLOTS_PATTERN,
        forms.instant: forms.INSTANT_PATTERN,
        forms.window: forms.WINDOW_PATTERN,
        forms.currency: forms.CURRENCY_PATTERN,
    }
    for reader, name in FORMS.items():
        sentence = (python.getdoc(reader) or "").removeprefix("Read ").rstrip(".")
        yield f"| {name} | {sentence} | `{patterns[reader].replace('|', chr(92) + '|')}` |"


def operators() -> Iterator[str]:
    """Yield the table of operators."""
    yield "| operator | the value sent | types | example | holds for | does not hold for |"
    yield "|---|---|---|---|---|---|"
    for name, one in OPERATORS.items():
        words = WORDS["operators"][name]
        cells = (words["what"], ", ".join(one.types), *(f"`{words[key]}`" for key in ("example", "holds", "fails")))
        yield f"| `{name}` | {' | '.join(cells)} |"


def types() -> Iterator[str]:
    """Yield the table of attribute types."""
    yield "| type | sent as | operators |"
    yield "|---|---|---|"
    for one in TYPES:
        yield f"| `{one}` | {SENT[one]} | {' '.join(f'`{name}`' for name in of_type(one))} |"  # type: ignore[arg-type]  # an AttributeType


def groups() -> Iterator[str]:
    """Yield the table of what else a condition may have."""
    yield "| | | example |"
    yield "|---|---|---|"
    for name, words in WORDS["groups"].items():
        yield f"| `{name}` | {words['what']} | `{words['example']}` |"


def kinds() -> Iterator[str]:
    """Yield the table of the kinds of metrics, and that of the fields of events."""
    yield "| kind | is | needs | takes as well | example |"
    yield "|---|---|---|---|---|"
    for name, (needed, further) in OF_KIND.items():
        words = WORDS["kinds"][name]
        cells = (" ".join(f"`{one}`" for one in needed), " ".join(f"`{one}`" for one in further) or "—")
        yield f"| `{name}` | {words['what']} | {cells[0]} | {cells[1]} | `{words['example']}` |"
    yield ""
    yield "| event | its fields |"
    yield "|---|---|"
    for event, known in {**EVENT_FIELDS, "any of your own": OWN_EVENT_FIELDS}.items():
        shown = ", ".join(f"`{name}` ({kind})" for name, kind in known.items())
        yield f"| {event} | {shown}{', `properties.NAME`' if event == 'any of your own' else ''} |"
