"""Pictures as inline SVG: coloured by the page's style sheet, so that they follow light, dark and paper."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from abside.report.page.forest import LEAST_SPAN, span_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.report.page.forest import Bar

WIDTH, ROW, LEFT, RIGHT = 640, 26, 210, 70  # of the drawing, which scales with the page
PLOT_HEIGHT, PLOT_LEFT, PLOT_BOTTOM = 220, 62, 26
TICKS = 4


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a line: a value between two bands, each of which may be missing."""

    name: str
    value: float | None
    inner: tuple[float, float] | None = None
    outer: tuple[float, float] | None = None


def forest(title: str, bars: Sequence[Bar]) -> str:
    """Draw intervals of lifts under each other, around zero."""
    span = span_of(bars)
    height = ROW * len(bars) + 30

    def x(value: float) -> float:
        inside = max(-span, min(span, value))
        return LEFT + (WIDTH - LEFT - RIGHT) * (inside + span) / (2 * span)

    drawn = [f'<line class="axis" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="4" y2="{height - 22}"/>']
    ends = [-span, 0.0, span]
    drawn += [_text(x(end), height - 6, f"{end:+.1%}" if end else "0", "middle") for end in ends]
    for index, bar in enumerate(bars):
        y = ROW * index + 16
        drawn.append(_text(LEFT - 10, y + 4, bar.name, "end"))
        drawn += [
            f'<line class="margin" x1="{x(m):.1f}" x2="{x(m):.1f}" y1="{y - 11}" y2="{y + 11}"/>' for m in bar.margins
        ]
        for name, one in (("band", bar.band), ("interval", bar.interval)):
            if one is not None:
                drawn.append(f'<line class="{name}" x1="{x(one[0]):.1f}" x2="{x(one[1]):.1f}" y1="{y}" y2="{y}"/>')
        if bar.lift is None:
            drawn.append(_text(x(0) + 8, y + 4, "not estimable", "start"))
            continue
        drawn.append(f'<circle class="dot" cx="{x(bar.lift):.1f}" cy="{y}" r="4"/>')
        drawn.append(_text(WIDTH - 4, y + 4, f"{bar.lift:+.2%}", "end"))
    return _whole(title, height, drawn)


def line(title: str, points: Sequence[Point], baseline: float) -> str:
    """Draw a value over time between its bands, with a baseline."""
    values = [end for point in points for one in (point.inner, point.outer) if one for end in one]
    values += [point.value for point in points if point.value is not None] + [baseline]
    # A first day of a few units has an interval that would flatten all others.
    reach = sorted(abs(value - baseline) for value in values)
    span = max(LEAST_SPAN, reach[int(len(reach) * 0.9)] * 1.1)
    low, high = baseline - span, baseline + span

    def x(index: int) -> float:
        return PLOT_LEFT + (WIDTH - PLOT_LEFT - 14) * (index / max(1, len(points) - 1))

    def y(value: float) -> float:
        inside = max(low, min(high, value))
        return 8 + (PLOT_HEIGHT - PLOT_BOTTOM - 8) * (high - inside) / (high - low)

    drawn = []
    for name in ("outer", "inner"):
        pairs = [(x(i), getattr(p, name)) for i, p in enumerate(points) if getattr(p, name) is not None]
        if len(pairs) > 1:
            above = [f"{at:.1f},{y(ends[1]):.1f}" for at, ends in pairs]
            below = [f"{at:.1f},{y(ends[0]):.1f}" for at, ends in reversed(pairs)]
            drawn.append(f'<polygon class="{name}" points="{" ".join([*above, *below])}"/>')
    drawn.append(
        f'<line class="axis" x1="{PLOT_LEFT}" x2="{WIDTH - 14}" y1="{y(baseline):.1f}" y2="{y(baseline):.1f}"/>'
    )
    told = [f"{x(i):.1f},{y(p.value):.1f}" for i, p in enumerate(points) if p.value is not None]
    drawn.append(f'<polyline class="line" points="{" ".join(told)}"/>')
    digits = "+.1%" if baseline == 0 else ".1%"
    drawn += [_text(PLOT_LEFT - 6, y(value) + 4, format(value, digits), "end") for value in (low, baseline, high)]
    step = max(1, len(points) // TICKS)
    for index in range(0, len(points), step):
        anchor = "start" if index == 0 else "end" if index == len(points) - 1 else "middle"
        drawn.append(_text(x(index), PLOT_HEIGHT - 6, points[index].name, anchor))
    return _whole(title, PLOT_HEIGHT, drawn)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _whole(title: str, height: float, drawn: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
    lines = ['<div class="scroll">', head, f"<title>{escape(title)}</title>", *drawn, "</svg></div>"]
    return "\n".join(lines)
