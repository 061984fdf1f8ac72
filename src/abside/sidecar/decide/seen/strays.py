"""Names that callers send and nobody declared, counted for the status: a mistake is seen where it is made every day.

A name is the calling code's own, and of a shopper nothing is kept. Only refused requests come here, and attributes of
those that the sample looks at, so that no decision pays for it.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_STRAYS = 50  # counted by name; a caller that makes up a name for each request must not grow memory
OTHER_NAMES = "other names"  # beyond that, and what no document could declare: it has a blank, as no name has
NEAR = 0.8  # of difflib's ratio: add_to_card is near add_to_cart, wishlist_add near nothing
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class StrayNames:
    """What was asked for and is not declared, with the number of requests: placements, and flags over OFREP."""

    __slots__ = ("flags", "placements")

    def __init__(self) -> None:
        self.placements: dict[str, int] = {}
        self.flags: dict[str, int] = {}


def count_name(counted: dict[str, int], name: str) -> None:
    """Count one request that has this name."""
    if name not in counted and (len(counted) >= MAX_STRAYS or not _NAME.match(name)):
        name = OTHER_NAMES
    counted[name] = counted.get(name, 0) + 1


def with_meant(counts: Mapping[str, int], known: Iterable[str]) -> dict[str, Any]:
    """Return name → its count and the known name that was perhaps meant, else None; without those known meanwhile."""
    names = set(known)
    folded = {one.casefold(): one for one in names}
    return {name: {"count": count, "meant": meant(name, folded)} for name, count in counts.items() if name not in names}


def meant(name: str, folded: Mapping[str, str], near: float = 0.6) -> str | None:
    """Return the known name that is nearest, if one is near; `folded`: known names by their case-folded form."""
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=near)
    return folded[close[0]] if close else None


def nearly_known(accepted: Mapping[str, int], known: Iterable[str]) -> dict[str, Any]:
    """Return those types of callers' own that are nearly a known one, with count and the known one."""
    folded = {one: one for one in known}
    own = ((kind, count) for kind, count in accepted.items() if kind not in folded)
    found = ((kind, count, meant(kind, folded, NEAR)) for kind, count in own)
    return {kind: {"count": count, "meant": near} for kind, count, near in found if near is not None}
