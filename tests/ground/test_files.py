import errno
import os
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from abside.files import FileRefusedError, open_regular, read_regular, write_beside, write_whole


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise in this test where a call would hang it."""

    def late(*_: object) -> None:
        raise TimeoutError("the call waited")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def test_a_regular_file_is_read_whole_also_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 100_000) == b"x" * 100_000
    (tmp_path / "empty").touch()
    assert read_regular(tmp_path / "empty", 1) == b""


def test_a_file_beyond_the_bound_is_refused_without_being_read_however_sparse(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(40 * 2**30)
    with pytest.raises(FileRefusedError, match=r"has 42,949,672,960 bytes; the bound is 1,000"):
        read_regular(path, 1_000)


def test_what_is_no_regular_file_is_named_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    kinds = {"fifo": "a FIFO", "zero": "a device", "directory": "a directory", "socket": "a socket"}
    for name, kind in kinds.items():
        with at_most(5), pytest.raises(FileRefusedError, match=f"is {kind}; name a regular file"):
            read_regular(tmp_path / name, 1_000)


def test_a_fifo_that_takes_the_place_of_a_file_is_refused_with_its_descriptor_closed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        with pytest.raises(FileRefusedError):
            open_regular(tmp_path / "fifo", 1_000)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("name", ["/proc/kmsg", "/proc/self/status", "/proc/self/pagemap", "/sys/kernel/profiling"])
def test_a_link_to_a_file_of_the_kernel_ends_at_once(tmp_path: Path, name: str) -> None:
    if not Path(name).exists():
        pytest.skip(f"this kernel has no {name}")
    (tmp_path / "link").symlink_to(name)
    with at_most(5), suppress(OSError):
        assert len(read_regular(tmp_path / "link", 100_000)) <= 4_096


def test_a_missing_file_is_the_usual_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", 1)


def test_a_file_is_replaced_whole_forced_to_disk_and_then_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    forced: list[tuple[bool, bytes]] = []

    def fsync(handle: int) -> None:
        forced.append((stat.S_ISDIR(os.fstat(handle).st_mode), path.read_bytes()))

    write_whole(path, b"new", fsync=fsync)
    assert forced == [(False, b"old"), (True, b"new")]
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_file_that_cannot_be_forced_to_disk_replaces_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fsync(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for write in (write_whole, write_beside):
        with pytest.raises(OSError, match="Input/output"):
            write(path, b"new", fsync=fsync)
        assert path.read_bytes() == b"old"
        assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_somebody_put_where_the_new_bytes_are_written_is_removed(tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"kept")
    beside = tmp_path / f".file.{os.getpid()}.tmp"
    beside.symlink_to(secret) if kind == "link" else os.mkfifo(beside)
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert secret.read_bytes() == b"kept"
    assert not beside.exists()


def test_a_file_system_without_fsync_of_directories_is_no_error(tmp_path: Path) -> None:
    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    write_whole(tmp_path / "file", b"new", fsync=fsync)
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_file_beside_another_has_the_mode_that_it_is_to_get(tmp_path: Path) -> None:
    beside = write_beside(tmp_path / "file", b"new", mode=0o640)
    assert stat.S_IMODE(beside.stat().st_mode) == 0o640
    assert beside.parent == tmp_path
