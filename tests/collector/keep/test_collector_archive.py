"""What is merged is copied to the archive: every row once, whatever is cut off, restored or refused meanwhile."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import closing, suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abside import event
from abside.collector.app import collector
from abside.collector.keep.archive import Archive
from abside.collector.keep.archiving import Archiving
from abside.collector.keep.compact import merge, publish
from abside.collector.keep.upkeep import Upkeep
from abside.collector.keep.writer import ReceivedBatch, Writer
from abside.collector.modes import SettingWrong
from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.settings import CollectorSettings
from abside.collector.store import SCHEMA
from abside.collector.store.place import DirectoryPlace, PlaceFailed, PlaceRefused, StorePlace, open_place

if TYPE_CHECKING:
    from tests.collector.conftest import Clock, Collector, Start, Views

    from s3_server import Environ, S3Server

NOON_US = 1_790_078_400_000_000  # 2026-09-22T12:00:00Z
DAY_US = 86_400 * 1_000_000
FOLDER = "dt=2026-09-22"
LONG_AGO = date(2000, 1, 1)


@pytest.fixture
def place(tmp_path: Path) -> StorePlace:
    return DirectoryPlace(tmp_path / "archive")


def write(store: Path, *names: str, at_us: int = NOON_US) -> None:
    with closing(Writer.open(store, known_since=LONG_AGO)) as writer:
        for name in names:
            rows = rows_of({"event_id": name, "type": "click", "ts": at_us}, batch_id=name, recv_us=at_us)
            writer.write([ReceivedBatch(name, at_us, (record_batch(rows),))])


def merge_all(store: Path, *, again: bool = False) -> None:
    for day in sorted(store.glob("dt=*")):
        publish(day)
        merge(day, again=again)


def objects(place: StorePlace) -> list[str]:
    """Return what a reader of `**/*.parquet` takes."""
    return [name for name in place.names() if name.endswith(".parquet")]


def archived(place: StorePlace) -> Counter[str]:
    """Return the event ids in the archive."""
    found: Counter[str] = Counter()
    for name in objects(place):
        table = pq.read_table(pa.BufferReader(place.read(name)))
        assert table.schema.equals(SCHEMA)
        found.update(table.column("event_id").to_pylist())
    return found


def test_each_merged_file_is_copied_once_under_the_stores_own_id(store: Path, place: StorePlace) -> None:
    archive = Archive(store, place)
    for names in ("ab", "c"):
        write(store, *names)
        merge_all(store)
        archive.copy()
        archive.copy()
    assert archived(place) == Counter("abc")
    assert (archive.files, archive.waiting) == (2, 0)
    assert archive.missing(store / FOLDER) == []
    own = (store / "_ID").read_text().strip()
    assert all(name.startswith(f"store={own}/{FOLDER}/merged~") for name in objects(place))


def test_two_stores_have_one_prefix_in_common_and_nothing_else(store: Path, place: StorePlace, tmp_path: Path) -> None:
    for one, names in ((store, "ab"), (tmp_path / "other", "cd")):
        write(one, *names)
        merge_all(one)
        Archive(one, place).copy()
    assert archived(place) == Counter("abcd")


def test_a_copy_that_was_not_listed_before_a_crash_is_not_copied_again(store: Path, place: StorePlace) -> None:
    write(store, "a", "b")
    merge_all(store)
    Archive(store, place).copy()
    before = objects(place)
    (store / FOLDER / "_archived").unlink()
    again = Archive(store, place)
    again.copy()
    assert (objects(place), again.files, again.missing(store / FOLDER)) == (before, 0, [])


def test_at_every_cut_no_row_is_in_the_archive_twice_and_in_the_end_each_is_there(store: Path, tmp_path: Path) -> None:
    write(store, "a", "b")
    cut_off = Path(__file__).with_name("cut_off.py")
    subprocess.run(
        [sys.executable, str(cut_off), str(store), str(tmp_path / "cuts"), "archive"], check=True, timeout=60
    )
    cuts = sorted((tmp_path / "cuts").iterdir(), key=lambda path: int(path.name))
    assert len(cuts) > 10
    for cut in cuts:
        place = DirectoryPlace(cut / "archive")
        assert set(archived(place).values()) <= {1}, cut
        write(cut, "c")
        merge_all(cut)
        Archive(cut, place).copy()
        assert archived(place) == Counter("abc"), cut


def test_a_disk_that_comes_back_from_a_backup_doubles_no_row(store: Path, place: StorePlace, tmp_path: Path) -> None:
    write(store, "a", "b")
    Archive(store, place).copy()
    shutil.copytree(store, tmp_path / "backup")
    write(store, "c")
    merge_all(store)
    Archive(store, place).copy()
    shutil.rmtree(store)
    shutil.copytree(tmp_path / "backup", store)
    write(store, "d")
    merge_all(store)
    Archive(store, place).copy()
    assert archived(place) == Counter("abcd")
    assert len(objects(place)) == 2
    assert not list(store.rglob("*.tmp"))


def test_two_copies_of_one_disk_double_nothing_that_both_have(store: Path, place: StorePlace, tmp_path: Path) -> None:
    write(store, "a", "b")
    Archive(store, place).copy()
    shutil.copytree(store, tmp_path / "twin")
    for one, name in ((store, "c"), (tmp_path / "twin", "d"), (store, "e")):
        write(one, name)
        merge_all(one)
        Archive(one, place).copy()
    assert archived(place) == Counter("abcde")


def numbered(*numbers: int) -> list[str]:
    """Return ids as a sidecar makes them; a merged file lists those that follow each other as ranges."""
    return [f"pod.{number:020d}-3f2a" for number in numbers]


def test_ranges_of_ids_are_known_in_the_archive_as_single_ones_are(
    store: Path, place: StorePlace, tmp_path: Path
) -> None:
    write(store, *numbered(1, 2, 9))
    Archive(store, place).copy()
    shutil.copytree(store, tmp_path / "twin")
    for one, more in ((store, (3,)), (tmp_path / "twin", (4, 5, 10)), (store, (11,))):
        write(one, *numbered(*more))
        merge_all(one)
        Archive(one, place).copy()
    assert archived(place) == Counter(numbered(1, 2, 3, 4, 5, 9, 10, 11))


def test_two_copies_of_one_disk_whose_files_have_one_single_id_in_common_both_arrive(
    store: Path, place: StorePlace, tmp_path: Path
) -> None:
    write(store, "a")
    Archive(store, place).copy()
    shutil.copytree(store, tmp_path / "twin")
    for one, more in ((store, (1, 2)), (tmp_path / "twin", (6, 7))):
        write(one, *numbered(*more))
        merge_all(one)
        Archive(one, place).copy()
    assert archived(place) == Counter(["a", *numbered(1, 2, 6, 7)])


def test_what_the_archive_has_dropped_by_a_rule_of_its_own_does_not_come_back(
    store: Path, place: StorePlace, tmp_path: Path
) -> None:
    write(store, "a", "b")
    merge_all(store)
    Archive(store, place).copy()
    shutil.rmtree(tmp_path / "archive")
    write(store, "c")
    merge_all(store)
    Archive(store, place).copy()
    assert archived(place) == Counter("c")


def test_another_archive_gets_all_that_is_here(store: Path, place: StorePlace, tmp_path: Path) -> None:
    write(store, "a", "b")
    merge_all(store)
    Archive(store, place).copy()
    other = DirectoryPlace(tmp_path / "other")
    Archive(store, other).copy()
    Archive(store, place).copy()
    assert archived(other) == archived(place) == Counter("ab")


def test_days_merged_before_there_was_an_archive_are_copied_whole_and_days_in_it_are_merged_once_only(
    store: Path, place: StorePlace, clock: Clock
) -> None:
    write(store, "a", "b", "c", at_us=NOON_US - DAY_US)
    with closing(Writer.open(store, known_since=LONG_AGO)) as writer:
        for _ in range(3):
            Upkeep(writer, clock, known_days=7, keep_days=None).once()
    archiving = Archiving(Archive(store, place))
    for name in "de":
        write(store, name)
        with closing(Writer.open(store, known_since=LONG_AGO)) as writer:
            Upkeep(writer, clock, known_days=7, keep_days=None, archiving=archiving).once()
        archiving.archive.copy()
    clock.us += 2 * DAY_US
    for with_archive in (archiving, None):  # once it is given up, too
        with closing(Writer.open(store, known_since=LONG_AGO)) as writer:
            upkeep = Upkeep(writer, clock, known_days=7, keep_days=None, archiving=with_archive)
            for _ in range(3):
                upkeep.once()
    Archive(store, place).copy()
    assert sorted(path.name for path in (store / FOLDER).glob("*.parquet")) == [
        "merged~0001.parquet",
        "merged~0002.parquet",
    ]
    assert archived(place) == Counter("abcde")
    assert len(objects(place)) == 3


def test_a_file_of_another_under_a_copys_name_is_said(store: Path, place: StorePlace, tmp_path: Path) -> None:
    write(store, "a", "b")
    merge_all(store)
    Archive(store, place).copy()
    (name,) = objects(place)
    (store / FOLDER / "_archived").unlink()
    (tmp_path / "archive" / name).write_bytes(b"x" * 100)
    with pytest.raises(PlaceRefused, match="damaged or not ours; move it elsewhere"):
        Archive(store, place).copy()


def test_a_file_of_another_schema_is_not_copied_and_keeps_no_day(store: Path, place: StorePlace) -> None:
    write(store, "a")
    pq.write_table(pa.table({"event_id": ["1"]}), store / FOLDER / "theirs.parquet")
    merge_all(store)
    archive = Archive(store, place)
    archive.copy()
    assert archived(place) == Counter("a")
    assert archive.missing(store / FOLDER) == []


class Away:
    """A place that answers nothing."""

    shown = "s3://away/events"

    def names(self, below: str = "", *, after: str = "") -> list[str]:
        raise PlaceFailed(self.shown, "there is no answer")

    def create(self, name: str, content: bytes | Path) -> None:
        raise PlaceFailed(self.shown, "there is no answer")

    def size(self, name: str) -> int:
        raise PlaceFailed(self.shown, "there is no answer")

    def read(self, name: str) -> bytes:
        raise PlaceFailed(self.shown, "there is no answer")

    def read_range(self, name: str, start: int, length: int) -> bytes:
        raise PlaceFailed(self.shown, "there is no answer")


async def test_no_day_goes_before_all_of_it_is_in_the_archive_however_long_that_is_away(
    store: Path, place: StorePlace, clock: Clock
) -> None:
    for age in range(12, -1, -1):
        write(store, f"age{age}", at_us=NOON_US - age * DAY_US)
    archive = Archive(store, Away())
    archiving = Archiving(archive)
    with closing(Writer.open(store, known_since=LONG_AGO)) as writer:
        upkeep = Upkeep(writer, clock, known_days=7, keep_days=2, archiving=archiving)
        for _ in range(2):
            upkeep.once()
            await archiving.copy()
        assert len(list(store.glob("dt=*"))) == 13
        assert (upkeep.kept_days, archive.waiting) == (10, 13)
        assert archiving.problem == "s3://away/events: there is no answer"
        archive.place = place
        await archiving.copy()
        assert [archiving.problem, archive.waiting] == [None, 0]
        upkeep.once()
        assert upkeep.kept_days == 0
    assert [path.name for path in sorted(store.glob("dt=*"))] == ["dt=2026-09-20", "dt=2026-09-21", "dt=2026-09-22"]
    assert archived(place) == Counter(f"age{age}" for age in range(13))


# The collector, and S3.


async def until(sender: Any, found: Any) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while not found(status := await sender.status()):  # noqa: ASYNC110 the collector tells no one
            await asyncio.sleep(0.02)
    state: dict[str, Any] = status
    return state


async def test_the_last_rows_of_a_quiet_day_are_archived_at_the_next_round_and_at_the_end(
    start: Start, store: Path, views: Views, s3: S3Server
) -> None:
    url = f"s3://{s3.bucket()}/events"
    async with start(archive=url, merge_seconds=0.2) as sender:
        await sender.send("a", views("a", 2))
        status = await until(sender, lambda status: status["archive"]["files"] > status["archive"]["files_waiting"])
        assert (status["archive"]["place"], status["errors"]) == (url, {})
        assert archived(open_place(url)) == Counter({"a-0": 1, "a-1": 1})
    async with start(archive=url) as sender:
        await sender.send("b", views("b"))
    assert archived(open_place(url)) == Counter({"a-0": 1, "a-1": 1, "b-0": 1})


async def post(address: str, batch_id: str, events: list[event.EventMap]) -> int:
    headers = {"Content-Type": "application/msgpack", "Idempotency-Key": batch_id, "X-Batch-Count": str(len(events))}
    body = b"".join(map(event.encode, events))
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{address}/v1/batches", data=body, headers=headers) as response,
    ):
        return response.status


def refusing(status: str, code: str) -> Any:
    def fault(environ: Environ) -> tuple[str, bytes] | None:
        return (status, f"<Error><Code>{code}</Code></Error>".encode())

    return fault


def read_only(environ: Environ) -> tuple[str, bytes] | None:
    if environ["REQUEST_METHOD"] == "PUT":
        return ("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>")
    return None


def overwriting(environ: Environ) -> None:
    environ.pop("HTTP_IF_NONE_MATCH", None)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (read_only, "AccessDenied"),
        (overwriting, "a store needs creation that is exclusive"),
        (refusing("501 Not Implemented", "NotImplemented"), "NotImplemented"),
        (refusing("403 Forbidden", "ExpiredToken"), "ExpiredToken"),
        (refusing("503 Slow Down", "SlowDown"), "SlowDown"),
    ],
    ids=["read-only", "no conditional put", "refuses conditional puts", "credentials that ended", "too busy"],
)
async def test_an_archive_that_takes_nothing_is_said_and_batches_are_taken_all_the_same(
    start: Start, store: Path, views: Views, s3: S3Server, monkeypatch: pytest.MonkeyPatch, fault: Any, sentence: str
) -> None:
    monkeypatch.setattr("abside.collector.store.place.bucket.TRIES", 0)
    url = f"s3://{s3.bucket()}/events"
    with s3.faulty(fault):
        async with start(archive=url, merge_seconds=0.1) as sender:
            assert (await sender.send("a", views("a"))).status == 200
            status = await until(sender, lambda status: sentence in status["errors"].get("archive", ""))
            assert url in status["errors"]["archive"]
            await until(sender, lambda status: status["archive"]["files_waiting"] == 1)
            assert (await sender.send("b", views("b"))).status == 200
    async with start(archive=url) as sender:
        await until(sender, lambda status: "archive" not in status["errors"] and status["archive"]["files"])
    assert archived(open_place(url)) == Counter({"a-0": 1, "b-0": 1})


async def test_a_bucket_that_does_not_exist_is_said(
    start: Start, views: Views, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abside.collector.store.place.bucket.TRIES", 0)
    async with start(archive="s3://nobody-has-this-bucket/events", merge_seconds=0.1) as sender:
        assert (await sender.send("a", views("a"))).status == 200
        await until(sender, lambda status: "there is no such bucket" in status["errors"].get("archive", ""))


async def test_an_archive_that_answers_nothing_keeps_no_collector_from_its_end(
    start: Start, store: Path, views: Views, s3: S3Server
) -> None:
    url = f"s3://{s3.bucket()}/events"
    let_go = asyncio.Event()
    loop = asyncio.get_running_loop()

    def silent(_: Environ) -> None:
        asyncio.run_coroutine_threadsafe(let_go.wait(), loop).result()

    with s3.faulty(silent):
        async with start(archive=url, drain_seconds=0.5) as sender:
            assert (await sender.send("a", views("a"))).status == 200
        let_go.set()
    assert list(store.rglob("*.parquet"))


@pytest.mark.parametrize("place", ["", "/below", "/.."])
async def test_an_archive_inside_the_store_or_around_it_is_refused(store: Path, place: str) -> None:
    with pytest.raises(SettingWrong, match=r"--archive: .* neither may be inside the other"):
        await collector(CollectorSettings(store=store, archive=f"{store}{place}")).__aenter__()


@pytest.mark.parametrize(
    ("place", "sentence"), [("s3://", "names no bucket"), ("http://bucket/events", "scheme http is not known")]
)
async def test_an_archive_that_is_no_place_is_refused(store: Path, place: str, sentence: str) -> None:
    with pytest.raises(SettingWrong, match=f"--archive: .*{sentence}"):
        await collector(CollectorSettings(store=store, archive=place)).__aenter__()


async def test_killed_at_any_upload_every_row_is_in_the_archive_once(
    process: Collector, store: Path, views: Views, s3: S3Server
) -> None:
    url = f"s3://{s3.bucket()}/events"
    options = ("--archive", url, "--merge-seconds", "0.2", "--group-seconds", "0.01")
    kills = 0

    def killing(environ: Environ) -> None:
        """Kill the collector while it waits for the answer; what it sent is stored all the same, every other time."""
        nonlocal kills
        if environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].endswith(".parquet") and kills < 4:
            kills += 1
            process.process.kill()
            if kills % 2:
                environ["REQUEST_METHOD"] = "HEAD"

    async def deliver(batch_id: str, events: list[event.EventMap]) -> None:
        """Send until it is acknowledged, like a sidecar."""
        while True:
            if process.process.poll() is not None:
                await asyncio.to_thread(process.start, *options)
            with suppress(aiohttp.ClientError, OSError):
                if await post(process.address, batch_id, events) in (200, 208):
                    return

    sent: list[str] = []
    await asyncio.to_thread(process.start, *options)
    with s3.faulty(killing):
        while kills < 4:
            events = views(f"b{len(sent)}", 3)
            await deliver(f"b{len(sent)}", events)
            sent += [one["event_id"] for one in events]
        await asyncio.to_thread(process.kill)
        await asyncio.to_thread(process.start, *options)
        assert await asyncio.to_thread(process.stop) == 0
    assert archived(open_place(url)) == Counter(sent)
