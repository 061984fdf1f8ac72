"""`POST /v1/batches`: who may send, what a batch is, how much of it fits, and when it is acknowledged."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import orjson
from aiohttp import hdrs, web

from abside.collector.keep.writer import ReceivedBatch
from abside.collector.receive.few import few_of
from abside.collector.receive.heading import BATCH_ID, Heading, heading_of
from abside.collector.receive.ingest import batch_columns, unpack, unpack_small
from abside.collector.store import StoreFailed
from abside.serve.answer import Refusal, Response, problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from abside.collector.keep.group import Grouper
    from abside.collector.receive.token import Token

BUSY_SECONDS = 1  # a group later there is room
FAILED_SECONDS = 5  # a full disk is not emptied in one
SMALL_BYTES = 3 * 2**20  # unpacked: a sidecar seals at 512 KiB, and at four times that while segments wait
UNPACKING = 2  # batches unpacked at a time: their bytes are in no account until they are unpacked
DISCARD_SECONDS = 5.0  # for the rest of a refused body, so that the answer is not lost in a reset connection


@dataclass(slots=True)
class Counts:
    """What happened since start."""

    stored: int = 0
    events: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by code


@dataclass(slots=True)
class Pending:
    """Bytes of batches being read, decoded or waiting for the disk: the collector's memory, and its bound."""

    limit_bytes: int
    used_bytes: int = 0

    @contextmanager
    def lease(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that sets how many bytes one request uses now; at the end they are free again.

        The function raises Refusal 503 BUSY beyond the limit; a request that is alone is always accepted.
        """
        mine = 0

        def use(size: int) -> None:
            nonlocal mine
            others = self.used_bytes - mine
            if others and others + size > self.limit_bytes:
                detail = "too many batches are waiting for the disk"
                raise Refusal(503, "BUSY", detail, retry_after_seconds=BUSY_SECONDS)
            self.used_bytes = others + size
            mine = size

        try:
            yield use
        finally:
            self.used_bytes -= mine


class Intake:
    """Takes batches. `clock` returns µs UTC; with `token` None anyone may send."""

    def __init__(
        self,
        grouper: Grouper,
        clock: Callable[[], int],
        *,
        token: Token | None,
        max_batch_bytes: int,
        max_pending_bytes: int,
        body_seconds: float,
    ) -> None:
        self._grouper = grouper
        self._clock = clock
        self._token = token
        self._max_batch_bytes = max_batch_bytes
        self._body_seconds = body_seconds
        # Threads of its own: whatever bodies cost to unpack, the store's thread is not kept waiting.
        self._threads = ThreadPoolExecutor(UNPACKING, thread_name_prefix="unpack")
        self._unpacking = asyncio.Semaphore(UNPACKING)
        # One batch of each size at a time: everyone else waits for two slices, not for one each. Large ones have a lane
        # of their own, so that a sidecar's segment does not wait for the seconds that sixteen hostile MiB can take.
        self._decoding = {False: asyncio.Lock(), True: asyncio.Lock()}
        self._taking = 0  # requests that are being answered
        self._idle = asyncio.Event()
        self._idle.set()
        self.stopping = False
        self.pending = Pending(max_pending_bytes)
        self.counts = Counts()

    async def post(self, request: web.BaseRequest, _: bytes) -> Response:
        """Take one batch: 200 when it is on disk, 208 when it already was, else a problem document with the reason.

        The body is read here and not at the listener: who may send and what fits is decided before.
        """
        self._taking += 1
        self._idle.clear()
        try:
            return await self._post(request)
        finally:
            self._taking -= 1
            if not self._taking:
                self._idle.set()

    async def drain(self) -> None:
        """Take no further batch, and wait until those being taken are answered."""
        self.stopping = True
        await self._idle.wait()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def check_sender(self, request: web.BaseRequest) -> None:
        """Raise Refusal 401 unless the request shows the token."""
        if self._token and not self._token.allows(request.headers.get(hdrs.AUTHORIZATION)):
            raise Refusal(401, "UNAUTHORIZED", "show this collector's token: Authorization: Bearer …")

    async def _post(self, request: web.BaseRequest) -> Response:
        try:
            self.check_sender(request)
            self._check_running()
            heading = heading_of(request)
            if await self._grouper.knows(heading.batch_id):
                await self._discard(request)
                return self._acknowledge(heading, "known")
            with self.pending.lease() as use:
                batch = await self._receive(request, heading, use)
                stored = await self._grouper.store(batch)
        except Refusal as refusal:
            self.counts.refused[refusal.code] += 1
            if refusal.code != "TIMEOUT":
                await self._discard(request)
            return _refused(refusal, request)
        except StoreFailed as exc:
            self.counts.refused["STORE_FAILED"] += 1
            detail = f"the batch could not be stored: {exc.reason}"
            return _refused(Refusal(503, "STORE_FAILED", detail, retry_after_seconds=FAILED_SECONDS), request)
        return self._acknowledge(heading, stored)

    def _check_running(self) -> None:
        if self.stopping:
            raise Refusal(503, "STOPPING", "this collector is about to end", retry_after_seconds=BUSY_SECONDS)

    async def _receive(self, request: web.BaseRequest, heading: Heading, use: Callable[[int], None]) -> ReceivedBatch:
        body = await self._read(request, use)
        recv_us = self._clock()
        batch = unpack_small(body, heading.encoding, max_bytes=self._max_batch_bytes, count=heading.count)
        if batch is None:
            async with self._unpacking:
                work = partial(unpack, max_bytes=self._max_batch_bytes, count=heading.count)
                batch = await asyncio.get_running_loop().run_in_executor(self._threads, work, body, heading.encoding)
                use(len(batch.data))
        elif few := few_of(batch.events(), heading.batch_id, recv_us):
            use(few.size)
            return ReceivedBatch(heading.batch_id, recv_us, (), few)
        unpacked_bytes = len(batch.data)
        pieces: list[pa.RecordBatch] = []
        size = 0
        async with self._decoding[unpacked_bytes > SMALL_BYTES]:
            # Python all the way: in slices on the loop, since a thread would keep the GIL from it just as long.
            for piece in batch_columns(batch, batch_id=heading.batch_id, recv_us=recv_us):
                pieces.append(piece)
                size += piece.get_total_buffer_size()
                use(unpacked_bytes + size)
                await asyncio.sleep(0)
        use(size)
        return ReceivedBatch(heading.batch_id, recv_us, tuple(pieces))

    async def _read(self, request: web.BaseRequest, use: Callable[[int], None]) -> bytes:
        if request.content.is_eof():  # it came with its head, as most small ones do
            body = request.content.read_nowait()
            if len(body) > self._max_batch_bytes:
                raise self._too_large()
            use(len(body))
            return body
        chunks: list[bytes] = []
        size = 0
        if (request.content_length or 0) > self._max_batch_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._body_seconds):
                async for chunk in request.content.iter_any():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > self._max_batch_bytes:
                        raise self._too_large()
                    use(size)
        except TimeoutError as exc:
            raise Refusal(408, "TIMEOUT", f"the body did not arrive within {self._body_seconds:g} s") from exc
        except web.RequestPayloadError as exc:
            raise Refusal(400, "MALFORMED", "the body does not end as its headers say") from exc
        return b"".join(chunks)

    def _too_large(self) -> Refusal:
        return Refusal(413, "TOO_LARGE", f"the batch is larger than {self._max_batch_bytes:,} bytes")

    async def _discard(self, request: web.BaseRequest) -> None:
        """Read what is left of a body and forget it: closing on unread bytes resets the connection, answer and all."""
        size = 0
        with suppress(TimeoutError, web.RequestPayloadError):
            async with asyncio.timeout(min(DISCARD_SECONDS, self._body_seconds)):
                async for chunk in request.content.iter_any():
                    size += len(chunk)
                    if size > self._max_batch_bytes:
                        return

    def _acknowledge(self, heading: Heading, stored: str) -> Response:
        if stored == "known":
            self.counts.duplicates += 1
        else:
            self.counts.stored += 1
            self.counts.events += heading.count
        body = {"batch": heading.batch_id, "events": heading.count, "status": stored}
        return Response(208 if stored == "known" else 200, orjson.dumps(body))


def _refused(refusal: Refusal, request: web.BaseRequest) -> Response:
    """Return the problem document with the id of the batch: by it a sidecar knows that a collector refuses."""
    batch_id = request.headers.get("Idempotency-Key", "")
    answer = problem(refusal, {"batch": batch_id} if BATCH_ID.match(batch_id) else {})
    if refusal.status == 401:
        challenge = (hdrs.WWW_AUTHENTICATE, "Bearer")
        return Response(answer.status, answer.body, answer.content_type, (*answer.headers, challenge))
    return answer
