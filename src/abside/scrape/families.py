"""Metric families of plain figures. prometheus-client is imported at the first one: 30 ms that start-up saves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prometheus_client.core import Metric

PREFIX = "abside_"


def gauge(name: str, words: str, value: float) -> Metric:
    """Return a family of one figure that may fall again."""
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 see above

    return GaugeMetricFamily(PREFIX + name, words, value=value)


def gauges(name: str, words: str, label: str, values: Mapping[str, float]) -> Metric:
    """Return a family of figures by one label."""
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 see above

    family = GaugeMetricFamily(PREFIX + name, words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def counter(name: str, words: str, value: float) -> Metric:
    """Return a family of one count since start; its name on the wire ends in `_total`."""
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415 see above

    return CounterMetricFamily(PREFIX + name, words, value=value)


def counters(name: str, words: str, labels: Sequence[str], counts: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """Return a family of counts by their labels' values."""
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415 see above

    family = CounterMetricFamily(PREFIX + name, words, labels=labels)
    for key, count in counts:
        family.add_metric(list(key), count)
    return family


def answers(name: str, counts: Mapping[tuple[str, int], int]) -> Metric:
    """Return the answers of a listener by route and status."""
    found = (((route, str(status)), count) for (route, status), count in sorted(counts.items()))
    return counters(name, "Answers, by route and status.", ("route", "status"), found)


def summary(name: str, words: str, count: int, total: float) -> Metric:
    """Return how often something was done and what it took together."""
    from prometheus_client.core import SummaryMetricFamily  # noqa: PLC0415 see above

    return SummaryMetricFamily(PREFIX + name, words, count_value=count, sum_value=total)


def histogram(name: str, words: str, bounds: Sequence[float], counts: Sequence[int], total: float) -> Metric:
    """Return a family of counts by upper bound. `counts` has one more than `bounds`: what is above all of them."""
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415 see above

    buckets: list[tuple[str, float]] = []
    below = 0
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        below += count
        buckets.append((bound, below))
    return HistogramMetricFamily(PREFIX + name, words, buckets=buckets, sum_value=total)
