"""Whatever an SDK sends gets one answer of the protocol's shape, without a null, and never a fault."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases import cases

from abside.assignment.plan import build_plans
from abside.event import EventIds
from abside.serve.answer import Refusal
from abside.sidecar.active.configs import Configs
from abside.sidecar.active.current import Cell, Current, caches, logged_attributes
from abside.sidecar.decide.handlers import HandlerContext
from abside.sidecar.decide.ofrep import evaluation
from abside.sidecar.decide.request import Rules
from abside.sidecar.decide.track import track
from abside.sidecar.record.accounts import Accounts
from abside.sidecar.record.journal import Journal
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool
from stage import snapshot_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW_US = 1_795_424_400_000_000
NAMES = ["targetingKey", "user_id", "userId", "session_id", "sessionId", "country", "tier", "x"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)
ODD = VALUES.map(lambda one: one)  # one alternative, beside as many usual ones as there are
CONTEXTS = VALUES | st.dictionaries(st.sampled_from(NAMES), VALUES)
FIELDS = [
    "value",
    "itemId",
    "item_id",
    "currency",
    "quantity",
    "ts",
    "bot",
    "event_id",
    "properties",
    "userId",
    "x",
    "y",
]
KEYS = st.sampled_from(["pdp", "e0", "e1", "page-1", "", "a/b", "%", "..", "pdp\0"]) | st.text(max_size=5)


@pytest.fixture
async def context() -> AsyncIterator[HandlerContext]:
    with tempfile.TemporaryDirectory() as place:
        spool = Spool.open(SpoolSettings(Path(place), limit_bytes=2**30), "b00t", lambda: NOW_US)
        cell = Cell()
        journal = Journal(spool, Accounts("b00t", {}), EventIds("b00t"), lambda: NOW_US)
        snapshot = snapshot_of(4, 3, conditions=1)
        plans = build_plans(snapshot, NOW_US)
        prepared = caches(snapshot.head.revision, plans)
        cell.current = Current(snapshot, plans, NOW_US, logged_attributes(snapshot), prepared)
        yield HandlerContext(cell, journal, Configs(journal, {}), Rules(), lambda: NOW_US)
        await spool.close()


def has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(has_null, value.values()))
    return value is None or (isinstance(value, list) and any(map(has_null, value)))


async def test_every_evaluation_has_the_protocols_shape(context: HandlerContext) -> None:
    batch = context.journal.batch()
    evaluate = evaluation(context, batch, expose=True)
    seen: set[int] = set()

    @given(KEYS, st.binary(max_size=20) | CONTEXTS.map(lambda sent: json.dumps({"context": sent}).encode()))
    @settings(max_examples=cases(60), deadline=None, derandomize=True)
    def ask(key: str, body: bytes) -> None:
        answer = evaluate(key, body)
        batch.write()
        status, shown = (200, answer) if isinstance(answer, bytes) else (answer.status, answer.body)
        fields = orjson.loads(shown)
        seen.add(status)
        assert status in {200, 400, 404}
        assert fields["key"] == key
        assert all(type(one) is str for one in fields["metadata"].values())
        assert not has_null(fields)
        if status == 200:
            assert fields.keys() | {"value"} == {"key", "reason", "variant", "value", "metadata"}
        else:
            assert fields.keys() == {"key", "errorCode", "errorDetails", "metadata"}

    ask()
    assert seen == {200, 400, 404}


async def test_every_tracking_event_is_stored_or_refused_by_name(context: HandlerContext) -> None:
    seen: set[int] = set()

    @given(
        st.sampled_from(["addToCart", "add_to_cart", "click", "rated", "Rated it", "exposure"]) | ODD,
        st.just({"targetingKey": "u1"}) | CONTEXTS.map(lambda one: one),
        st.integers(0, 9) | ODD,
        st.none() | st.dictionaries(st.sampled_from(FIELDS), VALUES | st.text(max_size=3), max_size=3).map(dict),
    )
    @settings(max_examples=cases(60), deadline=None, derandomize=True)
    def tell(kind: Any, who: Any, value: Any, attributes: Any) -> None:
        fields = {"event": kind, "context": who, "value": value, "attributes": attributes}
        refusal = None
        try:
            assert track(context, json.dumps(fields).encode()) == b'{"accepted":1}'
        except Refusal as raised:
            refusal = raised
        seen.add(202 if refusal is None else refusal.status)
        assert refusal is None or refusal.code in NAMED or (refusal.code in UNNAMED and refusal.path is None)
        assert refusal is None or refusal.code not in NAMED or refusal.path is not None

    tell()
    assert seen >= {202, 422}


NAMED = {"WRONG_TYPE", "INVALID_EVENT", "INVALID_UNIT"}  # the place in the request
UNNAMED = {"MALFORMED", "NO_UNIT"}
