"""Attributes written on a command line, `name=value` or `name:=JSON`, as the rec service would send them."""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Any

import orjson

from abside.assignment.condition import BUILT_IN
from abside_agent.commands.in_force import UsageError
from abside_agent.document.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from abside.snapshot import Attribute, Json

_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_SWITCH = {"true": True, "false": False}


def read_attributes(words: Iterable[str], declared: Mapping[str, Attribute]) -> tuple[dict[str, Json], list[str]]:
    """Return attributes by the types they are declared with, and a sentence about each that is ignored.

    `name=value` is a number, true or false, a list (`a,b` or JSON), a date (RFC 3339 or seconds since 1970) or text, as
    declared; `name:=JSON` is that JSON. One that is not declared is sent too, and ignored. Raises UsageError.
    """
    read: dict[str, Json] = {}
    ignored: list[str] = []
    for word in words:
        name, sign, text = word.partition("=")
        if not sign or name in ("", ":"):
            raise UsageError(f"--attribute {word}: write name=value, for example country=DE, or name:=JSON")
        is_json = name.endswith(":") and name not in declared
        name = name[:-1] if is_json else name
        if name not in declared:
            ignored.append(_ignored(name, declared))
        kind = declared[name].type if name in declared else "string"
        read[name] = _json(word, text) if is_json else _value(word, kind, text)
    return read, ignored


def _ignored(name: str, declared: Mapping[str, Attribute]) -> str:
    if name in BUILT_IN:
        return f"attribute {name} is built in: what is sent under its name is ignored"
    hint = did_you_mean(name, declared) or f"declared are: {', '.join(declared) or 'none'}"
    return f"attribute {name} is not declared, so the sidecar ignores it; {hint}"


def _json(word: str, text: str) -> Json:
    try:
        value: Json = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise UsageError(f'--attribute {word}: after := stands JSON, for example 3, true, "DE" or ["a", "b"]') from exc
    return value


def _value(word: str, kind: str, text: str) -> Any:
    match kind:
        case "number":
            if not _NUMBER.fullmatch(text):
                raise UsageError(f"--attribute {word}: this attribute is a number, for example 3 or 2.5")
            return _number(word, text)
        case "boolean":
            if text.lower() not in _SWITCH:
                raise UsageError(f"--attribute {word}: this attribute is true or false")
            return _SWITCH[text.lower()]
        case "list":
            if text.startswith("["):
                return _json(word, text)
            return [item.strip() for item in text.split(",") if item.strip()]
        case "date":
            return _number(word, text) if _NUMBER.fullmatch(text) else text
        case _:
            return text


def _number(word: str, text: str) -> Any:
    """Read a number as the sidecar reads JSON, and also forms that JSON lacks: `+3`, `.5`, `007`."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        value = float(text)
    if not isfinite(value):
        raise UsageError(f"--attribute {word}: no JSON holds a number as large as this")
    return int(text) if text.lstrip("+-").isdecimal() else value
