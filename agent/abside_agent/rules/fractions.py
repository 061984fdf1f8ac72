"""Whole numbers declared for what is named as a weight, where fractions are to be expected: warnings of check. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from abside.snapshot import leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.snapshot import Json, Leaf, Parameters

# The last word of a key, as people name what a score is multiplied with. Words of counts, as limit, are not among them.
_WORDS = "weight|boost|bias|factor|multiplier|coefficient|coeff|penalty|decay|probability|ratio|alpha|beta|lambda"
_WEIGHT = re.compile(rf"(?:.*[^A-Za-z]|.*(?=[A-Z])|)(?i:{_WORDS})(?:s|es)?")


def doubts(parameters: Parameters) -> Iterator[tuple[Leaf, str]]:
    """Yield each leaf in doubt, with what to write there."""
    for leaf, value in leaves(parameters):
        if any(_WEIGHT.fullmatch(key) for key in leaf[-2:]):  # margin_weight, or one of feature_weights
            written = _as_fractions(value)
            if written:
                yield leaf, written


def _as_fractions(value: Json) -> str:
    if type(value) is int:
        return f"{value}.0"
    if isinstance(value, list) and value and all(type(item) is int for item in value):
        return "[" + ", ".join(f"{item}.0" for item in value) + "]"
    return ""
