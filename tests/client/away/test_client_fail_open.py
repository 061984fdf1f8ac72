"""The sidecar is away, comes back, was never ready: shoppers are served, and the analyst learns of it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest
    from tests.client.conftest import Clients, Process, Until

GERMAN = {"country": "DE"}
BASE = {"model": "ranker-v1", "item_count": 12}


async def test_a_fallback_is_the_base_seen_last_and_never_a_variant(client: Clients, sidecar: Process) -> None:
    asked = client(sidecar.address)
    assert (await asked.assign("pdp", user_id="qa-treatment")).config["model"] == "ranker-v2"
    sidecar.kill()
    answer = await asked.assign("pdp", user_id="qa-treatment", fallback={"model": "mine"})
    assert (answer.config, answer.config_id) == ({"model": "mine"}, None)  # only a variant was seen: base is unknown
    sidecar.start()
    seen = await asked.assign("pdp", user_id="u1")
    assert not seen.assignments
    seen.config["model"] = "changed by the caller"
    assert (await asked.assign("pdp", user_id="qa-treatment")).config["model"] == "ranker-v2"
    sidecar.kill()
    answer = await asked.assign("pdp", user_id="qa-treatment", fallback={"model": "mine"})
    assert (answer.config, answer.config_id) == (BASE, seen.config_id)
    assert (answer.fallback, answer.why, answer.assignments) == (True, "unreachable", ())
    assert (answer.exposure_id, answer.unit, answer.revision) == (None, None, None)


async def test_killed_and_restarted_sidecars_cost_fallbacks_and_nothing_else(
    client: Clients, sidecar: Process, until: Until
) -> None:
    asked = client(sidecar.address)
    answers = []

    async def shopper(number: int) -> None:
        for turn in range(60):
            who = {"user_id": f"u{number}-{turn}", "session_id": f"s{number}"}
            answers.append((who["user_id"], await asked.assign("pdp", attributes=GERMAN, **who)))
            await asyncio.sleep(0.005)

    async def fate() -> None:
        for _ in range(2):
            await asyncio.sleep(0.1)
            await asyncio.to_thread(sidecar.kill)
            await asyncio.sleep(0.05)
            await asyncio.to_thread(sidecar.start)

    await asyncio.gather(fate(), *(shopper(number) for number in range(4)))
    missed = {user for user, answer in answers if answer.fallback}
    assert len(answers) == 240
    assert 0 < len(missed) < 240
    assert asked.stats.fallbacks.keys() == {"unreachable"}
    # An answer soon brings the news of those it missed, with their ids.
    assert not (await asked.assign("pdp", user_id="u-last")).fallback
    await asked.close()
    sidecar.kill()  # a segment that is sealed while the folder is listed may be in no listing
    events = sidecar.spooled("client_fallback")
    assert {one["user_id"] for one in events} == missed
    assert {one["session_id"] for one in events} <= {f"s{number}" for number in range(4)}
    assert {(one["properties"]["placement"], one["properties"]["reason"]) for one in events} == {("pdp", "unreachable")}
    assert sum(one["properties"]["count"] for one in events) == asked.stats.told == len(missed)
    assert (asked.stats.untold, asked.stats.untellable) == (0, 0)
    # And who was not missed was assigned: logged once each.
    assert {one["user_id"] for one in sidecar.spooled("exposure")} >= {user for user, answer in answers} - missed


async def test_fallbacks_are_told_without_being_asked_once_the_sidecar_answers(
    client: Clients, sidecar: Process, until: Until
) -> None:
    asked = client(sidecar.address)
    sidecar.kill()
    assert (await asked.assign("pdp", session_id="s1", bot=True)).fallback
    sidecar.start()
    assert not (await asked.assign("pdp", session_id="s2")).fallback
    await until(lambda: asked.stats.told == 1)
    [event] = sidecar.spooled("client_fallback")
    assert (event["session_id"], event["user_id"], event["bot"]) == ("s1", None, True)


async def test_an_id_the_sidecar_does_not_take_holds_no_others_back(client: Clients, sidecar: Process) -> None:
    asked = client(sidecar.address)
    sidecar.kill()
    for user in ["u1", "guest", "u2", "null", "\ud800", "x" * 300]:  # shared ids are a setting of the sidecar
        assert (await asked.assign("pdp", user_id=user)).fallback
    sidecar.start()
    await asked.close()
    events = sidecar.spooled("client_fallback")
    assert {one["user_id"] for one in events if one["user_id"]} == {"u1", "u2"}
    assert sum(one["properties"]["count"] for one in events if not one["user_id"]) == 4
    assert (asked.stats.told, asked.stats.untold, asked.stats.untellable) == (6, 0, 0)


async def test_before_the_first_snapshot_the_callers_parameters_are_used_and_events_are_taken(
    client: Clients, absent: Process
) -> None:
    absent.start()
    asked = client(absent.address)
    answer = await asked.assign("pdp", user_id="u1", fallback={"model": "mine"})
    assert (answer.config, answer.why) == ({"model": "mine"}, "unavailable")
    assert await asked.event("page_view", user_id="u1", page_type="pdp")


async def test_the_log_says_a_reason_once_and_never_an_id(
    client: Clients, absent: Process, caplog: pytest.LogCaptureFixture
) -> None:
    asked = client(absent.address)
    with caplog.at_level(logging.DEBUG, "abside.client"):
        for number in range(20):
            await asked.assign("pdp", user_id=f"alice-{number}", session_id="secret", attributes={"country": "hidden"})
            await asked.event("click", user_id=f"alice-{number}", item_id="i7")
    [line] = [one.getMessage() for one in caplog.records if one.name == "abside.client"]
    assert "reason=unreachable" in line
    assert not any(word in line for word in ("alice", "secret", "hidden", "i7"))
