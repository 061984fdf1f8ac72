"""The report: one store, one set of documents, and a page for each experiment that has figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from abside.metric import METRICS, from_json
from abside.report.page.aa import aa_check
from abside.report.page.experiment import ExperimentPage, experiment_page
from abside.report.page.roles import WINDOW_SECONDS, analysis_of
from abside.report.problem import NoDocuments, ReportRefused, listed, unknown_experiment
from abside.report.store.clocks import Clock, corrected
from abside.report.store.exposures import Overview, overview
from abside.report.store.losses import Ledger, ledger
from abside.report.store.period import Period
from abside.report.store.timeline import timeline
from abside.report.store.undocumented import told_experiments, undocumented
from abside.report.tally.before import DAYS_BEFORE
from abside.report.tally.few import are_few, events_of_few
from abside.report.tally.outcomes import OUTCOMES
from abside.report.tally.units import Tally

if TYPE_CHECKING:
    from abside.metric import Metric
    from abside.report.ask import Ask
    from abside.report.pipeline.mapping import JoinedOutcomes
    from abside.report.stats.aa import AaCheck
    from abside.report.store.engine import Engine, Table
    from abside.report.store.source import Source
    from abside.snapshot import Experiment, Snapshot, SnapshotHead


MAX_GONE = 100  # experiments in no document, of which pages are made unasked: the ones most exposed
GONE = "in no document: its control, weights, unit and placements are what its events say, the window is 7 d"
NO_CONTROL = "is in no document, and no config event in these events says which variant is its control"


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found in one store."""

    engine: str
    files: int
    whole: int  # of the files, those read whole: of the others exposures, logins and what sidecars say
    rows: int
    set_aside: int
    overview: Overview
    clocks: tuple[Clock, ...]
    documents: SnapshotHead
    statuses: dict[str, str]  # experiment of the documents → its status there
    ledger: Ledger
    outcome_copies: int
    outcomes: JoinedOutcomes | None  # a pipeline's, counted with the store's
    pages: tuple[ExperimentPage, ...]
    refused: tuple[ReportRefused, ...]
    aa: AaCheck | None = None  # where it was asked for
    reused: ReusedCounts | None = None  # where an earlier report may have been used


@dataclass(frozen=True, slots=True)
class ReusedCounts:
    """How many answers of the engine were an earlier report's, about the same files, of how many."""

    answers: int
    of: int


def build(engine: Engine, source: Source, documents: Snapshot, ask: Ask) -> Report:
    """Make the report. An experiment that has no figures is refused, in words; the others are given.

    Raises EngineFailed.
    """
    told = source.told
    events, clocks = corrected(engine, source.events, told)
    seen = overview(
        engine, events, [*documents.experiments, *ask.experiments], told if events is source.events else None
    )
    is_few = are_few(seen.phases, ask.experiments, source.rows)
    if is_few:
        are_named = told is None or told.rest is not None or told.summary.naming > 0
        events = events_of_few(engine, events, ask.experiments, seen.rows, are_named=are_named)
    asked, refused = _asked(engine, events, ask, documents, seen)
    pages: list[ExperimentPage] = []
    outcome_copies = 0
    last_ts = max((at for at in (seen.last, source.reaches) if at is not None), default=None)
    if asked and last_ts is not None:
        metrics, currency = metrics_of(documents)
        tally = Tally(engine, events, last_ts, metrics, with_ids=ask.with_rows)
        for experiment in asked:
            notes = () if experiment.id in documents.experiments else (GONE,)
            found = experiment_page(engine, events, tally, experiment, seen, ask, metrics, currency, notes, len(pages))
            if isinstance(found, ReportRefused):
                refused.append(found)
            else:
                pages.append(found if not is_few else _of_the_store(found, seen, tally.outcomes.repeated))
        outcome_copies = tally.outcomes.repeated
    return Report(
        engine=engine.name,
        files=len(source.files),
        whole=source.whole,
        rows=source.rows,
        set_aside=source.set_aside,
        overview=seen,
        clocks=clocks,
        documents=documents.head,
        statuses={one.id: "paused" if one.pause else one.status for one in documents.experiments.values()},
        ledger=ledger(engine, events),
        outcome_copies=outcome_copies,
        outcomes=source.outcomes,
        pages=tuple(pages),
        refused=tuple(refused),
        aa=aa_check(pages) if ask.is_aa else None,
        reused=ReusedCounts(engine.reused, engine.asked_for) if engine.asked_for else None,
    )


def _of_the_store(page: ExperimentPage, seen: Overview, copies: int) -> ExperimentPage:
    """Return a page of few people beside the outcomes of everybody, in which copies were not looked for."""
    counted = page.unmatched.outcomes - page.unmatched.of_nobody
    whole = sum(seen.people.get(kind, 0) for kind in OUTCOMES) - copies
    unmatched = replace(page.unmatched, outcomes=whole, of_nobody=whole - counted, with_copies=True)
    return replace(page, unmatched=unmatched)


def period_of(documents: Snapshot, ask: Ask) -> Period:
    """Return when what matters to first exposures of the period asked for can have happened."""
    known = [one for name, one in documents.experiments.items() if not ask.experiments or name in ask.experiments]
    window = max((analysis_of(one).window_seconds for one in known), default=0)
    last = None if ask.until is None else ask.until + timedelta(seconds=max(window, WINDOW_SECONDS))
    return Period(None if ask.since is None else ask.since - timedelta(days=DAYS_BEFORE), last, ask.experiments)


def metrics_of(documents: Snapshot) -> tuple[tuple[Metric, ...], str | None]:
    """Return the metrics of the page, built-in ones first, and the currency in which values count (None: any one).

    Raises NoDocuments for own metrics of another version.
    """
    own, currency = documents.head.report.get("metrics") or [], documents.head.report.get("currency")
    try:
        made = tuple(from_json(one) for one in own)  # type: ignore[union-attr,arg-type]  # checked by the agent
    except (KeyError, TypeError) as exc:
        raise NoDocuments(Path("metrics"), f"own metrics of another version: {exc!r}") from exc
    return (*METRICS, *made), None if currency is None else str(currency)


def _asked(
    engine: Engine, events: Table, ask: Ask, documents: Snapshot, seen: Overview
) -> tuple[list[Experiment], list[ReportRefused]]:
    """Return the experiments to report on. Those asked for by name are refused by name.

    One that is in no document any more is what its events say it was.
    """
    known, found = documents.experiments, seen.phases
    if not ask.experiments:
        gone = told_experiments(engine, events, [name for name in found if name not in known][:MAX_GONE])
        described = [undocumented(engine, events, name, timeline(engine, events, name)[0]) for name in gone]
        return [*(one for name, one in known.items() if name in found), *(one for one in described if one)], []
    asked: list[Experiment] = []
    refused = []
    for name in dict.fromkeys(ask.experiments):
        if name in known and name in found:
            asked.append(known[name])
        elif name in known:
            refused.append(ReportRefused(name, f"has no exposure in these events; found: {listed(list(found))}"))
        elif name in found:
            described_one = undocumented(engine, events, name, timeline(engine, events, name)[0])
            if described_one is None:
                refused.append(ReportRefused(name, NO_CONTROL))
            else:
                asked.append(described_one)
        else:
            refused.append(unknown_experiment(name, sorted({*known, *found})))
    return asked, refused
