"""The report: one store, one set of documents, and a page for each experiment that has figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.report.page.experiment import ExperimentPage, experiment_page
from abside.report.problem import Refused, listed, unknown_experiment
from abside.report.store.clocks import Clock, corrected
from abside.report.store.exposures import Overview, overview
from abside.report.store.losses import Ledger, ledger
from abside.report.tally.units import Tally

if TYPE_CHECKING:
    from abside.report.ask import Ask
    from abside.report.store.engine import Engine
    from abside.report.store.source import Source
    from abside.snapshot import Experiment, Head, Snapshot


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found in one store."""

    engine: str
    files: int
    rows: int
    overview: Overview
    clocks: tuple[Clock, ...]
    documents: Head
    statuses: dict[str, str]  # experiment of the documents → its status there
    ledger: Ledger
    outcome_copies: int
    pages: tuple[ExperimentPage, ...]
    refused: tuple[Refused, ...]


def build(engine: Engine, source: Source, documents: Snapshot, ask: Ask) -> Report:
    """Make the report. An experiment that has no figures is refused, in words; the others are given.

    Raises EngineFailed.
    """
    events, clocks = corrected(engine, source.events)
    seen = overview(engine, events)
    asked, refused = _asked(ask, documents, seen)
    pages = []
    outcome_copies = 0
    if asked and seen.last is not None:
        tally = Tally(engine, events, seen.last)
        for experiment in asked:
            found = experiment_page(engine, events, tally, experiment, seen, ask)
            if isinstance(found, Refused):
                refused.append(found)
            else:
                pages.append(found)
        outcome_copies = tally.outcomes.repeated
    return Report(
        engine=engine.name,
        files=len(source.files),
        rows=source.rows,
        overview=seen,
        clocks=clocks,
        documents=documents.head,
        statuses={one.id: "paused" if one.pause else one.status for one in documents.experiments.values()},
        ledger=ledger(engine, events),
        outcome_copies=outcome_copies,
        pages=tuple(pages),
        refused=tuple(refused),
    )


def _asked(ask: Ask, documents: Snapshot, seen: Overview) -> tuple[list[Experiment], list[Refused]]:
    """Give the experiments to report on. Those asked for by name are refused by name."""
    known, found = documents.experiments, seen.phases
    if not ask.experiments:
        return [one for name, one in known.items() if name in found], []
    asked, refused = [], []
    for name in dict.fromkeys(ask.experiments):
        if name in known and name in found:
            asked.append(known[name])
        elif name in known:
            refused.append(Refused(name, f"has no exposure in these events; found: {listed(list(found))}"))
        elif name in found:
            refused.append(Refused(name, "is in the events and in no document: name the documents it was run from"))
        else:
            refused.append(unknown_experiment(name, sorted({*known, *found})))
    return asked, refused
