"""What a web page in a developer's browser can do to the sidecar beside it: only its own status page is answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.sidecar.conftest import Running

    Start = Callable[..., Awaitable[Running]]

CLICK = orjson.dumps({"type": "click", "user_id": "u1", "item_id": "a"})
DEADLINE_SECONDS = 20.0
ABROAD = "Sec-Fetch-Site: cross-site"


async def answered(path: Path | tuple[str, int], line: str, *lines: str, body: bytes = b"") -> tuple[int, str]:
    """Send a request as it is; give the status, and the code of a problem document."""
    opened = asyncio.open_connection(*path) if isinstance(path, tuple) else asyncio.open_unix_connection(path)
    reader, writer = await opened
    head = [line, *lines, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    writer.write("\r\n".join(head).encode() + body)
    async with asyncio.timeout(DEADLINE_SECONDS):
        answer = await reader.read()
    writer.close()
    code = answer.partition(b'"code":"')[2].partition(b'"')[0].decode()
    return int(answer.split()[1]), code


POSTS = {
    "fetch with no-cors and a Blob": ("Origin: https://a.example", ABROAD, "Content-Type: application/json"),
    "sendBeacon": ("Origin: https://a.example", ABROAD),
    "a form": ("Origin: null", ABROAD, "Content-Type: text/plain"),
    "an old browser": ("Origin: https://a.example",),
    "a page of another port": ("Origin: http://localhost:3000", "Sec-Fetch-Site: same-site"),
}


@pytest.mark.parametrize("fast_path", ["on", "off"])
@pytest.mark.parametrize("lines", POSTS.values(), ids=POSTS)
async def test_a_page_of_another_site_posts_nothing(start: Start, lines: tuple[str, ...]) -> None:
    running = await start()
    for path in ("/v1/events", "/v1/assign", "/v1/exposures", "/v1/explain", "/nothing"):
        asked = await answered(running.address, f"POST {path} HTTP/1.1", "Host: localhost:7600", *lines, body=CLICK)
        assert asked == (403, "FOREIGN_ORIGIN")
    assert running.spooled("click") == []
    status = (await running.status())["events"]["accepted"]
    assert "click" not in status
    assert "exposure" not in status


@pytest.mark.parametrize("fast_path", ["on", "off"])
async def test_a_name_that_was_pointed_here_reads_and_posts_nothing(start: Start) -> None:
    running = await start()
    same = ("Host: rebind.a.example:7600", "Origin: http://rebind.a.example:7600", "Sec-Fetch-Site: same-origin")
    for path in ("/", "/v1/status", "/nothing"):
        assert await answered(running.address, f"GET {path} HTTP/1.1", same[0], same[2]) == (403, "FOREIGN_HOST")
    assert await answered(running.address, "POST /v1/events HTTP/1.1", *same, body=CLICK) == (403, "FOREIGN_HOST")
    host, _, port = running.sidecar.admin_address.rpartition(":")
    assert await answered((host, int(port)), "GET /metrics HTTP/1.1", same[0]) == (403, "FOREIGN_HOST")
    assert running.spooled("click") == []


async def test_the_status_page_opens_from_the_address_bar_and_its_own_form_and_from_no_other_page(start: Start) -> None:
    running = await start()
    for host in ("localhost:7600", "127.0.0.1:7600", "[::1]:7600"):  # also what kubectl port-forward brings
        for site, expected in (("none", 200), ("same-origin", 200), ("same-site", 403), ("cross-site", 403)):
            asked = await answered(running.address, "GET /?find=a HTTP/1.1", f"Host: {host}", f"Sec-Fetch-Site: {site}")
            assert asked[0] == expected


async def test_who_sends_neither_is_asked_for_nothing(start: Start) -> None:
    running = await start()
    for host in ("localhost", "rec-service", "experiment-gateway.recs.svc.cluster.local", "10.1.2.3:7600"):
        asked = await answered(running.address, "POST /v1/events HTTP/1.1", f"Host: {host}", body=CLICK)
        assert asked == (202, "")
    assert await answered(running.address, "POST /v1/events HTTP/1.0", body=CLICK) == (202, "")


@pytest.mark.parametrize("fast_path", ["on", "off"])
async def test_a_listed_name_may_ask_and_be_asked_by(start: Start) -> None:
    running = await start(allow_name=("shop.example",))
    post = "POST /v1/events HTTP/1.1"
    assert await answered(running.address, post, "Host: shop.example", body=CLICK) == (202, "")
    of_page = ("Host: localhost:7600", "Origin: https://shop.example", ABROAD)
    assert await answered(running.address, post, *of_page, body=CLICK) == (202, "")
    assert await answered(running.address, post, "Host: www.shop.example", body=CLICK) == (403, "FOREIGN_HOST")


@pytest.mark.parametrize("fast_path", ["on", "off"])
async def test_a_unix_socket_takes_any_host(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "abside.sock"
    await start(listen=(f"unix:{path}",))
    for _ in range(3):
        assert await answered(path, "POST /v1/events HTTP/1.1", "Host: a.example", body=CLICK) == (202, "")
    assert await answered(path, "POST /v1/events HTTP/1.1", "Host: a", ABROAD, body=CLICK) == (403, "FOREIGN_ORIGIN")


async def test_a_refusal_shows_the_name_and_the_remedy_and_no_endless_or_odd_one(start: Start) -> None:
    running = await start()
    for host, shown in (
        ("a.example:7600", "a.example"),
        ("a" * 70 + ".example", "another name"),
        ("a b", "another name"),
    ):
        reader, writer = await asyncio.open_connection(*running.address)
        writer.write(f"GET /v1/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        problem = orjson.loads((await reader.read()).partition(b"\r\n\r\n")[2])
        writer.close()
        assert problem["detail"] == (
            f"Host says {shown}, which is no name of this process; ask by localhost or by an address, "
            "or list the name with --allow-name"
        )
