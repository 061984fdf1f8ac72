"""The calls of the known event types."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack

if TYPE_CHECKING:
    from abside.client.outcomes.fields import (
        AddToCartFields,
        ClickFields,
        ImpressionFields,
        PageViewFields,
        PurchaseFields,
    )

Reported = TypeVar("Reported")  # Receipt, now or awaited


class KnownEvents(ABC, Generic[Reported]):
    """The calls. Each is `event` with its type's name, and returns what that returns."""

    @abstractmethod
    def event(self, type: str, **fields: Any) -> Reported:  # noqa: A002 it is the field's name in the contract
        """Report what a shopper did."""

    def impression(self, **fields: Unpack[ImpressionFields]) -> Reported:
        """Report a list that was shown."""
        return self.event("impression", **fields)

    def click(self, **fields: Unpack[ClickFields]) -> Reported:
        """Report an item that was opened."""
        return self.event("click", **fields)

    def add_to_cart(self, **fields: Unpack[AddToCartFields]) -> Reported:
        """Report an item that was put in the cart."""
        return self.event("add_to_cart", **fields)

    def purchase(self, **fields: Unpack[PurchaseFields]) -> Reported:
        """Report something that was bought."""
        return self.event("purchase", **fields)

    def page_view(self, **fields: Unpack[PageViewFields]) -> Reported:
        """Report a page that was opened."""
        return self.event("page_view", **fields)
