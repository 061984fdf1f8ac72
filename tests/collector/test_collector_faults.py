"""A store whose disk fails at one step, and files that are no files: each costs itself, never its neighbours."""

from __future__ import annotations

import errno
import os
import random
import shutil
import stat
import struct
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abside.collector.app import collector
from abside.collector.keep.compact import drop, merge, publish
from abside.collector.keep.upkeep import Upkeep
from abside.collector.keep.writer import ReceivedBatch, Writer
from abside.collector.modes import SettingWrong
from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.receive.token import Token, TokenUnreadable
from abside.collector.settings import CollectorSettings
from abside.collector.store import (
    SCHEMA,
    FileUnreadable,
    NotSynced,
    StoreFailed,
    live_files,
    read_footer,
    scan,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.collector.conftest import Clock, Start, Views

NOON_US = 1_790_078_400_000_000  # 2026-09-22T12:00:00Z
DAY_US = 86_400 * 1_000_000
LONG_AGO = date(2000, 1, 1)


def batch(batch_id: str, recv_us: int = NOON_US) -> ReceivedBatch:
    events = [{"event_id": f"{batch_id}-{number}", "type": "click", "ts": NOON_US} for number in range(3)]
    rows = [row for event in events for row in rows_of(event, batch_id=batch_id, recv_us=recv_us)]
    return ReceivedBatch(batch_id, recv_us, (record_batch(rows),))


def expected(*names: str) -> list[str]:
    return sorted(f"{name}-{number}" for name in names for number in range(3))


def stored_ids(store: Path) -> list[str]:
    return sorted(scan(store).to_table(columns=["event_id"]).column(0).to_pylist())


def opened(store: Path) -> closing[Writer]:
    return closing(Writer.open(store, known_since=LONG_AGO))


def names(day: Path) -> list[str]:
    return sorted(path.name for path in day.iterdir())


class Disk:
    """Fails to force directories to disk and to remove anything, for as long as it is asked to."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.failing = False
        self._fsync, self._unlink = os.fsync, os.unlink
        patch.setattr(os, "fsync", self.fsync)  # no disk fails when it is asked to
        patch.setattr(os, "unlink", self.unlink)

    def fsync(self, handle: int) -> None:
        if self.failing and stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        self._fsync(handle)

    def unlink(self, path: Any, **given: Any) -> None:
        if self.failing:
            raise OSError(errno.EIO, "Input/output error")
        self._unlink(path, **given)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def test_a_batch_whose_file_has_its_name_is_known_whatever_fails_after(
    start: Start, store: Path, views: Views, disk: Disk, clock: Clock
) -> None:
    async with start(clock) as sender:
        assert (await sender.send("first", views("first"))).status == 200
        disk.failing = True
        for _ in range(4):  # as a sender does that is told to come again
            reply = await sender.send("a", views("a", 3))
            assert (reply.status, reply.document["code"]) == (503, "STORE_FAILED")
        assert stored_ids(store) == ["a-0", "a-1", "a-2", "first-0"]
        assert "could not be forced to disk" in (await sender.status())["errors"]["store"]
        disk.failing = False
        assert (await sender.send("a", views("a", 3))).status == 208
    assert stored_ids(store) == ["a-0", "a-1", "a-2", "first-0"]
    async with start(clock) as sender:
        assert (await sender.send("a", views("a", 3))).status == 208


def test_a_merged_file_that_may_lose_its_name_takes_nothings_place(store: Path, disk: Disk) -> None:
    with opened(store) as writer:
        for name in ("a", "b"):
            writer.write([batch(name)])
    day = store / "dt=2026-09-22"
    disk.failing = True
    with pytest.raises(NotSynced, match="Input/output error"):
        merge(day, again=False)
    assert stored_ids(store) == expected("a", "b")
    with pytest.raises(OSError, match="Input/output error"):
        publish(day)
    assert names(day) == ["_merged~0001.parquet.next", "a.parquet", "b.parquet"]
    disk.failing = False
    for _ in range(2):
        publish(day)
    assert names(day) == ["merged~0001.parquet"]
    assert stored_ids(store) == expected("a", "b")


def test_writing_says_that_the_file_is_there(store: Path, disk: Disk) -> None:
    with opened(store) as writer:
        writer.write([batch("a")])
        disk.failing = True
        with pytest.raises(NotSynced, match="is written"):
            writer.write([batch("b")])
        with pytest.raises(StoreFailed):
            writer.fasten()
        assert writer.is_loose("b")
        disk.failing = False
        writer.fasten()
        assert not writer.is_loose("b")
    assert stored_ids(store) == expected("a", "b")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.mkdir()
    (path / "inner").write_bytes(b"x")


def kernel(path: Path) -> None:
    path.symlink_to("/dev/zero")


def nowhere(path: Path) -> None:
    path.symlink_to("/nowhere/x.parquet")


def loop(path: Path) -> None:
    path.symlink_to(path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(40 * 2**30)


def claiming(path: Path) -> None:
    """40 GB, the footer of which says that it is 4 GB long."""
    with path.open("wb") as file:
        file.write(b"PAR1")
        file.seek(40 * 2**30)
        file.write(struct.pack("<I4s", 2**32 - 1, b"PAR1"))


def footer_of_another(path: Path) -> None:
    table = pa.Table.from_batches(batch("x").pieces, SCHEMA)
    pq.write_table(table.replace_schema_metadata({"abside.batches": "5"}), path)


def wrong_ranges(path: Path) -> None:
    table = pa.Table.from_batches(batch("x").pieces, SCHEMA)
    pq.write_table(table.replace_schema_metadata({"abside.ranges": '[["pod.7-f0", 3]]'}), path)


KINDS = [fifo, directory, kernel, nowhere, loop, empty, sparse, claiming, footer_of_another, wrong_ranges]
NAMES = ["x.parquet", "merged~0007.parquet", "_merged~0007.parquet.next", "_x.parquet.tmp"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", KINDS)
def test_the_footer_of_what_is_no_file_of_ours_is_unreadable(tmp_path: Path, kind: Callable[[Path], None]) -> None:
    kind(tmp_path / "x.parquet")
    with pytest.raises(FileUnreadable):
        read_footer(tmp_path / "x.parquet")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_of_ours_stops_neither_start_nor_merge_nor_writing(
    store: Path, clock: Clock, kind: Callable[[Path], None], name: str
) -> None:
    with opened(store) as writer:
        for one in ("a", "b"):
            writer.write([batch(one, NOON_US - DAY_US)])
        writer.write([batch("c", NOON_US - 2 * DAY_US)])
        writer.write([batch("d", NOON_US - 2 * DAY_US)])
        day = store / "dt=2026-09-21"
        kind(day / name)
        upkeep = Upkeep(writer, clock, known_days=7, keep_days=None)
        upkeep.once()
        assert "_merged~0001.parquet.next" in names(store / "dt=2026-09-20")
        if not name.endswith(".tmp"):
            assert f"_{name}.unreadable" in names(day)
            assert name in (upkeep.last_error or "")
        upkeep.once()
        assert [one for one in names(day) if one.startswith(("a.", "b."))] == []
        assert upkeep.last_error is None
    shutil.rmtree(store / "dt=2026-09-21")
    with opened(store) as writer:
        for one in ("a", "b"):
            writer.write([batch(one, NOON_US - DAY_US)])
    kind(store / "dt=2026-09-21" / name)
    with opened(store) as writer:  # and at a start, where it is met first
        assert [writer.knows(one) for one in "abcd"] == [True] * 4
        writer.write([batch("x", NOON_US - DAY_US)])
    assert stored_ids(store) == expected("a", "b", "c", "d", "x")


def test_a_file_of_another_schema_is_left_as_it_is_and_the_others_are_merged(store: Path) -> None:
    with opened(store) as writer:
        for name in ("a", "b"):
            writer.write([batch(name)])
    day = store / "dt=2026-09-22"
    pq.write_table(pa.table({"event_id": ["1"], "colour": ["red"]}), day / "theirs.parquet")
    older = pq.read_table(day / "a.parquet").drop_columns(["page_load_ms"])
    pq.write_table(older, day / "older.parquet")
    assert merge(day, again=True) == 2
    publish(day)
    publish(day)
    assert names(day) == ["merged~0001.parquet", "older.parquet", "theirs.parquet"]


def test_whatever_bytes_of_a_file_are_wrong_the_others_of_its_day_are_merged(store: Path, clock: Clock) -> None:
    chance = random.Random(20261129)
    with opened(store) as writer:
        for name in ("a", "b", "c"):
            writer.write([batch(name, NOON_US - DAY_US)])
        day = store / "dt=2026-09-21"
        shutil.copytree(day, store.parent / "whole")
        whole = (day / "b.parquet").read_bytes()
        for _ in range(60):
            wrong = bytearray(whole)
            for _ in range(chance.randrange(1, 4)):
                wrong[chance.randrange(len(wrong))] = chance.randrange(256)
            shutil.rmtree(day)
            shutil.copytree(store.parent / "whole", day)
            (day / "b.parquet").write_bytes(bytes(wrong))
            for _ in range(2):
                Upkeep(writer, clock, known_days=7, keep_days=None).once()
            assert {"a.parquet", "c.parquet"}.isdisjoint(names(day)), bytes(wrong)
            ids = scan(store).to_table(columns=["event_id"]).column(0).to_pylist()
            assert set(expected("a", "c")) <= set(ids)


def test_a_file_that_is_damaged_twice_keeps_both(store: Path, clock: Clock) -> None:
    with opened(store) as writer:
        writer.write([batch("a", NOON_US - DAY_US)])
        day = store / "dt=2026-09-21"
        for content in (b"one", b"two", b"three"):
            (day / "b.parquet").write_bytes(content)
            Upkeep(writer, clock, known_days=7, keep_days=None).once()
    assert [path.read_bytes() for path in sorted(day.glob("*.unreadable*"))] == [b"one", b"two", b"three"]


def test_one_entry_that_does_not_go_keeps_no_other_of_a_day_that_is_dropped(store: Path) -> None:
    with opened(store) as writer:
        for name in ("a", "z"):
            writer.write([batch(name)])
    day = store / "dt=2026-09-22"
    directory(day / "b.parquet")
    with pytest.raises(OSError, match=r"b\.parquet"):
        drop(day)
    assert names(day) == ["b.parquet"]


@pytest.mark.timeout(60)
def test_a_token_that_is_no_file_is_an_error_and_later_changes_nothing(tmp_path: Path) -> None:
    for kind in (fifo, directory, kernel, nowhere, sparse):
        path = tmp_path / kind.__name__
        kind(path)
        with pytest.raises(TokenUnreadable):
            Token(path)
    path = tmp_path / "token"
    path.write_text("t")
    token = Token(path)
    path.unlink()
    fifo(path)
    assert token.allows("Bearer t")
    assert "FIFO" in (token.problem or "")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", [fifo, directory, kernel, nowhere])
async def test_a_certificate_that_is_no_file_is_said_before_anything_else(
    store: Path, tmp_path: Path, kind: Callable[[Path], None]
) -> None:
    kind(tmp_path / "x")
    for one, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        (tmp_path / "plain").write_text("")
        given: dict[str, Any] = {one: tmp_path / "x", other: tmp_path / "plain"}
        with pytest.raises(SettingWrong, match=f"--{one.replace('_', '-')}"):
            await collector(CollectorSettings(store=store, **given)).__aenter__()
    assert not store.exists()


def test_a_lack_of_memory_is_no_damage_of_a_file(store: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    with opened(store) as writer:
        for name in "ab":
            writer.write([batch(name)])
        upkeep = Upkeep(writer, clock, known_days=7, keep_days=None)
        with monkeypatch.context() as patch:
            patch.setattr(pq, "read_metadata", exhausted)
            upkeep.once()
            problem = upkeep.last_error
        assert names(store / "dt=2026-09-22") == ["a.parquet", "b.parquet"]
        assert problem is not None
        upkeep.once()
        assert upkeep.last_error is None
    assert stored_ids(store) == expected("a", "b")


def test_readers_meet_no_file_that_was_set_aside(store: Path, clock: Clock) -> None:
    with opened(store) as writer:
        writer.write([batch("a", NOON_US - DAY_US)])
        fifo(store / "dt=2026-09-21" / "b.parquet")
        Upkeep(writer, clock, known_days=7, keep_days=None).once()
    assert [path.name for path in live_files(store)] == ["a.parquet"]


@pytest.mark.parametrize("again", [False, True])
async def test_a_lock_that_was_removed_stores_nothing_twice(
    start: Start, store: Path, views: Views, clock: Clock, again: bool
) -> None:
    async with start(clock) as sender:
        assert (await sender.send("a", views("a"))).status == 200
        (store / "_LOCK").unlink()
        if again:
            async with start(clock) as second:
                assert (await second.send("b", views("b"))).status == 200
        reply = await sender.send("b", views("b"))
        assert (reply.status, reply.document["code"]) == (503, "STORE_FAILED")
        assert "restart this collector" in reply.document["detail"]
    async with start(clock) as sender:
        assert (await sender.send("b", views("b"))).status == (208 if again else 200)
    assert stored_ids(store) == ["a-0", "b-0"]
