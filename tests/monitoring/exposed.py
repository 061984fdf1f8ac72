"""The text of each process's /metrics, as names with their labels, and as a fleet in which nothing is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from metrics_page import samples_of
from prometheus_client.parser import text_string_to_metric_families
from tests.monitoring.evaluating import NAME, Points, Store
from tests.monitoring.series import STEP_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client.core import Metric
    from tests.monitoring.promql import Selector

OF_THE_SCRAPE = frozenset({"job", "namespace", "pod", "container", "instance"})
UP = "up"
PODS = ("a", "b")
GOOD = {"abside_tls_certificate_not_after_seconds": 90 * 86_400.0}  # after a scenario's second 0


@dataclass(frozen=True, slots=True)
class Exposed:
    """Texts by job; every family that the code has."""

    texts: Mapping[str, str]
    families: Sequence[Metric]

    def wrong(self, selector: Selector) -> str:
        """Return what a selector names and no process has; empty where all is there."""
        labels = self.labels().get(selector.metric)
        if labels is None:
            return selector.metric
        unknown = {one.label for one in selector.matchers} - labels - OF_THE_SCRAPE
        return f"{selector.metric}{unknown}" if unknown else ""

    def labels(self) -> dict[str, set[str]]:
        """Return the labels of each metric, also of a family that has no sample yet."""
        found: dict[str, set[str]] = {UP: set()}
        for family in self.families:
            labels = {*getattr(family, "_labelnames", ()), *(name for one in family.samples for name in one.labels)}
            found |= dict.fromkeys(samples_of([family]), labels)
        return found

    def fleet(self, minutes: int) -> Store:
        """Return two pods of each process, in which nothing changes for so long."""
        times = [index * STEP_SECONDS for index in range(minutes + 1)]
        return Store({frozenset(labels.items()): self._points(times, value) for labels, value in self._samples()})

    def _samples(self) -> Iterator[tuple[dict[str, str], float]]:
        for job, text in self.texts.items():
            for pod in PODS:
                scraped = {"job": job, "namespace": "recs", "pod": f"{job}-{pod}"}
                yield {NAME: UP, **scraped}, 1.0
                for family in text_string_to_metric_families(text):
                    for sample in family.samples:
                        yield {NAME: sample.name, **sample.labels, **scraped}, GOOD.get(sample.name, sample.value)

    @staticmethod
    def _points(times: list[int], value: float) -> Points:
        return [(seconds, value) for seconds in times]
