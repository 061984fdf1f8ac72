"""Callers' own times stay theirs where the sidecar's clock is wrong, and a replay is no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from abside.event import EventIds
from abside.serve.answer import Refusal
from abside.sidecar.active.configs import Configs
from abside.sidecar.active.current import Cell
from abside.sidecar.decide import intake
from abside.sidecar.decide.callers import CallersClock
from abside.sidecar.decide.handlers import HandlerContext
from abside.sidecar.decide.request import Rules
from abside.sidecar.record.accounts import Accounts
from abside.sidecar.record.journal import Journal
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TRUE_US = 1_795_424_400_000_000
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US


@dataclass
class World:
    """Time as it is, and a sidecar whose clock is off by `ahead_us`."""

    spool: Spool
    passed_us: int = 0
    ahead_us: int = 0
    context: HandlerContext = field(init=False)

    def __post_init__(self) -> None:
        journal = Journal(self.spool, Accounts("b00t", {}), EventIds("b00t"), self.clock)
        callers = CallersClock(lambda: self.passed_us * 1000)
        self.context = HandlerContext(Cell(), journal, Configs(journal, {}), Rules(), self.clock, callers=callers)

    def clock(self) -> int:
        return TRUE_US + self.passed_us + self.ahead_us

    def post(self, ts: Any) -> str:
        """Post a click with this time; return what came of it."""
        try:
            intake.events(self.context, orjson.dumps({"type": "click", "user_id": "u1", "ts": ts}))
        except Refusal as refusal:
            return refusal.code
        return "taken"

    def live(self, late_us: int = 0) -> str:
        """Post as a caller with a right clock does."""
        return self.post(TRUE_US + self.passed_us - late_us)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    spool = Spool.open(SpoolSettings(tmp_path / "spool"), "b00t", lambda: TRUE_US)
    yield World(spool)
    await spool.close()


@pytest.mark.parametrize("days", [8, 3000, -1, -3])
async def test_a_sidecar_whose_clock_is_wrong_takes_its_callers_times_within_seconds(world: World, days: int) -> None:
    world.ahead_us = days * DAY_US
    story = []
    for _ in range(6):
        story.append(world.live(late_us=200_000))
        world.passed_us += SECOND_US
    assert story == ["INVALID_EVENT", "INVALID_EVENT", "taken", "taken", "taken", "taken"]
    world.passed_us += 3 * DAY_US  # the offset is not forgotten
    assert world.live() == "taken"


async def test_a_clock_that_jumps_while_callers_send_costs_none_of_their_events(world: World) -> None:
    assert world.live() == "taken"
    for days in (9, -9, 400):
        world.ahead_us = days * DAY_US
        world.passed_us += 5 * SECOND_US
        assert world.live() == "taken"


async def test_a_replay_and_a_body_sent_again_and_again_are_no_clock(world: World) -> None:
    old = TRUE_US - 30 * DAY_US
    for number in range(30):
        assert world.post(old) == "INVALID_EVENT"  # the same again
        assert world.post(old + number * 3600 * SECOND_US) == "INVALID_EVENT"  # an hour of events each second
        world.passed_us += SECOND_US


async def test_while_one_caller_agrees_with_the_sidecar_another_ones_wrong_clock_stays_wrong(world: World) -> None:
    for _ in range(10):
        assert world.live() == "taken"
        assert world.live(late_us=30 * DAY_US) == "INVALID_EVENT"
        world.passed_us += SECOND_US


async def test_a_time_of_another_unit_is_refused_whatever_the_clocks_answer(world: World) -> None:
    world.ahead_us = 8 * DAY_US
    for _ in range(6):
        world.live()
        for in_unit in (10**-6, 10**-3, 10**3):
            assert world.post(int((TRUE_US + world.passed_us) * in_unit)) == "INVALID_EVENT"
        world.passed_us += SECOND_US
    assert world.live() == "taken"
