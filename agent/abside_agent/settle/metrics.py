"""The metrics that experiments name, the documents' own ones, and the currency of their values. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abside.metric import BY_NAME
from abside_agent.document.records import known
from abside_agent.document.wording import did_you_mean
from abside_agent.rules.metrics import own_metric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.metric import Metric
    from abside_agent.document.records import Document
    from abside_agent.document.tree import Path, Tree


def check_metrics(trees: list[Tree], documents: list[Document]) -> dict[str, Metric]:
    """Note wrong, repeated and unknown metrics; return the sound own ones. `documents`: one for each tree.

    Only the report reads metrics: a mistake is an error, but stops no experiment, since all candidates exist already.
    """
    own: dict[str, str] = {}
    sound: dict[str, Metric] = {}
    for tree, document in zip(trees, documents, strict=True):
        for name, written in document.metrics.items() if known(document.metrics) else ():
            other = own.setdefault(name, tree.file)
            if other != tree.file:
                message = f"{name} is also in {other}"
                tree.note("DUPLICATE_ID", ("metrics", name), message, "keep one", at_key=True)
            elif (metric := own_metric(tree, name, written, len(own))) is not None:
                sound[name] = metric
    for tree, document in zip(trees, documents, strict=True):
        for name, experiment in document.experiments.items() if known(document.experiments) else ():
            analysis = experiment.analysis if known(experiment) else experiment
            for path, metric_name in _metrics_named(analysis) if known(analysis) else ():
                if metric_name not in own and metric_name not in BY_NAME:
                    remedy = did_you_mean(metric_name, (*BY_NAME, *own)) or "declare it under metrics"
                    where = ("experiments", name, "analysis", *path)
                    at_key = path[0] == "guardrails"
                    message = "the report knows no such metric"
                    tree.note("UNKNOWN_METRIC", where, message, remedy, at_key=at_key, value=metric_name)
    return sound


def check_currency(trees: list[Tree], documents: list[Document]) -> str | None:
    """Return the one currency of all files; note each that contradicts the first."""
    first: tuple[str, str] | None = None
    for tree, document in zip(trees, documents, strict=True):
        if not known(document.currency) or document.currency is None:
            continue
        if first is not None and first[0] != document.currency:
            message = f"{first[1]} says {first[0]}: values are counted in one"
            tree.note("CURRENCY", ("currency", ""), message, "keep one", value=document.currency)
        first = first or (document.currency, tree.file)
    return None if first is None else first[0]


def _metrics_named(analysis: Any) -> Iterator[tuple[Path, str]]:
    if known(analysis.primary):
        yield ("primary",), analysis.primary
    for index, metric in enumerate(analysis.secondary if known(analysis.secondary) else []):
        if known(metric):
            yield ("secondary", index), metric
    for metric in analysis.guardrails if known(analysis.guardrails) else ():
        yield ("guardrails", metric), metric
