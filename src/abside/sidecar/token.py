"""Exposure tokens: a prefetched answer's exposure in opaque text, to be logged when the answer is used.

A token carries all the exposure needs, its `event_id` included, so a retry logs the same event and no state is kept.
The checksum catches damage, not malice: whoever can reach localhost can log exposures anyway.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import TYPE_CHECKING, Any

import msgpack

if TYPE_CHECKING:
    from abside.event import EventMap

VERSION = b"1"
MAX_TOKEN_CHARS = 16 * 1024  # 32 assignments with 256-byte ids and logged attributes fit
_CARRIED = (
    "event_id",
    "user_id",
    "session_id",
    "placement",
    "revision",
    "config_id",
    "algo",
    "assignments",
    "attributes",
)


class TokenError(ValueError):
    """A text that is not a token of ours."""


def seal(exposure: EventMap) -> str:
    """Give the token of an exposure event."""
    carried = [exposure[name] for name in _CARRIED]
    body: bytes = msgpack.packb([*carried, exposure.get("bot", False)])
    return base64.urlsafe_b64encode(VERSION + zlib.crc32(body).to_bytes(4, "little") + body).decode()


def unseal(token: str, now_us: int) -> EventMap:
    """Give the exposure event of a token, exposed now (µs UTC). Raises TokenError."""
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenError(f"has {len(token)} characters; tokens have at most {MAX_TOKEN_CHARS}")
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as exc:
        raise TokenError("is not base64url text; send exposure_token back as it came") from exc
    if raw[:1] != VERSION or zlib.crc32(raw[5:]) != int.from_bytes(raw[1:5], "little"):
        raise TokenError("is damaged or of another version; send exposure_token back as it came")
    return _exposure(raw[5:], now_us)


def _exposure(body: bytes, now_us: int) -> EventMap:
    try:
        *carried, bot = msgpack.unpackb(body)
        fields: dict[str, Any] = dict(zip(_CARRIED, carried, strict=True))
        names = [
            fields["event_id"],
            *(one[part] for one in fields["assignments"] for part in ("experiment", "variant")),
        ]
    except (msgpack.UnpackException, ValueError, TypeError, KeyError) as exc:
        raise TokenError("does not hold an exposure") from exc
    if not all(type(name) is str for name in names):
        raise TokenError("does not hold an exposure: its names are not text")
    head = {"event_id": "", "type": "exposure", "ts": now_us, "seen_ts": now_us, "exposure_id": fields["event_id"]}
    return {**head, **fields, "bot": True} if bot is True else {**head, **fields}
