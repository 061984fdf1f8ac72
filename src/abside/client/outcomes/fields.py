"""The fields of the known event types.

They are those of abside.event.fields, where each is checked; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias, TypedDict
from uuid import UUID

if TYPE_CHECKING:
    from datetime import datetime

    from abside.client.visit import Id, Visit

ItemName: TypeAlias = str | int | UUID | None  # a catalogue's or an order's own id
Amount: TypeAlias = float | Decimal | None
Properties: TypeAlias = Mapping[str, str | int | float | bool | None] | None  # flat, at most 64


class OutcomeFields(TypedDict, total=False):
    """What every event may have. None is absent everywhere."""

    user_id: Id | None
    session_id: Id | None
    visit: Visit | None  # instead of the two
    event_id: str | None
    ts: int | str | datetime | None  # µs UTC, RFC 3339, or with a zone
    bot: bool | None
    properties: Properties
    deadline_seconds: float | None  # of the call


class ImpressionFields(OutcomeFields, total=False):
    """A list was shown."""

    exposure_id: str | None
    placement: str | None
    items: list[str] | list[int] | tuple[str | int, ...] | None  # in rank order


class ClickFields(OutcomeFields, total=False):
    """An item was opened."""

    item_id: ItemName
    position: int | None
    placement: str | None
    exposure_id: str | None


class AddToCartFields(OutcomeFields, total=False):
    """An item was put in the cart. `value` is of all pieces, and needs its currency."""

    item_id: ItemName
    quantity: int | None
    value: Amount
    currency: str | None  # ISO 4217, for example EUR
    placement: str | None
    exposure_id: str | None


class PurchaseFields(OutcomeFields, total=False):
    """Something was bought. `value` needs its currency."""

    order_id: ItemName
    value: Amount
    currency: str | None
    item_id: ItemName
    quantity: int | None


class PageViewFields(OutcomeFields, total=False):
    """A page was opened."""

    page_type: str | None
    page_load_ms: float | None
