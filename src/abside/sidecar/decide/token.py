"""Exposure tokens: a prefetched answer's exposure in opaque text, to be logged when the answer is used.

A token carries all the exposure needs, its `event_id` included, so a retry logs the same event and no state is kept.
The checksum catches damage, not malice: whoever can reach localhost can log exposures anyway. Its shape is checked
all the same: one event that a receiver cannot read would cost the whole batch it is in.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import TYPE_CHECKING, Any

import msgpack

from abside import event

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.event import EventMap

VERSION = b"1"
MAX_TOKEN_CHARS = 2 * event.MAX_EVENT_BYTES  # an event of the greatest size in base64, with room


class ExposureTokenError(ValueError):
    """A text that is not a token of ours."""


def seal(exposure: EventMap) -> str:
    """Give the token of an exposure event."""
    exposure = event.within_bound(exposure)
    body: bytes = msgpack.packb([*(exposure[name] for name in _CARRIED), exposure.get("bot", False)])
    return base64.urlsafe_b64encode(VERSION + zlib.crc32(body).to_bytes(4, "little") + body).decode()


def unseal(token: str, now_us: int) -> EventMap:
    """Give the exposure event of a token, exposed now (µs UTC). Raises TokenError."""
    if len(token) > MAX_TOKEN_CHARS:
        raise ExposureTokenError(f"has {len(token)} characters; tokens have at most {MAX_TOKEN_CHARS}")
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as exc:
        raise ExposureTokenError("is not base64url text; send exposure_token back as it came") from exc
    if raw[:1] != VERSION or zlib.crc32(raw[5:]) != int.from_bytes(raw[1:5], "little"):
        raise ExposureTokenError("is damaged or of another version; send exposure_token back as it came")
    return _exposure(raw[5:], now_us)


def _exposure(body: bytes, now_us: int) -> EventMap:
    try:
        *carried, bot = msgpack.unpackb(body)
        fields: dict[str, Any] = dict(zip(_CARRIED, carried, strict=True))
    except (msgpack.UnpackException, ValueError, TypeError) as exc:
        raise ExposureTokenError("does not hold an exposure") from exc
    wrong = next((name for name, fits in _CARRIED.items() if not fits(fields[name])), None)
    if wrong is not None:
        raise ExposureTokenError(f"does not hold an exposure: its {wrong} cannot be one")
    head = {"event_id": "", "type": "exposure", "ts": now_us, "seen_ts": now_us, "exposure_id": fields["event_id"]}
    return {**head, **fields, "bot": True} if bot is True else {**head, **fields}


def _is_name(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= event.MAX_TEXT_BYTES


def _is_id(value: Any) -> bool:
    return value is None or _is_name(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= event.MAX_COUNT


def _are_assignments(value: Any) -> bool:
    return type(value) is list and 0 < len(value) <= event.MAX_ASSIGNMENTS and all(map(_is_assignment, value))


def _are_attributes(value: Any) -> bool:
    return type(value) is dict and all(_is_name(name) and _is_attribute(one) for name, one in value.items())


def _is_attribute(value: Any) -> bool:
    plain = (str, int, float, bool)
    return type(value) in plain or (type(value) is list and all(type(item) is str for item in value))


def _is_assignment(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == _ASSIGNMENT.keys()
        and all(fits(value[name]) for name, fits in _ASSIGNMENT.items())
    )


_ASSIGNMENT: dict[str, Callable[[Any], bool]] = {
    "experiment": _is_name,
    "phase": _is_count,
    "variant": _is_name,
    "unit_type": _is_name,
    "unit_id": _is_name,
    "forced": lambda value: type(value) is bool,
    "traffic_bp": _is_count,
}
_CARRIED: dict[str, Callable[[Any], bool]] = {  # in their order in a token
    "event_id": _is_name,
    "user_id": _is_id,
    "session_id": _is_id,
    "placement": _is_name,
    "revision": _is_name,
    "config_id": _is_name,
    "algo": lambda value: _is_count(value) and value < 2**15,
    "assignments": _are_assignments,
    "attributes": _are_attributes,
}
