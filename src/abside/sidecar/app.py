"""The sidecar's composition root: what is built of what, how it starts, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import platform
import secrets
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from abside import log as logging
from abside.assignment.unit import SHARED_IDS, nobody
from abside.environ import now_us
from abside.event import EventIds, source_of
from abside.log import Log
from abside.scrape.render import Scrape
from abside.serve.bounds import Bounds, affordable_connections
from abside.serve.listener import Listener
from abside.sidecar import routes
from abside.sidecar.active.configs import Configs
from abside.sidecar.active.current import Cell
from abside.sidecar.active.follow import Follower
from abside.sidecar.decide.handlers import HandlerContext
from abside.sidecar.decide.request import Rules
from abside.sidecar.fast.fastpath import FastDoor
from abside.sidecar.observe.health import Health
from abside.sidecar.observe.metrics import Metrics
from abside.sidecar.observe.splits import Splits
from abside.sidecar.observe.status import status
from abside.sidecar.record.accounts import Accounts
from abside.sidecar.record.journal import Journal
from abside.sidecar.ship.shipper import Shipper, ShipperSettings
from abside.spool.errors import SpoolBusy, SpoolFailed, SpoolTaken
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool
from abside.supervise import Supervisor, new_loop, stop_on_signal
from abside.upstream.choose import open_upstream, without_credentials
from abside.upstream.contract import Timeouts

if TYPE_CHECKING:
    from abside.serve.answer import Response
    from abside.sidecar.active.current import Current
    from abside.sidecar.settings import SidecarSettings
    from abside.upstream.contract import Upstream

log = Log("abside.sidecar")
GC_YOUNG_OBJECTS = 50_000  # about a thousand requests in flight at once; the usual 700 would look after every few
TELL_SECONDS = 1.0  # how soon a config event that found no room is tried again
ADMIN_CONNECTIONS = 64  # the kubelet and a few scrapers; anyone in the cluster may come to this door
LINGER_SHARE = 0.5  # of a drain at most: the rest is for what was accepted
SEAL_SECONDS = 1.0  # for the last seal at least, whatever the drain has left: a disk takes milliseconds
CLOSE_SECONDS = 2.0  # what is in flight at the end of a drain; a decision takes microseconds


def main(settings: SidecarSettings) -> int:
    """Run until SIGTERM or SIGINT, then drain. Exit 0; 1 when it cannot start or a fatal task died."""
    logging.setup("sidecar", settings.log_level, settings.log_format)
    settings = replace(settings, max_connections=affordable_connections(settings.max_connections))
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_run(settings))


class Sidecar:
    """One running sidecar. `build`, then `start`; `drain` ends it."""

    def __init__(self, settings: SidecarSettings, spool: Spool, upstream: Upstream | None, boot: str) -> None:
        self.settings = settings
        self.stopping = asyncio.Event()
        self.failed = False
        self._absence_reported = False
        source = source_of(
            pod=settings.pod or platform.node(),
            app=settings.app,
            version=settings.app_version,
            namespace=settings.namespace,
            cluster=settings.cluster,
        )
        accounts = Accounts(boot, source)
        journal = Journal(spool, accounts, EventIds(boot), now_us)
        cell = Cell()
        configs = Configs(journal, source)
        self.supervisor = Supervisor(self._fatal)
        self.spool = spool
        self.upstream = upstream
        self.shipper = None
        if upstream is not None and settings.upstream is not None:
            shipping = ShipperSettings(source["pod"], without_credentials(settings.upstream))
            self.shipper = Shipper(spool, upstream, shipping, now_us)
        self.context = HandlerContext(cell, journal, configs, _rules(settings), now_us)
        startup_until = time.monotonic() + settings.startup_seconds
        self.health = Health(cell, time.monotonic, startup_until, lambda: spool.trouble)
        splits = Splits(accounts)

        def applied(current: Current) -> None:
            splits.applied(current)
            configs.applied(current)

        self.follower = Follower(settings.snapshot, cell, now_us, settings.poll_seconds, applied)
        self.decisions = Listener(
            routes.decisions(self.context, settings, self.status, splits),
            Bounds.of(settings),
            settings.allow_name,
            routes.refused,
            routes.written,
        )
        self.fast = FastDoor(self.decisions, routes.fast(self.context, settings))
        if settings.fast_path == "on":
            self.decisions.factory = self.fast
        figures = Metrics(
            self.context,
            self.shipper,
            self.supervisor,
            self.decisions,
            self.fast,
            by_experiment=settings.metric_experiments,
        )
        self.metrics = Scrape(figures.collect)
        # A part of few, where descriptors are few.
        most = max(1, min(settings.max_connections // 4, ADMIN_CONNECTIONS))
        admin_bounds = replace(Bounds.of(settings), max_connections=most, one_answer=True)
        self.admin = Listener(routes.admin(self.health, self.metrics), admin_bounds, settings.allow_name)
        self.addresses: list[str] = []
        self.admin_address = ""

    @classmethod
    def build(cls, settings: SidecarSettings) -> Self:
        """Choose the upstream and own the spool. Raises ValueError, SpoolBusy, SpoolFailed."""
        boot = secrets.token_hex(8)
        upstream = None
        if settings.upstream is None and settings.kafka_config is not None:
            raise ValueError("--kafka-config is given without --upstream: write --upstream kafka://…, or leave it out")
        if settings.upstream is not None:
            upstream = open_upstream(
                settings.upstream,
                now_us,
                token_file=settings.upstream_token_file,
                kafka_config=settings.kafka_config,
                timeouts=Timeouts(answer_seconds=settings.upstream_seconds),
            )
        return cls(settings, Spool.open(_spool_settings(settings), boot, now_us), upstream, boot)

    async def start(self) -> None:
        """Take the snapshot that is there, listen, then start the background work. Raises OSError, ValueError."""
        found = self.spool.stats
        if found.recovered_segments:
            log.info("spool_recovered", events=found.recovered_events, cut_bytes=found.cut_bytes)
        await self.follower.look()
        await self._listen()
        self.supervisor.start("follow", self.follower.run)
        self.supervisor.start("spool", self._keep_spool)
        self.supervisor.start("spool-ahead", self.spool.run_ahead)
        self.supervisor.start("spool-beside", self.spool.run_beside)
        self.supervisor.start("tell", self._tell)
        self.supervisor.start("sweep", self.fast.sweep)
        if self.shipper is not None:
            self.supervisor.start("ship", self.shipper.run)
        else:
            log.warning("no_upstream", consequence="events stay in the spool until it is full; give --upstream")
        revision = self.context.cell.current.revision if self.context.cell.current else None
        log.info("listening", decisions=self.addresses, admin=self.admin_address, revision=revision)

    async def _listen(self) -> None:
        """Open every address or none: a loop is not closed while one listens (uvloop waits for it for ever)."""
        try:
            self.admin_address = await _open(self.admin, "--admin", self.settings.admin)
            self.addresses = [await _open(self.decisions, "--listen", address) for address in self.settings.listen]
        except BaseException:
            for listener in (self.admin, self.decisions):
                await listener.stop_accepting()
            raise

    def status(self) -> Response:
        """Return `GET /v1/status`."""
        return status(self.context, self.shipper, self.supervisor, self.health, self.settings.snapshot)

    async def drain(self) -> None:
        """End in order: stop being ready, serve a little longer, close the doors, seal, ship what time allows."""
        deadline = time.monotonic() + self.settings.drain_seconds
        self.health.draining = True
        self.decisions.retiring = True
        self.fast.retire()
        log.info("draining", seconds=self.settings.drain_seconds)
        await asyncio.sleep(min(self.settings.linger_seconds, LINGER_SHARE * self.settings.drain_seconds))
        self.fast.close()
        await self.decisions.close(CLOSE_SECONDS)
        await self.supervisor.stop("follow", "tell", "spool", "spool-ahead", "spool-beside")
        self.context.journal.ending = True
        seal_seconds = max(SEAL_SECONDS, deadline - time.monotonic())
        try:
            async with asyncio.timeout(seal_seconds):
                await self.spool.take_beside()  # the app has ended before us: what it wrote last goes too
                await self.spool.seal()
        except (SpoolFailed, TimeoutError) as exc:
            log.error(
                "last_seal_failed",
                reason=str(exc) or f"the disk did not answer within {seal_seconds:.1f} s",
                consequence="the open segment is recovered at the next start",
            )
        if self.shipper is not None:
            await self.shipper.drain(max(0.0, deadline - time.monotonic()))
        await self.supervisor.stop()  # before the upstream closes: a delivery that missed the deadline ends here
        if self.upstream is not None:
            await self.upstream.close()
        with suppress(TimeoutError):  # a disk that does not answer: the locks end with the process
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.spool.close()
        waiting = self.spool.waiting
        await self.admin.close(0.0)
        log.info("drained", left_segments=waiting.segments, left_bytes=waiting.bytes)

    async def _keep_spool(self) -> None:
        try:
            await self.spool.run()
        except SpoolTaken as exc:
            log.error("spool_taken", reason=str(exc))
            self._fatal("spool")

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            self.context.configs.write()
            self._report_absence()

    def _report_absence(self) -> None:
        """Report once that start-up waited for a snapshot in vain."""
        if not self._absence_reported and self.health.overdue:
            self._absence_reported = True
            log.warning(
                "no_snapshot",
                path=str(self.settings.snapshot),
                after_seconds=self.settings.startup_seconds,
                consequence="every decision is answered 503 NOT_READY",
                remedy="start the agent, or give --snapshot the file that the agent's --snapshot names",
            )

    def _fatal(self, name: str) -> None:
        log.error("fatal", task=name)
        self.failed = True
        self.stopping.set()


async def _open(listener: Listener, option: str, address: str) -> str:
    """Listen; name the option whose address cannot be had. Raises OSError, ValueError."""
    try:
        return await listener.open(address)
    except OSError as exc:
        raise OSError(f"{option} {address} cannot be had: {exc.strerror or exc}; give {option} another") from exc


async def _run(settings: SidecarSettings) -> int:
    try:
        sidecar = Sidecar.build(settings)
        stop_on_signal(sidecar.stopping)
        await sidecar.start()
    except (SpoolBusy, SpoolFailed, OSError, ValueError) as exc:
        log.error("cannot_start", reason=str(exc))
        return 1
    _settle_memory()
    await sidecar.stopping.wait()
    await sidecar.drain()
    return 1 if sidecar.failed else 0


def _settle_memory() -> None:
    """Keep the collector of cycles off the hot path: a request makes none, and what start-up made stays for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG_OBJECTS, 20, 100)


def _rules(settings: SidecarSettings) -> Rules:
    return Rules(
        max_nesting=settings.max_nesting,
        max_attributes=settings.max_attributes,
        max_placements=settings.max_placements,
        shared_ids=SHARED_IDS | nobody(settings.shared_ids),
        allow_force=settings.allow_force,
    )


def _spool_settings(settings: SidecarSettings) -> SpoolSettings:
    return SpoolSettings(
        directory=settings.spool,
        open_directory=settings.spool_open,
        limit_bytes=settings.spool_limit,
        floor_bytes=settings.spool_floor,
        seal_bytes=settings.seal_bytes,
        seal_events=settings.seal_events,
        seal_seconds=settings.seal_seconds,
        quiet_seconds=settings.quiet_seconds,
        fsync=settings.fsync,  # type: ignore[arg-type]  # one_of has checked it
    )
