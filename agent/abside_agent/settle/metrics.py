"""The metrics that experiments name: those of the report, and the document's own. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abside_agent.document.records import known
from abside_agent.document.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside_agent.document.records import Document
    from abside_agent.document.tree import Path, Tree

# The report's own metrics. Only the report reads a metric, so an unknown one is a warning and stops no experiment.
METRICS = (
    "add_to_cart_rate",
    "placement_add_to_cart_rate",
    "ctr",
    "conversion_rate",
    "revenue_per_session",
    "bounce_rate",
    "slow_page_share",
    "page_load_mean",
    "inventory_exposure_gini",
)


def check_metrics(trees: list[Tree], documents: list[Document]) -> None:
    """Note metrics that are declared twice, and unknown ones as a warning. `documents`: one for each tree."""
    own: dict[str, str] = {}
    for tree, document in zip(trees, documents, strict=True):
        for name in document.metrics if known(document.metrics) else ():
            other = own.setdefault(name, tree.file)
            if other != tree.file:
                message = f"{name} is also in {other}"
                tree.note("DUPLICATE_ID", ("metrics", name), message, "keep one", at_key=True)
    for tree, document in zip(trees, documents, strict=True):
        for name, experiment in document.experiments.items() if known(document.experiments) else ():
            analysis = experiment.analysis if known(experiment) else experiment
            for path, metric in _metrics_named(analysis) if known(analysis) else ():
                if metric not in own and metric not in METRICS:
                    remedy = did_you_mean(metric, (*METRICS, *own)) or "declare it under metrics"
                    where = ("experiments", name, "analysis", *path)
                    at_key = path[0] == "guardrails"
                    message = "the report knows no such metric"
                    tree.note("UNKNOWN_METRIC", where, message, remedy, severity="warning", at_key=at_key, value=metric)


def _metrics_named(analysis: Any) -> Iterator[tuple[Path, str]]:
    if known(analysis.primary):
        yield ("primary",), analysis.primary
    for index, metric in enumerate(analysis.secondary if known(analysis.secondary) else []):
        if known(metric):
            yield ("secondary", index), metric
    for metric in analysis.guardrails if known(analysis.guardrails) else ():
        yield ("guardrails", metric), metric
