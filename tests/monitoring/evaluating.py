"""What an expression of `promql` is at a time, over samples; how Prometheus counts it, its extrapolation included."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from tests.monitoring.promql import COMPARISONS, Aggregate, Binary, Call, Number, Selector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.monitoring.promql import Matcher, Tree

LOOKBACK_SECONDS = 300  # Prometheus' default: an older sample is not the metric's value any more
NAME = "__name__"
Labels: TypeAlias = "frozenset[tuple[str, str]]"
Vector: TypeAlias = "dict[Labels, float]"
Points: TypeAlias = "list[tuple[float, float]]"  # seconds, value
CALCULATIONS: dict[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right if right else math.nan if not left else math.copysign(math.inf, left),
}
TESTS: dict[str, Callable[[float, float], bool]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


class Store:
    """Samples by series, each in order of time. Prometheus 2 has `is_closed`: a range contains its very beginning."""

    def __init__(self, series: Mapping[Labels, Points], *, is_closed: bool = False) -> None:
        self.series = series
        self.is_closed = is_closed
        self._by_metric: defaultdict[str, list[tuple[Labels, dict[str, str]]]] = defaultdict(list)
        for labels in series:
            values = dict(labels)
            self._by_metric[values[NAME]].append((labels, values))

    def select(self, metric: str, matchers: Iterable[Matcher]) -> dict[Labels, Points]:
        """Return the series of a metric that fulfil every condition."""
        return {
            labels: self.series[labels]
            for labels, values in self._by_metric[metric]
            if all(one.holds(values.get(one.label, "")) for one in matchers)
        }

    def inside(self, points: Points, begin: float, end: float) -> Points:
        """Return the points of a range."""
        first = (bisect_left if self.is_closed else bisect_right)(points, begin, key=_seconds)
        return points[first : bisect_right(points, end, key=_seconds)]


def _seconds(point: tuple[float, float]) -> float:
    return point[0]


def evaluate(tree: Tree, store: Store, at: float) -> Vector | float:
    """Return the value of an expression at a time in seconds: a vector by labels, or a number."""
    if isinstance(tree, Number):
        return tree.value
    if isinstance(tree, Selector):
        return _instant(tree, store, at)
    if isinstance(tree, Aggregate):
        return _aggregated(tree, _vector(tree.inner, store, at))
    if isinstance(tree, Call):
        return _called(tree, store, at)
    return _joined(tree, evaluate(tree.left, store, at), evaluate(tree.right, store, at))


def _vector(tree: Tree, store: Store, at: float) -> Vector:
    found = evaluate(tree, store, at)
    assert isinstance(found, dict), f"a number where a vector must be: {tree}"
    return found


def _instant(tree: Selector, store: Store, at: float) -> Vector:
    assert tree.range_seconds is None, f"a range without a function: {tree}"
    found = {}
    for labels, points in store.select(tree.metric, tree.matchers).items():
        recent = store.inside(points, at - LOOKBACK_SECONDS, at)
        if recent:
            found[labels] = recent[-1][1]
    return found


def _called(tree: Call, store: Store, at: float) -> Vector | float:
    first = tree.arguments[0] if tree.arguments else None
    if tree.function == "time":
        return at
    assert first is not None
    if tree.function == "absent":
        assert isinstance(first, Selector)
        named = frozenset((one.label, one.text) for one in first.matchers if one.sign == "=")
        return {} if _instant(first, store, at) else {named: 1.0}
    if tree.function == "abs":
        return {_without(labels, NAME): abs(value) for labels, value in _vector(first, store, at).items()}
    if tree.function == "histogram_quantile":
        assert isinstance(first, Number)
        return _quantiles(first.value, _vector(tree.arguments[1], store, at))
    assert isinstance(first, Selector)
    return _over_time(tree.function, first, store, at)


def _over_time(function: str, tree: Selector, store: Store, at: float) -> Vector:
    assert tree.range_seconds is not None, f"{function} needs a range: {tree}"
    found = {}
    for labels, points in store.select(tree.metric, tree.matchers).items():
        inside = store.inside(points, at - tree.range_seconds, at)
        values = [value for _, value in inside]
        result: float | None = None
        if function in {"rate", "increase"}:
            grown = _increase(inside, at - tree.range_seconds, at)
            result = grown if grown is None or function == "increase" else grown / tree.range_seconds
        elif values and function == "changes":
            result = float(sum(one != next_ for one, next_ in pairwise(values)))
        elif values:
            result = max(values) if function == "max_over_time" else min(values)
        if result is not None:
            found[_without(labels, NAME)] = result
    return found


def _increase(points: Points, start: float, end: float) -> float | None:
    """Extrapolate a counter's growth to the whole range, as Prometheus' extrapolatedRate."""
    if len(points) < 2:
        return None
    (first_at, first), (last_at, last) = points[0], points[-1]
    grown = last - first + sum(before for (_, before), (_, after) in pairwise(points) if after < before)
    sampled = last_at - first_at
    step = sampled / (len(points) - 1)
    before, after = first_at - start, end - last_at
    if grown > 0 and first >= 0:
        before = min(before, sampled * first / grown)  # where it would have been zero
    whole = sampled + sum(gap if gap < step * 1.1 else step / 2 for gap in (before, after))
    return grown * whole / sampled


def _quantiles(share: float, buckets: Vector) -> Vector:
    """Interpolate in the bucket that contains the quantile, as histogram_quantile."""
    by_series: defaultdict[Labels, list[tuple[float, float]]] = defaultdict(list)
    for labels, count in buckets.items():
        by_series[_without(labels, NAME, "le")].append((float(dict(labels)["le"]), count))
    found = {}
    for labels, several in by_series.items():
        several.sort()
        rank = share * several[-1][1]
        index = next(index for index, (_, count) in enumerate(several) if count >= rank)
        below, counted = several[index - 1] if index else (0.0, 0.0)
        end, count = several[index]
        is_last = math.isinf(end)
        inside = (rank - counted) / (count - counted) if count > counted else math.nan
        found[labels] = below if is_last else below + (end - below) * inside
    return found


def _aggregated(tree: Aggregate, vector: Vector) -> Vector:
    groups: defaultdict[Labels, list[tuple[Labels, float]]] = defaultdict(list)
    for labels, value in vector.items():
        groups[_only(labels, tree.labels)].append((labels, value))
    if tree.operator == "topk":
        best = [sorted(group, key=lambda one: -one[1])[: int(tree.parameter or 0)] for group in groups.values()]
        return {labels: value for group in best for labels, value in group}
    work: dict[str, Callable[[list[float]], float]] = {"sum": sum, "min": min, "max": max, "count": len}
    work["avg"] = lambda values: sum(values) / len(values)
    return {labels: float(work[tree.operator]([value for _, value in group])) for labels, group in groups.items()}


def _joined(tree: Binary, left: Vector | float, right: Vector | float) -> Vector | float:
    if isinstance(left, float) and isinstance(right, float):
        assert tree.operator not in COMPARISONS, "numbers are compared only with `bool`, which is not known here"
        return CALCULATIONS[tree.operator](left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return _matched(tree, left, right)
    found = {}
    for labels, value in (left if isinstance(left, dict) else right).items():  # type: ignore[union-attr]  # one is a vector
        pair = (value, right) if isinstance(left, dict) else (left, value)
        if tree.operator not in COMPARISONS:
            found[_without(labels, NAME)] = CALCULATIONS[tree.operator](*pair)
        elif TESTS[tree.operator](*pair):
            found[labels] = value
    return found


def _matched(tree: Binary, left: Vector, right: Vector) -> Vector:
    def key(labels: Labels) -> Labels:
        return _without(labels, NAME) if tree.on is None else _only(labels, tree.on)

    others: defaultdict[Labels, list[tuple[Labels, float]]] = defaultdict(list)
    for labels, value in right.items():
        others[key(labels)].append((labels, value))
    if tree.operator == "and":
        return {labels: value for labels, value in left.items() if key(labels) in others}
    if tree.operator == "unless":
        return {labels: value for labels, value in left.items() if key(labels) not in others}
    if tree.operator == "or":
        own = {key(labels) for labels in left}
        return left | {labels: value for labels, value in right.items() if key(labels) not in own}
    found: Vector = {}
    for labels, value in left.items():
        if key(labels) not in others:
            continue
        ((other, against),) = others[key(labels)]  # many on the right: Prometheus refuses it as well
        is_comparison = tree.operator in COMPARISONS
        if is_comparison and not TESTS[tree.operator](value, against):
            continue
        kept = labels if is_comparison else _without(labels, NAME)
        if tree.many:
            kept = _without(kept, *tree.brought) | _only(other, tree.brought)
        elif tree.on is not None:
            kept = _only(kept, tree.on)
        assert kept not in found, f"several on the left of {tree.operator} have the labels {set(kept)}: group_left"
        found[kept] = value if is_comparison else CALCULATIONS[tree.operator](value, against)
    return found


def _without(labels: Labels, *names: str) -> Labels:
    return frozenset(one for one in labels if one[0] not in names)


def _only(labels: Labels, names: Iterable[str]) -> Labels:
    kept = frozenset(names)
    return frozenset(one for one in labels if one[0] in kept)
