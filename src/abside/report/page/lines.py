"""The sentences beside the figures, the same in a terminal and in HTML: what was read, left out, lost, not matched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.collector.store import LATE_SECONDS, UNREADABLE
from abside.report.page.words import Line, clocks_words, dates, duration, files_words, sample_ratio_words, share
from abside.report.tally.outcomes import EARLY_SECONDS, OUTCOMES

if TYPE_CHECKING:
    from abside.report.page.experiment import ExperimentPage
    from abside.report.pipeline.mapping import JoinedOutcomes
    from abside.report.report import Report


def report_lines(report: Report) -> list[Line]:
    """Return what is to be known of the whole store."""
    seen = report.overview
    files = files_words(report.files, report.whole)
    head = f"{report.engine}: {files}, {report.rows:,} rows, {dates(seen.first, seen.last)}"
    rows = ", ".join(f"{count:,} {name}" for name, count in seen.rows.items())
    said = [Line(head, "dim"), Line(f"events: {rows or 'none'}")]
    if report.reused is not None and report.reused.answers:
        earlier = f"{report.reused.answers:,} of {report.reused.of:,} answers"
        said.append(Line(f"used again: {earlier}, of an earlier report about the same files (--reuse)", "dim"))
    if report.outcomes is not None:
        said.append(Line(outcomes_words(report.outcomes)))
    if report.set_aside:
        files = "1 damaged file" if report.set_aside == 1 else f"{report.set_aside:,} damaged files"
        said.append(Line(f"not in any figure: {files} that the collector set aside (_….parquet{UNREADABLE})", "alarm"))
    said.append(Line(_losses(report)))
    if report.clocks:
        said.append(Line(clocks_words(report.clocks), "note"))
    if report.documents.degraded:
        count, revision = len(report.documents.problems), report.documents.revision
        problems = f"{count} problem{'' if count == 1 else 's'}"
        said.append(Line(f"the documents (revision {revision}) have {problems}: abside check", "alarm"))
    return said


def outcomes_words(found: JoinedOutcomes) -> str:
    """Return which outcomes of a pipeline are counted."""
    rows = ", ".join(f"{count:,} {name}" for name, count in found.rows.items())
    files = "1 file" if found.files == 1 else f"{found.files:,} files"
    whose = f"in place of our own {', '.join(found.instead_of)}" if found.instead_of else "beside our own"
    left = f"; {found.left_out:,} rows left out, as a sidecar refuses them" if found.left_out else ""
    if found.ahead:
        left += f"; {found.ahead:,} of the future (more than an hour ahead of now) left out"
    when = f", {dates(found.first, found.last)}" if found.rows else ""
    return f"outcomes by {found.place}: {rows or 'none'}, rows of {files}{when}, {whose}{left}"


def _losses(report: Report) -> str:
    account = report.ledger
    if not account.sidecars:
        return "lost: not known, no account of a sidecar is in these events"
    ended = f"{account.sidecars:,} sidecar{'' if account.sidecars == 1 else 's'}"
    if account.without_end:
        ended += f", {account.without_end:,} of them running or killed: the last seconds are not in it"
    if account.unread:
        ended += f", {account.unread:,} of them not readable and not in it"
    lost = ", ".join(f"{count:,} {name}" for name, count in sorted(account.lost.items()) if count)
    return f"lost: {lost or 'nothing'}, by the accounts of {ended}"


def scope_line(page: ExperimentPage) -> Line:
    """Return what the figures of an experiment are of."""
    first = min((arm.first for arm in page.arms), default=None)
    last = max((arm.last for arm in page.arms), default=None)
    unit = page.experiment.unit.replace("_", " ")
    return Line(
        f"phase {page.phase}, unit {unit}, at {', '.join(page.experiment.placements)}; first exposures "
        f"{dates(first, last)}; outcomes within {duration(page.window_seconds)}"
    )


def counted_lines(page: ExperimentPage, report: Report) -> list[Line]:
    """Return how units fell and what is in no figure."""
    ratio = [] if page.sample_ratio.is_mismatch else [sample_ratio_words(page)]
    said = [*ratio, _left_out(page), _copies(page, report), _unmatched(page), _fallbacks(page)]
    return [Line(text) for text in said]


def _left_out(page: ExperimentPage) -> str:
    told = [f"{one.rows:,} {why} (of {one.units:,} units)" for why, one in sorted(page.left_out.items())]
    return f"of {page.exposures:,} exposures, left out: {', '.join(told) or 'none'}"


def _copies(page: ExperimentPage, report: Report) -> str:
    outcomes = sum(count for name, count in report.overview.late.items() if name in OUTCOMES)
    whose = "its people" if page.unmatched.with_copies else "the store"
    return (
        f"duplicates removed: {page.copies:,} exposures, {report.outcome_copies:,} outcomes of {whose}; "
        f"more than {duration(LATE_SECONDS)} late: {page.late:,} exposures, {outcomes:,} outcomes of the store"
    )


def _unmatched(page: ExperimentPage) -> str:
    found = page.unmatched
    early = f" ({found.just_before:,} of them by less than {duration(EARLY_SECONDS)})" if found.just_before else ""
    others = " (copies of other people's among them)" if found.with_copies else ""
    return (
        f"of {found.outcomes:,} outcomes of the store{others}, in no figure: {found.of_nobody:,} "
        f"({share(found.of_nobody, found.outcomes)}) of people who are no unit here, "
        f"{found.before:,} before the first exposure{early}, {found.after:,} after the window"
    )


def _fallbacks(page: ExperimentPage) -> str:
    found = page.fallbacks
    if not found.calls:
        return "answered by a client's fallback: none told"
    units = ", ".join(f"{count:,} units of {name}" for name, count in (found.units or {}).items()) or "no unit"
    return f"answered by a client's fallback: {found.calls:,} calls; {units}; {found.elsewhere:,} shoppers in no arm"
