"""From what a person wrote to an engine."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from abside.report.engines.embedded import Embedded
from abside.report.memory import default_memory
from abside.report.problem import EngineAway, NoRoom, NotTogether
from abside.report.settings import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from abside.report.settings import ReportSettings
    from abside.report.store.engine import Engine


def check_engine(settings: ReportSettings) -> None:
    """Refuse settings that the engine chosen does not have. Raises NotTogether."""
    if settings.engine == EMBEDDED:
        if settings.partitions is not None:
            raise NotTogether("--partitions", "is of Spark, and the engine is DuckDB: give it with --engine sc://…")
    else:
        if settings.memory is not None:
            raise NotTogether("--memory", "is of DuckDB: what Spark may use is set where it runs")
        if settings.work is not None:
            raise NotTogether("--work", "is of DuckDB: where Spark spills is set where it runs")
        if settings.outcomes is not None:
            raise NotTogether("--outcomes", "is read by DuckDB alone: leave --engine out")
    if settings.dialect is not None and not settings.show_sql:
        raise NotTogether("--dialect", "is that of --show-sql: give both")


@contextmanager
def open_engine(settings: ReportSettings, tell: Callable[[str], None]) -> Iterator[Engine]:
    """Open the engine that was chosen. Raises EngineAway, and NoRoom."""
    if settings.engine == EMBEDDED:
        memory_bytes = settings.memory or default_memory()
        with _spill(settings.work) as spill, Embedded.open(memory_bytes=memory_bytes, spill=spill, tell=tell) as engine:
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
