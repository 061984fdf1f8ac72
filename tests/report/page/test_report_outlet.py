"""Where a form of the report may go, and what stays what it was."""

import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abside.report.command import main
from abside.report.outlet import Outlet
from abside.report.problem import NoRoom
from abside.report.settings import ReportSettings


def test_a_device_is_written_to_and_stays_one() -> None:
    before = Path("/dev/null").stat()
    Outlet.open("--json", Path("/dev/null")).write(b"{}")
    after = Path("/dev/null").stat()
    assert stat.S_ISCHR(after.st_mode)
    assert (after.st_ino, after.st_rdev) == (before.st_ino, before.st_rdev)


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    outlet = Outlet.open("--json", pipe)
    outlet.write(b"{}" * 100_000)
    reader.join()
    assert read == [b"{}" * 100_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_file_is_replaced_whole_with_its_mode_and_a_link_to_it_stays_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "out.json", tmp_path / "link"
    file.write_bytes(b"old and long")
    file.chmod(0o640)
    link.symlink_to(file)
    with file.open("rb") as reader:
        Outlet.open("--json", link).write(b"new")
        assert reader.read() == b"old and long"
    assert link.is_symlink()
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"new", 0o640)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "out.json"]


@pytest.mark.parametrize("name", ["no/such/folder.json", "", "file/below.json"])
def test_what_cannot_be_written_is_said_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NoRoom, match=r"--json: .+"):
        Outlet.open("--json", tmp_path / name)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoRoom) as refused:
        Outlet.open("--html", tmp_path / "pages" / "report.html")
    assert str(refused.value) == f"--html: {tmp_path / 'pages'}: is no directory; make it first"


def test_a_full_device_is_said_after_it(tmp_path: Path) -> None:
    with pytest.raises(NoRoom, match="No space left"):
        Outlet.open("--json", Path("/dev/full")).write(b"{}")


@pytest.fixture
def store(till: Any) -> Path:
    for number in range(4):
        till.expose(number, "treatment" if number % 2 else "control", user_id=f"u{number}")
    folder: Path = till.close()
    return folder


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_standard_output_by_any_name_has_the_json_alone(
    store: Path, config_file: Callable[..., Path], capfdbinary: pytest.CaptureFixture[bytes], name: str
) -> None:
    assert main(ReportSettings(events=store, config=(config_file(),), json=Path(name))) == 0
    out, err = capfdbinary.readouterr()
    assert json.loads(out)["experiments"][0]["experiment"] == "e"
    assert err == b""


def test_an_unwritable_place_costs_no_look_at_the_store(
    tmp_path: Path, config_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "no" / "out.json"
    assert main(ReportSettings(events=tmp_path / "no store", config=(config_file(),), json=nowhere)) == 1
    assert capsys.readouterr().err.startswith("abside report: --json: ")
