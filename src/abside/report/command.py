"""`abside report`: reads the store and the documents, prints the page.

Exit codes: 0 the figures asked for are printed; 1 something about the data or the documents kept some of them back,
which one line says; 2 the command line was wrong; 3 the engine is away: the same question may be answered later;
4 with --aa: chance does not explain what was found.
"""

from __future__ import annotations

import sys
import tempfile
from threading import Thread
from typing import TYPE_CHECKING, Any

from abside.environ import now_us
from abside.report.ask import Ask
from abside.report.documents import read_documents
from abside.report.engines.choose import check_engine, open_engine
from abside.report.engines.statements import script
from abside.report.outlet import Outlet
from abside.report.page.export import to_json
from abside.report.page.html.document import to_html
from abside.report.page.text.document import write_report
from abside.report.page.text.pen import Pen
from abside.report.page.text.tables import to_csv, to_markdown
from abside.report.pipeline.columns import check_files
from abside.report.pipeline.join import join
from abside.report.pipeline.mapping import read_mapping
from abside.report.problem import (
    EngineAway,
    EngineFailed,
    NoPeriod,
    NoRoom,
    NotLogged,
    NotTogether,
    ReportProblem,
    StoreChanged,
)
from abside.report.progress import progress
from abside.report.report import Report, build, period_of
from abside.report.stats.compare import load_statistics
from abside.report.store.source import Source, open_source
from abside.report.tally.rows import ATTRIBUTION, UNITS, kept_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from abside.report.pipeline.mapping import OutcomeMapping
    from abside.report.settings import ReportSettings
    from abside.report.store.engine import Engine
    from abside.snapshot import Snapshot

LOOKS = 3  # a collector leaves a file for ten minutes after it was merged: only a longer look meets a change
DONE, KEPT_BACK, WRONG, AWAY, AA_ALARM = 0, 1, 2, 3, 4


def main(settings: ReportSettings, compiled: Callable[[], Snapshot] | None = None) -> int:
    """Print the report; give the exit code. `compiled` waits for the documents, where they are being read already."""
    try:
        check_engine(settings)
        outlets = _outlets(settings)
        if settings.export is not None:
            _made(settings.export)
        documents = read_documents(settings.config) if compiled is None else compiled()
        mapping = None if settings.outcomes is None else read_mapping(settings.outcomes)
        if mapping is not None:
            check_files(mapping)
        _ask(settings, documents)
        Thread(target=load_statistics, daemon=True).start()  # most of a second, while the engine reads the store
        with progress(len(settings.experiment or documents.experiments)) as tell:
            engine, source, report = _look(settings, documents, mapping, tell)
        is_shown = all(outlet.place is not None for outlet in outlets.values())  # else standard output is that form's
        if settings.show_sql and is_shown:
            sys.stdout.writelines(script(engine.asked, settings.dialect or engine.dialect, ran=engine.dialect))
        if is_shown:
            write_report(report, Pen(sys.stdout))
        for name, outlet in outlets.items():
            outlet.write(_FORMS[name](report, source))
    except ReportProblem as exc:
        sys.stdout.flush()
        sys.stderr.write(f"abside report: {exc}\n")
        return _code(exc)
    if not sys.stdout.isatty():  # the page, which says it too, is in a file or is another form
        sys.stderr.writelines(f"abside report: {refused.experiment}: {refused.reason}\n" for refused in report.refused)
    if report.refused or not report.pages:
        return KEPT_BACK
    return AA_ALARM if report.aa is not None and report.aa.is_alarm else DONE


def _code(problem: ReportProblem) -> int:
    if isinstance(problem, NotTogether):
        return WRONG
    return AWAY if isinstance(problem, EngineAway) else KEPT_BACK


def _ask(settings: ReportSettings, documents: Snapshot) -> Ask:
    """Return what was asked for. Raises NotLogged for an attribute that no exposure carries, and NoPeriod."""
    _check_period(settings.since, settings.until)
    logged = tuple(name for name, one in documents.head.attributes.items() if one.log)
    for name in settings.by:
        if name not in logged:
            raise NotLogged(name, documents.head.attributes)
    return Ask(
        settings.experiment,
        settings.phase,
        settings.since,
        settings.until,
        settings.by,
        logged,
        with_rows=settings.export is not None,
        is_aa=settings.aa,
    )


def _check_period(since: datetime | None, until: datetime | None) -> None:
    """Refuse a period in which nothing can have begun. Raises NoPeriod."""
    if since is not None and since.timestamp() * 1e6 > now_us():
        raise NoPeriod("since", since, "is in the future: nothing was first exposed since then")
    if since is not None and until is not None and until <= since:
        raise NoPeriod("until", until, f"is not later than --since {since:%Y-%m-%dT%H:%M:%SZ}")


def _outlets(settings: ReportSettings) -> dict[str, Outlet]:
    """Open the places the forms go to. Raises NoRoom."""
    places = {name: getattr(settings, name) for name in _FORMS}
    outlets = {name: Outlet.open(f"--{name}", place) for name, place in places.items() if place is not None}
    on_stdout = [name for name, outlet in outlets.items() if outlet.place is None]
    if len(on_stdout) > 1:
        taken = OSError(16, f"is what --{on_stdout[0]} is written to", "standard output")
        raise NoRoom(f"--{on_stdout[1]}", taken)
    return outlets


_FORMS: dict[str, Any] = {  # what gives the bytes of each form
    "json": lambda report, source: to_json(report, source.digest),
    "html": lambda report, _: to_html(report),
    "csv": lambda report, _: to_csv(report),
    "markdown": lambda report, _: to_markdown(report),
}


def _look(
    settings: ReportSettings, documents: Snapshot, mapping: OutcomeMapping | None, tell: Callable[[str], None]
) -> tuple[Engine, Source, Report]:
    """Look at the store, again when a collector changed it meanwhile."""
    for look in range(LOOKS):
        try:
            with open_engine(settings, tell) as engine:
                source = open_source(engine, settings.events, period_of(documents, _ask(settings, documents)))
                if mapping is not None:
                    source = join(engine, source, mapping, now_us())
                report = _build(engine, source, documents, settings)
                if settings.export is not None and report.pages:
                    for name in (UNITS, ATTRIBUTION):
                        rows = kept_rows(engine, name, len(report.pages))
                        engine.write(f"--export {name}", rows, settings.export / f"{name}.parquet")
                return engine, source, report
        except StoreChanged:
            tell(f"the store changed, looking again ({look + 2} of {LOOKS})")
    raise EngineFailed(str(settings.events), f"the store changed under {LOOKS} looks; ask again")


def _build(engine: Engine, source: Source, documents: Snapshot, settings: ReportSettings) -> Report:
    try:
        return build(engine, source, documents, _ask(settings, documents))
    except EngineFailed as exc:
        if not all(path.exists() for path in source.files):
            raise StoreChanged from exc
        raise


def _made(folder: Path) -> None:
    """Make a directory that can be written to. Raises NoRoom."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        raise NoRoom("--export", exc) from exc
