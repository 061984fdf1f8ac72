"""The one function for plain requests answers, logs and refuses as the one for all requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cases import cases

from abside.assignment.plan import build_plans
from abside.event import EventIds
from abside.serve.answer import Refusal
from abside.sidecar.active.configs import Configs
from abside.sidecar.active.current import Cell, Current, caches, logged_attributes
from abside.sidecar.decide.handlers import HandlerContext, assign_within
from abside.sidecar.decide.plain import plain_assign
from abside.sidecar.decide.request import Rules
from abside.sidecar.record.accounts import Accounts
from abside.sidecar.record.journal import MAX_TOGETHER, ExposureBatch, Journal
from abside.snapshot import Attribute, Experiment, Placement, Step, Variant, assemble
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Decide = Callable[[bytes], bytes]
    Sides = tuple[tuple[Decide, ExposureBatch], tuple[Decide, ExposureBatch]]

NOW_US = 1_795_424_400_000_000
ARMS = (Variant("control", 0, 5000), Variant("treatment", 5000, 10_000))
DE = {"attribute": "country", "type": "string", "op": "in", "value": ["DE"]}
# What each of the placements asks of a shopper.
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "hashes": {},
    "ramp": {"steps": (Step(0, 3000),)},
    "target": {"eligibility": (DE,)},
    "visitor": {"unit": "session"},
    "member": {"unit": "user"},
    "forced": {"force": {"qa": "treatment"}},
    "slots": {"layer": "lists", "slots": (0, 4000)},
    "over": {"status": "ended"},
}


def current() -> Current:
    made = [
        Experiment(
            f"{name}-{other}", name, "Lifts.", own.pop("status", "running"), (name, "all"), ARMS, "control", **own
        )
        for name, own in ((name, dict(own)) for name, own in EXPERIMENTS.items())
        for other in range(2)
    ]
    places = [Placement(name, {"model": "v1"}) for name in (*EXPERIMENTS, "all", "none")]
    attributes = {"country": Attribute("string", log=True), "visits": Attribute("number", log=True)}
    snapshot = assemble(attributes, [*places, *made], written_at_us=1)
    plans = build_plans(snapshot, NOW_US)
    revision = snapshot.head.revision
    return Current(snapshot, plans, NOW_US, logged_attributes(snapshot), caches(revision, plans))


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    """The same world twice, one behind each function; nobody is sampled."""
    found = []
    for name in ("plain", "all"):
        spool = Spool.open(SpoolSettings(tmp_path / name), "b00t", lambda: NOW_US)
        journal = Journal(spool, Accounts("b00t", {}), EventIds("b00t"), lambda: NOW_US)
        context = HandlerContext(Cell(current()), journal, Configs(journal, {}), Rules(), lambda: NOW_US)
        context.sample.left = 10**9
        found.append((context, journal.batch()))
    (plain, plain_batch), (every, batch) = found
    return (
        (plain_assign(plain, plain_batch), plain_batch),
        (lambda body: assign_within(every, batch, body), batch),
    )


def outcome(decide: Decide, body: bytes) -> object:
    try:
        return decide(body)
    except Refusal as refused:
        return refused.status, refused.code, refused.detail, refused.path


IDS = st.one_of(
    st.sampled_from(
        [None, "", " ", "guest", "GUEST", "0", "qa", 'a"b\\c', "ä", "x" * 31, "x" * 32, "x" * 256, "x" * 257, 7, 1.5]
    ),
    st.integers(0, 999).map("u{}".format),
    st.text(max_size=40),
)
REQUESTS = st.fixed_dictionaries(
    {"placement": st.sampled_from([*EXPERIMENTS, *EXPERIMENTS, "all", "all", "none", "nowhere", 3, None])},
    optional={
        "user_id": IDS,
        "session_id": IDS,
        "attributes": st.one_of(
            st.none(),
            st.just([1]),
            st.dictionaries(
                st.sampled_from(["country", "visits", "x"]), st.sampled_from(["DE", "AT", 3, True, None, [[1]]])
            ),
        ),
        "expose": st.sampled_from([True, False, None, 1]),
        "bot": st.booleans(),
        "plcement": st.just("pdp"),
    },
)


@settings(max_examples=cases(100), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.one_of(REQUESTS.map(orjson.dumps), REQUESTS.map(lambda one: orjson.dumps([one])), st.binary(max_size=9)))
def test_a_plain_request_is_answered_as_any(sides: Sides, body: bytes) -> None:
    (plain, plain_batch), (every, batch) = sides
    assert outcome(plain, body) == outcome(every, body)
    assert plain_batch.payloads == batch.payloads
    assert [one.accepted for counts in plain_batch.counts for one in counts] == [
        one.accepted for counts in batch.counts for one in counts
    ]
    plain_batch.write()
    batch.write()


def test_more_exposures_than_are_written_together_are_all_written(sides: Sides) -> None:
    (plain, batch), _ = sides
    for number in range(3 * MAX_TOGETHER):
        plain(orjson.dumps({"placement": "hashes", "user_id": f"u{number}"}))
        assert len(batch.payloads) <= MAX_TOGETHER
    counts = batch.counts[-1]
    batch.write()
    assert batch.payloads == []
    assert sum(one.accepted for one in counts) > 2 * MAX_TOGETHER
