"""TLS: a connection that never finishes its handshake is bounded like every other and delays nobody."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from abside.serve.address import split_address
from abside.serve.answer import Response, Route
from abside.serve.bounds import Bounds
from abside.serve.listener import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DEADLINE_SECONDS = 20.0
DEFAULTS = Bounds()
ASK = b"GET /alive HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's context and a client's."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    files = ("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"))
    named = ("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *named]
    subprocess.run(command, check=True, capture_output=True)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return server, ssl.create_default_context(cafile=str(folder / "cert.pem"))


@asynccontextmanager
async def listening(context: ssl.SSLContext, bounds: Bounds = DEFAULTS) -> AsyncIterator[tuple[Listener, str, int]]:
    routes = {"/alive": {"GET": Route(lambda _request, _body: Response(200, b"{}"), probe=True)}}
    listener = Listener(routes, bounds)
    host, port = split_address(await listener.open("127.0.0.1:0", context))
    try:
        yield listener, host, port
    finally:
        await listener.close(1.0)


async def probed(context: ssl.SSLContext, host: str, port: int) -> bytes:
    async with asyncio.timeout(DEADLINE_SECONDS):
        reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="localhost")
        writer.write(ASK)
        line = await reader.readline()
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
    return line


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)])
async def test_who_does_not_shake_hands_is_counted_and_gives_way(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], sent: bytes
) -> None:
    server, client = contexts
    async with listening(server, Bounds(max_connections=4, header_seconds=600.0)) as (listener, host, port):
        strangers = [await asyncio.open_connection(host, port) for _ in range(40)]
        for _, writer in strangers:
            writer.write(sent)
        for _ in range(8):
            assert await probed(client, host, port) == b"HTTP/1.1 200 OK\r\n"
            await asyncio.sleep(0.2)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while listener.open_connections > 4:  # noqa: ASYNC110 the listener notifies nobody
                await asyncio.sleep(0.01)
        assert listener.crowd.gave_way >= 36
        assert len(listener._handshakes[0].going_on) <= 4
        for _, writer in strangers:
            writer.close()


async def test_a_handshake_has_the_time_that_a_head_has(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with listening(contexts[0], Bounds(header_seconds=0.2)) as (listener, host, port):
        reader, writer = await asyncio.open_connection(host, port)
        async with asyncio.timeout(DEADLINE_SECONDS):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
        assert listener.open_connections == 0


async def test_what_is_no_tls_is_let_go_and_others_are_served(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], caplog: pytest.LogCaptureFixture
) -> None:
    server, client = contexts
    async with listening(server) as (listener, host, port):
        for sent in (ASK, b"\x00" * 100, b"\xff\x00\xff" * 50):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(sent)
            async with asyncio.timeout(DEADLINE_SECONDS):
                with suppress(ConnectionResetError):
                    await reader.read()
            writer.close()
            assert await probed(client, host, port) == b"HTTP/1.1 200 OK\r\n"
        assert not listener._handshakes[0].going_on
    assert caplog.messages == []


async def test_a_request_that_comes_with_the_end_of_the_handshake_is_answered(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server, client = contexts
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secure = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
    async with listening(server) as (_, host, port), asyncio.timeout(DEADLINE_SECONDS):
        reader, writer = await asyncio.open_connection(host, port)
        while True:
            try:
                secure.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65536))
            else:
                break
        secure.write(ASK)
        writer.write(outgoing.read())  # the client's last message of the handshake and its request, in one segment
        answer = b""
        while not answer.startswith(b"HTTP/1.1 200 OK"):
            incoming.write(await reader.read(65536))
            with suppress(ssl.SSLWantReadError):
                answer += secure.read(65536)
        writer.close()


async def test_a_listener_that_closes_ends_the_handshakes_that_go_on(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with listening(contexts[0], Bounds(header_seconds=600.0)) as (listener, host, port):
        reader, writer = await asyncio.open_connection(host, port)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not listener.open_connections:  # noqa: ASYNC110 the listener notifies nobody
                await asyncio.sleep(0.01)
            await listener.close(0.1)
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
        assert listener.open_connections == 0
