"""What one caller makes up, or one record holds, costs no neighbour: accounts, config events, metrics, sweeps."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from abside import event
from abside.sidecar.decide import token
from abside.sidecar.fast import fastpath
from abside.sidecar.record.accounts import MAX_ARMS, OTHER_ARM, Accounts
from abside.sidecar.record.journal import Journal
from abside.snapshot import Variant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.sidecar.conftest import Running, World

    Start = Callable[..., Awaitable[Running]]

NOW_US = 1_795_424_400_000_000


def made_up(number: int) -> str:
    """Return a token as anyone at localhost can make one: names as long as an event may have them."""
    one = event.Exposed(f"{number:04d}" * 64, 1, f"{number:03d}v" * 64, "user", "u1", forced=False, traffic_bp=1)
    exposure = event.exposure(
        event_id=f"b-{number}",
        now_us=NOW_US,
        user_id="u1",
        session_id=None,
        placement="pdp",
        revision="0123456789ab",
        config_id="ba9876543210",
        algo=1,
        assignments=[one],
        attributes={},
    )
    return token.seal(msgpack.packb(event.carried(exposure))).decode()


async def test_made_up_names_in_tokens_neither_lose_the_accounts_nor_become_labels(start: Start) -> None:
    running = await start(metric_experiments=True)
    await running.assign(placement="pdp", user_id="u7343")
    reply = await running.post("/v1/exposures", [{"exposure_token": made_up(number)} for number in range(MAX_ARMS)])
    assert reply.status == 202
    await running.sidecar.spool.seal()
    (account,) = running.spooled("account")
    assert account["accepted"]["exposure"] == MAX_ARMS + 1
    reported = {(one["experiment"], one["variant"]): one["accepted"] for one in account["exposures"]}
    assert reported == {("pdp-rank-2026-11", "treatment"): 1, OTHER_ARM: MAX_ARMS}
    metrics = await running.metrics()
    assert {name for name in metrics if name.startswith("abside_exposures_total")} == {
        'abside_exposures_total{experiment="pdp-rank-2026-11",variant="treatment"}',
        'abside_exposures_total{experiment="other",variant="other"}',
    }


def test_the_longest_statement_of_real_ids_fits_an_event() -> None:
    names = event.source_of(pod="p" * 253, app="a" * 63, version="v" * 128, namespace="n" * 63, cluster="c" * 253)
    accounts = Accounts("b" * 32, names)
    for number in range(2 * MAX_ARMS):
        accounts.accept_exposures([[accounts.arm(f"{number:064d}", "v" * 64)]])
    for number in range(200):
        accounts.accept(f"t{number:063d}")
    statement = accounts.statement(event_id="e" * 64, now_us=NOW_US)
    assert len(event.encode(statement)) <= event.MAX_EVENT_BYTES


async def test_names_of_made_up_event_types_are_no_labels_and_their_count_is_kept(start: Start) -> None:
    running = await start()
    kinds = [*(f"shopper_{number}" for number in range(50)), "click", "client_fallback"]
    assert (await running.post("/v1/events", [{"type": kind, "user_id": "u1"} for kind in kinds])).status == 202
    metrics = await running.metrics()
    assert metrics['abside_events_accepted_total{type="other_types"}'] == 50
    for kind in ("click", "client_fallback"):
        assert metrics[f'abside_events_accepted_total{{type="{kind}"}}'] == 1
    assert not [name for name in metrics if "shopper_" in name]
    assert (await running.status())["events"]["accepted"]["shopper_7"] == 1


async def test_an_experiment_too_large_for_an_event_costs_no_other_its_config_event(
    start: Start, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    arms = tuple(Variant(f"{number:05d}" + "v" * 50, number, number + 1) for number in range(9999))
    huge = (*arms, Variant("control", 9999, 10_000))
    running = await start(world.snapshot(search_de={"variants": huge}))
    reported = [one["experiment"] for config in running.spooled("config") for one in config.get("experiments", ())]
    assert sorted(reported) == ["feed-ramp", "pdp-badge", "pdp-rank-2026-11"]
    assert len([line for line in caplog.messages if "config_not_told" in line]) == 1


async def test_experiments_of_long_names_are_told_in_as_many_parts_as_they_need(start: Start, world: World) -> None:
    arms = tuple(Variant(f"{number:04d}" + "v" * 60, number * 500, (number + 1) * 500) for number in range(20))
    base = world.snapshot().experiments["pdp-badge"]
    many = [replace(base, id=f"{number:02d}" + "x" * 62, variants=arms, pause="é" * 200) for number in range(60)]
    running = await start(replace(world, records=(*world.records, *many)).snapshot())
    parts = running.spooled("config")
    reported = [one["experiment"] for config in parts for one in config["experiments"]]
    assert len(reported) == len(set(reported)) == 64
    assert [one["part"] for one in parts] == list(range(1, parts[0]["parts"] + 1))


async def test_a_connection_that_cannot_be_swept_is_cut_and_the_others_are_swept(
    start: Start, monkeypatch: pytest.MonkeyPatch, until: Callable[..., Awaitable[None]]
) -> None:
    monkeypatch.setattr(fastpath, "SWEEP_SECONDS", 0.01)
    running = await start(header_seconds=0.05)
    host, port = running.sidecar.addresses[0].rsplit(":", 1)
    door = running.sidecar.fast
    broken_reader, broken_writer = await asyncio.open_connection(host, int(port))
    await until(lambda: len(door.connections) == 1)
    (broken,) = door.connections
    monkeypatch.setattr(type(broken), "sweep", raising_for(broken, type(broken).sweep))
    silent_reader, silent_writer = await asyncio.open_connection(host, int(port))
    for reader in (broken_reader, silent_reader):
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 20) == b""
    assert running.sidecar.supervisor.deaths == {}
    for writer in (broken_writer, silent_writer):
        writer.close()


def raising_for(broken: Any, sweep: Any) -> Any:
    def swept(self: Any, now: float) -> None:
        if self is broken:
            raise RuntimeError("a bug")
        sweep(self, now)

    return swept


class BrokenSpool:
    """A spool with a bug: it raises what nobody expects of it."""

    before_seal: Any = None

    def append_each(self, payloads: Sequence[bytes]) -> None:
        raise RuntimeError(f"a bug, at {len(payloads)} payloads")


def test_exposures_that_an_unexpected_error_swallowed_are_counted_as_lost() -> None:
    accounts = Accounts("b00t", {})
    journal = Journal(BrokenSpool(), accounts, event.EventIds("b00t"), lambda: NOW_US)  # type: ignore[arg-type]
    batch = journal.batch()
    batch.add(b"x", (accounts.arm("exp", "treatment"),))
    with pytest.raises(RuntimeError):
        batch.write()
    batch.write()
    assert (accounts.lost["exposure"], accounts.arm("exp", "treatment").lost) == (1, 1)
