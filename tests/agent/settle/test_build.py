"""What no sidecar could build is never published: it keeps its last good, and the rest comes into force."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from abside.assignment.plan import build_plans
from abside.snapshot import Experiment, Placement, Variant, assemble, decode, encode
from abside_agent.document.reading import File, Reading
from abside_agent.run.child.exchange import ChildReply, Order
from abside_agent.run.child.inside import answer
from abside_agent.settle import check as checking
from abside_agent.settle.build import TOGETHER, unbuildable
from abside_agent.settle.resolve import resolve
from abside_agent.settle.settle import refusal_of

if TYPE_CHECKING:
    from tests.agent.conftest import Doc

NOW_US = 1_795_000_000_000_000
WHOLE = (Variant("control", 0, 10_000),)
SOUND = Experiment("sound", "S", "H", "running", ("pdp",), WHOLE, "control", source="f.yaml")
PDP = Placement("pdp", {"model": "a"}, source="f.yaml")
BAD: dict[str, dict[str, Any]] = {
    "no variants": {"variants": ()},
    "a gap between variants": {"variants": (Variant("control", 0, 4000), Variant("b", 5000, 10_000))},
    "too little weight": {"variants": (Variant("control", 0, 9000),)},
    "a condition of another shape": {"eligibility": ({"attribute": "country"},)},
    "an op nobody knows": {"eligibility": ({"attribute": "country", "type": "string", "op": "like", "value": "x"},)},
    "nobody's variant forced": {"force": {"u1": "gone"}},
    "slots without a layer": {"slots": (0, 5000)},
    "an integer no reader has": {"analysis": {"planned_units": 2**70}},
    "text that is none": {"variants": (Variant("control", 0, 10_000, {"pdp": {"model": "\ud800"}}),)},
    "steps of another shape": {"steps": ("now",)},
}


def bad(**fields: Any) -> Experiment:
    return replace(SOUND, id="bad", **fields)


@pytest.mark.parametrize("fields", BAD.values(), ids=BAD)
def test_the_one_that_cannot_be_built_is_named_and_no_other(fields: dict[str, Any]) -> None:
    found = unbuildable({}, [PDP, SOUND, bad(**fields)])
    assert set(found) == {("experiments", "bad")}
    assert all(found.values())
    assert not unbuildable({}, [PDP, SOUND])


def test_a_placement_that_cannot_be_built_is_named() -> None:
    assert set(unbuildable({}, [replace(PDP, parameters={"model": 2**70}), SOUND])) == {("placements", "pdp")}


def test_records_that_only_together_are_too_many_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abside.snapshot.file.MAX_SNAPSHOT_BYTES", 600)
    many = [replace(PDP, id=f"p{number}", parameters={"text": "x" * 100}) for number in range(5)]
    assert set(unbuildable({}, [*many])) == {TOGETHER}


@pytest.mark.parametrize("fields", BAD.values(), ids=BAD)
def test_a_new_version_that_passes_every_rule_and_cannot_be_built_keeps_its_last_good(
    fields: dict[str, Any], doc: type[Doc]
) -> None:
    """No document is known that does; so a rule is left out here by spoiling what the rules have passed."""
    text = doc.GROUND + doc.experiments(doc.experiment("bad"), doc.experiment("sound", variants=doc.setting("count")))
    checked = checking.check([File("f.yaml", text.encode())])
    spoilt = [
        replace(one, record=replace(one.record, **fields)) if one.id == "bad" else one for one in checked.candidates
    ]
    last = assemble({}, [PDP, replace(SOUND, id="bad", name="of before")], written_at_us=0)
    resolved = resolve(replace(checked, candidates=spoilt), last)
    new = resolve(replace(checked, candidates=spoilt), None)
    assert resolved.experiments["bad"].name == "of before"
    assert resolved.held["experiments.bad"] == "last good"
    assert set(new.experiments) == set(resolved.experiments) - {"bad"} == {"sound"}
    assert any(one.problem.path.startswith("experiments.bad") for one in resolved.flaws)


def test_what_only_together_cannot_be_taken_refuses_the_whole(monkeypatch: pytest.MonkeyPatch, doc: type[Doc]) -> None:
    monkeypatch.setattr("abside.snapshot.file.MAX_SNAPSHOT_BYTES", 700)
    file = File("f.yaml", (doc.GROUND + doc.one("x")).encode())
    checked = checking.check([file])
    refusal = refusal_of(Reading((file,)), checked, resolve(checked, None), None)
    assert refusal is not None
    assert refusal.problem.code == "UNBUILDABLE"


def ordered(text: str, last: bytes, pauses: dict[str, str] | None = None) -> ChildReply:
    reading = Reading((File("f.yaml", text.encode()),), paused={"paused": pauses or {}})
    return answer(Order(reading.pack(), last, NOW_US, 10, 2**30))


@pytest.mark.parametrize(
    "text", ["experiments: {bad: {variants: }}\n", "placements: [", ""], ids=["", "broken", "empty"]
)
def test_one_that_an_agent_of_before_published_leaves_and_a_pause_gets_through(text: str, doc: type[Doc]) -> None:
    empty = replace(SOUND, id="bad", variants=())
    last = encode(assemble({}, [PDP, SOUND, empty], written_at_us=0))
    kept = "experiments: {sound: {status: }}\n"
    whole = doc.GROUND + "experiments:\n  bad: {variants: }\n  sound: {status: }\n" if "bad" in text else text or kept
    outcome = ordered(whole, last, {"sound": "carts broken"})
    published = decode(outcome.snapshot)
    assert set(published.experiments) == {"sound"}
    assert published.experiments["sound"].pause == "carts broken"
    assert {one.path for one in outcome.problems if one.code == "UNBUILDABLE"} == {"experiments.bad"}
    assert published.head.degraded
    assert build_plans(published, NOW_US).evaluators
