"""Placements as TypeScript: an interface of each configuration, its own values, and the map of all. Pure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from abside_agent.commands.typed.names import TypeNames, constant
from abside_agent.commands.typed.shape import ListShape, PlainShape, RecordShape, record_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside_agent.commands.typed.shape import Plain, Shape

HEAD = "// The placements' configurations. Made by `abside types`: change the documents, and run it again.\n"
_TYPES: dict[Plain, str] = {
    "text": "string",
    "boolean": "boolean",
    "whole": "number",
    "number": "number",
    "null": "null",
    "mapping": "Readonly<Record<string, unknown>>",
    "anything": "unknown",
}
_PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)


def typescript_module(placements: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the whole module; `placements`: name → its own parameters."""
    names = TypeNames()
    parts, listed = [HEAD], []
    for placement, parameters in placements.items():
        name = names.take(placement)
        config, base = f"{name}Config", f"{constant(name)}_BASE"
        shape = _record(record_of(dict(parameters)), "")
        values = json.dumps(parameters, ensure_ascii=False, indent=2)
        parts.append(f"/** The configuration at {placement}. */\nexport interface {config} {shape}\n")
        own = "/** The placement's own values: for use while there is no answer. */"
        parts.append(f"{own}\nexport const {base}: {config} = {values};\n")
        listed.append(f"  readonly {_key(placement)}: {config};\n")
    parts.append(
        "/** Each placement's configuration, by its name. */\nexport interface Placements {\n" + "".join(listed) + "}\n"
    )
    return "\n".join(parts)


def _type(shape: Shape, indent: str) -> str:
    match shape:
        case PlainShape():
            return _TYPES[shape.kind]
        case RecordShape():
            return _record(shape, indent)
        case ListShape():
            entry = _type(shape.entry, indent)
            return f"readonly ({entry})[]" if " " in entry else f"readonly {entry}[]"
        case _:
            return " | ".join(dict.fromkeys(_type(one, indent) for one in shape.shapes))


def _record(shape: RecordShape, indent: str) -> str:
    inner = indent + "  "
    fields = "".join(f"{inner}readonly {_key(key)}: {_type(part, inner)};\n" for key, part in shape.fields)
    return "{\n" + fields + indent + "}"


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)
