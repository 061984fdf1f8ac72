"""Placements as Python: a TypedDict of each configuration, a frozen dataclass that is made of one, the values. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from abside_agent.commands.typed.names import TypeNames, constant, field_names, is_name
from abside_agent.commands.typed.shape import EitherShape, ListShape, PlainShape, RecordShape, record_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from abside_agent.commands.typed.shape import Plain, Shape

HEAD = '''\
"""The placements' configurations. Made by `abside types`: change the documents, and run it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict
'''
_TYPES: dict[Plain, str] = {
    "text": "str",
    "boolean": "bool",
    "whole": "int",
    "number": "float",
    "null": "None",
    "mapping": "dict[str, Any]",
    "anything": "Any",
}


class PythonType(NamedTuple):
    """A shape's type in a TypedDict and in a dataclass, and how a value of the one becomes one of the other."""

    sent: str
    kept: str
    kept_of: Callable[[str], str]


class PartWords(NamedTuple):
    """What names a part: the class around it, its key there, and where that is."""

    outer: str
    key: str
    place: str


def python_module(placements: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the whole module; `placements`: name → its own parameters."""
    names = TypeNames()
    parts = [HEAD]
    for placement, parameters in placements.items():
        shape, name = record_of(dict(parameters)), names.take(placement)
        base = f"{constant(name)}_BASE"
        blocks: list[str] = []
        _classes(shape, name, base, names, blocks, placement)
        values = _literal(dict(parameters), "")
        blocks.append(
            f"# The placement's own values: `fallback={base}` of a call.\n{base}: Final[{name}Config] = {values}\n"
        )
        parts += blocks
    return "\n\n".join(parts)


def _classes(shape: RecordShape, name: str, base: str | None, names: TypeNames, blocks: list[str], place: str) -> None:
    """Append the two classes of a record, after those of its parts. `base`: the expression of its own values."""
    about = f"The configuration at {place}"
    keys = tuple(key for key, _ in shape.fields)
    fields = field_names(keys)
    types = {
        key: _type(part, names, blocks, PartWords(name, key, place), None if base is None else f"{base}[{_text(key)}]")
        for key, part in shape.fields
    }
    blocks.append(_typed_dict(f"{name}Config", types, f"{about}, as JSON has it."))
    lines = ["@dataclass(frozen=True, slots=True)", f"class {name}:", f'    """{about}."""', ""]
    for key, kind in types.items():
        renamed = "" if fields[key] == key else f"  # {_text(key)}"
        lines.append(f"    {fields[key]}: {kind.kept}{renamed}")
    if types:
        lines.append("")
    lines += ["    @classmethod", f"    def from_config(cls, config: Mapping[str, Any]) -> {name}:"]
    missing = "" if base is None else "; what it lacks has the placement's own value"
    lines += [f'        """Make one of an answer\'s `config`{missing}."""', "        return cls("]
    for key, kind in types.items():
        quoted = _text(key)
        got = f"config[{quoted}]" if base is None else f"config.get({quoted}, {base}[{quoted}])"
        lines.append(f"            {fields[key]}={kind.kept_of(got)},")
    lines.append("        )\n")
    blocks.append("\n".join(lines))


def _type(shape: Shape, names: TypeNames, blocks: list[str], words: PartWords, base: str | None) -> PythonType:
    match shape:
        case PlainShape(kind="mapping"):
            return PythonType(_TYPES["mapping"], _TYPES["mapping"], lambda value: f"dict({value})")
        case PlainShape():
            return PythonType(_TYPES[shape.kind], _TYPES[shape.kind], _as_is)
        case RecordShape():
            name = names.take(words.outer, words.key)
            _classes(shape, name, base, names, blocks, f"{words.place}.{_shown(words.key)}")
            return PythonType(f"{name}Config", name, lambda value: f"{name}.from_config({value})")
        case ListShape():
            entry = _type(shape.entry, names, blocks, words._replace(key=f"{words.key}-entry"), None)
            return PythonType(f"list[{entry.sent}]", f"tuple[{entry.kept}, ...]", lambda value: _tuple(entry, value))
        case EitherShape() if all(isinstance(one, PlainShape) for one in shape.shapes):
            kinds = " | ".join(_TYPES[one.kind] for one in shape.shapes if isinstance(one, PlainShape))
            return PythonType(kinds, kinds, _as_is)
        case _:
            return PythonType("Any", "Any", _as_is)  # which of them an entry is shows only at run time


def _tuple(entry: PythonType, value: str) -> str:
    made = entry.kept_of("one")
    return f"tuple({value})" if made == "one" else f"tuple({made} for one in {value})"


def _as_is(value: str) -> str:
    return value


def _typed_dict(name: str, types: Mapping[str, PythonType], about: str) -> str:
    if all(is_name(key) for key in types):
        lines = [f"class {name}(TypedDict):", f'    """{about}"""', ""]
        return "\n".join([*lines, *(f"    {key}: {kind.sent}" for key, kind in types.items())]) + "\n"
    lines = [f"# {about}", f"{name} = TypedDict(", f"    {_text(name)},", "    {"]
    lines += [f"        {_text(key)}: {kind.sent}," for key, kind in types.items()]
    return "\n".join([*lines, "    },", ")"]) + "\n"


def _literal(value: Any, indent: str) -> str:
    if isinstance(value, dict) and value:
        inner = indent + "    "
        parts = (f"{inner}{_text(key)}: {_literal(item, inner)},\n" for key, item in value.items())
        return "{\n" + "".join(parts) + indent + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item, indent) for item in value) + "]"
    return _text(value) if isinstance(value, str) else repr(value)


def _shown(key: str) -> str:
    """Return a key as prose of a docstring may have it."""
    return key if key.isascii() and key.isprintable() and not set(key) & {'"', "\\"} else "values"


def _text(value: str) -> str:
    """Return a string's literal: JSON's escapes are Python's too."""
    return json.dumps(value, ensure_ascii=False)
