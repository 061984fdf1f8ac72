"""The real `abside agent`, over real directories."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from abside.snapshot import Snapshot, SnapshotError, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.agent.conftest import Doc
    from tests.conftest import ConfigMapVolume

PATIENCE_SECONDS = 30.0  # on a busy machine; a quiet one takes 0.5 s from an edit to the file, and the tests print it
IDLE_BYTES = 25 * 2**20


@contextmanager
def agent(*options: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, **variables}  # noqa: TID251 a child's own, made from ours
    process = subprocess.Popen([sys.executable, "-m", "abside", "agent", *options], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def await_snapshot(path: Path, holds: Callable[[Snapshot], bool], seconds: float = PATIENCE_SECONDS) -> float:
    """Wait for this state of the file; return how long it took."""
    begun, judged = time.monotonic(), b""
    while time.monotonic() - begun < seconds:
        try:
            data = path.read_bytes()
            if data != judged and holds(decode(data)):
                return time.monotonic() - begun
            judged = data
        except (FileNotFoundError, SnapshotError):
            pass
        time.sleep(0.02)
    raise AssertionError(f"not in force after {seconds} s: {path.exists() and decode(path.read_bytes()).head}")


def traffic_of(name: str, basis_points: int) -> Callable[[Snapshot], bool]:
    def holds(snapshot: Snapshot) -> bool:
        return name in snapshot.experiments and snapshot.experiments[name].steps[0].traffic_bp == basis_points

    return holds


def resident_bytes(process: subprocess.Popen[bytes]) -> int:
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_twenty_swaps_of_a_volume_and_the_last_one_is_in_force(
    configmap_volume: Callable[[str], ConfigMapVolume], tmp_path: Path, doc: type[Doc]
) -> None:
    volume, snapshot = configmap_volume("config"), tmp_path / "snapshot"
    volume.swap({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    with agent("--config", str(volume.path), "--snapshot", str(snapshot)) as process:
        await_snapshot(snapshot, lambda found: "x" in found.experiments)
        for percent in range(1, 21):
            time.sleep(0.3)
            volume.swap({"g.yaml": doc.GROUND, "x.yaml": doc.one("x", traffic=f"{percent}%")})
        took = await_snapshot(snapshot, traffic_of("x", 2000))
        again = 0.0
        for percent in (30, 40, 50):  # none stuck after the storm either
            volume.swap({"g.yaml": doc.GROUND, "x.yaml": doc.one("x", traffic=f"{percent}%")})
            again = max(again, await_snapshot(snapshot, traffic_of("x", percent * 100)))
        assert process.poll() is None
    print(f"last of twenty swaps in force after {took:.2f} s, a single one after {again:.2f} s")


def test_edits_of_plain_files_and_of_the_paused_directory_take_effect(tmp_path: Path, doc: type[Doc]) -> None:
    config, paused, snapshot = tmp_path / "config", tmp_path / "paused", tmp_path / "snapshot"
    config.mkdir()
    paused.mkdir()
    (config / "g.yaml").write_text(doc.GROUND)
    (config / "x.yaml").write_text(doc.one("x"))
    options = ("--config", str(config), "--paused", str(paused), "--snapshot", str(snapshot))
    with agent(*options):
        await_snapshot(snapshot, lambda found: "x" in found.experiments)
        (config / "x.yaml").write_text(doc.one("x", traffic="5%"))
        edited = await_snapshot(snapshot, traffic_of("x", 500))
        (paused / "x").write_text("carts broken")
        stopped = await_snapshot(snapshot, lambda found: found.experiments["x"].pause == "carts broken")
        (paused / "x").unlink()
        resumed = await_snapshot(snapshot, lambda found: found.experiments["x"].pause is None)
    print(f"edit {edited:.2f} s, pause {stopped:.2f} s, resume {resumed:.2f} s")


def test_it_waits_for_a_directory_follows_one_that_is_replaced_and_stops_when_told(
    tmp_path: Path, doc: type[Doc]
) -> None:
    config, snapshot = tmp_path / "config", tmp_path / "out" / "snapshot"
    with agent("--config", str(config), "--snapshot", str(snapshot)) as process:
        config.mkdir()
        (config / "g.yaml").write_text(doc.GROUND + doc.one("x"))
        await_snapshot(snapshot, lambda found: not found.head.degraded)
        config.rename(tmp_path / "old")
        await_snapshot(snapshot, lambda found: found.head.degraded and "x" in found.experiments)
        config.mkdir()
        (config / "g.yaml").write_text(doc.GROUND + doc.one("x", traffic="5%"))
        await_snapshot(snapshot, lambda found: not found.head.degraded and traffic_of("x", 500)(found))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


HOSTILE = {
    "billion laughs": b"a: &a [x, x]\n" + b"".join(b"k%d: &k%d [%s]\n" % (i, i, b"*a, " * 9) for i in range(9)),
    "five megabytes": b"a: b\n" * 1_000_000,
    "deep": b"[" * 1_000_000,
    "tabs": b"experiments:\n\tx: {}\n",
    "binary": bytes(range(256)) * 1000,
    "many values": b"a: [" + b"1," * 400_000 + b"]",
    "not utf-8": "hypothesis: für alle".encode("latin-1"),
    "empty": b"",
}


def test_hostile_files_cost_neither_the_process_nor_the_last_good(tmp_path: Path, doc: type[Doc]) -> None:
    config, snapshot = tmp_path / "config", tmp_path / "snapshot"
    config.mkdir()
    drafts = [doc.experiment(f"e{number}", status="draft") for number in range(100)]
    (config / "g.yaml").write_text(doc.GROUND + doc.experiments(*drafts))
    (config / "x.yaml").write_text(doc.one("x"))
    # As in the image, where all is compiled: what compiling leaves on the heap is no part of an idle agent.
    compiled = {"PYTHONPYCACHEPREFIX": str(tmp_path / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
    options = ("--config", str(config), "--snapshot", str(snapshot))
    with agent(*options, "--once", **compiled) as process:
        assert process.wait(PATIENCE_SECONDS) == 0
    with agent(*options, **compiled) as process:
        await_snapshot(snapshot, lambda found: "x" in found.experiments)
        took = {}
        for name, content in HOSTILE.items():
            (config / "x.yaml").write_bytes(content)
            took[name] = await_snapshot(snapshot, lambda found: found.head.degraded and len(found.experiments) == 101)
            (config / "x.yaml").write_text(doc.one("x"))
            await_snapshot(snapshot, lambda found: not found.head.degraded)
        assert process.poll() is None
        resident = resident_bytes(process)
    print({name: f"{seconds:.2f} s" for name, seconds in took.items()}, f"idle afterwards: {resident / 2**20:.1f} MiB")
    assert resident <= IDLE_BYTES


@pytest.mark.parametrize(
    ("text", "code", "published"),
    [("", 0, True), ("traffic: 5", 1, True), ("\t", 1, True)],
)
def test_once_says_by_its_exit_code_whether_anything_was_rejected(
    text: str, code: int, published: bool, tmp_path: Path, doc: type[Doc]
) -> None:
    (tmp_path / "g.yaml").write_text(doc.GROUND)
    (tmp_path / "x.yaml").write_text(doc.one("x") + text)
    snapshot = tmp_path / "out" / "snapshot"
    with agent("--config", str(tmp_path), "--snapshot", str(snapshot), "--once") as process:
        assert process.wait(PATIENCE_SECONDS) == code
    assert snapshot.exists() == published


def test_once_says_the_revision_also_where_nothing_changed(
    tmp_path: Path, doc: type[Doc], capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "g.yaml").write_text(doc.GROUND)
    content = []
    for _ in range(2):
        options = ("--config", str(tmp_path / "config"), "--snapshot", str(tmp_path / "snapshot"), "--once")
        with agent(*options) as process:
            assert process.wait(PATIENCE_SECONDS) == 0
        content += re.findall(r" (published|unchanged) revision=(\w+)", capfd.readouterr().err)
    assert [what for what, _ in content] == ["published", "unchanged"]
    assert content[0][1] == content[1][1]


def test_once_with_nothing_to_read_publishes_nothing_and_fails(tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    with agent("--config", str(tmp_path / "missing"), "--snapshot", str(snapshot), "--once") as process:
        assert process.wait(PATIENCE_SECONDS) == 1
    assert not snapshot.exists()


def test_an_agent_killed_in_the_middle_leaves_a_whole_snapshot(tmp_path: Path, doc: type[Doc]) -> None:
    config, snapshot = tmp_path / "config", tmp_path / "out" / "snapshot"
    config.mkdir()
    (config / "g.yaml").write_text(doc.GROUND)
    for percent in range(1, 6):
        (config / "x.yaml").write_text(doc.one("x", traffic=f"{percent}%"))
        with agent("--config", str(config), "--snapshot", str(snapshot)):
            await_snapshot(snapshot, traffic_of("x", percent * 100))
    assert [entry.name for entry in snapshot.parent.iterdir()] == ["snapshot"]


def test_a_file_whose_name_is_not_utf8_beside_documents_stops_nothing(tmp_path: Path, doc: type[Doc]) -> None:
    config = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    config.mkdir()
    snapshot = tmp_path / "snapshot"
    (config / "g.yaml").write_text(doc.GROUND)
    (config / "x.yaml").write_text(doc.one("x"))
    with agent("--config", str(config), "--snapshot", str(snapshot)) as process:
        await_snapshot(snapshot, lambda found: "x" in found.experiments)
        Path(os.fsdecode(os.fsencode(config) + b"/.caf\xe9.swp")).touch()
        for percent in (30, 40):
            (config / "x.yaml").write_text(doc.one("x", traffic=f"{percent}%"))
            await_snapshot(snapshot, traffic_of("x", percent * 100))
        assert process.poll() is None
    with agent("--config", str(config), "--snapshot", str(snapshot), "--once") as process:
        assert process.wait(PATIENCE_SECONDS) == 0
