from __future__ import annotations

import asyncio
import hashlib
import os
import random
import resource
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cases import cases

from abside import snapshot
from abside.sidecar.active.current import Cell, Current
from abside.sidecar.active.follow import Follower
from abside.snapshot import HEADER, MAGIC, Experiment, Placement, Problem, Snapshot, Step, Variant, assemble, encode
from abside.supervise import Supervisor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.sidecar.conftest import Running, World

    Start = Callable[..., Awaitable[Running]]

NOW_US = 1_795_000_000_000_000
HOUR_US = 3_600_000_000


@dataclass
class Scene:
    """A follower over a file and a clock that the test moves."""

    path: Path
    now_us: int = NOW_US
    cell: Cell = field(default_factory=Cell)
    applied: list[Current] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.follower = Follower(self.path, self.cell, lambda: self.now_us, 0.01, self.applied.append)

    def write(self, data: Snapshot | bytes) -> None:
        beside = self.path.with_suffix(".tmp")
        beside.write_bytes(data if isinstance(data, bytes) else encode(data))
        beside.replace(self.path)

    async def take(self, data: Snapshot | bytes) -> None:
        self.write(data)
        await self.follower.look()

    @property
    def current(self) -> Current:
        assert self.cell.current is not None
        return self.cell.current

    @property
    def revision(self) -> str | None:
        return self.cell.current.revision if self.cell.current else None

    def traffic(self) -> int:
        return self.current.plans.evaluators["exp"].traffic_bp

    def closed(self) -> str | None:
        return self.current.plans.evaluators["exp"].closed


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "abside.snapshot")


def experiment(**changes: Any) -> Experiment:
    plain = Experiment(
        id="exp",
        name="n",
        hypothesis="h",
        status="running",
        placements=("pdp",),
        variants=(Variant("control", 0, 5000), Variant("b", 5000, 10_000, {"pdp": {"model": "b"}})),
        control="control",
    )
    return replace(plain, **changes)


def made(*records: Any, **head: Any) -> Snapshot:
    given_records = records or (Placement("pdp", {"model": "a"}), experiment())
    return assemble({}, given_records, **{"written_at_us": NOW_US, **head})


GOOD = made()
OTHER = made(Placement("pdp", {"model": "z"}), experiment())
FILE = encode(OTHER)


async def test_a_file_that_is_not_there_yet_is_taken_when_it_comes(scene: Scene) -> None:
    await scene.follower.look()
    assert (scene.revision, scene.cell.missing, scene.cell.refused) == (None, True, 0)
    await scene.take(GOOD)
    assert (scene.revision, scene.cell.missing, scene.cell.swaps) == (GOOD.head.revision, False, 1)
    assert [one.revision for one in scene.applied] == [GOOD.head.revision]
    assert scene.current.applied_us == NOW_US


async def test_the_same_file_is_read_once(scene: Scene) -> None:
    await scene.take(GOOD)
    for _ in range(3):
        await scene.follower.look()
    assert (scene.cell.swaps, len(scene.applied)) == (1, 1)


async def test_a_file_that_vanishes_changes_nothing_but_the_word_missing(scene: Scene) -> None:
    await scene.take(GOOD)
    scene.path.unlink()
    await scene.follower.look()
    assert (scene.revision, scene.cell.missing, scene.cell.swaps) == (GOOD.head.revision, True, 1)
    await scene.take(OTHER)
    assert (scene.revision, scene.cell.missing) == (OTHER.head.revision, False)


def flipped(position: int) -> bytes:
    data = bytearray(FILE)
    data[position] ^= 1 << position % 8
    return bytes(data)


def sealed(*maps: Any) -> bytes:
    body = b"".join(map(msgpack.packb, maps))
    return HEADER.pack(MAGIC, 1, len(body), hashlib.sha256(body).digest()) + body


LENGTHS = sorted({0, 1, 8, 51, 52, 53, len(FILE) - 1, *range(0, len(FILE), 23)})
USELESS = [
    *(("short", FILE[:length]) for length in LENGTHS),
    *(("", flipped(position)) for position in range(0, len(FILE), 7)),
    ("foreign", b"placements:\n  pdp:\n    parameters: {model: a}\nexperiments: {}\n"),
    ("foreign", b"\x00" * 4096),
    ("format", HEADER.pack(MAGIC, 3, 0, hashlib.sha256(b"").digest())),
    ("short", FILE + b"\x00"),
    ("content", sealed({"revision": 1})),
    ("content", sealed(1, 2, 3)),
]


async def test_a_file_that_cannot_be_used_changes_a_counter_a_log_line_and_a_status_and_nothing_else(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.take(GOOD)
    before = scene.current
    for count, (reason, data) in enumerate(USELESS, 1):
        caplog.clear()
        await scene.take(data)
        assert scene.cell.current is before
        assert (scene.cell.refused, scene.cell.swaps, len(scene.applied)) == (count, 1, 1)
        assert scene.cell.refusal.startswith(f"snapshot refused ({reason}")
        (line,) = caplog.messages
        assert line.startswith("snapshot_refused reason=")
        assert line.endswith(f" kept={GOOD.head.revision}")
        await scene.follower.look()
        assert scene.cell.refused == count  # the same file is not refused again and again
    await scene.take(OTHER)
    assert (scene.revision, scene.cell.refusal) == (OTHER.head.revision, "")


async def test_an_unusable_file_at_start_leaves_it_without_a_snapshot_until_a_good_one_comes(scene: Scene) -> None:
    await scene.take(FILE[:-1])
    assert (scene.revision, scene.cell.refused) == (None, 1)
    await scene.take(GOOD)
    assert scene.revision == GOOD.head.revision


async def test_a_file_that_cannot_be_read_is_refused_too(scene: Scene) -> None:
    await scene.take(GOOD)
    scene.path.unlink()
    scene.path.mkdir()
    await scene.follower.look()
    assert scene.cell.refused == 1
    assert "directory" in scene.cell.refusal.lower()
    assert scene.revision == GOOD.head.revision
    scene.path.rmdir()
    await scene.take(OTHER)
    assert (scene.revision, scene.cell.refusal) == (OTHER.head.revision, "")


async def test_an_experiment_that_cannot_be_compiled_is_left_out_and_the_rest_is_in_force(scene: Scene) -> None:
    await scene.take(GOOD)
    gap = experiment(variants=(Variant("control", 0, 5000), Variant("b", 6000, 10_000)))
    published = made(Placement("pdp", {"model": "z"}), gap)
    await scene.take(published)
    assert (scene.revision, scene.cell.refused, scene.cell.refusal) == (published.head.revision, 0, "")
    assert [one.id for one in scene.current.left_out] == ["exp"]
    assert scene.current.plans.evaluators == {}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


async def test_a_whole_file_of_any_other_content_is_taken_or_refused_and_never_kills_the_follower(
    tmp_path: Path, start: Start, world: World
) -> None:
    running = await start()
    sample = list(msgpack.Unpacker(BytesIO(encode(world.snapshot())[HEADER.size :])))
    files: list[bytes] = []

    @settings(deadline=None, max_examples=cases(60), suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def collect(data: st.DataObject) -> None:
        maps = [dict(one) for one in sample]
        chosen = data.draw(st.sampled_from(maps))
        name = data.draw(st.sampled_from(sorted(chosen)))
        if isinstance(chosen[name], list) and chosen[name] and data.draw(st.booleans()):
            inner = list(chosen[name])
            inner[data.draw(st.integers(0, len(inner) - 1))] = data.draw(json_values)
            chosen[name] = inner
        elif isinstance(chosen[name], dict) and chosen[name] and data.draw(st.booleans()):
            chosen[name] = {**chosen[name], data.draw(st.sampled_from(sorted(chosen[name]))): data.draw(json_values)}
        else:
            chosen[name] = data.draw(json_values)
        files.append(sealed(*maps))

    collect()
    follower, cell = running.sidecar.follower, running.sidecar.context.cell
    await running.sidecar.supervisor.stop("follow")
    for data in files:
        before = (cell.refused, cell.swaps)
        running.publish(data)
        await follower.look()
        assert (cell.refused, cell.swaps) in {(before[0] + 1, before[1]), (before[0], before[1] + 1)}
        reply = await running.post(
            "/v1/assign", {"placement": "pdp", "user_id": "qa-user-1", "attributes": {"country": "DE"}}
        )
        assert reply.status in {200, 404}, (reply.text, cell.refusal)
        assert (await running.get("/v1/status")).status == 200
    running.publish(world.snapshot())
    await follower.look()
    assert (await running.assign(placement="pdp", user_id="u1"))["revision"] == world.snapshot().head.revision


async def test_start_end_and_steps_are_applied_when_their_time_has_come(scene: Scene) -> None:
    steps = (Step(NOW_US + 2 * HOUR_US, 500), Step(NOW_US + 3 * HOUR_US, 10_000))
    scheduled = experiment(steps=steps, start_us=NOW_US + HOUR_US, end_us=NOW_US + 4 * HOUR_US)
    await scene.take(made(Placement("pdp", {"model": "a"}), scheduled))
    story = []
    for hour in range(6):
        for early in (1, 0):
            scene.now_us = NOW_US + hour * HOUR_US - early
            await scene.follower.look()
            story.append((hour, early, scene.closed(), scene.traffic()))
    assert [one[2:] for one in story[1:]] == [
        ("NOT_STARTED", 0),
        ("NOT_STARTED", 0),
        (None, 0),
        (None, 0),
        (None, 500),
        (None, 500),
        (None, 10_000),
        (None, 10_000),
        ("ENDED", 10_000),
        ("ENDED", 10_000),
        ("ENDED", 10_000),
    ]
    assert scene.cell.swaps == 5
    assert len({one.revision for one in scene.applied}) == 1
    assert scene.current.applied_us == NOW_US + 4 * HOUR_US
    assert scene.current.plans.next_change_us is None


async def test_a_clock_that_steps_back_takes_back_what_had_begun(scene: Scene) -> None:
    scheduled = experiment(start_us=NOW_US + HOUR_US)
    await scene.take(made(Placement("pdp", {"model": "a"}), scheduled))
    scene.now_us = NOW_US + HOUR_US
    await scene.follower.look()
    assert scene.closed() is None
    scene.now_us = NOW_US + HOUR_US - 1
    await scene.follower.look()
    assert scene.closed() == "NOT_STARTED"
    scene.now_us = NOW_US + HOUR_US
    await scene.follower.look()
    assert scene.closed() is None
    assert scene.cell.swaps == 4


async def test_a_clock_that_steps_back_where_nothing_is_scheduled_changes_nothing(scene: Scene) -> None:
    await scene.take(GOOD)
    scene.now_us -= 5 * HOUR_US
    await scene.follower.look()
    assert scene.cell.swaps == 1


async def test_what_did_not_change_is_reused_and_what_changed_is_not(scene: Scene) -> None:
    quiet, home = experiment(id="quiet", placements=("home",)), Placement("home", {"hero": True})
    await scene.take(made(Placement("pdp", {"model": "a"}), home, experiment(), quiet))
    before = scene.current.plans
    await scene.take(made(Placement("pdp", {"model": "a"}), home, experiment(pause="carts broken"), quiet))
    after = scene.current.plans
    assert after.evaluators["quiet"] is before.evaluators["quiet"]
    assert after.placements["home"] is before.placements["home"]
    assert after.evaluators["exp"] is not before.evaluators["exp"]
    assert after.placements["pdp"] is not before.placements["pdp"]
    one, one_point_zero = experiment(analysis={"boost": 1}), experiment(analysis={"boost": 1.0})
    await scene.take(made(Placement("pdp", {"model": "a"}), one))
    before = scene.current.plans
    await scene.take(made(Placement("pdp", {"model": "a"}), one_point_zero))
    assert scene.current.plans.evaluators["exp"] is not before.evaluators["exp"]


async def test_a_request_in_the_middle_of_a_reload_sees_one_whole_snapshot(scene: Scene) -> None:
    await scene.take(GOOD)
    many = [
        experiment(id=f"e{number}", placements=("pdp",), variants=(Variant("control", 0, 10_000),))
        for number in range(300)
    ]
    big = made(Placement("pdp", {"model": "z"}), *many)
    scene.write(big)
    looking = scene.follower.look()
    seen = set()
    coroutine = looking.__await__()
    pauses = 0
    while True:
        try:
            next(coroutine)
        except StopIteration:
            break
        pauses += 1
        seen.add((scene.revision, len(scene.current.plans.evaluators)))
    assert seen <= {(GOOD.head.revision, 1)}
    assert (scene.revision, len(scene.current.plans.evaluators)) == (big.head.revision, 300)
    assert pauses > 0


async def test_twenty_replacements_in_a_row_leave_the_last_one_in_force(
    scene: Scene, until: Callable[..., Awaitable[None]]
) -> None:
    supervisor = Supervisor(lambda _: None)
    supervisor.start("follow", scene.follower.run)
    chance = random.Random(7)
    published = [made(Placement("pdp", {"model": f"m{number}"}), experiment()) for number in range(20)]
    for one in published:
        scene.write(one if chance.random() < 0.7 else encode(one)[: chance.randrange(60)])
    scene.write(published[-1])
    await until(lambda: scene.revision == published[-1].head.revision)
    assert supervisor.degraded == {}
    await supervisor.stop()


async def test_the_timer_of_a_running_follower_applies_a_change_that_is_nearer_than_its_poll(
    tmp_path: Path, until: Callable[..., Awaitable[None]]
) -> None:
    scene = Scene(tmp_path / "abside.snapshot")
    follower = Follower(scene.path, scene.cell, lambda: scene.now_us, 600.0, scene.applied.append)
    scene.write(made(Placement("pdp", {"model": "a"}), experiment(start_us=NOW_US + 50_000)))
    await follower.look()
    supervisor = Supervisor(lambda _: None)
    supervisor.start("follow", follower.run)

    def begun() -> bool:
        scene.now_us += 1000
        return scene.closed() is None

    await until(begun)
    assert scene.current.applied_us >= NOW_US + 50_000
    await supervisor.stop()


async def test_status_and_metrics_say_what_is_held_back_and_what_was_refused(start: Start, world: World) -> None:
    problem = Problem(
        "error", "WEIGHTS", "a.yaml", 3, 5, "experiments.x", "99 %", "weights sum to 99 %", "make it 100 %"
    )
    held = replace(world.snapshot().head, degraded=True, problems=(problem,))
    running = await start(replace(world.snapshot(), head=held))
    status = await running.status()
    assert (status["degraded"], status["snapshot"]["refused"], status["snapshot"]["refusal"]) == (True, 0, None)
    assert status["problems"] == [
        {
            "severity": "error",
            "code": "WEIGHTS",
            "file": "a.yaml",
            "line": 3,
            "column": 5,
            "path": "experiments.x",
            "value": "99 %",
            "message": "weights sum to 99 %",
            "remedy": "make it 100 %",
        }
    ]
    assert (await running.metrics())["abside_snapshot_degraded"] == 1.0
    running.publish(world.snapshot())
    await running.sidecar.follower.look()
    assert (await running.status())["degraded"] is False
    running.publish(b"garbage")
    await running.sidecar.follower.look()
    status = await running.status()
    assert status["degraded"] is True
    assert status["snapshot"]["refusal"].startswith("snapshot refused (short)")
    metrics = await running.metrics()
    assert (metrics["abside_snapshot_refused_total"], metrics["abside_snapshot_unusable"]) == (1.0, 1.0)
    running.publish(world.snapshot())
    await running.sidecar.follower.look()
    assert (await running.metrics())["abside_snapshot_unusable"] == 0.0
    assert status["revision"] == world.snapshot().head.revision


async def test_a_restart_begins_with_the_file_that_outlived_it(start: Start, world: World) -> None:
    first = await start()
    await first.sidecar.drain()
    second = await start(published=None)
    assert (await second.assign(placement="pdp", user_id="u1"))["revision"] == world.snapshot().head.revision
    assert snapshot.decode((second.directory / "abside.snapshot").read_bytes()) == world.snapshot()


async def test_a_file_that_could_not_be_opened_for_a_moment_is_read_when_it_can_be(tmp_path: Path) -> None:
    path, cell = tmp_path / "abside.snapshot", Cell()
    place = Placement("pdp", {"model": "ranker-v1"})
    path.write_bytes(encode(assemble({}, [place], written_at_us=1)))
    follower = Follower(path, cell, lambda: 1_795_424_400_000_000, 0.25, lambda _current: None)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # every descriptor in use: the open fails with EMFILE
    try:
        for _ in range(3):
            await follower.look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (cell.current, cell.refused) == (None, 1)
    await follower.look()
    assert (cell.current is None, cell.refusal) == (False, "")


async def test_a_touch_is_the_agents_sign_of_life_and_reloads_nothing(scene: Scene) -> None:
    def heard_us() -> int | None:
        return scene.cell.beat_us

    await scene.follower.look()
    assert heard_us() is None, "there is no file"
    await scene.take(assemble({}, [Placement("pdp", {"model": "v1"})], written_at_us=1))
    beat_us = NOW_US + 5_000_000
    os.utime(scene.path, ns=(beat_us * 1000, beat_us * 1000))
    await scene.follower.look()
    assert (scene.cell.swaps, heard_us()) == (1, beat_us)
    other = encode(assemble({}, [Placement("pdp", {"model": "v2"})], written_at_us=1))
    assert len(other) == scene.path.stat().st_size
    scene.path.write_bytes(other)  # in place: the same inode and size, and only the digest tells
    os.utime(scene.path, ns=(beat_us * 1000 + 1, beat_us * 1000 + 1))
    await scene.follower.look()
    assert scene.cell.swaps == 2
    assert scene.current.snapshot.placements["pdp"].parameters == {"model": "v2"}


async def test_status_and_metrics_say_how_long_ago_the_agent_looked(start: Start) -> None:
    running = await start()
    path = running.directory / "abside.snapshot"
    os.utime(path, (1_000_000, 1_000_000))
    for _ in range(2000):
        if (await running.status())["snapshot"]["agent_heartbeat_age_seconds"] > 1e6:
            break
        await asyncio.sleep(0.01)
    assert (await running.metrics())["abside_agent_heartbeat_age_seconds"] >= 1e6
    assert (await running.metrics())["abside_snapshot_swaps_total"] == 1.0
