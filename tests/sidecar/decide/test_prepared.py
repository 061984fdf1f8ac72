"""Prepared bytes are what the encoders write, for every number of arms, kind of unit and length of id."""

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abside import event
from abside.assignment.plan import PlacementPlan, build_plans
from abside.assignment.unit import Subject
from abside.sidecar.active.prepared import MAX_PREPARED, MAX_PREPARED_BYTES, AnswerCache
from abside.sidecar.record.accounts import Accounts
from abside.snapshot import ALGO, Experiment, Placement, UnitKind, Variant, assemble

NOW_US = 1_795_424_400_000_000
KINDS: tuple[UnitKind, ...] = ("user_or_session", "session", "user")


def plan_of(count: int, kinds: tuple[UnitKind, ...] = KINDS) -> PlacementPlan:
    experiments = [
        Experiment(
            f"e{number:02}",
            "name",
            "Lifts.",
            "running",
            ("pdp",),
            (Variant("control", 0, 5000), Variant("treatment", 5000, 10_000, {"pdp": {f"p{number}": "v2"}})),
            "control",
            unit=kinds[number % len(kinds)],
            phase=1 + number % 3,
            force={"qa": "treatment"} if number == 1 else {},
        )
        for number in range(count)
    ]
    parameters: dict[str, object] = {f"p{number}": "v1" for number in range(count)}
    placement = Placement("pdp", {**parameters, "weights": {"margin": 0.3}})  # type: ignore[dict-item]
    return build_plans(assemble({}, [placement, *experiments], written_at_us=1), NOW_US).placements["pdp"]


IDS = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64), st.just("qa"))


@given(
    st.integers(1, 20),
    IDS,
    IDS,
    st.booleans(),
    st.dictionaries(st.sampled_from(["country", "tier"]), st.text(max_size=9)),
)
def test_an_exposure_from_prepared_bytes_is_the_encoded_event(
    count: int, user_id: str | None, session_id: str | None, bot: bool, attributes: dict[str, str]
) -> None:
    plan = plan_of(count)
    subject = Subject(user_id, session_id, {}, "pdp")
    answer = plan.assign(subject)
    if not answer.assignments:
        return
    prepared = AnswerCache("9f1c2d03ab77", plan, pinnable=True).prepared(plan.arms(subject), Accounts("b", {}))
    encoded = event.exposure(
        event_id="b00t-1f",
        now_us=NOW_US,
        user_id=user_id,
        session_id=session_id,
        placement="pdp",
        revision="9f1c2d03ab77",
        config_id=answer.config_id,
        algo=ALGO,
        assignments=[
            event.Exposed(one.experiment, one.phase, one.variant, *one.unit, one.forced, one.traffic_bp)
            for one in answer.assignments
        ],
        attributes=attributes,
        bot=bot,
    )
    assert prepared.exposure(b"b00t-1f", NOW_US, subject, attributes, bot=bot) == event.encode(encoded)
    assert prepared.carried(b"b00t-1f", subject, attributes, bot=bot) == msgpack.packb(event.carried(encoded))
    assert event.wrong_field(encoded) is None


@pytest.mark.parametrize("count", [0, 1, 5, 15, 16, 20])
def test_an_answer_from_prepared_bytes_is_json_of_the_assignment(count: int) -> None:
    plan = plan_of(count, ("user_or_session",))
    cache = AnswerCache("9f1c2d03ab77", plan, pinnable=True)
    for number in range(20):
        subject = Subject(f"u{number}", None, {}, "pdp")
        answer = plan.assign(subject)
        prepared = cache.prepared(plan.arms(subject), Accounts("b", {}))
        shown = orjson.loads(prepared.lone + b',"exposure_id":null,"unit":null' + prepared.rest)
        assert shown["config"] == answer.config
        assert shown["config_id"] == answer.config_id
        assert [(one["experiment"], one["variant"], one["phase"]) for one in shown["assignments"]] == [
            (one.experiment, one.variant, one.phase) for one in answer.assignments
        ]


def test_however_many_combinations_there_are_memory_stays_bounded() -> None:
    plan = plan_of(20, ("user_or_session",))
    cache, accounts = AnswerCache("9f1c2d03ab77", plan, pinnable=True), Accounts("b", {})
    for number in range(3 * MAX_PREPARED):
        cache.prepared(plan.arms(Subject(f"u{number}", None, {}, "pdp")), accounts)
    assert len(cache.known) <= MAX_PREPARED
    large = plan_of(12, ("user_or_session",))
    large.placement.parameters["text"] = "x" * 100_000
    cache = AnswerCache("9f1c2d03ab77", large, pinnable=True)
    for number in range(300):
        cache.prepared(large.arms(Subject(f"u{number}", None, {}, "pdp")), accounts)
    assert sum(len(one.rest) for one in cache.known.values()) <= MAX_PREPARED_BYTES
