"""The snapshot as calls keep it true: looked at now and then, read a little at a time, kept where it is bad."""

from __future__ import annotations

import os
import pickle
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from abside import event
from abside.client.local import Local
from abside.snapshot import FORMAT, HEADER, MAGIC, Experiment, Placement, Snapshot, Step, Variant, assemble, encode
from abside.spool.frame import good_frames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW_US = 1_795_000_000_000_000
LOOK_US, PATIENCE_US = 100_000, 250_000
ARMS = (Variant("control", 0, 1), Variant("treatment", 1, 10_000, {"pdp": {"model": "v2"}}))
ONLY = Experiment("only", "n", "h", "running", ("pdp",), ARMS, "control")


def world(*experiments: Experiment) -> Snapshot:
    records = [Placement("pdp", {"model": "v1"}), *(Placement(f"p{one}", {"rows": one}) for one in range(3))]
    return assemble({}, [*records, *experiments], written_at_us=1)


@dataclass
class Scene:
    """A client whose clock the test moves."""

    folder: Path
    now_us: int = NOW_US

    def __post_init__(self) -> None:
        (self.folder / "spool").mkdir()
        self.client = Local(self.folder / "snapshot", self.folder / "spool", wall=lambda: self.now_us)

    def publish(self, published: Snapshot | bytes) -> None:
        beside = self.folder / "beside"
        beside.write_bytes(published if isinstance(published, bytes) else encode(published))
        beside.replace(self.folder / "snapshot")

    def model(self, *, after_us: int = 0) -> object:
        self.now_us += after_us
        answer = self.client.assign("pdp", user_id="u1")
        return answer.why if answer.fallback else answer.config["model"]

    def calls_until(self, model: object) -> int:
        """Ask once a millisecond until an answer is this one; return how often."""
        for calls in range(1, PATIENCE_US // 1_000 + 3):
            if self.model(after_us=1_000) == model:
                return calls
        raise AssertionError(f"{model} is not in force after a quarter of a second")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.client.close()


def test_accounts_name_who_wrote_them_as_the_sidecars_do(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    names: Any = {"pod": "rec-0", "app": "rec", "version": "4.2", "namespace": "recs", "cluster": "eu-1"}
    with Local(tmp_path / "snapshot", tmp_path / "spool", **names) as client:
        copied = pickle.loads(pickle.dumps(client))  # noqa: S301 our own
        assert client.event("search", user_id="u1")
    assert copied.event("search", user_id="u1")
    copied.close()
    files = [path.read_bytes() for path in (tmp_path / "spool").rglob("*.seg")]
    events = [event.decode(one) for content in files for one in good_frames(content).payloads]
    assert [one["source"] for one in events if one["type"] == "account"] == [names, names]


def test_a_file_is_looked_at_ten_times_a_second_at_most(scene: Scene) -> None:
    scene.publish(world(ONLY))
    assert scene.model(after_us=LOOK_US) == "v2"
    scene.publish(world(replace(ONLY, pause="carts broken")))
    assert scene.model(after_us=LOOK_US - 1) == "v2"
    scene.calls_until("v1")


def test_a_large_file_is_read_a_little_with_each_call_and_whole_when_patience_ends(scene: Scene) -> None:
    scene.publish(world(ONLY))
    assert scene.model(after_us=LOOK_US) == "v2"
    many = [replace(ONLY, id=f"e{number}", placements=(f"p{number % 3}",)) for number in range(600)]
    scene.publish(world(replace(ONLY, pause="stop"), *(replace(one, variants=_of(one)) for one in many)))
    assert scene.model(after_us=LOOK_US) == "v2"
    assert scene.calls_until("v1") > 2
    scene.publish(world(ONLY, *(replace(one, variants=_of(one)) for one in many)))
    assert scene.model(after_us=LOOK_US) == "v1"
    assert scene.model(after_us=PATIENCE_US) == "v2"  # a process that asks rarely


def test_who_goes_on_in_the_middle_of_reading_a_pause_gets_it_too(scene: Scene) -> None:
    many = [replace(ONLY, id=f"e{number}", placements=(f"p{number % 3}",)) for number in range(600)]
    others = [replace(one, variants=_of(one)) for one in many]
    scene.publish(world(ONLY))
    assert scene.model(after_us=LOOK_US) == "v2"
    scene.publish(world(replace(ONLY, pause="stop"), *others))
    assert scene.model(after_us=LOOK_US) == "v2"  # it is being read
    child = os.fork()
    if child == 0:
        os._exit(0 if scene.model(after_us=LOOK_US + PATIENCE_US) == "v1" else 1)
    assert os.waitpid(child, 0)[1] == 0
    scene.client.close()
    assert scene.model(after_us=LOOK_US + PATIENCE_US) == "v1"


def _of(experiment: Experiment) -> tuple[Variant, ...]:
    place = experiment.placements[0]
    return Variant("control", 0, 5000), Variant("treatment", 5000, 10_000, {place: {"rows": 9}})


def test_a_change_that_is_due_comes_on_time_and_goes_with_a_clock_that_steps_back(scene: Scene) -> None:
    steps = (Step(NOW_US + 10 * LOOK_US + 5, 10_000),)
    scene.publish(world(replace(ONLY, steps=steps)))
    assert scene.model(after_us=LOOK_US) == "v1"
    assert scene.model(after_us=9 * LOOK_US + 4) == "v1"
    scene.calls_until("v2")
    scene.now_us -= 5 * LOOK_US
    scene.calls_until("v1")
    scene.now_us += 5 * LOOK_US
    scene.calls_until("v2")


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"abside",
        encode(world(ONLY))[:-5],
        b"x" * 500,
        HEADER.pack(MAGIC, FORMAT + 1, 0, bytes(32)),
    ],
    ids=["empty", "short", "truncated", "foreign", "of tomorrow"],
)
def test_a_file_that_cannot_be_used_leaves_what_there_is(scene: Scene, bad: bytes) -> None:
    scene.publish(bad)
    assert scene.model(after_us=LOOK_US) == "unavailable"
    assert "no snapshot at" in scene.client.problem
    scene.publish(world(ONLY))
    assert scene.model(after_us=LOOK_US) == "v2"
    assert scene.client.problem == ""
    scene.publish(bad)
    assert scene.model(after_us=LOOK_US) == "v2"


def test_answers_are_the_callers_own(scene: Scene) -> None:
    scene.publish(world(ONLY))
    scene.now_us += LOOK_US
    scene.client.assign("pdp", user_id="u1").config["model"] = "changed"
    assert scene.model() == "v2"


def test_a_clock_that_steps_back_seals_and_goes_on(scene: Scene) -> None:
    scene.publish(world(ONLY))
    assert scene.model(after_us=LOOK_US) == "v2"
    assert scene.model(after_us=-3_600_000_000) == "v2"
    assert scene.model(after_us=LOOK_US) == "v2"
    scene.client.close()
    (folder,) = (scene.folder / "spool" / "local").iterdir()
    assert len(list(folder.glob("*.seg"))) == 2


def test_the_first_call_that_finds_the_spool_gone_falls_back(scene: Scene) -> None:
    scene.publish(world(ONLY))
    scene.calls_until("v2")
    shutil.rmtree(scene.folder / "spool")
    assert scene.model(after_us=LOOK_US) == "unreachable"
    assert scene.client.lost == 0
    (scene.folder / "spool").mkdir()
    assert scene.model(after_us=LOOK_US) == "v2"
