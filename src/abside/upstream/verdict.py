"""The retry table: what each HTTP status means for a batch, where nothing but the status is known, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal

from abside.upstream.contract import Acked, Rejected, Result, Retry, TooLarge

if TYPE_CHECKING:
    from collections.abc import Container

MAX_WISH_CHARS = 64  # an HTTP date has 29
Meaning = Literal["stored", "had_it", "later", "halve", "mend", "reject"]


@dataclass(frozen=True, slots=True)
class RetryRule:
    """Some statuses, what they mean, and the reason."""

    statuses: Container[int]
    meaning: Meaning
    why: str


TABLE: tuple[RetryRule, ...] = (
    RetryRule({208}, "had_it", "a crash came between the upstream's answer and our unlink"),
    RetryRule(range(200, 300), "stored", "any success is worth what the receiver's storage is"),
    RetryRule({408}, "later", "the receiver gave up waiting: the network or its load, not the batch"),
    RetryRule({425}, "later", "early data was refused: the same request works on a settled connection"),
    RetryRule({429}, "later", "too many requests: its Retry-After is the rate it accepts"),
    RetryRule({413}, "halve", "the receiver's own bound on a body, which we cannot know"),
    RetryRule(
        {401, 403}, "mend", "a token is missing, wrong or expired: the batch is good, a person or a rotation mends it"
    ),
    RetryRule(range(400, 500), "reject", "the receiver read the batch and does not want it"),
    RetryRule({501}, "mend", "what answers does not take POST; it is no collector: see where --upstream leads"),
    RetryRule(range(500, 600), "later", "the receiver is sick or restarting"),
    RetryRule(range(300, 400), "mend", "a batch is not sent on to an address nobody configured"),
)
_UNKNOWN = RetryRule((), "mend", "no HTTP status that is known")


def verdict(status: int, detail: str = "", retry_after_seconds: float | None = None) -> Result:
    """Return what a status means. `detail` is the receiver's own text, already safe to show."""
    row = next((row for row in TABLE if status in row.statuses), _UNKNOWN)
    reason = f"HTTP {status}: {detail or row.why}"
    match row.meaning:
        case "stored":
            return Acked()
        case "had_it":
            return Acked(duplicate=True)
        case "later":
            return Retry(reason, retry_after_seconds)
        case "mend":
            return Retry(reason, retry_after_seconds, loud=True)
        case "halve":
            return TooLarge()
        case "reject":
            return Rejected(reason)


def retry_after(header: str | None, date: str | None, now_us: int) -> float | None:
    """Read Retry-After, seconds or an HTTP date (RFC 9110, 10.2.3); None when there is none that can be read.

    A date is taken against the receiver's own `Date` where it sent one: its clock and ours need not agree. No header
    of whatever shape makes it raise.
    """
    if not header or len(header) > MAX_WISH_CHARS or not header.isascii():
        return None
    try:
        seconds = float(header)
    except ValueError:
        until, now = _moment(header), _moment(date) or datetime.fromtimestamp(now_us / 1_000_000, UTC)
        if until is None:
            return None
        seconds = (until - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _moment(text: str | None) -> datetime | None:
    if not text or len(text) > MAX_WISH_CHARS or not text.isascii():
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError, IndexError):  # a year of eleven digits, a date with no time
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
