from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from abside.supervise import Supervisor, start_once, stop_on_signal

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_SECONDS = 20.0


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not holds():  # noqa: ASYNC110 the condition cannot notify anyone
            await asyncio.sleep(0.005)


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_task_that_dies_is_restarted_and_stands_in_degraded_by_name(caplog: pytest.LogCaptureFixture) -> None:
    fatal: list[str] = []
    supervisor = Supervisor(fatal.append)
    starts: list[int] = []

    async def work() -> None:
        starts.append(1)
        if len(starts) < 3:
            raise RuntimeError("the disk is gone")
        await forever()

    supervisor.start("spool", work)
    await until(lambda: len(starts) == 3)
    assert supervisor.degraded == {"spool": "RuntimeError: the disk is gone"}
    assert supervisor.deaths == {"spool": 2}
    assert caplog.messages == ["task_died task=spool then=restart"] * 2
    assert fatal == []
    await supervisor.stop()


async def test_a_task_that_ran_long_enough_is_no_longer_degraded() -> None:
    supervisor = Supervisor(lambda _: None, healthy_seconds=0.05)
    starts: list[int] = []

    async def work() -> None:
        starts.append(1)
        if len(starts) == 1:
            raise RuntimeError("once")
        await forever()

    supervisor.start("follow", work)
    await until(lambda: "follow" in supervisor.degraded)
    await until(lambda: not supervisor.degraded)
    assert supervisor.deaths == {"follow": 1}
    assert len(starts) == 2
    await supervisor.stop()


async def test_one_that_keeps_dying_soon_stays_degraded_between_its_starts() -> None:
    supervisor = Supervisor(lambda _: None, healthy_seconds=30.0)
    seen: list[bool] = []

    async def work() -> None:
        seen.append("ship" in supervisor.degraded)
        raise ConnectionError("away")

    supervisor.start("ship", work)
    await until(lambda: len(seen) == 3)
    assert seen == [False, True, True]
    await supervisor.stop()


async def test_a_fatal_task_is_named_once_and_not_started_again() -> None:
    fatal: list[str] = []
    supervisor = Supervisor(fatal.append)
    starts: list[int] = []

    async def work() -> None:
        starts.append(1)
        raise OSError("gone")

    supervisor.start("listen", work, "fatal")
    await until(supervisor._tasks["listen"].done)
    assert fatal == ["listen"]
    assert starts == [1]
    assert supervisor.degraded == {"listen": "OSError: gone"}
    await supervisor.stop()


async def test_a_task_that_ends_well_is_neither_restarted_nor_degraded() -> None:
    supervisor = Supervisor(lambda _: None)
    starts: list[int] = []

    async def work() -> None:
        starts.append(1)

    supervisor.start("once", work)
    await until(lambda: starts == [1])
    await asyncio.sleep(0.02)
    assert (starts, supervisor.degraded, supervisor.deaths) == ([1], {}, {})


async def test_stop_cancels_what_works_and_what_waits_to_be_restarted() -> None:
    supervisor = Supervisor(lambda _: None)
    ended: list[str] = []

    async def work() -> None:
        try:
            await forever()
        finally:
            ended.append("work")

    async def dies() -> None:
        raise RuntimeError("at once")

    supervisor.start("work", work)
    supervisor.start("dies", dies)
    await until(lambda: "dies" in supervisor.degraded)
    await supervisor.stop()
    assert ended == ["work"]
    assert [task.get_name() for task in asyncio.all_tasks()] == [asyncio.current_task().get_name()]  # type: ignore[union-attr]


async def test_stop_takes_names_and_leaves_the_others() -> None:
    supervisor = Supervisor(lambda _: None)
    running: set[str] = set()

    def worker(name: str) -> Callable[[], asyncio.Future[None]]:
        async def work() -> None:
            running.add(name)
            try:
                await forever()
            finally:
                running.discard(name)

        return work  # type: ignore[return-value]

    for name in ("follow", "ship"):
        supervisor.start(name, worker(name))
    await until(lambda: running == {"follow", "ship"})
    await supervisor.stop("follow", "unheard of")
    assert running == {"ship"}
    await supervisor.stop()
    assert running == set()


async def test_a_name_runs_once_and_may_be_started_again_when_it_was_stopped() -> None:
    supervisor = Supervisor(lambda _: None)
    supervisor.start("follow", forever)
    with pytest.raises(ValueError, match="'follow' is already running"):
        supervisor.start("follow", forever)
    await supervisor.stop("follow")
    supervisor.start("follow", forever)
    await supervisor.stop()


async def test_a_task_of_a_connection_that_breaks_is_logged_and_not_started_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        raise RuntimeError("a bug")

    task = start_once("handshake", work())
    await asyncio.wait({task})
    await until(lambda: bool(caplog.messages))
    assert caplog.messages == ["task_died task=handshake then=ended"]
    assert caplog.records[0].exc_info


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_event_of_a_process_is_set_by_a_signal_and_a_second_one_cuts_nothing(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    own = asyncio.Event()
    try:
        stopping = stop_on_signal(own)
        assert stopping is own
        os.kill(os.getpid(), number)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await stopping.wait()
        os.kill(os.getpid(), number)
        await asyncio.sleep(0)
    finally:
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(each)
        signal.signal(number, before)
