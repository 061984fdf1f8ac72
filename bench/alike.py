"""Two documents of one store, by two engines: where they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

EQUAL = 1e-9


def differing(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Yield where two documents differ: numbers by more than 1e-9, anything else at all."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in one.keys() | other.keys():
            yield from differing(one.get(name), other.get(name), f"{path}.{name}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differing(left, right, f"{path}[{index}]")
    elif isinstance(one, float) and isinstance(other, float):
        if abs(one - other) > EQUAL * max(1.0, abs(one)):
            yield f"{path}: {one} {other}"
    elif one != other:
        yield f"{path}: {one!r} {other!r}"
