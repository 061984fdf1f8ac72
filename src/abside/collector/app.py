"""The collector process: takes batches over HTTP, writes Parquet, acknowledges what is on disk."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from abside import log as logging
from abside.collector.from_kafka import kafka_collector
from abside.collector.keep.archive import Archive
from abside.collector.keep.archiving import Archiving
from abside.collector.keep.calendar import known_since
from abside.collector.keep.group import Grouper
from abside.collector.keep.upkeep import Upkeep
from abside.collector.keep.writer import StoreOwned, Writer
from abside.collector.metrics import CollectorMetrics
from abside.collector.modes import SettingWrong, check_mode
from abside.collector.receive.intake import Intake
from abside.collector.receive.token import Token, TokenUnreadable
from abside.collector.status import CollectorParts, CollectorStatus, alive
from abside.collector.store import days_of
from abside.collector.store.place import PlaceError, PlaceRefused, is_url, open_place
from abside.environ import now_us
from abside.log import Log
from abside.scrape.render import Scrape
from abside.serve.address import split_address
from abside.serve.answer import Route
from abside.serve.bounds import Bounds, affordable_connections
from abside.serve.certificate import Certificate, CertificateUnusable, instant
from abside.serve.listener import Listener
from abside.supervise import Supervisor, new_loop, stop_on_signal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from abside.collector.settings import CollectorSettings

log = Log("abside.collector")
GROUP_SECONDS = 1.0  # senders wait for it
CLOSE_SECONDS = 1.0  # everything is answered or abandoned by then


class BatchListener(Listener):
    """A listener that hands bodies over as they were sent: the intake bounds what they unpack to."""

    def __init__(self, routes: Mapping[str, Mapping[str, Route]], bounds: Bounds, names: Iterable[str] = ()) -> None:
        super().__init__(routes, bounds, names)
        self._options["auto_decompress"] = False


def main(settings: CollectorSettings) -> int:
    """Run until SIGTERM or SIGINT: 0; 1 when it cannot start or go on, with the reason in the log."""
    logging.setup("collector", settings.log_level, settings.log_format)
    settings = replace(settings, max_connections=affordable_connections(settings.max_connections))
    try:
        check_mode(settings)
        # uvloop reads what a client says first before `serve.handshake` can take the connection over.
        with asyncio.Runner(loop_factory=new_loop if settings.tls_cert is None else None) as runner:
            failed = runner.run(_until_signalled(settings))
    except (SettingWrong, StoreOwned, TokenUnreadable, PlaceRefused, OSError) as exc:
        log.error("cannot_start", reason=str(exc))
        return 1
    log.info("stopped")
    return 1 if failed else 0


async def _until_signalled(settings: CollectorSettings) -> bool:
    """Run until a signal; return whether it ended by itself before."""
    stopping = stop_on_signal()
    failed = False

    def ended() -> None:
        nonlocal failed
        failed = True
        stopping.set()

    running = kafka_collector(settings, settings.kafka, ended) if settings.kafka else collector(settings)
    async with running as address:
        log.info("listening", address=address, store=str(settings.store))
        await stopping.wait()
        log.info("stopping")
    return failed


@asynccontextmanager
async def collector(settings: CollectorSettings, clock: Callable[[], int] = now_us) -> AsyncIterator[str]:
    """Run a collector and yield its address; at the end, write and acknowledge what it has received.

    Raises SettingWrong, StoreOwned, TokenUnreadable and OSError.
    """
    check_mode(settings)
    directory = Path(settings.store)
    _check_address(settings.listen)
    certificate = _certificate(settings)
    token = Token(settings.token_file) if settings.token_file else None
    if token is None:
        log.warning("no_token", then="whoever reaches this port can send events", remedy="--token-file")
    archive = _archive(directory, settings.archive)
    archiving = Archiving(archive) if archive else None
    # From here on the store is ours: whatever writes to it must have ended before it is released.
    known = known_since(days_of(directory), settings.known_days)
    writer = await asyncio.to_thread(Writer.open, directory, known_since=known)
    group_seconds = GROUP_SECONDS if settings.group_seconds is None else settings.group_seconds
    grouper = Grouper(writer, seconds=group_seconds, limit_bytes=settings.group_bytes)
    upkeep = Upkeep(
        writer,
        clock,
        known_days=settings.known_days,
        keep_days=settings.keep_days,
        every_seconds=settings.merge_seconds,
        archiving=archiving,
    )
    intake = Intake(
        grouper,
        clock,
        token=token,
        max_batch_bytes=settings.max_batch_bytes,
        max_pending_bytes=settings.max_pending_bytes,
        body_seconds=settings.body_seconds,
    )
    supervisor = Supervisor(on_fatal=lambda name: log.error("task_ended", task=name))
    parts = CollectorParts(writer, grouper, intake, upkeep, archiving, supervisor, token, certificate)
    status = CollectorStatus(parts)
    # No bound on bodies here: intake reads them, after the token.
    routes = {"/v1/batches": {"POST": Route(intake.post)}, "/v1/status": {"GET": Route(status.get)}}
    routes |= {"/livez": {"GET": Route(alive, probe=True)}, "/readyz": {"GET": Route(status.ready, probe=True)}}
    listener = BatchListener(routes, Bounds.of(settings), settings.allow_name)
    metrics = Scrape(CollectorMetrics(parts, listener, clock).collect)
    routes["/metrics"] = {"GET": Route(metrics.get, probe=True)}  # what overload looks like is asked during it
    try:
        supervisor.start("grouper", grouper.run)
        supervisor.start("upkeep", upkeep.run)
        if archiving:
            supervisor.start("archive", archiving.run)
        if certificate:
            supervisor.start("certificate", lambda: certificate.follow(settings.tls_poll_seconds))
        yield await listener.open(settings.listen, certificate.context if certificate else None)
        ends_at = asyncio.get_running_loop().time() + settings.drain_seconds
        listener.retiring = True
        await listener.stop_accepting()
        grouper.hurry()
        with suppress(TimeoutError):
            # Before the listener closes: from then on aiohttp reads no further byte, not even of a body half-read.
            async with asyncio.timeout(settings.drain_seconds):
                await intake.drain()
        await listener.close(CLOSE_SECONDS)
        await grouper.finish()
        if archiving:
            await supervisor.stop("upkeep", "archive")
            await _archive_the_last(upkeep, archiving, ends_at)
    finally:
        if archiving:
            archiving.stop()
        await listener.stop_accepting()
        await supervisor.stop()
        intake.close()
        await asyncio.to_thread(grouper.close)  # a file half written is finished
        writer.close()


async def _archive_the_last(upkeep: Upkeep, archiving: Archiving, ends_at: float) -> None:
    """Merge and copy what came since the last round, as far as the time goes: this disk may not come back."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(ends_at):
            await upkeep.round()
            await archiving.copy()
            return
    log.warning("archive_left", then="what is not copied yet is copied at the next start")


def _archive(store: Path, named: str | None) -> Archive | None:
    if named is None:
        return None
    try:
        place = open_place(named)
    except PlaceError as exc:
        raise SettingWrong("--archive", str(exc)) from exc
    if not is_url(named):
        directories = store.resolve(), Path(named).resolve()
        if any(one.is_relative_to(other) for one, other in (directories, directories[::-1])):
            raise SettingWrong("--archive", f"{named} and the store {store}: neither may be inside the other")
    return Archive(store, place)


def _check_address(listen: str) -> None:
    try:
        split_address(listen)
    except ValueError as exc:
        raise SettingWrong("--listen", str(exc)) from exc


def _certificate(settings: CollectorSettings) -> Certificate | None:
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise SettingWrong("--tls-cert", "give it together with --tls-key, or neither")
    try:
        certificate = Certificate(settings.tls_cert, settings.tls_key)
    except CertificateUnusable as exc:
        raise SettingWrong("--tls-key" if exc.path == settings.tls_key else "--tls-cert", str(exc)) from exc
    log.info("certificate", cert=str(settings.tls_cert), not_after=instant(certificate.not_after))
    return certificate
