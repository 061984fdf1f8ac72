import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from abside.files import FileRefusedError, open_regular, read_regular


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
