"""The intervals as bars of signs.

`─` always valid, `━` fixed, `●` the lift, `│` zero, `┊` a guardrail's margin; `<` and `>`: it goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.report.page.forest import page_bars, span_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.report.page.experiment import ExperimentPage
    from abside.report.page.forest import Bar

MOST_SIGNS, LEAST_SIGNS = 61, 21  # of a bar; odd, so that zero has a sign of its own
LONGEST_NAME = 40
BETWEEN = 2


def bars(page: ExperimentPage, width: int) -> Iterator[str]:
    """Yield a scale and a line for each lift; nothing where there is none, or no room."""
    found = page_bars(page)
    if not found:
        return
    named = min(LONGEST_NAME, max(len(bar.name) for bar in found))
    signs = min(MOST_SIGNS, (width - named - BETWEEN - 1) // 2 * 2 + 1)
    if signs < LEAST_SIGNS:
        return
    span = span_of(found)
    half = signs // 2
    low, high = f"{-span:+.1%}", f"{span:+.1%}"
    room = signs - len(low) - len(high) - 1
    yield ""
    yield f"{'':{named + BETWEEN}}{low}{'0':^{room + 2}}{high}"[:width]
    for bar in found:
        yield f"{bar.name[:named]:{named + BETWEEN}}{_drawn(bar, span, half)}".rstrip()


def _drawn(bar: Bar, span: float, half: int) -> str:
    def at(value: float) -> int:
        return half + round(max(-1.0, min(1.0, value / span)) * half)

    signs = [" "] * (2 * half + 1)
    for sign, ends in (("─", bar.band), ("━", bar.interval)):
        if ends is not None:
            signs[at(ends[0]) : at(ends[1]) + 1] = sign * (at(ends[1]) + 1 - at(ends[0]))
    if bar.interval is not None:
        signs[0] = "<" if min(bar.interval) < -span else signs[0]
        signs[-1] = ">" if max(bar.interval) > span else signs[-1]
    signs[half] = "│"
    for margin in bar.margins:
        signs[at(margin)] = "┊"
    if bar.lift is not None:
        signs[at(bar.lift)] = "●"
    return "".join(signs)
