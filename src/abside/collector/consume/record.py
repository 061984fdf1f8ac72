"""From a Kafka record to an event and its place in its series (docs/events.md, "Kafka records")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from msgspec import Struct

from abside import event

if TYPE_CHECKING:
    from collections.abc import Sequence

SPOOL, SEQUENCE, INDEX = "abside-spool", "abside-seq", "abside-index"
MAX_VALUE_BYTES = 4 * event.MAX_EVENT_BYTES  # JSON may write a byte as six, and names as often as there are fields
_SPOOL = re.compile(rb"[A-Za-z0-9._-]{1,128}\Z")
MAX_DIGITS = 19  # of 2^63 - 1


class KafkaMessage(Protocol):
    """What is read of a message of confluent-kafka."""

    def offset(self) -> Any:
        """Return its offset."""

    def timestamp(self) -> Any:
        """Return (type, ms since 1970)."""

    def headers(self) -> Any:
        """Return a list of (name, bytes), or None."""

    def value(self) -> Any:
        """Return its bytes, or None."""


class SentSegment(Struct, frozen=True, gc=False):
    """What the records of one segment share: its series, and its sequence number in it."""

    spool: str
    sequence: int

    @property
    def batch_id(self) -> str:
        """The batch that the rows of its events are of."""
        return f"{self.spool}.{self.sequence:020d}"


class NotOurs(Exception):  # noqa: N818 read as a sentence where it is caught
    """A record that no sidecar of ours wrote, by its headers. `reason` is one of a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SentSeries:
    """Reads the headers of records; those of one segment come one after another, so what they share is read once."""

    def __init__(self) -> None:
        self._raw: tuple[bytes, bytes] | None = None
        self._segment = SentSegment("", 0)

    def read(self, headers: Sequence[tuple[str, bytes]] | None) -> tuple[SentSegment, int]:
        """Return the segment of a record's event, the same object again while it is the same, and the event's index.

        Raises NotOurs.
        """
        spool, sequence, index = _ours(headers)
        if (spool, sequence) != self._raw:
            if not _SPOOL.match(spool) or not _is_number(sequence):
                raise NotOurs("bad_headers")
            self._segment = SentSegment(spool.decode(), int(sequence))
            self._raw = (spool, sequence)
        if not _is_number(index):
            raise NotOurs("bad_headers")
        return self._segment, int(index)


def packed_event(value: bytes) -> bytes:
    """Return a record's value as the event's msgpack map: as it is, or from JSON. Raises ValueError."""
    if not value.startswith(b"{"):
        return value
    if len(value) > MAX_VALUE_BYTES:
        raise ValueError(f"this record has {len(value):,} bytes of JSON; no event has")
    try:
        return event.encode(orjson.loads(value))
    except OverflowError as exc:
        raise ValueError("a number is too large") from exc


def _is_number(text: bytes) -> bool:
    """Return whether these are the digits of a whole number as it is usually written: no sign, no 0 in front."""
    return text.isdigit() and len(text) <= MAX_DIGITS and (text[0] != b"0"[0] or len(text) == 1)


def _ours(headers: Sequence[tuple[str, bytes]] | None) -> tuple[bytes, bytes, bytes]:
    """Return the three headers, each of which is there once."""
    if headers is None:
        raise NotOurs("no_headers")
    if len(headers) == 3:  # as our sidecars write them
        (first, spool), (second, sequence), (third, index) = headers
        if first == SPOOL and second == SEQUENCE and third == INDEX:
            return spool or b"", sequence or b"", index or b""
    found: dict[str, bytes] = {}
    for name, content in headers:
        if name in (SPOOL, SEQUENCE, INDEX):
            if name in found:
                raise NotOurs("bad_headers")
            found[name] = content or b""
    if len(found) < 3:
        raise NotOurs("bad_headers" if found else "no_headers")
    return found[SPOOL], found[SEQUENCE], found[INDEX]
