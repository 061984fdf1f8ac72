"""One request over an aiohttp session, within a deadline."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp

from abside.client.message import MAX_ANSWER_BYTES
from abside.client.raised import is_ours
from abside.client.result import CallFailed

if TYPE_CHECKING:
    from abside.client import address as addresses

MAX_CONNECTIONS = 100  # beyond it calls queue for a connection, within their deadline; an answer takes 0.1 ms
IDLE_SECONDS = 60.0  # below the sidecar's 75: so that this side closes


async def post(session: aiohttp.ClientSession, path: str, body: bytes, seconds: float) -> tuple[int, bytes]:
    """Send one request and read its answer within the deadline. Raises CallFailed, Refused.

    It is sent once. Only where a kept connection breaks before the first byte of an answer, as after a restart of
    the sidecar, it is sent again over a new connection, within the same deadline: an assignment is the same again,
    and events carry their ids.
    """
    try:
        async with asyncio.timeout(seconds):
            kept: list[bool] = []  # gets an item when aiohttp reuses a connection
            try:
                return await _exchange(session, path, body, kept)
            except (aiohttp.ServerDisconnectedError, ConnectionResetError, BrokenPipeError) as exc:
                if not kept or not is_ours(exc):
                    raise
                return await _exchange(session, path, body, kept)
    except CallFailed:
        raise
    except Exception as exc:
        if not is_ours(exc):
            raise
        if isinstance(exc, TimeoutError):
            raise CallFailed("timeout", "no answer within the deadline") from exc
        if isinstance(exc, OSError | aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
            raise CallFailed("unreachable", type(exc).__name__) from exc
        # aiohttp over hostile bytes: whatever it raises, there is no answer
        raise CallFailed("garbage", type(exc).__name__) from exc


def open_session(address: addresses.Address) -> aiohttp.ClientSession:
    """Return a session for the running event loop."""
    connector: aiohttp.BaseConnector
    if address.path is not None:
        connector = aiohttp.UnixConnector(address.path, limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_SECONDS)
    else:
        connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_SECONDS)
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_note_kept)
    return aiohttp.ClientSession(
        f"http://{address.text}",
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the call's own deadline is the only one
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Content-Type": "application/json"},
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        auto_decompress=False,
        trace_configs=[tracing],
    )


async def _note_kept(_session: aiohttp.ClientSession, context: Any, _params: object) -> None:
    context.trace_request_ctx.append(True)


async def _exchange(session: aiohttp.ClientSession, path: str, body: bytes, kept: list[bool]) -> tuple[int, bytes]:
    async with session.post(path, data=body, allow_redirects=False, trace_request_ctx=kept) as response:
        length = response.content_length
        if length is None or length > MAX_ANSWER_BYTES:
            response.close()
            raise CallFailed("garbage", "an answer of unknown length, or of more than 1 MiB")
        return response.status, await response.read()
