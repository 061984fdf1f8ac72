"""Names of types and fields for what a document names freely: each is an identifier, and none is there twice. Pure."""

from __future__ import annotations

import keyword
import re

_NO_WORD = re.compile(r"[^0-9A-Za-z]+")
_NO_NAME = re.compile(r"\W", re.ASCII)
USED = frozenset({"any", "mapping", "typeddict", "final", "dataclass", "none", "true", "false", "placements"})

# As a field's name each of these would hide the type, or the method, that the class needs.
TAKEN = frozenset(
    {"str", "bool", "int", "float", "dict", "list", "tuple", "Any", "Mapping", "classmethod", "from_config"}
)


class TypeNames:
    """Gives names of types. Two that differ in the case of letters only are one: constants are made of them."""

    def __init__(self) -> None:
        self._used = set(USED)

    def take(self, *words: str) -> str:
        """Return a name of these words: `product-page` is ProductPage, `007` is P007; a second one is ProductPage2."""
        parts = [part for word in words for part in _NO_WORD.split(word) if part]
        stem = "".join(part[0].upper() + part[1:] for part in parts) or "P"
        stem = stem if stem[0].isalpha() else f"P{stem}"
        name, number = stem, 1
        while not self._used.isdisjoint({name.lower(), f"{name}config".lower()}):
            number += 1
            name = f"{stem}{number}"
        self._used |= {name.lower(), f"{name}config".lower()}
        return name


def field_names(keys: tuple[str, ...]) -> dict[str, str]:
    """Return for each key a Python name: `top-n` is top_n, `class` is class_; a second top_n is top_n2."""
    found: dict[str, str] = {}
    used = {key for key in keys if is_name(key)}
    for key in keys:
        if key in used:
            found[key] = key
            continue
        stem = _NO_NAME.sub("_", key).lstrip("_") or "field"
        stem = f"n{stem}" if stem[0].isdigit() else stem
        stem = stem if is_name(stem) else f"{stem}_"
        name, number = stem, 1
        while name in used:
            number += 1
            name = f"{stem}{number}"
        used.add(name)
        found[key] = name
    return found


def is_name(key: str) -> bool:
    """Whether a key can be a field of a class as it is: two underscores at its start mean something else there."""
    is_plain = key.isascii() and key.isidentifier() and not keyword.iskeyword(key)
    return is_plain and not key.startswith("_") and key not in TAKEN


def constant(name: str) -> str:
    """Return the name of a constant: ProductPage is PRODUCT_PAGE."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()
