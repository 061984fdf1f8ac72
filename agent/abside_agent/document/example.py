"""Examples of the values that a document may have, for remedies. Pure."""

from __future__ import annotations

from typing import Any

from msgspec import inspect

from abside_agent.document.forms import identifier, unit_id

_IDS = frozenset({identifier, unit_id})


def example(kind: Any) -> str:
    """Return an example of a value of this kind, for a remedy; `…` marks what only the author knows."""
    match kind:
        case inspect.Metadata():
            examples = (kind.extra_json_schema or {}).get("examples", ())
            form = (kind.extra or {}).get("form")
            if form in _IDS:
                return "an id"  # an example of ours would only mislead
            return example(kind.type) if form is None else str(examples[0])
        case inspect.UnionType():
            return example(next(part for part in kind.types if not isinstance(part, inspect.NoneType)))
        case inspect.LiteralType():
            return f"one of {', '.join(map(str, kind.values))}"
        case inspect.IntType():
            return "a whole number"
        case inspect.BoolType():
            return "true or false"
        case inspect.ListType():
            return f"[{example_within(kind.item_type)}]"
        case inspect.DictType():
            return f"{{…: {example_within(kind.value_type)}}}"
        case inspect.StructType():
            fields = [field for field in kind.fields if field.required] or kind.fields[:1]
            return f"{{{', '.join(f'{field.encode_name}: {example_within(field.type)}' for field in fields)}}}"
        case _:
            return "a value" if isinstance(kind, inspect.AnyType) else "text"


def example_within(kind: Any) -> str:
    """Return an example for use inside another; `…` where there are several choices."""
    whole = example(kind)
    return whole if whole[0] in "[{" or whole[0].isdigit() else "…"
