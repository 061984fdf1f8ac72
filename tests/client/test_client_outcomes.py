"""The typed calls of events have the fields that the sidecar takes, and report what `event` would."""

from __future__ import annotations

from typing import Any

import pytest

from abside.client.outcomes import fields as outcomes
from abside.event import COMMON_FIELDS, FIELDS
from abside.testing import FakeClient

CALLS: dict[str, Any] = {
    "impression": outcomes.ImpressionFields,
    "click": outcomes.ClickFields,
    "add_to_cart": outcomes.AddToCartFields,
    "purchase": outcomes.PurchaseFields,
    "page_view": outcomes.PageViewFields,
}
OF_THE_CALL = {"visit", "deadline_seconds"}
SAMPLES: dict[str, Any] = {
    "items": ["i1", "i2"], "position": 2, "quantity": 1, "value": 2.5, "currency": "EUR", "page_load_ms": 12.5,
    "properties": {"gift": True},
}  # fmt: skip


@pytest.mark.parametrize("kind", FIELDS)
def test_each_known_type_is_a_call_with_its_fields(kind: str) -> None:
    declared = CALLS[kind].__annotations__.keys() - OF_THE_CALL
    assert declared == {*FIELDS[kind], *COMMON_FIELDS} - {"type"}


@pytest.mark.parametrize("kind", FIELDS)
def test_a_call_reports_each_of_its_fields(kind: str) -> None:
    client = FakeClient({"pdp": {}})
    sent = {name: SAMPLES.get(name, "x") for name in FIELDS[kind]}
    assert getattr(client, kind)(user_id="u1", event_id="e1", bot=True, **sent)
    (event,) = client.events
    assert (event["type"], event["event_id"], event["bot"]) == (kind, "e1", True)
    assert {name: event[name] for name in sent} == sent
