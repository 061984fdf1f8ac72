"""The collector process that reads from Kafka: any number of them, without a disk, over one store."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from abside.collector.consume.client import TopicAsker, answer_seconds_of, open_clients, properties
from abside.collector.consume.loop import ConsumeLoop
from abside.collector.consume.status import ConsumeStatus
from abside.collector.consume.steps import GroupBounds
from abside.collector.consume.topic import TopicWatch
from abside.collector.modes import SettingWrong
from abside.collector.store.place import PlaceFailed, open_place, probe
from abside.environ import now_us
from abside.kafka import KafkaSettingError
from abside.log import Log
from abside.scrape.render import Scrape
from abside.serve.answer import Route
from abside.serve.bounds import Bounds
from abside.serve.listener import Listener
from abside.supervise import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from abside.collector.settings import CollectorSettings
    from abside.collector.store.place import StorePlace
    from abside.kafka import KafkaAddress

log = Log("abside.collector.from_kafka")
GROUP_SECONDS = 60.0  # Kafka keeps what is not written, so files may be few and large
CLOSE_SECONDS = 1.0
LEAVE_SECONDS = 10.0  # beyond the drain, for the group to be told


@asynccontextmanager
async def kafka_collector(
    settings: CollectorSettings, address: KafkaAddress, ended: Callable[[], None]
) -> AsyncIterator[str]:
    """Run a collector that reads from Kafka and yield its HTTP address; at the end, write what it has gathered.

    `ended` is called where it ends by itself: only a bug, or an error that the library calls fatal, makes it do that.
    Raises SettingWrong, PlaceRefused and OSError.
    """
    place = open_place(str(settings.store))
    threads = ThreadPoolExecutor(1, thread_name_prefix="topic")
    loop, status = _parts(settings, address, place, threads)
    routes = {"/livez": Route(status.alive, probe=True), "/readyz": Route(status.ready, probe=True)}
    routes |= {"/v1/status": Route(status.get), "/metrics": Route(Scrape(status.collect).get)}
    gets = {path: {"GET": route} for path, route in routes.items()}
    listener = Listener(gets, Bounds.of(settings), settings.allow_name)
    supervisor = Supervisor(on_fatal=lambda _: ended())
    try:
        await asyncio.to_thread(_probe_once, place, loop)
        listening = await listener.open(settings.listen)
        supervisor.start("kafka", partial(asyncio.to_thread, loop.run), on_death="fatal")
        yield listening
        loop.stop()
        await asyncio.to_thread(loop.ended.wait, settings.drain_seconds + LEAVE_SECONDS)
        await listener.close(CLOSE_SECONDS)
    finally:
        loop.stop()
        await listener.stop_accepting()
        await supervisor.stop()
        threads.shutdown(wait=False, cancel_futures=True)


def _parts(
    settings: CollectorSettings, address: KafkaAddress, place: StorePlace, threads: ThreadPoolExecutor
) -> tuple[ConsumeLoop, ConsumeStatus]:
    """Build the thread that reads and what shows its figures; nothing waits for a broker. Raises SettingWrong."""
    status = ConsumeStatus()
    try:
        config = properties(address, settings.group or "", settings.kafka_config)
        consumer, admin = open_clients(config, status.connection_failed)
    except KafkaSettingError as exc:
        raise SettingWrong("--kafka", str(exc)) from exc
    about = TopicAsker(admin, address.topic, answer_seconds_of(config))
    seconds = GROUP_SECONDS if settings.group_seconds is None else settings.group_seconds
    bounds = GroupBounds(seconds, settings.group_bytes, settings.drain_seconds)
    watch = TopicWatch(about.describe, threads)
    loop = ConsumeLoop(consumer, about, watch, place, bounds, now_us, status.connection_failed)
    status.watch(loop, watch)
    return loop, status


def _probe_once(place: StorePlace, loop: ConsumeLoop) -> None:
    """Refuse to start over a store that no waiting mends; one that is away for now is tried again by the loop."""
    try:
        probe(place)
    except PlaceFailed as exc:
        log.error("store_away", reason=str(exc), then="tried again before anything is read")
    else:
        loop.store_problem = None
