"""Pictures as inline SVG: coloured by the page's style sheet, so that they follow light, dark and paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.report.page.forest import LEAST_SPAN, shortened, span_of
from abside.report.page.html.markup import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from abside.report.page.forest import Bar

WIDTH, ROW, EDGE = 480, 42, 8  # of the drawing, which scales with the page: legible on a phone, too
PLOT_HEIGHT, PLOT_LEFT, PLOT_BOTTOM = 200, 66, 26
TICKS = 4
SQUARE = 240
DASHES = ("none", "7 4", "2 3", "9 3 2 3")
LONGEST_NAME = 36  # characters: with a phone's larger letters it still ends before the figure at the right
LEGEND = 24  # of the drawing, a line of it


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a line: a value between two bands, each of which may be missing."""

    name: str
    value: float | None
    inner: tuple[float, float] | None = None
    outer: tuple[float, float] | None = None


def forest(title: str, bars: Sequence[Bar]) -> str:
    """Draw intervals of lifts under each other, around zero, each below its name."""
    span = span_of(bars)
    height = ROW * len(bars) + 30

    def x(value: float) -> float:
        inside = max(-span, min(span, value))
        return EDGE + (WIDTH - 2 * EDGE) * (inside + span) / (2 * span)

    drawn = [f'<line class="axis" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="4" y2="{height - 22}"/>']
    ends = [-span, 0.0, span]
    drawn += [_text(x(end), height - 4, f"{end:+.1%}" if end else "0", _anchor(end)) for end in ends]
    for index, bar in enumerate(bars):
        y = ROW * index + 34
        drawn += [
            f'<line class="margin" x1="{x(m):.1f}" x2="{x(m):.1f}" y1="{y - 10}" y2="{y + 10}"/>' for m in bar.margins
        ]
        for name, one in (("band", bar.band), ("interval", bar.interval)):
            if one is not None:
                drawn.append(f'<line class="{name}" x1="{x(one[0]):.1f}" x2="{x(one[1]):.1f}" y1="{y}" y2="{y}"/>')
        drawn += _arrows(bar, span, y)
        drawn.append(_text(2, y - 14, shortened(bar.name, LONGEST_NAME), "start"))
        drawn.append(_text(WIDTH - 2, y - 14, "not estimable" if bar.lift is None else f"{bar.lift:+.2%}", "end"))
        if bar.lift is not None:
            drawn.append(f'<circle class="dot" cx="{x(bar.lift):.1f}" cy="{y}" r="4"/>')
    return _whole(title, height, drawn)


def _anchor(end: float) -> str:
    return "middle" if not end else "start" if end < 0 else "end"


def _arrows(bar: Bar, span: float, y: int) -> list[str]:
    """Draw an arrow where an interval goes on beyond the edge."""
    if bar.interval is None:
        return []
    drawn = []
    for at, out, is_cut in (
        (EDGE, -EDGE + 1, bar.interval[0] < -span),
        (WIDTH - EDGE, EDGE - 1, bar.interval[1] > span),
    ):
        if is_cut:
            drawn.append(f'<polygon class="dot" points="{at},{y - 5} {at},{y + 5} {at + out},{y}"/>')
    return drawn


def line(title: str, points: Sequence[Point], baseline: float) -> str:
    """Draw a value over time between its bands, with a baseline."""
    values = [end for point in points for one in (point.inner, point.outer) if one for end in one]
    values += [point.value for point in points if point.value is not None] + [baseline]
    # A first day of a few units has an interval that would flatten all others.
    reach = sorted(abs(value - baseline) for value in values)
    span = max(LEAST_SPAN, reach[int(len(reach) * 0.8)] * 1.1)
    low, high = baseline - span, baseline + span

    def x(index: int) -> float:
        return PLOT_LEFT + (WIDTH - PLOT_LEFT - 14) * (index / max(1, len(points) - 1))

    def y(value: float) -> float:
        inside = max(low, min(high, value))
        return 8 + (PLOT_HEIGHT - PLOT_BOTTOM - 8) * (high - inside) / (high - low)

    drawn = [part for run in _runs(points) for part in _run(run, x, y)]
    drawn.append(
        f'<line class="axis" x1="{PLOT_LEFT}" x2="{WIDTH - 14}" y1="{y(baseline):.1f}" y2="{y(baseline):.1f}"/>'
    )
    digits = "+.1%" if baseline == 0 else ".1%"
    ends = [(value, format(value, digits) if value else "0") for value in (low, baseline, high)]
    drawn += [_text(PLOT_LEFT - 6, y(value) + 4, told, "end") for value, told in ends]
    step = max(1, len(points) // TICKS)
    for index in range(0, len(points), step):
        anchor = "start" if index == 0 else "end" if index == len(points) - 1 else "middle"
        drawn.append(_text(x(index), PLOT_HEIGHT - 6, points[index].name, anchor))
    return _whole(title, PLOT_HEIGHT, drawn)


def _runs(points: Sequence[Point]) -> list[list[tuple[int, Point]]]:
    """Split points where one has no value: no line goes over what is not known."""
    runs: list[list[tuple[int, Point]]] = [[]]
    for index, point in enumerate(points):
        if point.value is None:
            runs.append([])
        else:
            runs[-1].append((index, point))
    return [run for run in runs if run]


def _run(run: Sequence[tuple[int, Point]], x: Callable[[int], float], y: Callable[[float], float]) -> Iterator[str]:
    """Draw points that follow each other: bands and a line; of one alone its intervals and a dot."""
    for name, upright in (("outer", "band"), ("inner", "interval")):
        pairs = [(x(index), getattr(point, name)) for index, point in run if getattr(point, name) is not None]
        if len(run) > 1 and len(pairs) > 1:
            above = [f"{at:.1f},{y(ends[1]):.1f}" for at, ends in pairs]
            below = [f"{at:.1f},{y(ends[0]):.1f}" for at, ends in reversed(pairs)]
            yield f'<polygon class="{name}" points="{" ".join([*above, *below])}"/>'
        else:
            for at, (low, high) in pairs:
                yield f'<line class="{upright}" x1="{at:.1f}" x2="{at:.1f}" y1="{y(high):.1f}" y2="{y(low):.1f}"/>'
    told = [f"{x(index):.1f},{y(point.value or 0.0):.1f}" for index, point in run]
    if len(told) > 1:
        yield f'<polyline class="line" points="{" ".join(told)}"/>'
    else:
        index, point = run[0]
        yield f'<circle class="dot" cx="{x(index):.1f}" cy="{y(point.value or 0.0):.1f}" r="4"/>'


def lorenz(title: str, curves: Mapping[str, Sequence[float]]) -> str:
    """Draw Lorenz curves in one square, from corner to corner; each has dashes of its own, and its name below."""

    def x(share: float) -> float:
        return PLOT_LEFT + SQUARE * share

    def y(share: float) -> float:
        return 8 + SQUARE * (1 - share)

    drawn = [f'<rect class="frame" x="{x(0)}" y="{y(1)}" width="{SQUARE}" height="{SQUARE}"/>']
    drawn.append(f'<line class="axis" x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}"/>')
    for share in (0.0, 0.5, 1.0):
        drawn.append(_text(PLOT_LEFT - 6, y(share) + 4, f"{share:.0%}", "end"))
        drawn.append(_text(x(share), SQUARE + 24, f"{share:.0%}", "middle"))
    for number, (name, curve) in enumerate(curves.items()):
        at = [f"{x(index / (len(curve) - 1)):.1f},{y(share):.1f}" for index, share in enumerate(curve)]
        dash = f' style="stroke-dasharray: {DASHES[number % len(DASHES)]}"'
        drawn.append(f'<polyline class="line"{dash} points="{" ".join(at)}"/>')
        top = SQUARE + 46 + LEGEND * number
        drawn.append(f'<line class="line"{dash} x1="{x(0)}" x2="{x(0) + 30}" y1="{top}" y2="{top}"/>')
        drawn.append(_text(x(0) + 38, top + 5, shortened(name, LONGEST_NAME), "start"))
    return _whole(title, SQUARE + 36 + LEGEND * len(curves), drawn)


def _text(x: float, y: float, plain: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(plain)}</text>'


def _whole(title: str, height: float, drawn: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{text(title)}">'
    lines = [f"<figure><figcaption>{text(title)}</figcaption>", head, *drawn, "</svg></figure>"]
    return "\n".join(lines)
