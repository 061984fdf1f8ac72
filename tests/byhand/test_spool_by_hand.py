"""`abside spool ls|cat|retry`: what lies in a spool is seen, and what is dead is brought back, each event once."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgpack
import orjson
import pytest
from click.testing import CliRunner

from abside.cli import main
from abside.sidecar.ship.shipper import Shipper, ShipperSettings
from abside.spool.frame import MAGIC, frame, good_frames
from abside.spool.queue.returning import REQUESTS, Returning, ask
from abside.spool.segment import MAX_BOOT_CHARS, home
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool
from abside.upstream.contract import Acked, Rejected, TooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from abside.upstream.contract import Batch, Result

NOW_US = 1_700_000_000_000_000
FIRST, SECOND = "00001700000000000001-boot1", "00001700000000000002-boot1"
EVENTS = [msgpack.packb({"type": "click", "n": number}) for number in range(8)]
QUICK = ShipperSettings("pod-1", first_seconds=0.001, longest_seconds=0.01, rejected_seconds=0.001)


class Store:
    """An upstream that gives the answers it was told to give, and then keeps what comes, by id."""

    takes_large = True

    in_order = False
    in_flight = 8

    def __init__(self, *answers: Result) -> None:
        self.answers = list(answers)
        self.stored: dict[str, bytes] = {}

    async def send(self, batch: Batch) -> Result:
        if self.answers:
            return self.answers.pop(0)
        known = batch.id in self.stored
        self.stored.setdefault(batch.id, batch.payload)
        return Acked(duplicate=known)

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def opened(place: Path, boot: str = "boot1", **changes: Any) -> Spool:
    return Spool.open(SpoolSettings(place, floor_bytes=0, fsync="never", **changes), boot, lambda: NOW_US)


async def shipped(spool: Spool, upstream: Store, steps: int = 100) -> Shipper:
    """Take steps until nothing waits."""
    shipper = Shipper(spool, upstream, QUICK, lambda: NOW_US)
    for _ in range(steps):
        if not spool.sealed():
            break
        await shipper._step()
    assert not spool.sealed()
    return shipper


async def buried(place: Path, *answers: Result, payloads: list[bytes] = EVENTS) -> Store:
    """Write a segment, ship it to an upstream with these answers, and close the spool; return the upstream."""
    spool, store = opened(place), Store(*answers)
    spool.append(payloads)
    await spool.seal()
    await shipped(spool, store)
    await spool.close()
    return store


def abside(*arguments: str, **variables: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["spool", *arguments], env=variables, prog_name="abside", catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def rows(place: Path) -> list[dict[str, Any]]:
    code, output, _ = abside("ls", "--spool", str(place), "--json")
    assert code == 0
    listed: list[dict[str, Any]] = orjson.loads(output)
    return listed


def numbers(payload: bytes) -> list[int]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(payload)
    return [event["n"] for event in unpacker]


@asynccontextmanager
async def running(spool: Spool) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(spool.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_ls_says_what_waits_and_what_is_dead_and_why(place: Path) -> None:
    await buried(place, *[Rejected("HTTP 422: MALFORMED")] * 3)
    spool = opened(place, "boot2")
    spool.append(EVENTS[:3])
    await spool.seal()
    spool.append(EVENTS[:2])
    waiting, being_written, dead = rows(place)
    assert (waiting["state"], waiting["events"], waiting["reason"]) == ("waiting", 3, None)
    assert (being_written["state"], being_written["events"]) == ("open", 2)
    assert (dead["file"], dead["state"], dead["events"]) == (f"{FIRST}.seg", "dead", 8)
    assert dead["reason"] == "HTTP 422: MALFORMED"
    assert dead["bytes"] == (place / "dead" / f"{FIRST}.seg").stat().st_size
    code, table, _ = abside("ls", ABSIDE_SPOOL=str(place))
    assert code == 0
    lines = table.splitlines()
    assert lines[0].split() == ["file", "state", "events", "bytes", "age", "reason"]
    assert re.fullmatch(rf"{FIRST}\.seg +dead +8 +\d+ +[\d.]+ (s|min|h|d)  HTTP 422: MALFORMED", lines[-1])
    await spool.close()


async def test_ls_and_cat_change_nothing_beside_a_running_sidecar(place: Path) -> None:
    await buried(place, Rejected("no", final=True))
    spool = opened(place, "boot2")
    spool.append(EVENTS)
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}
    rows(place)
    assert abside("cat", "--spool", str(place))[0] == 0
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()} == before
    await spool.close()


async def test_cat_prints_events_of_all_files_or_of_those_that_are_named(place: Path) -> None:
    await buried(place, Rejected("no", final=True))
    spool = opened(place, "boot2")
    spool.append([msgpack.packb({"n": 8, "raw": b"\x00\xff", 5: float("nan")})])
    await spool.seal()
    code, output, errors = abside("cat", "--spool", str(place))
    assert (code, errors) == (0, "")
    lines = [orjson.loads(line) for line in output.splitlines()]
    assert lines[0] == {"n": 8, "raw": "AP8=", "5": None}
    assert [line["n"] for line in lines[1:]] == list(range(8))
    for name in (FIRST, f"{FIRST}.seg"):
        code, output, _ = abside("cat", name, "--spool", str(place))
        assert (code, len(output.splitlines())) == (0, 8)
    code, _, errors = abside("cat", "other", "--spool", str(place))
    assert code == 2
    assert "other: no such file here; `abside spool ls` lists them" in errors
    await spool.close()


async def test_cat_says_what_is_damaged_and_prints_the_others(place: Path) -> None:
    await buried(place, Rejected("no", final=True))
    path = place / "dead" / f"{FIRST}.seg"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (place / "dead" / "00000000000000000007-b.seg").write_bytes(
        MAGIC + frame(EVENTS[0]) + frame(b"\xc1") + frame(EVENTS[1])
    )
    (place / "dead" / "00000000000000000008-b.seg").write_bytes(b"rubbish")
    os.truncate(_made(place / "dead" / "00000000000000000009-b.seg"), 40 * 2**30)
    os.mkfifo(place / "dead" / "00000000000000000010-b.seg")
    code, output, errors = abside("cat", "--spool", str(place))
    assert code == 1
    assert len(output.splitlines()) == 2 + 7
    assert "00000000000000000007-b.seg: event 1 is no msgpack that JSON can hold" in errors
    assert "00000000000000000008-b.seg: the file does not begin as a segment does at byte 0" in errors
    assert "00000000000000000009-b.seg: cannot be read: has 42,949,672,960 bytes" in errors
    assert f"{FIRST}.seg: a frame whose checksum is wrong" in errors
    assert [row["events"] for row in rows(place)] == [3, 0, None, 7]


def _made(path: Path) -> Path:
    path.touch()
    return path


async def test_retry_without_a_sidecar_brings_a_whole_batch_back_under_its_old_id(place: Path) -> None:
    await buried(place, *[Rejected("HTTP 422: MALFORMED")] * 3)
    assert abside("retry", "--spool", str(place)) == (0, f"{FIRST}.seg is back in the queue\n", "")
    assert list((place / "dead").iterdir()) == []
    spool, store = opened(place, "boot2"), Store()
    shipper = await shipped(spool, store)
    assert {name: numbers(payload) for name, payload in store.stored.items()} == {f"pod-1.{FIRST}": list(range(8))}
    assert shipper.stats.acked_events == 8
    await spool.close()
    assert abside("retry", "--spool", str(place)) == (0, f"nothing lies in {place / 'dead'}\n", "")


async def test_retry_beside_a_running_sidecar_is_taken_at_its_tick_within_its_quota(place: Path) -> None:
    await buried(place, *[Rejected("HTTP 422: MALFORMED")] * 3)
    size = (place / "dead" / f"{FIRST}.seg").stat().st_size
    spool = opened(place, "boot2", seal_seconds=0.05, limit_bytes=size + 50)
    spool.append(EVENTS[:5])
    store = Store()
    assert spool.used_bytes + size > size + 50
    async with running(spool):
        code, _, errors = await asyncio.to_thread(abside, "retry", "--spool", str(place), "--wait-seconds", "0.3")
        assert code == 1
        assert "is asked for, and not taken yet: the sidecar takes it when its quota has room" in errors
        assert [row["state"] for row in rows(place)][-1] == "returning"
        await spool.seal()
        await shipped(spool, store)
        code, output, _ = await asyncio.to_thread(abside, "retry", "--spool", str(place), "--wait-seconds", "60")
        assert (code, output) in {
            (0, f"{FIRST}.seg is back in the queue\n"),
            (0, f"nothing lies in {place / 'dead'}\n"),
        }
    assert list((place / REQUESTS).iterdir()) == []
    assert spool.stats.returned_segments == 1
    assert spool.used_bytes == sum(path.stat().st_size for path in (place / "q").iterdir())
    assert (spool.backlog.dead.files, spool.backlog.dead.bytes) == (0, 0)
    await shipped(spool, store)
    assert sorted(n for payload in store.stored.values() for n in numbers(payload)) == sorted([*range(8), *range(5)])
    await spool.close()


async def test_a_part_comes_back_under_an_id_of_its_own_and_each_event_is_stored_once(place: Path) -> None:
    # Halved to the first event, which alone is too large; the others arrive as .0.0.1, .0.1 and .1.
    store = await buried(place, *[TooLarge()] * 4)
    assert [row["file"] for row in rows(place)] == [f"{FIRST}.0.0.0.seg"]
    assert abside("retry", "--spool", str(place))[0] == 0
    spool = opened(place, "boot2")
    assert [segment.name for segment in spool.sealed()] == [f"{FIRST}-p000"]
    await shipped(spool, store)
    assert sorted(n for payload in store.stored.values() for n in numbers(payload)) == list(range(8))
    await spool.close()


async def test_a_whole_file_that_was_buried_in_the_middle_goes_on_where_it_was(place: Path) -> None:
    spool, store = opened(place), Store(TooLarge())
    spool.append(EVENTS)
    await spool.seal()
    shipper = Shipper(spool, store, QUICK, lambda: NOW_US)
    for _ in range(2):
        await shipper._step()  # halved; the first half arrives
    [segment] = spool.sealed()
    await spool.backlog.bury(segment, "could not be read, tried 20 times", 4)
    await spool.close()
    assert [(row["file"], row["events"]) for row in rows(place)] == [(f"{FIRST}.1.whole.seg", 4)]
    assert abside("retry", "--spool", str(place))[0] == 0
    spool = opened(place, "boot2")
    await shipped(spool, store)
    assert {name: numbers(payload) for name, payload in store.stored.items()} == {
        f"pod-1.{FIRST}.0": [0, 1, 2, 3],
        f"pod-1.{FIRST}.1": [4, 5, 6, 7],
    }
    await spool.close()


async def test_what_is_no_segment_or_holds_no_event_stays_with_the_reason_said(place: Path) -> None:
    spool = opened(place)
    spool.append(EVENTS)
    await spool.seal()
    [segment] = spool.sealed()
    data = bytearray(segment.path.read_bytes())
    data[-1] ^= 1
    segment.path.write_bytes(data)
    store = Store()
    await shipped(spool, store)
    await spool.close()
    dead = place / "dead"
    (dead / f"{SECOND}.tail").write_bytes(b"rest")
    (dead / f"{SECOND}.seg").write_bytes(b"rubbish")
    before = sorted(path.name for path in dead.iterdir())
    code, output, errors = abside("retry", "--spool", str(place))
    assert (code, output) == (1, "")
    assert f"{FIRST}.damaged stays: it is no segment; its good events went on without it" in errors
    assert f"{SECOND}.tail stays: it is no segment" in errors
    assert f"{SECOND}.seg stays: it holds no event that can be read" in errors
    assert sorted(path.name for path in dead.iterdir()) == before


async def test_a_damaged_batch_that_was_refused_comes_back_with_its_good_events(place: Path) -> None:
    await buried(place, Rejected("no", final=True))
    path = place / "dead" / f"{FIRST}.seg"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert abside("retry", "--spool", str(place))[0] == 0
    spool, store = opened(place, "boot2"), Store()
    await shipped(spool, store)
    assert {name: numbers(payload) for name, payload in store.stored.items()} == {f"pod-1.{FIRST}": list(range(7))}
    await spool.close()


async def test_retry_without_a_sidecar_leaves_the_time_that_ages_count_from(place: Path) -> None:
    await buried(place, Rejected("no", final=True))
    os.utime(place / "LOCK", ns=(NOW_US * 1000, NOW_US * 1000))
    assert abside("retry", "--spool", str(place))[0] == 0
    assert (place / "LOCK").stat().st_mtime_ns == NOW_US * 1000


@pytest.mark.parametrize("subcommand", ["ls", "cat", "retry"])
def test_a_directory_that_is_no_spool_is_said_and_left_alone(tmp_path: Path, subcommand: str) -> None:
    code, output, errors = abside(subcommand, "--spool", str(tmp_path))
    assert (code, output) == (2, "")
    assert (
        f"{tmp_path} is no spool: it has no q/ and dead/; name the directory that the sidecar has as --spool" in errors
    )
    assert list(tmp_path.iterdir()) == []


async def test_no_request_of_any_name_stops_the_spool_or_takes_what_is_no_dead_segment(
    place: Path, tmp_path: Path
) -> None:
    spool = opened(place, "boot2", seal_seconds=0.05)
    spool.append(EVENTS)
    await spool.seal()
    [waiting] = spool.sealed()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(MAGIC + frame(EVENTS[0]))
    dead = place / "dead"
    (dead / waiting.path.name).write_bytes(b"its name is taken")
    (dead / "00000000000000000003-b.seg").symlink_to(elsewhere)
    (dead / "00000000000000000004-b.seg").mkdir()
    os.mkfifo(dead / "00000000000000000005-b.seg")
    (dead / "99999999999999999999999-b.seg").write_bytes(b"a number too long")
    (dead / "x").write_bytes(b"")
    names = [path.name for path in dead.iterdir()]
    for name in (*names, "gone", "00000000000000000009-b.seg", "\udcff"):
        ask(place, name)
    (place / REQUESTS / "folder").mkdir()
    async with running(spool):
        for _ in range(500):
            if [path.name for path in (place / REQUESTS).iterdir()] == ["folder"]:
                break
            await asyncio.sleep(0.02)
    assert [path.name for path in (place / REQUESTS).iterdir()] == ["folder"]
    assert sorted(path.name for path in dead.iterdir()) == sorted(names)
    assert good_frames(waiting.path.read_bytes()).payloads == EVENTS
    assert (spool.sealed(), spool.stats.returned_segments) == ([waiting], 0)
    await spool.close()


async def test_a_request_survives_a_restart_of_the_sidecar(place: Path) -> None:
    await buried(place, Rejected("no", final=True))
    ask(place, f"{FIRST}.seg")
    spool = opened(place, "boot2")
    looking: Returning = spool._returning
    await looking.look(spool.used_bytes)
    assert [segment.name for segment in spool.sealed()] == [FIRST]
    await spool.close()


@pytest.mark.parametrize("part", [".0", ".1.0.1", ".0" * 14, ".1" * 60])
def test_the_name_of_a_part_fits_and_is_its_own(part: str) -> None:
    place = home(f"00000000000000000001-{'b' * 16}{part}.seg")
    assert place is not None
    seq, boot, cursor = place
    assert (seq, cursor) == (1, "")
    assert len(boot) <= MAX_BOOT_CHARS
    assert re.fullmatch(r"[A-Za-z0-9_-]+", boot)
    assert home(f"00000000000000000001-{'b' * 16}{part}.0.seg") != place
