"""Whose answer it is: our collector's decides about a batch, an answer of anything in between decides nothing."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import orjson

from abside.event import ErrorCode
from abside.upstream.contract import Acked, Rejected, Result, Retry, TooLarge
from abside.upstream.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.upstream.contract import Batch

PROBLEM = "application/problem+json"
MAX_ANSWER_BYTES = 16 * 1024  # a problem document; whatever is longer is none of our collector's
MAX_DETAIL_CHARS = 300  # a code, a title and a sentence about one field
STORED: Mapping[int, bool] = {200: False, 208: True}  # status → whether the collector already had the batch
TOO_LARGE = "TOO_LARGE"
COUNT_MISMATCH = "COUNT_MISMATCH"
# The codes with which our collector refuses the events of a batch, all with 422. MALFORMED (400) and UNSUPPORTED_…
# (415) are not among them: they are about the headers and the body on its way, which something in between may have
# changed, and every batch would meet them alike. NOT_FOUND and METHOD_NOT_ALLOWED are about the address.
REFUSALS = frozenset({"UNDECODABLE", COUNT_MISMATCH, *get_args(ErrorCode)})
TRANSIT: Mapping[str, int] = {"MALFORMED": 400, "UNSUPPORTED_TYPE": 415, "UNSUPPORTED_ENCODING": 415}
BUSY = frozenset({"BUSY", "STOPPING", "STORE_FAILED", "TIMEOUT", "INTERNAL"})  # what our collector may wait for
# The codes about the way there, by which a passing refusal is known as ours.
WAY: Mapping[str, int] = {
    "BUSY": 503,
    "STORE_FAILED": 503,
    "STOPPING": 503,
    "INTERNAL": 500,
    "TIMEOUT": 408,
    "UNAUTHORIZED": 401,
    "FOREIGN_ORIGIN": 403,
    "FOREIGN_HOST": 403,
}
_CODES = {**dict.fromkeys(REFUSALS, 422), **TRANSIT, **WAY, TOO_LARGE: 413}
_PASSING = frozenset({408, 425, 429, *range(500, 600)})  # about no batch in particular: it may pass by itself
OURS = frozenset({*REFUSALS, *TRANSIT, TOO_LARGE, "METHOD_NOT_ALLOWED"})  # codes of any process of ours
_PERMISSION = frozenset({401, 403})
_GUNZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `whole`: the body came to its end within MAX_ANSWER_BYTES; `cut`: the connection ended it.

    `after_seconds` is its Retry-After.
    """

    status: int
    content_type: str
    body: bytes
    whole: bool
    cut: bool
    after_seconds: float | None

    def document(self) -> dict[str, Any]:
        """Return the JSON object in the body, an empty one where there is none."""
        if not self.whole:
            return {}
        try:
            document = orjson.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


def believed(answer: Answer, batch: Batch) -> Result:
    """Return what an answer of our collector means for `batch`; a stranger's is a retry, loud and slow."""
    status = answer.status
    if status in _PASSING or status in _PERMISSION:
        return _passing(answer, ours=True)
    if answer.cut:
        return Retry(f"HTTP {status}: the answer broke off", answer.after_seconds, unheard=True)
    document = answer.document()
    if status in STORED and not (doubt := _doubt(document, batch)):
        return Acked(duplicate=STORED[status])
    if answer.content_type == PROBLEM and document.get("status") == status and _names(document, batch):
        code = document.get("code")
        if status == 413 and code == TOO_LARGE:
            return TooLarge()
        reason = f"HTTP {status}: {words(answer, ours=True)}"
        if status == 422 and isinstance(code, str) and code in REFUSALS:
            return _rejected(reason, code, document.get("index"), batch)
        if isinstance(code, str) and TRANSIT.get(code) == status and document.get("batch") == batch.id:
            detail = "the batch did not arrive as it was sent: see what stands between here and the collector"
            return Retry(f"{reason}; {detail}", answer.after_seconds, loud=True)
    what = doubt if status in STORED else _stranger(document)
    reason = f"HTTP {status}: {what}; something else answers at this address: see where --upstream leads"
    return Retry(reason, answer.after_seconds, loud=True)


def anyones(answer: Answer) -> Result:
    """Return what the status means, from a receiver of which nothing else is known: any 2xx is an acknowledgement."""
    return _passing(answer, ours=False)


def _passing(answer: Answer, *, ours: bool) -> Result:
    """Return what the status means; a wait that none of our collector's codes explains is `unheard`."""
    result = verdict(answer.status, words(answer, ours=ours), answer.after_seconds)
    if not isinstance(result, Retry) or result.loud:
        return result
    known = answer.content_type == PROBLEM and answer.document().get("code") in BUSY
    return replace(result, unheard=not known)


def words(answer: Answer, *, ours: bool) -> str:
    """Return code and index of a problem document, from our collector title and detail too: they name fields only.

    The code has to be one of ours, with its status: whoever writes another is a stranger, a proxy in between, and any
    text of a stranger may quote a shopper's event. It goes nowhere.
    """
    document = answer.document() if answer.content_type == PROBLEM else {}
    code = document.get("code")
    if not isinstance(code, str) or _CODES.get(code) != answer.status or document.get("status") != answer.status:
        return ""
    found = [code]
    if ours and isinstance(title := document.get("title"), str):
        found.append(title)
    if type(index := document.get("index")) is int:
        found.append(f"at index {index}")
    if ours and isinstance(detail := document.get("detail"), str):
        found.append(f"({detail})")
    return " ".join(" ".join(found).split())[:MAX_DETAIL_CHARS]


def unpacked(body: bytes) -> bytes | None:
    """Return the unpacked gzip body, MAX_ANSWER_BYTES at most; None where it is no gzip or longer."""
    unpacking = zlib.decompressobj(_GUNZIP)
    try:
        plain = unpacking.decompress(body, MAX_ANSWER_BYTES)
    except zlib.error:
        return None
    return plain if unpacking.eof else None


def _rejected(reason: str, code: str, index: Any, batch: Batch) -> Rejected:
    """Return a refusal by our collector. What it checks is an event's own, so one that it names stays refused."""
    if type(index) is int and 0 <= index < batch.count:
        return Rejected(reason, final=True, some_of_it=True, index=index)
    # Our count is the frames': where it is wrong, one frame contains two events or none, and nothing names it.
    return Rejected(reason, some_of_it=code == COUNT_MISMATCH)


def _names(document: dict[str, Any], batch: Batch) -> bool:
    """Return whether a refusal is of this batch; one that names none, as older collectors write it, is."""
    return bool(document.get("batch", batch.id) == batch.id)


def _stranger(document: dict[str, Any]) -> str:
    """Return who refuses a batch without naming it, as far as the code of the answer shows."""
    code = document.get("code")
    if code == "NOT_FOUND":
        return "NOT_FOUND: an abside process answers here, but not at this path"
    if code in OURS:
        return f"{code}: an abside process answers here that is no collector, or is an older one"
    return "no answer of a collector"


def _doubt(document: dict[str, Any], batch: Batch) -> str:
    """Return why a success is no acknowledgement of this batch by our collector; empty where it is one."""
    if not isinstance(document.get("batch"), str) or type(document.get("events")) is not int:
        return "the body does not name a batch and how many of its events are stored"
    if document["batch"] != batch.id:
        return "the body names another batch"
    stored = document["events"]
    return "" if stored == batch.count else f"the body says {stored} events are stored, and {batch.count} were sent"
