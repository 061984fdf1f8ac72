from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pytest

from abside.spool.frame import MAGIC, frame
from abside.spool.queue.reader import read

if TYPE_CHECKING:
    from pathlib import Path

LEFT = "00001699999999999999-earlier.open"
PAYLOADS = [b"first", b"second one", b"3"]
WHOLE = MAGIC + b"".join(map(frame, PAYLOADS))


def leave(directory: Path, data: bytes, name: str = LEFT) -> Path:
    """Leave a file in the queue as a killed process would."""
    (directory / "q").mkdir(parents=True, exist_ok=True)
    path = directory / "q" / name
    path.write_bytes(data)
    return path


async def test_what_an_earlier_process_left_open_is_sealed(open_spool: Any) -> None:
    leave(open_spool.directory, WHOLE)
    spool = open_spool()
    [segment] = spool.sealed()
    assert segment.name == "00001699999999999999-earlier"
    assert (await read(segment)).payloads == PAYLOADS
    assert (spool.stats.recovered_segments, spool.stats.recovered_events, spool.stats.cut_bytes) == (1, 3, 0)
    assert spool.backlog.dead.files == 0


async def test_cut_at_any_byte_every_whole_event_is_recovered(open_spool: Any, tmp_path: Path) -> None:
    for length in range(len(WHOLE)):
        directory = tmp_path / f"cut{length}"
        leave(directory, WHOLE[:length])
        spool = open_spool(directory=directory)
        whole = sum(len(MAGIC + b"".join(map(frame, PAYLOADS[: n + 1]))) <= length for n in range(len(PAYLOADS)))
        contents = [await read(segment) for segment in spool.sealed()]
        assert [payload for one in contents for payload in one.payloads] == PAYLOADS[:whole], f"cut at {length}"
        assert not any(one.damage for one in contents)
        await spool.close()


async def test_a_zeroed_tail_is_cut_off_and_leaves_nothing_behind(open_spool: Any) -> None:
    leave(open_spool.directory, WHOLE + bytes(4096))
    spool = open_spool()
    [segment] = spool.sealed()
    assert segment.size == len(WHOLE)
    assert spool.stats.cut_bytes == 4096
    assert list((open_spool.directory / "dead").iterdir()) == []


async def test_what_is_cut_off_and_is_not_zeros_is_kept_for_a_person(open_spool: Any) -> None:
    flipped = bytearray(WHOLE)
    flipped[-1] ^= 1
    leave(open_spool.directory, bytes(flipped))
    spool = open_spool()
    [segment] = spool.sealed()
    assert (await read(segment)).payloads == PAYLOADS[:2]
    tail = open_spool.directory / "dead" / "00001699999999999999-earlier.tail"
    assert tail.read_bytes() == flipped[-9:]
    assert "checksum is wrong" in tail.with_name(tail.name + ".reason").read_text()


@pytest.mark.parametrize("byte", [3, len(MAGIC), len(MAGIC) + 9])
async def test_a_flipped_bit_in_what_was_left_open_costs_none_of_the_events_behind_it(
    open_spool: Any, byte: int
) -> None:
    flipped = bytearray(WHOLE)
    flipped[byte] ^= 1
    leave(open_spool.directory, bytes(flipped))
    spool = open_spool()
    [segment] = spool.sealed()
    assert (await read(segment)).payloads == PAYLOADS[byte >= len(MAGIC) :]
    assert (segment.events, spool.stats.cut_bytes) == (None, 0)


@pytest.mark.parametrize("data", [b"", MAGIC, MAGIC[:3], bytes(100), MAGIC + bytes(100)])
async def test_a_file_without_an_event_is_removed(open_spool: Any, data: bytes) -> None:
    left = leave(open_spool.directory, data)
    spool = open_spool()
    assert not left.exists()
    assert spool.sealed() == []
    assert list((open_spool.directory / "dead").iterdir()) == []


async def test_a_file_that_is_no_segment_is_buried_and_the_others_are_recovered(open_spool: Any) -> None:
    leave(open_spool.directory, b"not a segment at all")
    leave(open_spool.directory, WHOLE, "00001699999999999998-earlier.open")
    spool = open_spool()
    assert [segment.seq for segment in spool.sealed()] == [1699999999999998]
    buried = open_spool.directory / "dead" / "00001699999999999999-earlier.seg"
    assert buried.read_bytes() == b"not a segment at all"


async def test_files_that_are_not_ours_are_left_alone(open_spool: Any) -> None:
    others = [leave(open_spool.directory, b"mine", name) for name in ("notes.txt", "LOCK", "x.open", "1-a.seg")]
    spool = open_spool()
    assert spool.sealed() == []
    assert all(path.read_bytes() == b"mine" for path in others)


@pytest.mark.parametrize("suffix", [".seg", ".open"])
@pytest.mark.parametrize("kind", ["sparse", "fifo", "link", "loose link", "directory"])
async def test_what_is_named_like_a_segment_and_is_none_is_left_alone_with_a_word(
    open_spool: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, suffix: str
) -> None:
    path = leave(open_spool.directory, b"", "00001699999999999999-earlier.seg").with_suffix(suffix)
    path.with_suffix(".seg").unlink()
    secret = tmp_path / "secret"
    secret.write_bytes(WHOLE)
    if kind == "sparse":
        with path.open("wb") as file:
            file.write(WHOLE)
            file.truncate(40 * 2**30)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(secret if kind == "link" else tmp_path / "nothing")
    spool = open_spool()
    assert (spool.sealed(), spool.stats.stranger_files, spool.stats.failures) == ([], 1, 0)
    assert "spool_strangers" in caplog.text
    assert path.name in caplog.text
    spool.append([b"new"])
    await spool.seal()
    assert [(await read(segment)).payloads for segment in spool.sealed()] == [[b"new"]]
    assert os.path.lexists(path)


async def test_a_number_of_twenty_nines_is_shipped_and_not_counted_on_from(open_spool: Any) -> None:
    leave(open_spool.directory, WHOLE, f"{'9' * 20}-earlier.seg")
    spool = open_spool()
    spool.append([b"new"])
    await spool.seal()
    await spool.close()
    again = open_spool("boot2")
    assert [(await read(segment)).payloads for segment in again.sealed()] == [[b"new"], PAYLOADS]
    assert again.stats.stranger_files == 0


async def test_a_copy_that_was_cut_short_is_made_again(open_spool: Any, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    (memory / LEFT).write_bytes(WHOLE)
    half = leave(open_spool.directory, WHOLE[:20], "00001699999999999999-earlier.seg.tmp")
    spool = open_spool(open_directory=memory)
    assert [(await read(segment)).payloads for segment in spool.sealed()] == [PAYLOADS]
    assert not half.exists()
    assert not (memory / LEFT).exists()


def test_a_copy_of_another_process_that_was_cut_short_is_removed_and_nothing_else(open_spool: Any) -> None:
    half = leave(open_spool.directory, WHOLE[:20], f".{LEFT.removesuffix('.open')}.seg.4711.tmp")
    other = leave(open_spool.directory, b"a person's", ".notes.4711.tmp")
    open_spool()
    assert not half.exists()
    assert other.exists()


@pytest.mark.parametrize("part", ["", ".1"])
async def test_what_was_copied_and_not_yet_removed_is_not_sealed_twice(
    open_spool: Any, tmp_path: Path, part: str
) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    (memory / LEFT).write_bytes(WHOLE)
    leave(open_spool.directory, WHOLE, f"00001699999999999999-earlier{part}.seg")
    spool = open_spool(open_directory=memory)
    assert [segment.part for segment in spool.sealed()] == [part]
    assert len(list((open_spool.directory / "q").glob("*.seg"))) == 1
    assert not (memory / LEFT).exists()


APPENDER = """
    import asyncio, sys
    from pathlib import Path
    from abside.spool.settings import SpoolSettings
    from abside.spool.write.writer import Spool

    async def main(directory, boot, policy, elsewhere):
        settings = SpoolSettings(
            Path(directory), Path(elsewhere) if elsewhere else None, floor_bytes=0, fsync=policy, seal_events=700,
            max_waiting_for_age_seal=10**6, seal_seconds=0.05, fsync_seconds=0.02,
        )
        spool = Spool.open(settings, boot, lambda: 1)
        running = asyncio.get_running_loop().create_task(spool.run())
        number = 0
        while not running.done():
            spool.append([b"%s %d" % (boot.encode(), n) for n in range(number, number + 7)])
            await spool.synced()
            number += 7
            sys.stdout.write(f"{number}\\n")
            sys.stdout.flush()
            await asyncio.sleep(0)
        running.result()

    asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(("policy", "elsewhere"), [("never", False), ("interval", False), ("always", True)])
def test_killed_at_any_moment_every_append_that_returned_is_recovered(
    tmp_path: Path, open_spool: Any, payloads_in: Any, policy: str, elsewhere: bool
) -> None:
    memory = tmp_path / "memory"
    expected: set[bytes] = set()
    for kill in range(4):
        boot = f"boot{kill}"
        command = [sys.executable, "-c", textwrap.dedent(APPENDER), str(open_spool.directory), boot, policy]
        command.append(str(memory) if elsewhere else "")
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            watch = threading.Timer(30.0, child.kill)  # a child that hangs must not hang the test
            watch.start()
            said = [child.stdout.readline() for _ in range(150 + 70 * kill)]
            child.send_signal(signal.SIGKILL)
            said += child.stdout.readlines()
            watch.cancel()
        assert child.returncode == -signal.SIGKILL
        told = max(int(line) for line in said if line.endswith(b"\n"))
        assert told >= 700
        expected |= {b"%s %d" % (boot.encode(), number) for number in range(told)}
    spool = open_spool("last", open_directory=memory if elsewhere else None)
    found = payloads_in(open_spool.directory / "q")
    assert expected <= set(found)
    assert len(found) == len(set(found)), "nothing is there twice"
    assert len(found) - len(expected) <= 4 * 7, "only the append under way at each kill may be more"
    # A kill may cut a write where its next page begins: of that append, never told, the last frame is a part of one.
    torn = list((open_spool.directory / "dead").glob("*.tail"))
    assert spool.backlog.dead.files == len(torn) <= 4
    assert all(path.stat().st_size < len(frame(b"boot0 999999")) for path in torn)
