"""A store in an object store: the same figures as from a disk, and a line for what is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from abside.collector.keep.archive import Archive
from abside.collector.keep.compact import merge
from abside.collector.store.place import open_place
from abside.report.command import main
from abside.report.engines.cluster import SparkConnect
from abside.report.engines.embedded import Embedded
from abside.report.settings import ReportSettings, events_place
from abside.report.store.source import open_source


def put(store: Path, url: str, *, layout: Callable[[str], str] = str) -> str:
    """Copy a store's files into a bucket, as a collector or an archive names them."""
    place = open_place(url)
    for path in sorted(store.rglob("*.parquet*")):
        place.create(layout(path.relative_to(store).as_posix()), path)
    place.create("_LOCK", b"")
    place.create("elsewhere/notes.parquet", b"no file of ours")
    return url


@pytest.fixture
def bucket(s3: Any) -> str:
    return f"s3://{s3.bucket()}/shop/prefix"


def test_a_report_from_a_bucket_says_the_same(world: Path, reported: Any, embedded: Any, bucket: str) -> None:
    found = reported(events=put(world / "store", bucket))
    assert found.figures == embedded.figures
    assert found.exported == embedded.exported


def test_both_layouts_are_read_and_files_set_aside_are_counted(till: Any, engine: Embedded, bucket: str) -> None:
    for number in range(3):
        till.expose(number, "control", user_id=f"u{number}")
        store = till.close()
    (store / "dt=2026-11-02" / "b.parquet.unreadable").write_bytes(b"")
    names = iter(["topic=_aZ-9/p=0003/00000000000000000000.parquet", "topic=_aZ-9/p=0012/00000000000000000007.parquet"])
    put(store, bucket, layout=lambda name: name if "unreadable" in name or "b1" in name else next(names))
    source = open_source(engine, bucket)
    assert (len(source.files), source.rows, source.set_aside) == (3, 3, 1)
    assert len(engine.rows("all", source.events.select("user_id"))) == 3
    (mirrored,) = {path.parents[-1] for path in source.files}
    assert mirrored == Path("/")


@pytest.mark.parametrize("kind", ["bucket", "directory"])
def test_an_archive_that_two_collectors_have_in_common_is_read_as_one_store(
    till: Any, engine: Embedded, s3: Any, tmp_path: Path, kind: str
) -> None:
    archive = f"s3://{s3.bucket()}/shop" if kind == "bucket" else tmp_path / "archive"
    for number in range(2):
        till.folder = tmp_path / f"store-{number}"
        till.expose(number, "control", user_id=f"u{number}")
        store = till.close()
        merge(store / "dt=2026-11-02", again=False)
        Archive(store, open_place(str(archive))).copy()
    source = open_source(engine, archive)
    assert {path.parents[1].name for path in source.files} == {
        f"store={(tmp_path / f'store-{number}' / '_ID').read_text().strip()}" for number in range(2)
    }
    assert {row["user_id"] for row in engine.rows("all", source.events.select("user_id"))} == {"u0", "u1"}


def test_foreign_files_of_a_bucket_are_named_and_no_figure_is_made(
    till: Any, config_file: Callable[..., Path], bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    till.expose(0, "control", user_id="u1")
    store = till.close()
    (store / "dt=2026-11-02" / "x.parquet").write_bytes(b"none of ours, and long enough for a tail")
    put(store, bucket)
    assert main(ReportSettings(events=bucket, config=(config_file(),))) == 1
    assert "dt=2026-11-02/x.parquet is not a Parquet file that can be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://no-such-bucket-here/p", "--events s3://no-such-bucket-here/p: "),
        (
            "ftp://host/p",
            "--events ftp://host/p: the scheme ftp is not known; write a directory, or s3://bucket/prefix",
        ),
    ],
)
def test_a_place_that_cannot_be_read_is_said(
    s3: Any, config_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], url: str, words: str
) -> None:
    assert main(ReportSettings(events=events_place(url), config=(config_file(),))) == 1
    assert capsys.readouterr().err.startswith(f"abside report: {words}")


def test_an_empty_prefix_is_said(
    bucket: str, config_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(ReportSettings(events=bucket, config=(config_file(),))) == 1
    assert (
        f"--events {bucket}: holds no dt=YYYY-MM-DD/*.parquet, as it is or below store=…, and no topic="
        in capsys.readouterr().err
    )


class Noted(SparkConnect):
    """Notes which files Spark is handed, in the place of reading them."""

    files: list[str]

    def _parquet(self, files: list[str], name: str, *, has_places: bool) -> Any:
        self.files = files
        return None


def test_spark_is_handed_the_urls_and_only_footers_are_fetched(
    till: Any, tmp_path: Path, connect: str, bucket: str
) -> None:
    for number in range(2_000):
        till.expose(number, "control", user_id=f"a shopper with a long name {number * 7919}")
    store = till.close()
    url = put(store, bucket)
    with Noted.open(connect, folder=tmp_path) as spark:
        (path,) = (spark.near(url)).glob("dt=*/*.parquet")
        spark.parquet([path])
        assert spark.files == [f"{url}/dt=2026-11-02/{path.name}"]
        assert pq.read_metadata(path).num_rows == 2_000
