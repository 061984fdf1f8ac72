from __future__ import annotations

import os
from pathlib import Path
from threading import Event, Thread, Timer
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from abside_agent.document.reading import MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, Reading
from abside_agent.sources.mounted import Mounted, labels, mount_points, read_keys
from abside_agent.watch.hints import Hints

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import ConfigMapVolume


def contents(reading: Reading) -> dict[str, bytes]:
    return {file.name: file.data for file in reading.files}


def test_the_keys_of_a_volume_are_read_behind_its_link(configmap_volume: Callable[[str], ConfigMapVolume]) -> None:
    volume = configmap_volume("config")
    volume.swap({"a.yaml": "a", "b.yaml": "b", "notes.txt": "no document"})
    source = Mounted((str(volume.path),))
    assert contents(source.read()) == {"a.yaml": b"a", "b.yaml": b"b"}
    assert source.is_atomic
    volume.swap({"b.yaml": "B"})
    assert contents(source.read()) == {"b.yaml": b"B"}


def test_a_plain_directory_is_read_alike(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a")
    (tmp_path / ".hidden.yaml").write_text("no")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.yaml").write_text("no")
    source = Mounted((str(tmp_path),))
    assert contents(source.read()) == {"a.yaml": b"a"}
    assert not source.is_atomic


def test_keys_are_of_one_moment_however_fast_the_volume_swaps(
    configmap_volume: Callable[[str], ConfigMapVolume],
) -> None:
    volume = configmap_volume("config")
    volume.swap({f"{name}.yaml": "0" for name in "abcdef"})
    stop = Event()

    def swap_all_the_time() -> None:
        for number in range(100_000):
            if stop.is_set():
                return
            volume.swap({f"{name}.yaml": str(number) for name in "abcdef"})

    swapping = Thread(target=swap_all_the_time)
    swapping.start()
    try:
        for _ in range(200):
            values = {
                data for data, refusal in read_keys(str(volume.path), lambda _: True, 100).values() if not refusal
            }
            assert len(values) <= 1
    finally:
        stop.set()
        swapping.join()


def test_several_directories_give_their_files_distinct_names(tmp_path: Path) -> None:
    for directory in ("team-a/config", "team-b/config"):
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / "x.yaml").write_text(directory)
    source = Mounted((str(tmp_path / "team-a/config"), str(tmp_path / "team-b/config")))
    assert set(contents(source.read())) == {"team-a/config/x.yaml", "team-b/config/x.yaml"}
    assert labels(("/a/one", "/b/two")) == ["one", "two"]
    assert labels(("/a/one",)) == [""]


def test_a_missing_and_an_empty_directory_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    reading = Mounted((str(tmp_path / "empty"), str(tmp_path / "missing"))).read()
    assert [(lost.prefix, lost.refusal) for lost in reading.lost] == [
        ("empty/", ""),
        ("missing/", "No such file or directory"),
    ]


def test_what_cannot_be_read_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    (tmp_path / "directory.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "device.yaml").symlink_to("/dev/zero")
    (tmp_path / "broken.yaml").symlink_to("nowhere")
    (tmp_path / "good.yaml").write_text("a")
    files = {file.name: file for file in Mounted((str(tmp_path),)).read().files}
    assert {name for name, file in files.items() if file.refusal} == set(files) - {"good.yaml"}
    assert len(files) == 5


def test_a_file_is_read_up_to_its_bound_and_all_files_up_to_theirs(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"#" * (2 * MAX_FILE_BYTES))
    files = Mounted((str(tmp_path),)).read().files
    assert [len(file.data) for file in files] == [MAX_FILE_BYTES + 1]
    for number in range(MAX_TOTAL_BYTES // MAX_FILE_BYTES + 1):
        (tmp_path / f"{number}.yaml").write_bytes(b"#" * MAX_FILE_BYTES)
    files = Mounted((str(tmp_path),)).read().files
    assert sum(len(file.data) for file in files) <= MAX_TOTAL_BYTES
    assert any("MiB of documents" in file.refusal for file in files)


def test_more_files_than_anybody_keeps_are_refused(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 1):
        (tmp_path / f"{number:05}.yaml").write_text("a")
    files = Mounted((str(tmp_path),)).read().files
    assert [file.name for file in files if file.refusal] == [f"{MAX_FILES:05}.yaml"]


def test_names_that_nobody_reads_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a")
    (tmp_path / "b.yml").write_text("b")
    (tmp_path / "C.YAML").write_text("c")
    problems = Mounted((str(tmp_path),)).read().problems
    assert [(p.file, p.code, p.severity, p.remedy) for p in problems] == [
        ("C.YAML", "FILE_NAME", "warning", "rename it to C.yaml"),
        ("b.yml", "FILE_NAME", "warning", "rename it to b.yaml"),
    ]


def test_a_file_mounted_by_sub_path_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "with blank"
    path.mkdir()
    (path / "a.yaml").write_text("a")
    line = f"36 35 98:0 /x {str(path).replace(' ', chr(92) + '040')}/a.yaml rw,noatime master:1 - ext4 /dev/root rw\n"
    (problem,) = Mounted((str(path),), mounts=mount_points(line)).read().problems
    assert (problem.code, problem.file) == ("SUBPATH", "a.yaml")


def test_every_key_of_the_paused_directory_pauses_whatever_its_form(
    configmap_volume: Callable[[str], ConfigMapVolume], tmp_path: Path
) -> None:
    volume = configmap_volume("paused")
    volume.swap({"x": "carts broken\n", "y": "", "z": b"\xff\xfe!", "long": "w" * 5000, "all": " fire "})
    (volume.path / "folder").mkdir()
    reading = Mounted((str(tmp_path),), (str(volume.path),)).read()
    assert reading.pauses == {"x": "carts broken", "y": "", "z": "��!", "long": "w" * 1024, "all": "fire"}
    assert list(reading.paused) == ["paused"]
    assert not reading.keeps_pauses


def test_names_that_are_not_utf8_are_read_too_and_stay_apart(tmp_path: Path) -> None:
    for name, content in ((b"/\xff.yaml", "a"), (b"/\xfe.yaml", "b")):
        Path(os.fsdecode(os.fsencode(tmp_path) + name)).write_text(content)
    reading = Mounted((str(tmp_path),), (str(tmp_path),)).read()
    assert contents(Reading.unpack(reading.pack())) == {"\\xff.yaml": b"a", "\\xfe.yaml": b"b"}


def test_directories_whose_names_are_not_utf8_are_shown_in_ascii(tmp_path: Path) -> None:
    odd = [os.fsdecode(os.fsencode(tmp_path) + name) for name in (b"/\xff", b"/\xfe")]
    for directory in odd:
        Path(directory).mkdir()
    for config, paused in (((odd[0],), (odd[1],)), (tuple(odd), tuple(odd))):
        reading = Reading.unpack(Mounted(config, paused).read().pack())
        assert [lost.directory for lost in reading.lost] == [f"{tmp_path}/\\xff", f"{tmp_path}/\\xfe"][: len(config)]
        assert list(reading.paused) == ["\\xff", "\\xfe"][-len(paused) :]


def test_a_watch_that_breaks_ends_and_waiting_goes_on_without_events(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stop = Event()
    hints = Hints((str(tmp_path),), stop)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/.caf\xe9.swp")).touch()
    for _ in range(3):
        hints.wait(0.2)
    assert [record.message.split()[0] for record in caplog.records] == ["events_unavailable"]
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).mkdir()
    Hints((os.fsdecode(os.fsencode(tmp_path) + b"/\xff"),), stop).wait(0.01)


def test_pauses_stay_while_their_directory_is_gone_and_go_when_it_is_empty(tmp_path: Path) -> None:
    paused = tmp_path / "paused"
    paused.mkdir()
    (paused / "x").write_text("stop")
    source = Mounted((str(tmp_path),), (str(paused),))
    assert source.read().pauses == {"x": "stop"}
    paused.rename(tmp_path / "away")
    reading = source.read()
    assert reading.pauses == {"x": "stop"}
    assert [problem.code for problem in reading.problems] == ["PAUSED_DIRECTORY"]
    assert Mounted((str(tmp_path),), (str(paused),)).read().keeps_pauses, "a new agent asks its last snapshot"
    paused.mkdir()
    assert source.read().pauses == {}


def test_one_pause_in_two_directories_has_both_reasons(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(f"reason {name}")
    reading = Mounted((str(tmp_path),), (str(tmp_path / "one"), str(tmp_path / "two"))).read()
    assert reading.pauses == {"x": "reason one; reason two"}


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), RuntimeError("inotify")])
def test_without_events_waiting_still_ends_and_one_line_says_so(
    error: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun = []

    def refuse(directories: list[str]) -> None:
        begun.append(directories)
        raise error

    hints = Hints((str(tmp_path / "a"),), Event(), refuse)  # type: ignore[arg-type]
    for _ in range(3):
        (tmp_path / "a").mkdir()
        hints.wait(0.01)
        (tmp_path / "a").rmdir()
        hints.wait(0.01)
    assert begun
    assert [record.message.split()[0] for record in caplog.records] == ["events_unavailable"]


def test_an_event_or_a_stop_ends_a_wait(tmp_path: Path) -> None:
    stop = Event()
    hints = Hints((str(tmp_path / "later"),), stop)
    (tmp_path / "later").mkdir()
    changing = Timer(0.3, (tmp_path / "later" / "x.yaml").write_text, ["a"])
    changing.start()
    begun = monotonic()
    hints.wait(60)
    stopping = Timer(0.3, stop.set)
    stopping.start()
    while not stop.is_set():  # one write may be more than one event
        hints.wait(60)
    assert monotonic() - begun < 30
    hints.close()
    changing.join()
    stopping.join()
