"""Slots and layer are membership: they change under a running experiment, and whoever stays keeps the variant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from abside.assignment.plan import build_plans
from abside.assignment.unit import Subject
from abside_agent.document.parse import parse
from abside_agent.document.reading import File, Reading
from abside_agent.rules.transition import transitions
from abside_agent.settle.settle import settle

if TYPE_CHECKING:
    from tests.agent.conftest import Doc

    from abside.snapshot import Problem, Snapshot

NOW = 1_795_000_000_000_000  # 2026-11-18T12:26:40Z
UNITS = 2_000  # the same over 200,000: python -m tests.agent.commands.edit.test_second_experiment


def snapshot(text: str) -> Snapshot:
    settled = settle(Reading((File("f.yaml", text.encode()),)), None, NOW)
    assert settled.snapshot is not None
    assert not [problem for problem in settled.problems if problem.severity == "error"]
    return settled.snapshot


def told(old: str, new: str) -> list[Problem]:
    return transitions(snapshot(old), snapshot(new), NOW, [parse("f.yaml", new.encode())])


def world(doc: type[Doc], *experiments: str) -> str:
    return doc.GROUND.replace("ranking: {}", "{ranking: {}, other: {}}") + doc.experiments(*experiments)


def placed(doc: type[Doc], slots: str | None, layer: str | None = "ranking", name: str = "x", **more: Any) -> str:
    return doc.experiment(name, slots=slots, layer=layer if slots else None, **{"traffic": "20%", **more})


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ((None,), ("0%-50%",), "from no layer to 0%-50% of ranking: 50 % of its units leave, nobody joins"),
        (("0%-50%",), (None,), "to no layer: nobody leaves, 50 % of those in it then are new"),
        (("0%-50%",), ("0%-25%",), "50 % of its units leave, nobody joins"),
        (("0%-25%",), ("0%-50%",), "nobody leaves, 50 % of those in it then are new"),
        (("0%-50%",), ("25%-75%",), "50 % of its units leave, 50 % of those in it then are new"),
        (("0%-50%",), ("50%-100%",), "all of its units leave, all of those in it then are new"),
        (("0%-50%",), ("0%-50%", "other"), "50 % of its units leave, 50 % of those in it then are new"),
    ],
)
@pytest.mark.parametrize("status", ["running", "paused"])
def test_slots_and_layer_may_change_and_the_warning_counts_who_joins_and_leaves(
    was: tuple[str, ...], now: tuple[str, ...], said: str, status: str, doc: type[Doc]
) -> None:
    old, new = (world(doc, placed(doc, *place, status=status)) for place in (was, now))
    (problem,) = told(old, new)
    assert (problem.severity, problem.code) == ("warning", "MEMBERSHIP_CHANGED")
    assert said in problem.message
    if now[0]:
        assert new.splitlines()[problem.line - 1][problem.column - 1 :].startswith(problem.path.rpartition(".")[2])
    shares = variants(old, new, "x")
    assert shares["switched"] == 0
    for share, words in (
        () if status == "paused" else ((shares["left"], "nobody leaves"), (shares["joined"], "nobody joins"))
    ):
        assert (share == 0) == (words in problem.message)


def variants(old: str, new: str, name: str) -> dict[str, int]:
    """Assign units before and after, and count those that leave, join and switch."""
    was, now = (build_plans(snapshot(text), NOW).placements["pdp"] for text in (old, new))
    counts = {"left": 0, "joined": 0, "switched": 0}
    for number in range(UNITS):
        subject = Subject(f"u{number}", None, {}, "pdp")
        before, after = (
            next((one.variant for one in plan.assign(subject).assignments if one.experiment == name), None)
            for plan in (was, now)
        )
        counts["left"] += before is not None and after is None
        counts["joined"] += before is None and after is not None
        counts["switched"] += before is not None and after is not None and before != after
    return counts


def test_what_is_over_or_never_began_changes_its_slots_without_a_word(doc: type[Doc]) -> None:
    for fields in ({"status": "draft"}, {"status": "ended"}, {"start": '"2027-01-01T00:00:00Z"'}):
        old, new = (world(doc, placed(doc, slots, **fields)) for slots in ("0%-50%", "0%-20%"))
        assert told(old, new) == []


def carried(old: str, new: str) -> list[tuple[str, str]]:
    return [(one.path, one.message) for one in told(old, new) if one.code == "CARRY_OVER"]


def test_units_that_go_straight_from_one_experiment_to_another_are_a_warning(doc: type[Doc]) -> None:
    other = doc.setting("count")
    draft = placed(doc, None, name="y", status="draft", variants=other)
    second = placed(doc, "50%-100%", name="y", variants=other)
    said = "its slots were those of x: up to 20 % of the units there come straight from it"
    assert carried(world(doc, placed(doc, None), draft), world(doc, placed(doc, "0%-50%"), second)) == [
        ("experiments.y.slots", said)
    ]
    full = placed(doc, "0%-100%")
    assert carried(world(doc, full), world(doc, placed(doc, "0%-50%"), second)) == [("experiments.y.slots", said)]
    ended = placed(doc, "0%-100%", status="ended")
    assert carried(world(doc, full), world(doc, ended, second)) == [("experiments.y.slots", said)]
    swapped = (placed(doc, "50%-100%"), placed(doc, "0%-50%", name="y", variants=other))
    assert len(carried(world(doc, placed(doc, "0%-50%"), second), world(doc, *swapped))) == 2


def test_slots_that_were_free_and_another_layer_carry_nothing_over(doc: type[Doc]) -> None:
    other = doc.setting("count")
    half = placed(doc, "0%-50%")
    for second in ("50%-100%", None):
        assert carried(world(doc, half), world(doc, half, placed(doc, second, name="y", variants=other))) == []
    elsewhere = placed(doc, "0%-100%", "other", name="y", variants=other)
    assert carried(world(doc, half), world(doc, placed(doc, "0%-20%"), elsewhere)) == []
    nobody = placed(doc, "0%-100%", traffic="0%")
    second = placed(doc, "50%-100%", name="y", variants=other)
    assert carried(world(doc, nobody), world(doc, half, second)) == []
    draft = placed(doc, "50%-100%", name="y", variants=other, status="draft")
    assert carried(world(doc, placed(doc, "0%-100%")), world(doc, half, draft)) == []
