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
    from abside.event import EventMap

VERSION = b"1"
MAX_TOKEN_CHARS = 2 * event.MAX_EVENT_BYTES  # an event of the greatest size in base64, with room
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class ExposureTokenError(ValueError):
    """A text that is not one of our tokens."""


def seal(carried: bytes) -> bytes:
    """Return the token of an exposure; `carried` is msgpack of `event.carried`."""
    raw = VERSION + zlib.crc32(carried).to_bytes(4, "little") + carried
    return binascii.b2a_base64(raw, newline=False).translate(_URL_SAFE)


def unseal(token: str, now_us: int) -> EventMap:
    """Return the exposure event of a token, exposed now (µs UTC). Raises ExposureTokenError."""
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
        fields: dict[str, Any] = dict(zip(event.EXPOSURE_SHAPE, carried, strict=True))
    except (msgpack.UnpackException, ValueError, TypeError) as exc:
        raise ExposureTokenError("does not hold an exposure") from exc
    wrong = event.wrong_field(fields)
    if wrong is not None:
        raise ExposureTokenError(f"does not hold an exposure: its {wrong} cannot be one")
    head = {"event_id": "", "type": "exposure", "ts": now_us, "seen_ts": now_us, "exposure_id": fields["event_id"]}
    return {**head, **fields, "bot": True} if bot is True else {**head, **fields}
