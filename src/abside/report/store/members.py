r"""Members of JSON texts, by string functions alone: every engine has those, and all of them read alike.

The texts are the collector's (orjson): flat where a member is asked for by name. In such a text the pattern of a name
matches its member and nothing else: inside a string every quote stands behind a backslash, so that `,"` or `{"` begins
a name. What holds further objects (an account's arms, an experiment's state) is found by its opening member.
"""

from __future__ import annotations

import json
import re
from typing import Any

STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
NUMBER = r"-?[0-9][-+.0-9eE]*"
FLAG = r"true|false"
LIST = rf'\[[^"{{}}\[\]]*(?:{STRING}[^"{{}}\[\]]*)*\]'  # of scalars
CONTROLS = {f"\\u{code:04x}": chr(code) for code in range(1, 32)}  # no engine takes a NUL in its SQL
SHORT = {'\\"': '"', "\\/": "/", "\\b": "\b", "\\t": "\t", "\\n": "\n", "\\f": "\f", "\\r": "\r"}
BACKSLASH = "\\\x01"  # in the place of an escaped backslash meanwhile: a JSON text holds no control character


def text_of(texts: Any, name: str) -> Any:
    """Return a member that is a string; null where it has another type or is absent."""
    return _unquoted(_member(texts, name, STRING))


def number_of(texts: Any, name: str) -> Any:
    """Return a member that is a number, as a double."""
    return _member(texts, name, NUMBER).try_cast("float64")


def whole_of(texts: Any, name: str) -> Any:
    """Return a member that is a whole number of at most 18 digits."""
    return _member(texts, name, "-?[0-9]{1,18}").cast("int64")


def flag_of(texts: Any, name: str) -> Any:
    """Return a member that is true or false."""
    return _member(texts, name, FLAG) == "true"


def shown_of(texts: Any, name: str) -> Any:
    """Return a member as people read it: a string as it is, anything else as JSON; null where it is null or absent."""
    found = _member(texts, name, f"{STRING}|{NUMBER}|{FLAG}|{LIST}")
    return found.startswith('"').ifelse(_unquoted(found), found)


def mentions(texts: Any, value: str) -> Any:
    """Whether a string or a name in a text is this one: a cheap look before a pattern."""
    return texts.contains(_quoted(value))


def object_named(texts: Any, name: str, value: str) -> Any:
    """Return the JSON of the first object of which a member is this string.

    Its members are scalars, or lists or maps of scalars.
    """
    flat = rf'[^{{}}"\[\]]*(?:(?:{STRING}|{LIST}|\{{[^{{}}]*\}})[^{{}}"\[\]]*)*'
    member = rf"{_pattern(_quoted(name))}\s*:\s*{_pattern(_quoted(value))}"
    return texts.re_extract(rf"\{{(?:{flat},\s*)?{member}\s*(?:,{flat})?\}}", 0).nullif("")


def objects_opening(texts: Any, name: str) -> Any:
    """Return an array: the text before the first object that opens with this member, then that of each object.

    Such a part is what follows `{"name":` up to the next, and may have more behind the object's end.
    """
    return texts.re_split(rf"\{{\s*{_pattern(_quoted(name))}\s*:\s*")


def _member(texts: Any, name: str, value: str) -> Any:
    """Return the JSON of a member whose value has a pattern."""
    pattern = rf"[{{,]\s*{_pattern(_quoted(name))}\s*:\s*({value})\s*[,}}]"
    return texts.re_extract(pattern, 1).nullif("")


def _unquoted(found: Any) -> Any:
    """Return the text of a JSON string."""
    inner = found.substr(1, found.length() - 2)
    plain = inner.replace("\\\\", BACKSLASH)
    for escaped, meant in SHORT.items():
        plain = plain.replace(escaped, meant)
    rare = plain
    for escaped, meant in CONTROLS.items():
        rare = rare.replace(escaped, meant)
    plain = plain.contains("\\u00").ifelse(rare, plain).replace(BACKSLASH, "\\")
    return inner.contains("\\").ifelse(plain, inner)


def _quoted(text: str) -> str:
    """Return a string as the collector writes it."""
    return json.dumps(text, ensure_ascii=False)


def _pattern(text: str) -> str:
    """Return what matches a text as it is, in the words that all engines share."""
    return re.sub(r"([][\\.^$*+?(){}|])", r"\\\1", text)
