"""What analytics tools call our fields: the refusal of another name suggests ours."""

from __future__ import annotations

import itertools
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from abside.event.record import MAX_SHOWN_CHARS

if TYPE_CHECKING:
    from collections.abc import Mapping


def meant_field(name: str, known: frozenset[str]) -> str | None:
    """Return the field of `known` that a caller's name means, as other tools write it or mistyped; else None."""
    snake = snake_case(name[:MAX_SHOWN_CHARS]).replace("-", "_").strip("$_ ")
    elsewhere = next((ours for ours in MEANT.get(snake, ()) if ours in known), None)
    close = get_close_matches(snake, known, n=1)  # of a name cut first: comparing megabytes would stall the loop
    return snake if snake in known else elsewhere or (close[0] if close else None)


def also_meant(named: str, fields: Mapping[str, Any], known: frozenset[str]) -> str:
    """List the other fields that have another name elsewhere, so that one answer mends them all."""
    found = []
    for name in itertools.islice(fields, MAX_LOOKED_AT):
        snake = snake_case(name[:MAX_SHOWN_CHARS])
        if name not in known and name != named and (snake in known or snake in MEANT):
            meant = meant_field(name, known)
            if meant is not None:
                found.append(f"{name} → {meant}")
    return f" Also {', '.join(found[:MAX_ALSO])}." if found else ""


def snake_case(name: str) -> str:
    """Return a name as we write it: `itemId` is item_id."""
    return _WORD_START.sub("_", name).lower()


_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
MAX_LOOKED_AT = 100  # fields of a wrong event: more than any has
MAX_ALSO = 8  # named in one sentence
# What analytics tools call our fields; where one may mean several, the first that the event has.
MEANT: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("uid", "user", "customer_id", "customer", "shopper_id", "member_id", "account_id", "distinct_id"), ("user_id",)
    ),
    **dict.fromkeys(
        ("anonymous_id", "client_id", "visitor_id", "device_id", "user_pseudo_id", "ga_session_id", "session", "sid"),
        ("session_id",),
    ),
    **dict.fromkeys(("message_id", "insert_id", "id", "uuid", "idempotency_key"), ("event_id",)),
    **dict.fromkeys(("event", "event_name", "event_type", "name", "action"), ("type",)),
    **dict.fromkeys(
        ("timestamp", "time", "event_time", "event_timestamp", "timestamp_micros", "original_timestamp", "sent_at"),
        ("ts",),
    ),
    **dict.fromkeys(("product_id", "product", "sku", "item", "article_id", "content_id"), ("item_id",)),
    **dict.fromkeys(("products", "product_ids", "item_ids"), ("items",)),
    **dict.fromkeys(("price", "revenue", "amount", "total"), ("value",)),
    **dict.fromkeys(("qty", "count"), ("quantity",)),
    **dict.fromkeys(("transaction_id", "order"), ("order_id",)),
    **dict.fromkeys(("rank", "index", "pos"), ("position",)),
    **dict.fromkeys(("slot", "surface", "page", "widget"), ("placement", "page_type")),
    **dict.fromkeys(("params", "props", "traits", "context", "attributes"), ("properties", "attributes")),
    **dict.fromkeys(("properties",), ("properties", "attributes")),
    **dict.fromkeys(("token", "tokens", "exposure_tokens"), ("exposure_token",)),
    "is_bot": ("bot",),
    "currency_code": ("currency",),
}
