"""One suite over every kind of place, and the ways in which each of them fails."""

from __future__ import annotations

import errno
import multiprocessing
import os
import socket
import struct
import sys
import threading
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING

import pytest
from obstore.store import MemoryStore

from abside.collector.store.place import (
    DirectoryPlace,
    NameFound,
    NameMissing,
    NameTaken,
    PlaceError,
    PlaceFailed,
    PlaceRefused,
    StorePlace,
    open_place,
    probe,
)
from abside.collector.store.place.bucket import BucketPlace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from s3_server import Environ, S3Server

NAME = "topic=AbC/p=0003/00000000000000000042.parquet"


@pytest.fixture(params=["directory", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> StorePlace:
    if request.param == "directory":
        return DirectoryPlace(tmp_path / "store")
    if request.param == "memory":
        return BucketPlace("memory://", MemoryStore())
    server: S3Server = request.getfixturevalue("s3")
    return open_place(f"s3://{server.bucket()}/events/raw")


def test_a_created_file_is_read_whole_and_in_part(place: StorePlace) -> None:
    place.create(NAME, b"0123456789")
    assert place.read(NAME) == b"0123456789"
    assert place.size(NAME) == 10
    assert place.read_range(NAME, 3, 4) == b"3456"
    assert place.read_range(NAME, 8, 100) == b"89"


def test_a_local_file_is_created_from_too(place: StorePlace, tmp_path: Path) -> None:
    local = tmp_path / "merged"
    local.write_bytes(b"x" * 6_000_000)  # more than a part of a multipart upload
    place.create(NAME, local)
    assert place.size(NAME) == 6_000_000
    with pytest.raises(NameTaken):
        place.create(NAME, local)


def test_a_name_is_created_once_and_the_second_writer_changes_nothing(place: StorePlace) -> None:
    place.create(NAME, b"first")
    with pytest.raises(NameTaken):
        place.create(NAME, b"second")
    assert place.read(NAME) == b"first"


def test_of_many_writers_at_once_one_creates_the_name(place: StorePlace) -> None:
    outcomes: list[bytes] = []
    start = threading.Barrier(4)

    def write(content: bytes) -> None:
        start.wait(10)
        try:
            place.create(NAME, content)
        except NameTaken:
            return
        outcomes.append(content)

    writers = [threading.Thread(target=write, args=(bytes([number]) * 100_000,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert [place.read(NAME)] == outcomes


def test_names_come_in_order_from_below_a_folder_and_after_a_name(place: StorePlace) -> None:
    names = [f"topic=A/p=0000/{number:020d}.parquet" for number in (5, 70, 800)]
    for name in (*reversed(names), "topic=A/p=00001/1.parquet", "topic=B/p=0000/2.parquet"):
        place.create(name, b"1")
    assert place.names("topic=A/p=0000") == names
    assert place.names("topic=A/p=0000", after=names[0]) == names[1:]
    assert place.names("topic=A/p=0000", after=f"topic=A/p=0000/{6:020d}") == names[1:]
    assert place.names("topic=A/p=0000", after=names[-1]) == []
    assert place.names("topic=C") == []
    assert len(place.names()) == 5


def test_a_name_that_does_not_exist_is_missing(place: StorePlace) -> None:
    place.create("a/b", b"1")
    for ask in (place.read, place.size, lambda name: place.read_range(name, 0, 4)):
        with pytest.raises(NameMissing):
            ask("a/c")


def test_a_place_is_probed_again_and_again(place: StorePlace) -> None:
    for _ in range(3):
        probe(place)
    assert place.names() == ["_PROBE"]


# A directory.


def test_a_file_half_written_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = DirectoryPlace(tmp_path)
    place.create("a/1", b"1")

    def full(_: int) -> None:
        assert place.names() == ["a/1"]
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PlaceFailed, match="No space left"):
        place.create("a/2", b"2")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["1"]


def test_a_file_in_the_way_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("not a directory")
    with pytest.raises(PlaceRefused, match="a file is where its folder belongs"):
        DirectoryPlace(tmp_path / "store").create("a/1", b"1")


def _as_nobody(path: str, said: multiprocessing.Queue[str]) -> None:  # root may write everywhere
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    try:
        probe(open_place(path))
    except PlaceError as exc:
        said.put(f"{type(exc).__name__} {exc}")
    else:
        said.put("")


def test_a_directory_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o555)
    spawn = multiprocessing.get_context("spawn")
    said: multiprocessing.Queue[str] = spawn.Queue()
    child = spawn.Process(target=_as_nobody, args=(str(shut), said))
    child.start()
    try:
        assert said.get(timeout=20).startswith("PlaceRefused")
    finally:
        child.join(20)


def test_a_link_whose_answer_was_lost_is_found_to_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)  # what a client of NFS does when the first answer does not come

    monkeypatch.setattr(os, "link", twice)
    place = DirectoryPlace(tmp_path)
    place.create("a", b"1")
    assert place.names() == ["a"]
    with pytest.raises(NameTaken):
        place.create("a", b"2")


# An object store.


def test_a_bucket_that_does_not_exist_is_refused(s3: S3Server) -> None:
    place = open_place("s3://nobody-has-this/events")
    with pytest.raises(PlaceRefused, match="no such bucket"):
        place.create("a", b"1")
    with pytest.raises(PlaceRefused, match="NoSuchBucket"):
        place.names()


def test_a_server_that_overwrites_in_silence_is_found_by_the_probe(s3: S3Server) -> None:
    place = open_place(f"s3://{s3.bucket()}/events")

    def forget(environ: Environ) -> None:
        environ.pop("HTTP_IF_NONE_MATCH", None)

    with s3.faulty(forget), pytest.raises(PlaceRefused, match="exclusive"):
        probe(place)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("501 Not Implemented", PlaceRefused),
        ("403 Forbidden", PlaceRefused),
        ("401 Unauthorized", PlaceRefused),
        ("400 Bad Request", PlaceRefused),
        ("503 Slow Down", PlaceFailed),
        ("500 Internal Server Error", PlaceFailed),
        ("429 Too Many Requests", PlaceFailed),
    ],
)
def test_what_a_server_answers_is_for_now_or_for_good(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, status: str, kind: type[PlaceError]
) -> None:
    monkeypatch.setattr("abside.collector.store.place.bucket.TRIES", 0)
    place = open_place(f"s3://{s3.bucket()}/events")
    body = b"<Error><Code>SaidSo</Code><Message>no</Message></Error>"

    def fault(environ: Environ) -> tuple[str, bytes] | None:
        return (status, body) if environ["REQUEST_METHOD"] == "PUT" else None

    with s3.faulty(fault), pytest.raises(kind) as caught:
        place.create("a", b"1")
    assert type(caught.value) is kind
    assert status[:3] in str(caught.value)
    assert str(caught.value).startswith(f"{place.shown}/a: ")
    assert "\n" not in str(caught.value)
    place.create("a", b"1")


def test_a_server_that_is_away_fails_for_now(monkeypatch: pytest.MonkeyPatch, s3: S3Server) -> None:
    monkeypatch.setattr("abside.collector.store.place.bucket.TRIES", 0)
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(PlaceFailed):
        open_place("s3://bucket/events").create("a", b"1")


class Hasty(StreamRequestHandler):
    """Refuses a content before it has read it, and ends the connection; every name is there but `missing`."""

    def handle(self) -> None:
        method, path, _ = self.rfile.readline().split()
        while self.rfile.readline().strip():
            pass
        if method == b"HEAD" and b"missing" not in path:
            said = b'200 OK\r\nContent-Length: 5\r\nLast-Modified: Tue, 22 Sep 2026 12:00:00 GMT\r\nETag: "1"'
        elif method == b"HEAD":
            said = b"404 Not Found\r\nContent-Length: 0"
        else:
            linger = struct.pack("ii", 1, 0)  # a reset: what was answered is lost too
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return
        self.wfile.write(b"HTTP/1.1 " + said + b"\r\nConnection: close\r\n\r\n")


@pytest.fixture
def hasty(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[StorePlace]:
    """Return a bucket of a server that is hasty."""
    monkeypatch.setattr("abside.collector.store.place.bucket.TRIES", 0)
    with ThreadingTCPServer(("127.0.0.1", 0), Hasty) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        try:
            yield open_place("s3://bucket/events")
        finally:
            server.shutdown()
            serving.join(10)


def test_a_taken_name_is_found_where_the_server_breaks_off_before_it_has_read_the_content(
    hasty: StorePlace,
) -> None:
    content = b"x" * 10_000_000
    with pytest.raises(NameTaken):
        hasty.create(NAME, content)
    with pytest.raises(PlaceFailed) as caught:
        hasty.create("a/missing", content)
    assert type(caught.value) is PlaceFailed


def test_a_name_that_is_only_found_is_no_proof_for_the_probe(hasty: StorePlace) -> None:
    with pytest.raises(NameFound):
        hasty.create("_PROBE", b"1")
    with pytest.raises(PlaceFailed):
        probe(hasty)


def test_plain_http_that_nobody_allowed_is_refused(monkeypatch: pytest.MonkeyPatch, s3: S3Server) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(PlaceRefused):
        open_place("s3://bucket/events").create("a", b"1")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("s3://", "names no bucket"),
        ("s3:///events", "names no bucket"),
        ("http://bucket/events", "scheme http is not known"),
        ("s4://bucket", "scheme s4 is not known"),
        ("s3://key:secret@bucket/events", "credentials come from environment variables"),
        ("s3://bucket/events?region=x", "scheme://bucket/prefix only"),
    ],
)
def test_a_url_that_names_no_place_is_refused_and_shows_no_secret(text: str, sentence: str) -> None:
    with pytest.raises(PlaceRefused, match=sentence) as caught:
        open_place(text)
    assert "secret" not in str(caught.value)


def test_without_the_extra_the_remedy_is_the_line_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "abside.collector.store.place.bucket")
    with pytest.raises(PlaceRefused, match=r"pip install 'abside\[objects\]'"):
        open_place("s3://bucket/events")
