"""The webhook's metrics: reviews by outcome and how long they took; plain figures, read at the scrape."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from abside.scrape.families import answers, counter, counters, gauge, histogram
from abside.scrape.tls import certificate_figures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client.core import Metric

    from abside.serve.certificate import Certificate
    from abside.serve.listener import Listener
    from abside.snapshot import Problem

ALLOWED, WARNED, REFUSED = "allowed", "warned", "refused"
NOT_CHECKED = "NOT_CHECKED"
INJECTED, PRESENT, LEFT = "injected", "present", "left"  # what became of a pod that has the label
# A pause takes the first ones, a check of all documents a second. The API server waits for ten, and then allows.
SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ReviewCounts:
    """What was reviewed since start."""

    def __init__(self) -> None:
        self.outcomes = dict.fromkeys((ALLOWED, WARNED, REFUSED), 0)  # a rate needs the zero before the first
        self.not_checked = 0
        self.pods = dict.fromkeys((INJECTED, PRESENT, LEFT), 0)
        self.took = [0] * (len(SECONDS) + 1)
        self.seconds = 0.0

    def add(self, problems: Sequence[Problem], seconds: float) -> None:
        """Count one review by its worst problem."""
        severities = {problem.severity for problem in problems}
        self.outcomes[REFUSED if "error" in severities else WARNED if severities else ALLOWED] += 1
        self.not_checked += any(problem.code == NOT_CHECKED for problem in problems)
        self.took[bisect_left(SECONDS, seconds)] += 1
        self.seconds += seconds


class AdmissionMetrics:
    """The metric families of one webhook."""

    def __init__(self, counts: ReviewCounts, listener: Listener, certificate: Certificate) -> None:
        self._counts = counts
        self._listener = listener
        self._certificate = certificate

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        counts, listener = self._counts, self._listener
        outcomes = (((outcome,), count) for outcome, count in counts.outcomes.items())
        yield counters("admission_reviews", "Reviews, by outcome: warned ones are allowed.", ["outcome"], outcomes)
        words = "Reviews of documents that were allowed because their check did not come to its end."
        yield counter("admission_not_checked", words, counts.not_checked)
        pods = (((outcome,), count) for outcome, count in counts.pods.items())
        words = "Pods with the label, without previews: injected, present where both containers were there, or left."
        yield counters("admission_pods", words, ["outcome"], pods)
        yield histogram("admission_review_seconds", "How long reviews took.", SECONDS, counts.took, counts.seconds)
        yield answers("admission_requests", listener.answers)
        yield gauge("admission_connections", "Open connections.", listener.open_connections)
        yield from certificate_figures(self._certificate)
