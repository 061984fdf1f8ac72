"""Certificates that are renewed while a listener runs, over real TLS on loopback."""

from __future__ import annotations

import asyncio
import calendar
import ssl
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from tests.serve.conftest import openssl

from abside.serve.address import split_address
from abside.serve.answer import Response, Route
from abside.serve.bounds import Bounds
from abside.serve.certificate import CertificateUnusable, instant, not_after
from abside.serve.listener import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.serve.conftest import Mount

ASK = b"GET /alive HTTP/1.1\r\nHost: localhost\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[int]:
    routes = {"/alive": {"GET": Route(lambda _request, _body: Response(200, b"{}"), probe=True)}}
    listener = Listener(routes, Bounds())
    try:
        yield split_address(await listener.open("127.0.0.1:0", context))[1]
    finally:
        await listener.close(0.1)


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(port: int, trusted: Path) -> AsyncIterator[Connection]:
    """Connect as a client that trusts one certificate alone."""
    context = ssl.create_default_context(cafile=str(trusted / "tls.crt"))
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="a")
    yield reader, writer
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def fresh(port: int, trusted: Path) -> bytes:
    """Ask once, on a new connection."""
    async with connected(port, trusted) as connection:
        return await answered(connection)


async def answered(connection: Connection) -> bytes:
    reader, writer = connection
    async with asyncio.timeout(20):
        writer.write(ASK)
        line = await reader.readline()
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
    return line


@pytest.mark.parametrize("kind", ["two", "rsa"])
async def test_a_renewed_pair_is_shown_to_new_connections_and_old_ones_go_on(
    mount: Mount, made: Callable[[str], Path], kind: str
) -> None:
    certificate = mount.certificate()
    async with listening(certificate.context) as port, connected(port, made("one")) as old:
        assert await answered(old) == OK
        mount.show(made(kind))
        certificate.look()
        assert await fresh(port, made(kind)) == OK
        assert await answered(old) == OK
        with pytest.raises(ssl.SSLCertVerificationError):
            await fresh(port, made("one"))
    assert certificate.not_after == not_after((made(kind) / "tls.crt").read_bytes())


async def test_changed_files_are_found_without_a_question(mount: Mount, made: Callable[[str], Path]) -> None:
    certificate = mount.certificate()
    following = asyncio.create_task(certificate.follow(0.001))  # noqa: TID251 cancelled below
    end = not_after((made("two") / "tls.crt").read_bytes())
    mount.show(made("two"))
    async with asyncio.timeout(20):
        while certificate.not_after != end:  # noqa: ASYNC110 it notifies nobody
            await asyncio.sleep(0.001)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following


BROKEN: dict[str, tuple[str, Callable[[bytes, bytes], tuple[bytes, bytes]], str]] = {
    "key of another": ("two", lambda _cert, key: (b"", key), "is not the key of"),
    "no key": ("one", lambda cert, _key: (cert, b"nonsense"), "tls.key is no private key in PEM"),
    "empty": ("one", lambda _cert, key: (b"\n", key), "tls.crt is no certificate chain in PEM"),
    "cut": ("two", lambda cert, key: (cert[:200], key), "tls.crt is no certificate chain in PEM"),
    "damaged": ("two", lambda cert, key: (cert.replace(b"A", b"B"), key), "tls.crt"),
    "with a password": ("locked", lambda cert, key: (cert, key), "tls.key has a password"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_renewal_keeps_the_last_good_and_is_logged_once_and_shown(
    mount: Mount, made: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    kind, spoil, words = BROKEN[name]
    certificate = mount.certificate()
    folder = tmp_path / "broken"
    folder.mkdir()
    cert, key = spoil((made(kind) / "tls.crt").read_bytes(), (made(kind) / "tls.key").read_bytes())
    (folder / "tls.crt").write_bytes(cert or (made("one") / "tls.crt").read_bytes())
    (folder / "tls.key").write_bytes(key)
    mount.show(folder)
    async with listening(certificate.context) as port:
        for _ in range(3):
            certificate.look()
        assert caplog.text.count("certificate_unusable") == 1
        assert words in (certificate.problem or "")
        assert certificate.not_after == not_after((made("one") / "tls.crt").read_bytes())
        assert await fresh(port, made("one")) == OK
        with pytest.raises(CertificateUnusable, match=words):  # at a start it is the end
            mount.certificate()
        mount.show(made("two"))
        certificate.look()
        assert certificate.problem is None
        assert await fresh(port, made("two")) == OK


def test_files_that_were_away_and_come_back_as_they_were_are_no_problem(mount: Mount, tmp_path: Path) -> None:
    certificate = mount.certificate()
    there = mount.at.readlink()
    (tmp_path / "nothing").mkdir()
    mount.show(tmp_path / "nothing")
    certificate.look()
    assert "tls.crt cannot be read: No such file" in (certificate.problem or "")
    mount.show(there)
    certificate.look()
    assert certificate.problem is None


@pytest.mark.parametrize("kind", ["one", "rsa", "late"])
def test_the_end_of_its_life_is_what_openssl_reads(made: Callable[[str], Path], kind: str) -> None:
    path = made(kind) / "tls.crt"
    written = openssl("x509", "-noout", "-enddate", "-in", str(path)).strip().removeprefix("notAfter=")
    expected = calendar.timegm(time.strptime(written, "%b %d %H:%M:%S %Y %Z"))
    assert not_after(path.read_bytes()) == expected
    assert instant(expected).endswith("Z")
    chain = path.read_bytes() + (made("two") / "tls.crt").read_bytes()
    assert not_after(b"# its own first\n" + chain) == expected


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----", b"\xff"])
def test_what_is_no_certificate_has_no_end(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"no BEGIN CERTIFICATE|is cut"):
        not_after(pem)
