"""Spark Connect: Spark, Databricks, Sail, or whatever else answers at an `sc://` URL."""

from __future__ import annotations

import socket
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import grpc
import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends.sql.compilers.pyspark import PySparkCompiler
from pyspark.errors import AnalysisException, PySparkException
from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession
from pyspark.sql.connect.client.retries import DefaultPolicy

from abside.report.problem import EngineAway, EngineFailed
from abside.report.store.engine import Engine, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


PORT = 15_002  # of Spark Connect, where the URL names none
ZONE = "spark.sql.session.timeZone"
PARTITIONS = "spark.sql.shuffle.partitions"
UTC_NAMES = ("UTC", "Etc/UTC", "Z", "+00:00")
REACH_SECONDS = 10.0  # for a connection; a cluster that starts up on demand is asked once more by a person
GONE = ("UNAVAILABLE", "SESSION_CHANGED", "SESSION_CLOSED", "SESSION_NOT_FOUND")  # of gRPC; of Spark, begun anew
MAX_LINE = 300
LOGS = ("SQLQueryContextLogger", "DataFrameQueryContextLogger")  # write what is raised to standard error too, as JSON
TRIES = 5  # after 50 ms, 200 ms, …, 12.8 s: 17 s without an answer, and Spark is gone. Its own bound is ten minutes


class SparkConnect(Engine):
    """A session of its own on a Spark Connect server; it ends with the report, and so does all that it kept."""

    dialect = "spark"
    reads_urls = True
    reads_hidden = False
    faults = (PySparkException, grpc.RpcError, grpc.FutureTimeoutError)

    def __init__(
        self, session: SparkSession, place: str, folder: Path, tell: Callable[[str], None] | None = None
    ) -> None:
        super().__init__(ibis.pyspark.connect(session), folder, tell)
        self.connection.compiler = _Compiler()
        self._session: Any = session  # its own types name classic Spark too
        self._place = place
        self._version = session.version
        self._frames: dict[str, Any] = {}  # what the server keeps, as long as it is here

    @classmethod
    @contextmanager
    def open(
        cls,
        url: str,
        *,
        folder: Path,
        partitions: int | None = None,
        tries: int = TRIES,
        tell: Callable[[str], None] | None = None,
    ) -> Iterator[Self]:
        """Open a session whose zone is UTC. `folder` is for footers of files elsewhere. Raises EngineAway."""
        place = _reached(url)
        for name in LOGS:
            PySparkLogger.getLogger(name).disabled = True
        session: Any = None
        try:
            session = SparkSession.builder.remote(url).create()
            session.client.set_retry_policies([DefaultPolicy(max_retries=tries)])
            engine = cls(session, place, folder, tell)
            zone = session.conf.get(ZONE)
            if zone not in UTC_NAMES:
                raise EngineAway(place, f"its session is in the time zone {zone} and does not change to UTC")
            if partitions is not None:
                session.conf.set(PARTITIONS, str(partitions))
        except cls.faults as exc:
            raise EngineAway(place, f"answers, and not as Spark Connect: {_line(exc)}") from exc
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pyspark")  # of retries, and a logger's own: what fails is raised
            try:
                yield engine
            finally:
                session.client.set_retry_policies([DefaultPolicy(max_retries=0)])
                with suppress(*cls.faults):  # a server that is gone has no session to end
                    session.stop()

    @property
    def name(self) -> str:
        """The engine as the page names it."""
        return f"Spark {self._version} at {self._place}"

    def _parquet(self, files: list[str], name: str, *, has_places: bool) -> Table:  # noqa: ARG002 it never has them
        self._session.read.parquet(*files).createOrReplaceTempView(name)
        return self.connection.table(name)

    def _fetched(self, table: Table) -> pa.Table:
        return self._frame(table).toArrow()

    def _kept(self, name: str, table: Table) -> Table:
        """Keep the rows on the executors, without how they came: else each statement would plan all before it anew.

        Sail does so where it has a place for checkpoints; without one it computes them again each time they are read.
        """
        frame = self._frame(table)
        try:
            frame = frame.localCheckpoint()
        except AnalysisException as exc:
            if "checkpoint" not in str(exc):
                raise
            frame = frame.persist()
        frame.createOrReplaceTempView(name)
        self._frames[name] = frame
        return self.connection.table(name)

    def _write(self, table: Table, place: Path) -> None:
        """Write here what comes, part by part: the executors' disks are no place of whoever asks."""
        client = self._session.client
        frame = self._frame(table)
        plan = frame._plan.to_proto(client)  # noqa: SLF001 the public way collects all rows first
        writer = None
        try:
            for part in client.to_table_as_iterator(plan, {}):
                if isinstance(part, pa.Table):
                    writer = writer or pq.ParquetWriter(place, part.schema, compression="zstd")
                    writer.write_table(part)
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            pq.write_table(self._fetched(table), place)

    def _frame(self, table: Table) -> Any:
        return self._session.sql(self.connection.compile(table))

    def _failed(self, purpose: str, fault: Exception) -> EngineFailed:
        if any(word in str(fault) for word in GONE):
            return EngineAway(self._place, f"went away meanwhile ({purpose}); ask again: {_line(fault)}")
        return EngineFailed(purpose, f"Spark says: {_line(fault)}")


class _Compiler(PySparkCompiler):  # type: ignore[misc]  # Ibis has no types
    """Writes differences of times as all that speak Spark's SQL read them: Sail has no DATEDIFF of microseconds."""

    __slots__ = ()

    def visit_TimestampDelta(self, op: Any, *, part: Any, left: Any, right: Any) -> Any:  # noqa: N802 Ibis's name
        if str(op.part.value) != "microsecond":
            return super().visit_TimestampDelta(op, part=part, left=left, right=right)
        return self.f.unix_micros(left) - self.f.unix_micros(right)


def _reached(url: str) -> str:
    """Return host and port of a URL that something answers at, without what else is in it: a token. Raises EngineAway.

    Spark's own client asks for ten minutes before it gives up.
    """
    parts = urlsplit(url)
    place = f"{parts.hostname}:{parts.port or PORT}"
    try:
        socket.create_connection((parts.hostname or "", parts.port or PORT), timeout=REACH_SECONDS).close()
    except OSError as exc:
        raise EngineAway(place, f"nobody answers there: {exc.strerror or exc}") from exc
    return place


def _line(fault: Exception) -> str:
    """Return the first line of what Spark says: behind it come the plan, and Java's stack."""
    return str(fault).strip().partition("\n")[0][:MAX_LINE]
