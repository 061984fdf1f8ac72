"""Several sources of documents, as several teams have: the earlier one wins, on old pods as on new ones."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from abside_agent.document.reading import Reading
from abside_agent.settle.settle import settle
from abside_agent.sources.mounted import Mounted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.conftest import Doc, Pod

    from abside.snapshot import Snapshot

Files = dict[str, str]
ORDER = ("ground/", "a/", "b/")
FIRST, SECOND = "a/x.yaml", "b/y.yaml"


def settled(make_pod: type[Pod], before: Files, after: Files) -> tuple[Snapshot, set[str]]:
    """Return what is in force after a change, the same on a pod that ran before it and on a new one; and the codes."""
    old, new = make_pod(), make_pod()
    old.publishes(before, order=ORDER)
    ran, begun = old.publishes(after, order=ORDER), new.publishes(after, order=ORDER)
    assert ran.head.revision == begun.head.revision, (list(ran.experiments), list(begun.experiments))
    assert (ran.head.degraded, begun.head.degraded) == (True, True)
    assert old.codes == new.codes
    return begun, new.codes


@pytest.fixture
def clashes(doc: type[Doc]) -> dict[str, tuple[str, str]]:
    """Return what two teams write that cannot both be in force: each is good alone."""
    slots = {"layer": "ranking", "slots": "0%-60%"}
    return {
        "RETIRED": (doc.one("x"), "retired: [x]\n" + doc.one("z", variants=doc.setting("count"))),
        "DUPLICATE_ID": (doc.one("x"), doc.one("x", variants=doc.setting("count"))),
        "SLOTS_OVERLAP": (
            doc.one("x", **slots),
            doc.one("y", layer="ranking", slots="40%-100%", variants=doc.setting("count")),
        ),
        "LAYER_UNIT": (
            doc.one("x", **slots),
            doc.one("y", layer="ranking", slots="60%-100%", unit="session", variants=doc.setting("count")),
        ),
        "PARAMETER_CONFLICT": (doc.one("x"), doc.one("y", variants=doc.setting("model", "v3"))),
    }


CODES = ["RETIRED", "DUPLICATE_ID", "SLOTS_OVERLAP", "LAYER_UNIT", "PARAMETER_CONFLICT"]


@pytest.mark.parametrize("code", CODES)
def test_another_team_takes_no_running_experiment_of_an_earlier_source_away(
    code: str, clashes: dict[str, tuple[str, str]], make_pod: type[Pod], doc: type[Doc]
) -> None:
    ours, theirs = clashes[code]
    running = {"ground/g.yaml": doc.GROUND, FIRST: ours}
    force, codes = settled(make_pod, running, {**running, SECOND: theirs})
    assert force.experiments["x"].source == FIRST
    assert codes == {code}
    assert force.head.problems[0].file == SECOND  # told to whom must change something


@pytest.mark.parametrize("code", CODES)
def test_an_earlier_source_wins_on_every_pod_alike(
    code: str, clashes: dict[str, tuple[str, str]], make_pod: type[Pod], doc: type[Doc]
) -> None:
    ours, theirs = clashes[code]
    running = {"ground/g.yaml": doc.GROUND, SECOND: ours}
    force, codes = settled(make_pod, running, {**running, FIRST: theirs})
    assert {one.source for one in force.experiments.values()} == {FIRST}
    assert codes == {code}


@pytest.mark.parametrize("mine", [FIRST, SECOND])
def test_of_a_placement_in_two_sources_the_earlier_one_counts(mine: str, make_pod: type[Pod], doc: type[Doc]) -> None:
    own = "placements:\n  own: {parameters: {model: v1, count: 1}}\n"
    other = "placements:\n  own: {parameters: {model: w1}}\n"
    uses = doc.one("x", placements="[own]", variants=doc.setting("count", "2", "own"))
    theirs = FIRST if mine == SECOND else SECOND
    other_one = doc.one("h", placements="[home]", variants=doc.setting("model", "h2", "home"))
    running = {"ground/g.yaml": doc.GROUND + other_one, mine: own + uses}
    force, codes = settled(make_pod, running, {**running, theirs: other})
    assert force.placements["own"].source == FIRST
    assert list(force.experiments) == (["h", "x"] if mine == FIRST else ["h"])
    assert "DUPLICATE_ID" in codes


def test_a_bad_entry_of_an_earlier_source_does_not_take_the_place_of_a_good_one(
    make_pod: type[Pod], doc: type[Doc]
) -> None:
    running = {"ground/g.yaml": doc.GROUND, SECOND: doc.one("x")}
    force, codes = settled(make_pod, running, {**running, FIRST: doc.one("x", variants=doc.BAD_WEIGHTS)})
    assert force.experiments["x"].source == SECOND
    assert codes == {"WEIGHTS", "DUPLICATE_ID"}


def test_who_lost_to_an_earlier_source_stands_in_nobodys_way(make_pod: type[Pod], doc: type[Doc]) -> None:
    both = "{control: {weight: 50%}, b: {weight: 50%, parameters: {pdp: {model: v9, count: 1}}}}"
    parts = {FIRST: doc.one("a"), "b/y.yaml": doc.one("y", variants=both), "b/z.yaml": doc.one("n", status="draft")}
    later = {"c/w.yaml": doc.one("w", variants=doc.setting("count"))}
    for files in permutations([*parts.items(), *later.items()]):
        pod = make_pod()
        after = pod.publishes({"ground/g.yaml": doc.GROUND, **dict(files)}, order=(*ORDER, "c/"))
        assert list(after.experiments) == ["a", "n", "w"]


def test_within_one_source_nothing_is_different(pod: Pod, doc: type[Doc]) -> None:
    files = {"a/g.yaml": doc.GROUND, "a/m.yaml": doc.one("m")}
    pod.publishes(files, order=ORDER)
    after = pod.publishes({**files, "a/b.yaml": doc.one("b")}, order=ORDER)
    assert list(after.experiments) == ["m"]
    assert pod.last.held == {"experiments.b": "none"}


def test_directories_are_the_sources_in_the_order_of_their_naming(tmp_path: Path, doc: type[Doc]) -> None:
    for name, text in (("ground", doc.GROUND), ("z", doc.one("x")), ("a", doc.one("x", traffic="2%"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f.yaml").write_text(text)
    reading = Mounted(tuple(str(tmp_path / name) for name in ("ground", "z", "a"))).read()
    assert reading.order == ("ground/", "z/", "a/")
    snapshot = settle(Reading.unpack(reading.pack()), None, 0).snapshot
    assert snapshot is not None
    assert snapshot.experiments["x"].source == "z/f.yaml"
    assert Mounted((str(tmp_path / "a"),)).read().order == ()
