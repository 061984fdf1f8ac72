"""Examples of the values that a document may have, for remedies; from what was written, where possible. Pure."""

from __future__ import annotations

from typing import Any

from msgspec import inspect

from abside_agent.document.forms import FormError, identifier, unit_id
from abside_agent.document.tree import Mapping, Node, Scalar, Sequence

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


def instead(node: Node, wanted: str, kind: Any) -> str:
    """Return the remedy for a value of another type than `wanted`: as it would be in the right one."""
    text = node.text if isinstance(node, Scalar) else ""
    if wanted == "text":
        return f'write "{text}" in quotes' if text else f"write {wanted}"
    if wanted == "a list" and isinstance(node, Mapping):
        return "put a dash before its first key, or write [{…}]"
    if wanted == "one value":
        first = node.items[0] if isinstance(node, Sequence) and len(node.items) == 1 else None
        return f"write {first.text}" if isinstance(first, Scalar) else f"write {example(kind)}"
    match kind:
        case inspect.ListType() if text and not isinstance(kind.item_type, inspect.StructType):
            return f"write [{text}]"
        case inspect.StructType() if text:
            first_field = next((field for field in kind.fields if field.required), None)
            if first_field is not None and _reads(first_field.type, node):
                return f"write {{{first_field.encode_name}: {text}}}"
    return f"write {wanted}, for example {example(kind)}" if wanted in {"a list", "a mapping"} else f"write {wanted}"


def _reads(kind: Any, node: Any) -> bool:
    form = (kind.extra or {}).get("form") if isinstance(kind, inspect.Metadata) else None
    try:
        return form is not None and form(node) is not None
    except FormError:
        return False
