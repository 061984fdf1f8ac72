"""From what a person wrote to an engine."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from abside.report.engines.answers import FOLDER, Answers
from abside.report.engines.embedded import Embedded
from abside.report.engines.reusing import Reusing
from abside.report.memory import engine_memory
from abside.report.problem import EngineAway, NoRoom, NotTogether
from abside.report.settings import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from abside.report.settings import ReportSettings
    from abside.report.store.engine import Engine


def check_engine(settings: ReportSettings) -> None:
    """Refuse settings that the engine chosen does not have. Raises NotTogether."""
    if settings.reuse:
        _check_reuse(settings)
    if settings.engine == EMBEDDED:
        if settings.partitions is not None:
            raise NotTogether("--partitions", "is of Spark, and the engine is DuckDB: give it with --engine sc://…")
        engine_memory(settings.memory)
    else:
        if settings.memory is not None:
            raise NotTogether("--memory", "is of DuckDB: what Spark may use is set where it runs")
        if settings.work is not None:
            raise NotTogether("--work", "is of DuckDB: where Spark spills is set where it runs")
        if settings.outcomes is not None:
            raise NotTogether("--outcomes", "is read by DuckDB alone: leave --engine out")
    if settings.dialect is not None and not settings.show_sql:
        raise NotTogether("--dialect", "is that of --show-sql: give both")


def _check_reuse(settings: ReportSettings) -> None:
    """Refuse what answers of an earlier report cannot be used for. Raises NotTogether."""
    if settings.engine != EMBEDDED:
        raise NotTogether("--reuse", "is of DuckDB: leave --engine out")
    if settings.work is None:
        raise NotTogether("--reuse", "keeps answers in a directory: name it with --work")
    if not isinstance(settings.events, Path):
        raise NotTogether("--reuse", "is of a store in a directory: what is in a bucket is fetched anew each time")
    if settings.show_sql:
        raise NotTogether("--reuse", "runs no statement whose answer it has: leave --show-sql out")


@contextmanager
def open_engine(settings: ReportSettings, tell: Callable[[str], None]) -> Iterator[Engine]:
    """Open the engine that was chosen. Raises EngineAway, and NoRoom."""
    if settings.engine == EMBEDDED:
        memory_bytes = engine_memory(settings.memory)
        kind = Reusing if settings.reuse else Embedded
        with _spill(settings.work) as spill, kind.open(memory_bytes=memory_bytes, spill=spill, tell=tell) as engine:
            if isinstance(engine, Reusing):
                engine.answers = _answers(settings)
            engine.has_places = settings.dialect in (None, engine.dialect)  # its SQL is for an engine that has none
            yield engine
        return
    try:
        from abside.report.engines.cluster import SparkConnect  # noqa: PLC0415 pyspark-client is an extra
    except ModuleNotFoundError as exc:
        raise EngineAway("sc://", "this takes pip install 'abside[spark]'") from exc
    with (
        _spill(None) as folder,
        SparkConnect.open(settings.engine, folder=folder, partitions=settings.partitions, tell=tell) as cluster,
    ):
        yield cluster


def _answers(settings: ReportSettings) -> Answers:
    """Return the answers in --work. Raises NoRoom."""
    answers = Answers((settings.work or Path()) / FOLDER)
    try:
        answers.folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise NoRoom("--work", exc) from exc
    answers.prune()
    return answers


@contextmanager
def _spill(work: Path | None) -> Iterator[Path]:
    """Return a directory to spill into, gone afterwards."""
    try:
        if work is not None:
            work.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix="abside-report-", dir=work)
    except OSError as exc:
        raise NoRoom("--work", exc) from exc
    with folder as name:
        yield Path(name)
