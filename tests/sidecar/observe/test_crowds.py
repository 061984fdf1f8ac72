"""Ids that a crowd shares are found among any number of others, and no shopper's id is ever shown."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from abside.sidecar.decide.seen.crowds import ENTRIES, MAX_LOGGED, WINDOW, Crowds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Running, World


def seen(share: float, looks: int, shoppers: int = 100_000) -> Crowds:
    chance, crowds = random.Random(1), Crowds("user_id")
    for _ in range(looks):
        crowds.look("nobody" if chance.random() < share else f"u{chance.randrange(shoppers)}")
    return crowds


@pytest.mark.parametrize("looks", [400, WINDOW + 500, 5 * WINDOW])
def test_an_id_of_many_requests_is_found_with_its_share(looks: int, caplog: pytest.LogCaptureFixture) -> None:
    (one,) = seen(0.18, looks).found()
    assert (one.field, one.id) == ("user_id", "nobody")
    assert 0.12 < one.share <= 0.22
    said = caplog.text
    assert said.count("crowd_id") == 1
    assert "nobody" not in said


@pytest.mark.parametrize(
    ("share", "looks", "shoppers"), [(0.01, 5 * WINDOW, 100_000), (0.12, 110, 100_000), (0.3, WINDOW, 20)]
)
def test_neither_a_busy_shopper_nor_a_few_testers_are_a_crowd(share: float, looks: int, shoppers: int) -> None:
    assert list(seen(share, looks, shoppers).found()) == []


def test_an_id_that_is_sent_no_more_is_forgotten() -> None:
    crowds = seen(0.18, WINDOW)
    for number in range(2 * WINDOW):
        crowds.look(f"v{number}")
    assert list(crowds.found()) == []


def test_a_caller_that_makes_up_ids_grows_no_memory() -> None:
    crowds = Crowds("user_id")
    for batch in range(200):
        for number in range(WINDOW):
            crowds.look(f"crowd-{batch}" if number % 3 else f"u{batch}-{number}")
    assert len(crowds._ids) <= ENTRIES
    assert len(crowds._logged) <= MAX_LOGGED


async def test_status_and_page_show_the_id_and_what_to_do(
    start: Callable[..., Awaitable[Running]], world: World
) -> None:
    running = await start(world.snapshot())
    sample = running.sidecar.context.sample
    for number in range(200):
        sample.left = 1  # looked at
        user = "walk-in" if number % 3 == 0 else f"u-secret-{number}"
        await running.assign(placement="pdp", user_id=user, session_id=f"s-secret-{number}")
        if number % 3 == 1:
            sample.left = 1
            await running.assign(placement="pdp", user_id="monitor", bot=True)
    (warning,) = (await running.status())["warnings"]
    assert (warning["code"], warning["field"], warning["id"]) == ("CROWD_ID", "user_id", "walk-in")
    assert "33%" in warning["message"] or "34%" in warning["message"]
    page = (await running.get("/")).text
    assert "One user_id is many shoppers." in page
    assert "“<bdi>walk-in</bdi>”" in page
    assert "secret" not in page
