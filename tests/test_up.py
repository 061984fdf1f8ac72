"""`abside up` over real processes: one per folder, on free addresses, its three restarted, none left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from abside.child import FAILED, QUICK_DEATHS, USAGE, CannotRun
from abside.up import check_extras


@dataclass
class Up:
    """One `abside up`, its output, and its addresses."""

    process: subprocess.Popen[bytes]
    folder: Path
    listen: str
    collect: str

    @property
    def output(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def logged(self) -> str:
        return (self.folder / "err").read_text()

    def ended(self) -> int:
        return self.process.wait(60)

    def children(self) -> dict[str, int]:
        """Return role → pid of the processes below it."""
        found = {}
        for pid in below(self.process.pid):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            found[words[words.index(b"abside") + 1].decode()] = pid
        return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Start one in the test's folder, on free addresses; arguments that follow win over them."""
    running: list[Up] = []

    def begin(*arguments: str, wait: bool = True) -> Up:
        listen, admin, collect = free_addresses(3)
        folder = tmp_path / f"run{len(running)}"
        folder.mkdir()
        command = [sys.executable, "-m", "abside", "up", "--dir", str(tmp_path / "home"), "--listen", listen]
        command += ["--admin", admin, "--collect", collect, *arguments]
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=err, preexec_fn=reset_hangups)  # noqa: PLW1509 no thread runs here
            up = Up(process, folder, listen, collect)
        running.append(up)
        if wait:
            until(lambda: "Ctrl-C stops it" in up.output, up)
        return up

    yield begin
    for up in running:
        if up.process.poll() is None:
            up.process.terminate()
            up.ended()


def reset_hangups() -> None:
    """Undo what a child inherits from nohup: signals that its parent ignores."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def free_addresses(count: int) -> list[str]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in held]
    for one in held:
        one.close()
    return addresses


def below(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


Found = TypeVar("Found")


def until(holds: Callable[[], Found | None], up: Up, seconds: float = 60.0) -> Found:
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = holds()
        except (OSError, ValueError):
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, up.logged
        time.sleep(0.02)


def assign(up: Up, **fields: Any) -> dict[str, Any]:
    body = json.dumps({"placement": "pdp", "user_id": "u3", **fields}).encode()
    request = urllib.request.Request(f"http://{up.listen}/v1/assign", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        document: dict[str, Any] = json.load(answer)
        return document


def kill(up: Up, role: str) -> None:
    """Kill one of the three and wait until that is logged and another runs."""
    pid = up.children()[role]
    os.kill(pid, signal.SIGKILL)
    until(lambda: f"{role} died (code -9): restarting" in up.logged, up)
    until(lambda: up.children().get(role, pid) != pid, up)


def gone(pid: int) -> bool:
    """Return whether a process ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_it_says_on_stdout_where_everything_is_and_answers_there(start: Callable[..., Up], tmp_path: Path) -> None:
    up = start("--allow-force")
    for place in (f"http://{up.listen}/v1/assign", "/home/config", "/home/paused", "/home/store", "curl -s"):
        assert place in up.output
    assert "INFO" not in up.output
    assert until(lambda: assign(up), up)["config"]["item_count"] == 12
    for variant in ("control", "treatment"):
        forced = assign(up, force={"first-experiment": variant})
        assert [one["variant"] for one in forced["assignments"]] == [variant]
    up.process.send_signal(signal.SIGHUP)
    assert up.ended() == 0, up.logged
    assert list((tmp_path / "home" / "store").rglob("*.parquet"))


def test_a_second_one_in_the_same_folder_names_the_first_and_leaves_it_alone(start: Callable[..., Up]) -> None:
    first = start()
    second = start(wait=False)
    assert second.ended() == FAILED
    sentence = f"abside up already runs here (pid {first.process.pid}): stop it, or use --dir"
    assert sentence in second.logged
    assert until(lambda: assign(first), first)["placement"] == "pdp"


def test_all_addresses_in_use_are_named_at_once_and_nothing_starts(start: Callable[..., Up], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        admin, collect = (f"127.0.0.1:{held.getsockname()[1]}" for held in (one, other))
        up = start("--admin", admin, "--collect", collect, wait=False)
        assert up.ended() == FAILED
    assert f"{admin} is in use: choose another with --admin" in up.logged
    assert f"{collect} is in use: choose another with --collect" in up.logged
    assert "--listen" not in up.logged
    assert not list((tmp_path / "home" / "store").iterdir())


def test_one_address_for_two_is_in_use(start: Callable[..., Up]) -> None:
    (shared,) = free_addresses(1)
    up = start("--listen", shared, "--collect", shared, wait=False)
    assert up.ended() == FAILED
    assert f"{shared} is in use: choose another with --collect" in up.logged


REMEDIES = {
    (
        "--config",
        "nowhere",
    ): "; put *.yaml documents there, or leave --config out: DIR/config then begins with a sample",
    ("--config", "a-file"): "; name the directory that it is in: --config .",
}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--listen", "7600"),
        ("--admin", "127.0.0.1:99999"),
        ("--collect", "127.0.0.1:0"),
        ("--collect", "203.0.113.7:7700"),  # TEST-NET-3: nobody's
        ("--config", "nowhere"),
        ("--config", "a-file"),
        ("--dir", "a-file"),
        ("--dir", "a-file/below"),
        ("--dir", "/proc/nonsense"),
        ("--dir", "x" * 300),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_its_option(
    start: Callable[..., Up], tmp_path: Path, option: str, value: str
) -> None:
    (tmp_path / "a-file").write_text("")
    up = start(option, value, wait=False)
    assert up.ended() == USAGE
    assert option in up.logged.splitlines()[-1]
    assert REMEDIES.get((option, value), "") in up.logged
    assert "Traceback" not in up.logged


def test_a_missing_extra_is_named_before_anything_starts() -> None:
    check_extras()
    with pytest.raises(CannotRun, match=r"abside\[collector\]"):
        check_extras(lambda name: None if name == "pyarrow" else name)
    with pytest.raises(CannotRun, match=r"abside\[agent,collector\]"):
        check_extras(lambda _: None)


def test_a_killed_child_is_named_at_once_and_started_again_and_no_event_is_lost(
    start: Callable[..., Up], tmp_path: Path
) -> None:
    up = start()
    kill(up, "collector")
    exposure = until(lambda: assign(up), up)["exposure_id"]  # into the spool, meanwhile
    kill(up, "agent")
    kill(up, "sidecar")
    until(lambda: assign(up), up)
    up.process.send_signal(signal.SIGTERM)
    assert up.ended() == 0, up.logged
    from abside.collector.store import scan  # noqa: PLC0415 pyarrow, for this test only

    table = scan(tmp_path / "home" / "store").to_table(columns=["type", "event_id"])
    assert exposure in [one["event_id"] for one in table.to_pylist() if one["type"] == "exposure"]


def test_a_child_that_cannot_start_ends_it_with_a_sentence(start: Callable[..., Up], tmp_path: Path) -> None:
    (tmp_path / "home" / "store" / "_LOCK").mkdir(parents=True)  # where the collector opens a file
    up = start(wait=False)
    assert up.ended() == FAILED
    assert up.logged.count("collector died (code 1): restarting") == QUICK_DEATHS - 1
    assert "giving up. Its own lines above say why" in up.logged
    assert "Traceback" not in up.logged.splitlines()[-1]


def test_a_setting_that_a_child_does_not_take_ends_it_at_once(
    start: Callable[..., Up], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABSIDE_MAX_CONNECTIONS", "0")
    up = start(wait=False)
    assert up.ended() == USAGE
    assert "ABSIDE_MAX_CONNECTIONS (option --max-connections): '0' is nothing: it must be 1 or more" in up.logged
    assert "collector does not take a setting that it was given" in up.logged
    assert "restarting" not in up.logged


def test_kill_9_leaves_no_orphan_and_the_folder_free(start: Callable[..., Up]) -> None:
    up = start()
    children = up.children()
    assert children.keys() == {"collector", "agent", "sidecar"}
    up.process.kill()
    up.ended()
    until(lambda: all(gone(pid) for pid in children.values()), up)
    again = start("--listen", up.listen, "--collect", up.collect)
    again.listen = up.listen
    assert until(lambda: assign(again), again)["placement"] == "pdp"
