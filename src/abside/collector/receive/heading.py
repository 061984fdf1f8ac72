"""The headers of a batch: what it is, who it is, and how many events it contains."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import hdrs

from abside.collector.receive.ingest import ENCODINGS
from abside.serve.answer import Refusal

if TYPE_CHECKING:
    from aiohttp import web

TYPE = "application/msgpack"
# It names a file: no separator, no dot file (readers skip those and names in _), nothing a shell reads as an option.
BATCH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
COUNT = re.compile(r"[0-9]{1,9}\Z")


@dataclass(frozen=True, slots=True)
class Heading:
    """The headers of a batch."""

    batch_id: str
    count: int
    encoding: str


def heading_of(request: web.BaseRequest) -> Heading:
    """Read the headers of a batch. Raises Refusal 400 or 415."""
    if request.content_type != TYPE:
        raise Refusal(415, "UNSUPPORTED_TYPE", f"send Content-Type: {TYPE}")
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
    if encoding not in ENCODINGS:
        raise Refusal(415, "UNSUPPORTED_ENCODING", f"send Content-Encoding: {', '.join(ENCODINGS)}, or none")
    batch_id = request.headers.get("Idempotency-Key", "")
    if not BATCH_ID.match(batch_id):
        sentence = "must be the batch id: a letter or digit, then at most 127 of letters, digits, dots, _ and -"
        raise Refusal(400, "MALFORMED", f"Idempotency-Key {sentence}", path="Idempotency-Key")
    count = request.headers.get("X-Batch-Count", "")
    if not COUNT.match(count):
        raise Refusal(400, "MALFORMED", "X-Batch-Count must be the number of events", path="X-Batch-Count")
    return Heading(batch_id, int(count), encoding)
