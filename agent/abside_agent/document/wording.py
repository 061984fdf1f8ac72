"""Parts of sentences that many messages share: near names, percentages, ranges, counts. Pure."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MOST_COMPARED = 200  # 0.6 ms; among thousands of names each unknown one would take 20 ms, and there may be thousands

# What other tools call the states of an experiment.
STATUSES = {
    **dict.fromkeys(("active", "on", "live", "started", "enabled", "true"), "running"),
    **dict.fromkeys(("stopped", "off", "disabled", "inactive", "false"), "paused"),
    **dict.fromkeys(("finished", "done", "completed", "complete", "concluded", "archived", "closed"), "ended"),
    **dict.fromkeys(("new", "planned", "pending", "scheduled"), "draft"),
}


def did_you_mean(name: str, names: Collection[str], most: int = MOST_COMPARED) -> str:
    """Return `did you mean …?` for the nearest of `names`; empty where none is near or there are more than `most`."""
    if len(names) > most:
        return ""
    by_lower = {one.lower(): one for one in names}
    close = get_close_matches(name.lower(), by_lower, 1)
    return f"did you mean {by_lower[close[0]]}?" if close else ""


def shown_percent(basis_points: int) -> str:
    """Return basis points as a sentence has them: `99.99 %`, `20 %`."""
    whole, rest = divmod(basis_points, 100)
    return f"{whole}.{rest:02}".rstrip("0").rstrip(".") + " %" if rest else f"{whole} %"


def written_percent(basis_points: int) -> str:
    """Return basis points as a document has them: `99.99%`, `20%`."""
    return shown_percent(basis_points).replace(" ", "")


def written_range(basis_points: tuple[int, int]) -> str:
    """Return a half-open range of basis points as a document has it: `0%-50%`."""
    return "-".join(map(written_percent, basis_points))


def shown_split(weights: Iterable[int]) -> str:
    """Return weights in basis points as people write a split: `80/20`."""
    return "/".join(written_percent(weight).removesuffix("%") for weight in weights)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
