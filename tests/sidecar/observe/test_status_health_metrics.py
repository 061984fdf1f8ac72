from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from abside import __version__
from abside.scrape.render import RENDER_SECONDS
from abside.sidecar.active.current import Cell
from abside.sidecar.observe.health import Health
from abside.sidecar.observe.metrics import SLICE_SERIES
from abside.sidecar.observe.status import status as status_of
from abside.sidecar.record.accounts import ArmCount
from abside.snapshot import BASIS_POINTS, Experiment, Placement, Step, Variant, assemble
from abside.spool.errors import SpoolFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Running, World

    Start = Callable[..., Awaitable[Running]]

DEADLINE_SECONDS = 20.0
NOW_US = 1_795_424_400_000_000
CLICK = {"type": "click", "user_id": "u1", "item_id": "a"}


async def test_status_says_what_is_in_force_how_old_it_is_and_where_the_events_are(start: Start, world: World) -> None:
    later_us = 4_000_000_000_000_000
    published = world.snapshot(
        pdp_rank_2026_11={"steps": (Step(0, 500), Step(later_us, 10_000)), "layer": "ranking", "slots": (0, 10_000)}
    )
    running = await start(published)
    for _ in range(3):
        await running.assign(placement="pdp", user_id="qa-user-1")
    await running.post("/v1/events", [CLICK, CLICK])
    status = await running.status()
    assert list(status) == [
        *("version", "revision", "degraded", "draining", "snapshot", "problems", "placements", "experiments"),
        *("events", "names", "warnings", "spool", "upstream", "degraded_tasks"),
    ]
    assert (status["version"], status["revision"]) == (__version__, published.head.revision)
    assert (status["degraded"], status["draining"], status["problems"], status["degraded_tasks"]) == (
        False,
        False,
        [],
        {},
    )
    assert status["snapshot"].keys() == {
        *("published_us", "published_age_seconds", "applied_us", "applied_age_seconds"),
        *("next_change_us", "swaps", "refused", "refusal", "missing", "path", "agent_heartbeat_age_seconds"),
    }
    assert status["snapshot"]["published_us"] == published.head.written_at_us
    assert status["snapshot"]["applied_age_seconds"] < 60 < status["snapshot"]["published_age_seconds"]
    assert (status["snapshot"]["next_change_us"], status["snapshot"]["swaps"]) == (later_us, 1)
    assert status["placements"] == ["home", "newsfeed", "pdp", "search"]
    assert status["experiments"]["pdp-rank-2026-11"] == {
        "name": "PDP re-ranker v2",
        "status": "running",
        "pause": None,
        "placements": ["pdp"],
        "unit": "user_or_session",
        "layer": "ranking",
        "slots": [0, 10_000],
        "phase": 1,
        "traffic_bp": 500,
        "next_change_us": later_us,
        "next": {"at_us": later_us, "what": "traffic", "traffic_bp": 10_000},
        "since_us": None,
        "owner": "",
        "control": "control",
        "variants": {
            "control": {"weight_bp": 8000, "exposures": 0},
            "treatment": {"weight_bp": 2000, "exposures": 3},
        },
        "sample": {"requests": 3, "no_unit": 0, "not_eligible": 0, "attributes": {}},
    }
    assert status["experiments"]["pdp-badge"]["status"] == "paused"
    assert status["events"]["accepted"] == {"config": 2, "exposure": 3, "click": 2}
    assert status["events"]["lost"] == {}
    assert status["spool"]["appended_events"] == 7
    assert 0 < status["spool"]["used_bytes"] < status["spool"]["limit_bytes"] == 256 * 2**20
    assert status["upstream"] is None
    assert "qa-user-1" not in str(status)


async def test_the_age_of_the_oldest_batch_that_waits_is_in_the_status(start: Start) -> None:
    running = await start()
    sidecar = running.sidecar
    assert (await running.status())["spool"]["oldest_age_seconds"] is None
    await running.assign(placement="pdp", user_id="u1")
    await sidecar.spool.seal()
    written_us = sidecar.spool.sealed()[0].written_us
    later = replace(sidecar.context, clock=lambda: written_us + 90_000_000)
    shown = orjson.loads(status_of(later, None, sidecar.supervisor, sidecar.health, sidecar.settings.snapshot).body)
    assert shown["spool"]["oldest_age_seconds"] == 90.0


@pytest.mark.parametrize(
    ("changes", "effective"),
    [
        ({"status": "draft"}, "draft"),
        ({"status": "ended"}, "ended"),
        ({"status": "paused"}, "paused"),
        ({"pause": "carts broken"}, "paused"),
        ({"start_us": 4_000_000_000_000_000}, "not_started"),
        ({"end_us": 1}, "ended"),
        ({"status": "draft", "pause": "x"}, "paused"),
        ({}, "running"),
    ],
)
async def test_the_effective_status_takes_pause_schedule_and_status_together(
    start: Start, world: World, changes: dict[str, Any], effective: str
) -> None:
    running = await start(world.snapshot(pdp_rank_2026_11=changes))
    shown = (await running.status())["experiments"]["pdp-rank-2026-11"]
    assert (shown["status"], shown["pause"]) == (effective, changes.get("pause"))


@pytest.mark.parametrize(
    ("changes", "following"),
    [
        ({}, None),
        ({"start_us": 4 * 10**15}, {"at_us": 4 * 10**15, "what": "start", "traffic_bp": 10_000}),
        (
            {"start_us": 4 * 10**15, "steps": (Step(3 * 10**15, 500), Step(4 * 10**15, 900))},
            {"at_us": 4 * 10**15, "what": "start", "traffic_bp": 900},
        ),
        ({"end_us": 4 * 10**15}, {"at_us": 4 * 10**15, "what": "end", "traffic_bp": 0}),
        (
            {"end_us": 5 * 10**15, "steps": (Step(4 * 10**15, 500),)},
            {"at_us": 4 * 10**15, "what": "traffic", "traffic_bp": 500},
        ),
        ({"end_us": 4 * 10**15, "status": "draft"}, None),
        ({"end_us": 4 * 10**15, "status": "paused"}, {"at_us": 4 * 10**15, "what": "end", "traffic_bp": 0}),
    ],
)
async def test_the_status_says_what_the_schedule_changes_next(
    start: Start, world: World, changes: dict[str, Any], following: dict[str, Any] | None
) -> None:
    running = await start(world.snapshot(pdp_rank_2026_11=changes))
    assert (await running.status())["experiments"]["pdp-rank-2026-11"]["next"] == following


async def test_before_the_first_snapshot_status_is_whole_and_says_there_is_none(start: Start) -> None:
    running = await start(published=None)
    status = await running.status()
    assert (status["revision"], status["experiments"], status["placements"]) == (None, {}, [])
    assert status["snapshot"]["missing"] is True
    assert status["snapshot"]["published_us"] is None


async def test_status_shows_an_upstream_that_is_away_and_its_address(
    start: Start, until: Callable[..., Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    running = await start(
        upstream="http://127.0.0.1:1/events?format=json_array&key=geheim", seal_seconds=0.05, drain_seconds=0.3
    )
    await running.post("/v1/events", CLICK)

    async def failing() -> bool:
        return bool((await running.status())["upstream"]["retries"])

    await until(failing)
    upstream = (await running.status())["upstream"]
    assert upstream["last_success_age_seconds"] is None
    assert upstream["last_error"] == "nobody listens at 127.0.0.1:1"
    assert upstream["address"] == "http://127.0.0.1:1/events"
    assert "upstream_failing" in caplog.text
    assert "address=http://127.0.0.1:1/events" in caplog.text
    assert "<dt>Address</dt><dd>http://127.0.0.1:1/events</dd>" in (await running.get("/")).text
    assert "geheim" not in caplog.text
    assert (await running.metrics())["abside_upstream_failing"] == 1.0
    assert (await running.metrics())["abside_upstream_needs_a_person"] == 0.0


async def test_status_and_metrics_show_what_an_upstream_counts_by_itself(start: Start) -> None:
    running = await start(upstream="kafka://127.0.0.1:1/events", seal_seconds=60.0, drain_seconds=0.1)
    upstream, metrics = (await running.status())["upstream"], await running.metrics()
    assert (upstream["kafka_queue"], upstream["kafka_partitions"], upstream["waiting_alone"]) == (0, 0, 0)
    assert (metrics["abside_upstream_kafka_queue"], metrics["abside_upstream_waiting_alone"]) == (0.0, 0.0)
    assert metrics["abside_upstream_kafka_delivery_failures_total"] == 0.0


async def test_status_and_metrics_show_the_batches_in_flight(
    start: Start, until: Callable[..., Awaitable[None]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and never answers
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        running = await start(upstream=address, seal_events=1, seal_seconds=60.0, linger_seconds=0.0, drain_seconds=0.1)
        shipper = running.sidecar.shipper
        assert shipper is not None

        async def are_two_away() -> bool:
            await running.post("/v1/events", CLICK)
            return shipper.in_flight >= 2

        await until(are_two_away)
        assert (await running.status())["upstream"]["in_flight"] >= 2
        assert (await running.metrics())["abside_upstream_in_flight"] >= 2.0
        await running.sidecar.drain()
        assert shipper.in_flight == 0


async def test_a_snapshot_that_never_came_is_said_with_its_path(
    start: Start, until: Callable[..., Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    running = await start(published=None, startup_seconds=0.0)
    await until(lambda: "no_snapshot" in caplog.text)
    status = await running.status()
    assert status["degraded"] is True
    path = status["snapshot"]["path"]
    assert path == str(running.sidecar.settings.snapshot)
    assert f"no_snapshot path={path}" in caplog.text
    assert "give --snapshot the file" in caplog.text
    assert path in (await running.get("/")).text


async def test_a_snapshot_that_may_still_come_degrades_nothing(start: Start) -> None:
    running = await start(published=None, startup_seconds=3600.0)
    assert (await running.status())["degraded"] is False


async def test_what_lies_in_dead_now_shows(start: Start) -> None:
    running = await start()
    assert (await running.metrics())["abside_spool_dead_files"] == 0
    running.sidecar.spool.backlog.dead.keep("00001700000000000001-boot1.seg", b"x", "HTTP 422: x", 1)
    running.sidecar.metrics.fresh_until = 0.0
    spool = (await running.status())["spool"]
    assert (spool["dead_files"], spool["dead_bytes"]) == (1, 4096)
    assert (await running.metrics())["abside_spool_dead_files"] == 1
    page = (await running.get("/")).text
    assert "1 file in dead/." in page
    assert "All is well." not in page


def test_start_up_fails_open_when_no_snapshot_came_in_time() -> None:
    now = [100.0]
    health = Health(Cell(), lambda: now[0], 110.0)
    assert (health.livez().status, health.startupz().status, health.readyz().status) == (200, 503, 503)
    now[0] = 109.9
    assert health.startupz().status == 503
    now[0] = 110.0
    assert (health.startupz().status, health.readyz().status) == (200, 503)
    assert b"NOT_READY" in health.startupz().body


async def test_probes_follow_the_snapshot_and_the_drain(start: Start, world: World) -> None:
    running = await start(published=None, startup_seconds=600.0)

    async def probes() -> list[int]:
        return [(await running.admin(path)).status for path in ("/livez", "/startupz", "/readyz")]

    assert await probes() == [200, 503, 503]
    running.publish(world.snapshot())
    await running.sidecar.follower.look()
    assert await probes() == [200, 200, 200]
    running.publish(b"garbage")
    await running.sidecar.follower.look()
    assert await probes() == [200, 200, 200]  # the last good is in force: ready
    running.sidecar.health.draining = True
    assert await probes() == [200, 200, 503]
    reply = await running.admin("/readyz")
    assert (reply.headers["Content-Type"], reply.json) == ("application/json", {"status": "draining"})
    running.sidecar.health.draining = False


async def test_while_it_drains_it_still_serves_and_is_not_ready(
    start: Start, until: Callable[..., Awaitable[None]]
) -> None:
    running = await start(linger_seconds=600.0, drain_seconds=600.0)
    async with asyncio.TaskGroup() as group:
        draining = group.create_task(running.sidecar.drain())

        async def not_ready() -> bool:
            return (await running.admin("/readyz")).status == 503

        await until(not_ready)
        reply = await running.post("/v1/assign", {"placement": "pdp", "user_id": "u1"})
        assert (reply.status, reply.headers["Connection"]) == (200, "close")
        assert (await running.post("/v1/events", CLICK)).status == 202
        assert (await running.status())["draining"] is True
        draining.cancel()
    running.sidecar.settings = replace(running.sidecar.settings, linger_seconds=0.0)
    await running.sidecar.drain()


async def test_exposures_are_counted_from_zero_so_that_an_alert_sees_that_there_are_none(start: Start) -> None:
    values = await (await start()).metrics()
    assert [values[f'abside_events_accepted_total{{type="{kind}"}}'] for kind in ("exposure", "client_fallback")] == [
        0,
        0,
    ]


async def test_metrics_are_what_prometheus_reads_without_experiments_as_labels(start: Start) -> None:
    running = await start()
    await running.assign(placement="pdp", user_id="u7343")
    await running.post("/v1/events", CLICK)
    reply = await running.admin("/metrics")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(reply.text)}
    assert all(name.startswith(("abside_", "process_")) for name in families)
    assert all(family.documentation for family in families.values())
    labels = {label for family in families.values() for sample in family.samples for label in sample.labels}
    assert labels == {"version", "revision", "type", "route", "status", "le"}
    values = await running.metrics()
    assert values['abside_events_lost_total{type="exposure"}'] == 0
    assert values['abside_events_accepted_total{type="click"}'] == 1
    assert values['abside_events_accepted_total{type="exposure"}'] == 1
    assert values["abside_snapshot_in_force"] == 1
    assert values["abside_snapshot_missing"] == 0
    assert values["abside_spool_limit_bytes"] == 256 * 2**20
    assert values["abside_spool_used_bytes"] > 0
    assert 1 <= values["abside_decision_seconds_count"] <= values["abside_fast_answers_total"] == 2
    assert values["abside_connections"] >= 1
    assert "abside_upstream_retries_total" not in values
    assert "pdp-rank-2026-11" not in reply.text


@pytest.mark.parametrize("fast_path", ["on", "off"])
async def test_answers_are_counted_by_route_and_status_whichever_path_gave_them(start: Start) -> None:
    running = await start()
    for user in ("u1", "u2", "u3"):
        await running.assign(placement="pdp", user_id=user)
    for path, body in (
        ("/v1/assign", {}),
        ("/v1/assign", {"placement": "pdq", "user_id": "u1"}),
        ("/v1/events", CLICK),
    ):
        await running.post(path, body)
    for path in ("/v1/made-up", "/v1/made-up-too"):  # what callers make up is one series
        await running.get(path)
    values = await running.metrics()
    counted = {name.partition("{")[2]: value for name, value in values.items() if "abside_requests_total" in name}
    assert {name: value for name, value in counted.items() if value} == {
        'route="/v1/assign",status="200"}': 3,
        'route="/v1/assign",status="422"}': 1,
        'route="/v1/assign",status="404"}': 1,
        'route="/v1/events",status="202"}': 1,
        'route="other",status="404"}': 2,
    }


async def test_metrics_name_experiments_and_variants_where_they_are_asked_to(start: Start) -> None:
    running = await start(metric_experiments=True)
    for user in ("u7343", "u7603", "u7603"):
        await running.assign(placement="pdp", user_id=user)
    values = await running.metrics()
    assert values['abside_exposures_total{experiment="pdp-rank-2026-11",variant="treatment"}'] == 1
    assert values['abside_exposures_total{experiment="pdp-rank-2026-11",variant="control"}'] == 2


async def test_metrics_are_rendered_at_most_once_a_second_and_shared_by_all_who_scrape(start: Start) -> None:
    running = await start()
    metrics, now = running.sidecar.metrics, [1000.0]
    metrics._monotonic = lambda: now[0]
    first = await asyncio.gather(*(running.admin("/metrics") for _ in range(20)))
    await running.assign(placement="pdp", user_id="u7343")
    now[0] += RENDER_SECONDS - 0.01
    again = await running.admin("/metrics")
    assert {reply.body for reply in first} == {again.body}
    assert b'abside_requests_total{route="/v1/assign",status="200"} 0' in again.body
    now[0] += 0.01
    assert b'abside_requests_total{route="/v1/assign",status="200"} 1' in (await running.admin("/metrics")).body


async def test_many_series_are_rendered_in_slices_between_which_the_loop_goes_on(start: Start) -> None:
    whole = (Variant("control", 0, BASIS_POINTS),)
    names = [f"experiment-{number}" for number in range(10 * SLICE_SERIES)]
    drafts = [Experiment(name, name, "h", "draft", ("pdp",), whole, "control") for name in names]
    many = assemble({}, [Placement("pdp", {"model": "ranker-v1"}), *drafts], written_at_us=NOW_US)
    running = await start(many, metric_experiments=True)
    accounts = running.sidecar.context.journal.accounts
    usual = (await running.admin("/metrics")).body
    for name in names:
        accounts.arms[name, "control"] = ArmCount()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.get_running_loop().create_task(count())
    await asyncio.sleep(0)
    turns = 0
    running.sidecar.metrics.fresh_until = 0.0
    answer = await running.sidecar.metrics.render()
    counting.cancel()
    (family,) = [one for one in text_string_to_metric_families(answer.body.decode()) if one.name == "abside_exposures"]
    assert len(family.samples) == 10 * SLICE_SERIES
    assert answer.body.count(b"# HELP abside_exposures_total") == 1
    assert turns >= usual.count(b"# HELP") + 9


async def test_one_connection_of_the_admin_door_gets_one_answer(start: Start) -> None:
    running = await start()
    host, _, port = running.sidecar.admin_address.rpartition(":")
    for path in ("/metrics", "/livez", "/nothing"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 100)
        async with asyncio.timeout(DEADLINE_SECONDS):
            received = b""
            with suppress(ConnectionResetError):
                while part := await reader.read(65536):
                    received += part
        writer.close()
        assert received.count(b"HTTP/1.1 ") == 1
        assert b"Connection: close\r\n" in received


STRANGERS = {
    "silent": b"",
    "half a head": b"GET /livez HTTP/1.1\r\nX-",
    "a slow body": b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
    "pipelined scrapes": b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100,
}


@pytest.mark.parametrize("sent", STRANGERS.values(), ids=STRANGERS)
async def test_strangers_at_the_admin_door_keep_no_probe_from_its_answer(start: Start, sent: bytes) -> None:
    running = await start()
    host, _, port = running.sidecar.admin_address.rpartition(":")
    strangers = []
    for _ in range(200):
        strangers.append(await asyncio.open_connection(host, int(port)))
        strangers[-1][1].write(sent)
    for _ in range(10):
        for path in ("/livez", "/startupz", "/readyz"):
            assert (await running.admin(path)).status == 200
        await asyncio.sleep(0.1)
    assert running.sidecar.admin.refused_requests == 0
    for _, writer in strangers:
        writer.close()


async def test_metrics_can_be_read_before_the_first_snapshot(start: Start) -> None:
    running = await start(published=None)
    values = await running.metrics()
    assert values["abside_snapshot_in_force"] == 0
    assert values["abside_snapshot_missing"] == 1


async def test_the_admin_listener_serves_no_decisions_and_the_other_no_health(start: Start) -> None:
    running = await start()
    assert (await running.admin("/v1/status")).status == 404
    assert (await running.get("/livez")).status == 404
    for path in ("/livez", "/startupz", "/readyz", "/metrics"):
        assert (await running.admin(path)).status == 200


async def test_a_task_that_died_is_in_status_and_metrics_by_name(
    start: Start, until: Callable[..., Awaitable[None]]
) -> None:
    running = await start()

    async def dies() -> None:
        raise RuntimeError("the disk is gone")

    running.sidecar.supervisor.start("extra", dies)

    async def shown() -> bool:
        return bool((await running.status())["degraded_tasks"] == {"extra": "RuntimeError: the disk is gone"})

    await until(shown)
    assert (await running.metrics())['abside_task_deaths_total{task="extra"}'] >= 1


async def test_decisions_are_answered_on_a_unix_socket_too(start: Start) -> None:
    running = await start()
    path = running.directory / "run" / "abside.sock"
    other = await start(listen=("127.0.0.1:0", f"unix:{path}"), spool=running.directory / "other")
    assert other.sidecar.addresses[1] == f"unix:{path}"
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        body = {"placement": "pdp", "user_id": "u7343"}
        async with session.post("http://sidecar/v1/assign", json=body) as response:
            assert (await response.json())["config"]["model"] == "ranker-v2"
    assert (await other.assign(placement="pdp", user_id="u7343"))["config"]["model"] == "ranker-v2"
    await other.sidecar.drain()
    assert not path.exists()


async def test_a_drain_ends_within_its_bound_though_a_client_holds_on(start: Start) -> None:
    running = await start(drain_seconds=5.0, body_seconds=600.0)
    reader, writer = await asyncio.open_connection(*running.address)
    writer.write(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
    await writer.drain()
    await running.status()  # by now the half-sent one was read
    since = time.monotonic()
    await running.sidecar.drain()
    assert time.monotonic() - since < 30.0
    assert await reader.read() == b""
    writer.close()
    assert running.spooled()[-1]["clean_end"] is True


async def test_a_spool_in_trouble_is_degraded_and_not_ready_until_it_is_over(start: Start) -> None:
    running = await start(seal_seconds=3600.0)
    spool = running.sidecar.spool
    assert spool._open is not None
    obstacle = spool._open.path.with_suffix(".seg")
    obstacle.mkdir()  # nothing can be sealed
    await running.post("/v1/events", [CLICK])
    with pytest.raises(SpoolFailed):
        await spool.seal()
    status = await running.status()
    assert (status["degraded"], (await running.admin("/readyz")).status) == (True, 503)
    assert "could not seal" in status["spool"]["trouble"]
    metrics = await running.metrics()
    assert (metrics["abside_spool_in_trouble"], metrics["abside_spool_failed_seals_total"]) == (1.0, 1.0)
    obstacle.rmdir()
    await spool.seal()
    status = await running.status()
    assert (status["degraded"], status["spool"]["trouble"], (await running.admin("/readyz")).status) == (
        False,
        None,
        200,
    )
    assert (await running.metrics())["abside_spool_in_trouble"] == 0.0
