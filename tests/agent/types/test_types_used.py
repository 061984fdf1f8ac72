"""The made module and the typed calls of events in use: mypy, which checks this file, finds each misuse.

A line with `type: ignore` has a mistake; where mypy does not find it, the comment itself is an error.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from tests.agent.types.made_placements import PDP_BASE, Pdp

from abside.client import Refused
from abside.testing import AsyncFakeClient, FakeClient

if TYPE_CHECKING:
    from abside.client import AsyncClient, Client
    from abside.client.local import Local


def test_a_configuration_is_used_by_names_that_are_checked() -> None:
    client = FakeClient({"pdp": PDP_BASE})
    pdp = Pdp.from_config(client.assign("pdp", user_id="u1", fallback=PDP_BASE).config)
    sizes: list[int] = [one.size for one in pdp.slots]
    margin: float = pdp.weights.margin
    assert (sizes, margin, pdp.item_count + 1) == ([1, 2], 0.0, 13)
    with pytest.raises(AttributeError):
        pdp.modle  # type: ignore[attr-defined]  # noqa: B018 the mistake is the test
    with pytest.raises(dataclasses.FrozenInstanceError):
        pdp.item_count = 3  # type: ignore[misc]
    with pytest.raises(KeyError):
        PDP_BASE["modle"]  # type: ignore[typeddict-item]
    number: int = pdp.model  # type: ignore[assignment]
    assert number == "ranker-v1"  # type: ignore[comparison-overlap]


def test_a_misspelt_field_of_an_event_is_found_before_the_sidecar_refuses_it() -> None:
    client = FakeClient({"pdp": PDP_BASE})
    answer = client.assign("pdp", user_id="u1")
    assert client.add_to_cart(user_id="u1", item_id=7, value=29.9, currency="EUR", exposure_id=answer.exposure_id)
    assert client.purchase(session_id="s1", order_id="o1", properties={"gift": True})
    with pytest.raises(Refused, match="did you mean item_id"):
        client.click(user_id="u1", itemid="i1")  # type: ignore[call-arg]
    with pytest.raises(Refused, match="list of item ids"):
        client.impression(user_id="u1", items="i1")  # type: ignore[arg-type]


async def test_the_awaited_calls_have_the_same_fields() -> None:
    client = AsyncFakeClient({"pdp": PDP_BASE})
    assert await client.page_view(user_id="u1", page_load_ms=12.5)
    with pytest.raises(Refused, match="did you mean order_id"):
        await client.purchase(user_id="u1", oder_id="o1")  # type: ignore[call-arg]


async def every_client_has_them(one: Client, other: AsyncClient, third: Local) -> list[bool]:
    """Only to be type-checked."""
    one.add_to_cart(user_id="u1", itemid="i1")  # type: ignore[call-arg]
    await other.click(user_id="u1", itemid="i1")  # type: ignore[call-arg]
    third.page_view(user_id="u1", page_load_ms="3")  # type: ignore[arg-type]
    receipts = [one.click(user_id="u1", item_id="i1"), await other.click(user_id="u1", item_id="i1")]
    return [bool(receipt) for receipt in (*receipts, third.purchase(user_id="u1", value=3, currency="EUR"))]
