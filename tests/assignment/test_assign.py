from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from abside.assignment.assign import Evaluator, Reason, next_change_us
from abside.assignment.bucket import bucket
from abside.snapshot import Experiment, SnapshotError, Step, Variant

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.assignment.unit import Subject

NOW = 1_000_000
NOBODY = (Step(0, 0),)
ONLY_GERMANY = ({"attribute": "country", "type": "string", "op": "eq", "value": "DE"},)
# Its buckets as the vectors have them: layer 452 (salt pdp-rank-2026-11), traffic 6865, variant 7319.
ONE = "1"

# Each row makes one more question fail, and leaves those below failing too: the reason is always the first.
ORDER: list[tuple[Reason, dict[str, Any], dict[str, Any]]] = [
    ("FORCED", {"force": {ONE: "treatment"}}, {}),
    ("PAUSED", {"pause": "carts broken"}, {}),
    ("PAUSED", {"status": "paused"}, {}),
    ("DRAFT", {"status": "draft"}, {}),
    ("ENDED", {"status": "ended"}, {}),
    ("NOT_STARTED", {"start_us": NOW + 1}, {}),
    ("ENDED", {"end_us": NOW}, {}),
    ("NO_UNIT", {"unit": "session"}, {"session_id": None}),
    ("NOT_ELIGIBLE", {"eligibility": ONLY_GERMANY}, {}),
    ("OUTSIDE_SLOTS", {"slots": (453, 10_000), "layer": "pdp-rank-2026-11"}, {}),
    ("NOT_IN_TRAFFIC", {"steps": NOBODY}, {}),
    ("SPLIT", {}, {}),
]


@pytest.mark.parametrize("first", range(len(ORDER)), ids=[f"{number} {row[0]}" for number, row in enumerate(ORDER)])
def test_the_first_question_that_is_not_passed_gives_the_reason(
    experiment: Callable[..., Experiment], subject: Callable[..., Subject], first: int
) -> None:
    changes: dict[str, Any] = {}
    person: dict[str, Any] = {}
    for _, failing, without in reversed(ORDER[first:]):
        changes |= failing
        person |= without
    decision = Evaluator.build(experiment(**changes), NOW).decide(subject(ONE, **person))

    assert decision.reason == ORDER[first][0]
    assert (decision.variant is not None) == (decision.reason in {"FORCED", "SPLIT"})
    assert decision.experiment == "pdp-rank-2026-11"


def test_the_bucket_that_decided_is_told(
    experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    layered = experiment(layer="pdp-rank-2026-11", slots=(452, 453), steps=(Step(0, 6866),))
    one = subject(ONE)

    assert Evaluator.build(layered, NOW).decide(one).bucket == 7319
    assert Evaluator.build(replace(layered, steps=(Step(0, 6865),)), NOW).decide(one).bucket == 6865
    assert Evaluator.build(replace(layered, slots=(0, 452)), NOW).decide(one).bucket == 452
    assert Evaluator.build(replace(layered, status="draft"), NOW).decide(one).bucket is None


@pytest.mark.parametrize(
    ("unit", "variant"),
    [("u7603", "a"), ("u1406", "a"), ("u20041", "b"), ("u3325", "b"), ("u7343", "d"), ("u5382", "d")],
)
def test_a_bucket_at_the_edge_of_a_range_belongs_to_the_range_that_starts_there(
    experiment: Callable[..., Experiment], subject: Callable[..., Subject], unit: str, variant: str
) -> None:
    # The vectors' buckets 0, 4999, 5000, 7999, 8000, 9999; an empty range takes nobody.
    none = Variant("none", 0, 0)
    arms = (none, Variant("a", 0, 5000), Variant("b", 5000, 8000), Variant("c", 8000, 8000), Variant("d", 8000, 10_000))
    decision = Evaluator.build(experiment(variants=(*arms, Variant("z", 10_000, 10_000))), NOW).decide(subject(unit))

    assert decision.variant is not None
    assert decision.variant.id == variant


def test_a_phase_draws_anew_and_the_first_phase_is_the_bare_id(
    experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    def arms(phase: int) -> list[int | None]:
        evaluator = Evaluator.build(experiment(phase=phase), NOW)
        return [evaluator.decide(subject(f"u{number}")).bucket for number in range(200)]

    assert arms(1) == [bucket("pdp-rank-2026-11", "variant", f"u{number}") for number in range(200)]
    assert arms(2) == [bucket("pdp-rank-2026-11#2", "variant", f"u{number}") for number in range(200)]
    assert arms(1) != arms(2)


@pytest.mark.parametrize(
    ("document", "wish", "user_id", "session_id", "variant"),
    [
        ({"u1": "treatment"}, None, "u1", "s1", "treatment"),
        ({"s1": "treatment"}, None, "u1", "s1", "treatment"),
        ({"s1": "treatment"}, None, None, "s1", "treatment"),
        ({"u1": "control", "s1": "treatment"}, None, "u1", "s1", "control"),
        ({"u2": "treatment"}, None, "u1", "s1", None),
        ({}, "treatment", "u1", None, "treatment"),
        ({"u1": "control"}, "treatment", "u1", "s1", "treatment"),
        ({"u1": "control"}, "no-such-variant", "u1", "s1", "control"),
        ({}, "no-such-variant", "u1", "s1", None),
        ({}, "treatment", None, None, None),
    ],
)
@pytest.mark.parametrize("status", ["draft", "running", "paused", "ended"])
def test_forced_is_the_requests_wish_then_the_user_then_the_session_in_every_status(
    experiment: Callable[..., Experiment],
    subject: Callable[..., Subject],
    document: dict[str, str],
    wish: str | None,
    user_id: str | None,
    session_id: str | None,
    variant: str | None,
    status: str,
) -> None:
    force = {} if wish is None else {"pdp-rank-2026-11": wish, "another": "control"}
    forcing = experiment(force=document, status=status, steps=(Step(0, 2500),), eligibility=ONLY_GERMANY)
    decision = Evaluator.build(forcing, NOW).decide(subject(user_id, session_id, force=force))

    if variant is None:
        assert decision.reason != "FORCED"
        return
    assert decision.reason == "FORCED"
    assert decision.arm is not None
    assert (decision.arm.variant.id, decision.arm.forced, decision.arm.traffic_bp) == (variant, True, 2500)


def test_someone_forced_is_logged_as_the_experiments_unit_or_else_as_whoever_they_are(
    experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    by_user = Evaluator.build(experiment(unit="user", force={"s1": "treatment"}), NOW)

    assert by_user.decide(subject("u1", "s1")).unit == ("user", "u1")
    assert by_user.decide(subject(None, "s1")).unit == ("session", "s1")


def test_a_pinned_session_keeps_its_variant_after_login(
    experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    either = Evaluator.build(experiment(), NOW)
    by_user = Evaluator.build(experiment(unit="user"), NOW)
    moved = 0
    for number in range(200):
        before = either.decide(subject(None, f"s{number}"))
        after = either.decide(subject(f"u{number}", f"s{number}", pinned=("session", f"s{number}")))
        assert after == before
        moved += either.decide(subject(f"u{number}", f"s{number}")).variant != before.variant
    assert moved
    assert by_user.decide(subject("u1", "s1", pinned=("session", "s1"))).unit == ("user", "u1")


STEPS = (Step(100, 100), Step(200, 2000), Step(300, 10_000))


@pytest.mark.parametrize(
    ("now_us", "traffic_bp", "next_us"),
    [
        (99, 0, 100),
        (100, 100, 150),
        (199, 100, 200),
        (200, 2000, 300),
        (299, 2000, 300),
        (300, 10_000, 400),
        (400, 10_000, None),
    ],
)
def test_steps_start_and_end_hold_from_their_instant_on(
    experiment: Callable[..., Experiment], now_us: int, traffic_bp: int, next_us: int | None
) -> None:
    ramping = experiment(steps=STEPS, start_us=150, end_us=400)
    evaluator = Evaluator.build(ramping, now_us)

    assert evaluator.traffic_bp == traffic_bp
    assert evaluator.valid_until_us == next_change_us(ramping, now_us) == next_us
    assert evaluator.closed == ("NOT_STARTED" if now_us < 150 else None if now_us < 400 else "ENDED")


def test_an_evaluator_knows_how_long_its_answers_hold_also_when_the_clock_steps_back(
    experiment: Callable[..., Experiment],
) -> None:
    evaluator = Evaluator.build(experiment(steps=STEPS), 250)

    assert [now_us for now_us in (0, 199, 200, 250, 299, 300) if evaluator.is_valid_at(now_us)] == [200, 250, 299]
    assert Evaluator.build(experiment(), NOW).is_valid_at(10**18)


@pytest.mark.parametrize(
    "broken",
    [
        {"variants": (Variant("control", 0, 9999),)},
        {"variants": ()},
        {"variants": (Variant("control", 0, 10_000), Variant("more", 0, 0))},
        {"variants": (Variant("control", 1, 10_000),)},
        {"variants": (Variant("a", 0, 6000), Variant("b", 5000, 10_000))},
        {"variants": (Variant("a", 0, 6000), Variant("b", 6000, 5000), Variant("c", 5000, 10_000))},
        {"slots": (0, 100)},
        {"layer": "pdp-ranking"},
        {"force": {"qa": "no-such-variant"}},
        {"eligibility": ({"attribute": "country", "type": "string", "op": "sounds_like", "value": "DE"},)},
        {"eligibility": ({"attribute": "country", "type": "colour", "op": "eq", "value": "DE"},)},
        {"eligibility": ({"attribute": "country", "type": "number", "op": "in", "value": 5},)},
        {"eligibility": ("country is DE",)},
        {"id": "café"},
    ],
)
def test_a_record_that_cannot_be_assigned_from_is_refused_at_build_so_that_no_request_meets_it(
    experiment: Callable[..., Experiment], broken: dict[str, Any]
) -> None:
    with pytest.raises(SnapshotError) as refused:
        Evaluator.build(experiment(**broken), NOW)

    assert refused.value.reason == "content"
    assert str(broken.get("id", "pdp-rank-2026-11")) in str(refused.value)
