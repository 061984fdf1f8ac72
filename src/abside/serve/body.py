"""Request bodies, read whole: each within its size and deadline, all together within a bound on memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, hdrs, web

from abside.serve.answer import UNPACKABLE, Refusal, busy

if TYPE_CHECKING:
    from abside.serve.bounds import Bounds
    from abside.serve.crowd import Crowd

ENCODINGS = frozenset({"", "identity", "gzip", "deflate", "br", "zstd"})  # aiohttp undoes them, or raises before us


class Bodies:
    """The bodies that are coming in at one listener."""

    def __init__(self, bounds: Bounds, crowd: Crowd) -> None:
        self.held_bytes = 0  # of those that are not complete
        self._bounds = bounds
        self._crowd = crowd

    async def read(self, request: web.BaseRequest, max_bytes: int) -> bytes:
        """Return the body of a request. Raises Refusal for one that is too large, too slow or does not decode."""
        if max_bytes == 0:
            return b""
        if request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower() not in ENCODINGS:
            raise UNPACKABLE
        if (request.content_length or 0) > max_bytes:
            raise _too_large(max_bytes)
        await _continue(request)
        chunks: list[bytes] = []
        total = 0
        try:
            async with asyncio.timeout(self._bounds.body_seconds):
                async for chunk in request.content.iter_any():
                    total += len(chunk)
                    self.held_bytes += len(chunk)
                    if total > max_bytes:
                        raise _too_large(max_bytes)
                    if self.held_bytes > self._bounds.max_held_bytes and not self._crowd.relieve():
                        raise busy("too many large bodies are coming in at once")
                    chunks.append(chunk)
        except TimeoutError as exc:
            sentence = f"the body did not arrive within {self._bounds.body_seconds:g} s"
            raise Refusal(408, "TIMEOUT", sentence) from exc
        except web.RequestPayloadError as exc:
            raise Refusal(400, "MALFORMED", "the body does not decode as its headers say") from exc
        finally:
            self.held_bytes -= total
        return b"".join(chunks)


async def _continue(request: web.BaseRequest) -> None:
    """Send 100 Continue to a client that waits for it before it sends its body (RFC 9110, 10.1.1)."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


def _too_large(max_bytes: int) -> Refusal:
    return Refusal(413, "TOO_LARGE", f"the body is larger than {max_bytes:,} bytes")
