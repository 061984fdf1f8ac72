"""Request heads: what is understood, and that what was read before changes nothing of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abside.serve.strangers import Hosts
from abside.sidecar.fast.heads import MAX_KNOWN, MAX_LINES, FastRoute, HeadCache


def route(path: str) -> FastRoute:
    return FastRoute(path, bytes, 1000, 200)


ROUTES = (route("/a"), route("/b"))
LINES = [
    b"Host: x",
    b"host:y",
    b"Content-Length: 10",
    b"content-length: 0",
    b"Content-Length: 1000",
    b"Content-Length: 1001",
    b"Content-Length: +5",
    b"Content-Length: 5, 5",
    b"Content-Type: application/json",
    b"Content-Type: APPLICATION/JSON; charset=UTF-8",
    b"Content-Type: text/plain",
    b"Connection: keep-alive",
    b"Connection: close",
    b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",
    b"Accept: */*",
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"X-A:",
    b" folded: line",
    b"no colon",
    b"X-A: \x00",
    b"",
]
STARTS = [b"POST /a HTTP/1.1", b"POST /b HTTP/1.1", b"POST /c HTTP/1.1", b"GET /a HTTP/1.1", b"POST /a HTTP/1.0"]
HEADS = st.builds(
    lambda start, lines: b"\r\n".join([start, *lines, b"", b""]),
    st.sampled_from(STARTS),
    st.lists(st.sampled_from(LINES), max_size=7),
)
GOOD = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nContent-Type: application/json\r\n"


@given(st.lists(HEADS, max_size=20), HEADS)
def test_what_was_read_before_changes_nothing(before: list[bytes], head: bytes) -> None:
    heads = HeadCache(ROUTES)
    for one in before:
        heads.read(one)
    assert heads.read(head) == heads.read(head) == heads.known.get(head) == HeadCache(ROUTES).read(head)


@given(st.permutations([*GOOD[:-2].split(b"\r\n")[1:], b"Connection: keep-alive", b"X-A: 1", b"X-A: 2"]))
def test_the_order_of_lines_means_nothing(lines: list[bytes]) -> None:
    read = HeadCache(ROUTES).read(b"\r\n".join([b"POST /a HTTP/1.1", *lines, b"", b""]))
    assert read is not None
    assert (read.route, read.body_bytes) == (ROUTES[0], 10)


@pytest.mark.parametrize("line", [b"Host: x", b"Content-Length: 10", b"Content-Type: application/json"])
def test_what_may_stand_once_stands_once(line: bytes) -> None:
    assert HeadCache(ROUTES).read(GOOD + b"\r\n") is not None
    assert HeadCache(ROUTES).read(GOOD + line + b"\r\n\r\n") is None
    assert HeadCache(ROUTES).read(GOOD + line.lower() + b"\r\n\r\n") is None


def test_a_head_is_its_route_its_length_and_the_head_of_its_answer() -> None:
    heads = HeadCache([route("/a"), FastRoute("/e", bytes, 1000, 202)])
    for path, status in ((b"/a", b"200 OK"), (b"/e", b"202 Accepted")):
        head = heads.read(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\n" % path)
        assert head is not None
        assert (head.route.path.encode(), head.body_bytes) == (path, 7)
        assert head.good == b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: " % status


@pytest.mark.parametrize(
    ("lines", "is_understood"),
    [
        ([b"Host: x", b"Content-Length: 1000"], True),
        ([b"Host: x", b"Content-Length: 1001"], False),  # more than the route takes
        ([b"Host: x", b"Content-Length: 05"], False),
        ([b"Host: x", b"Content-Length: 000000010"], False),
        ([b"Host: x", b"Content-Length: +5"], False),
        ([b"Host: x", b"Content-Length: 5, 5"], False),
        ([b"Host: x", b"Content-Length:"], False),
        ([b"Host: x"], False),
        ([b"Content-Length: 5"], False),
        *(
            ([b"Host: x", b"Content-Length: 5", line], is_understood)
            for line, is_understood in (
                (b"Connection: Keep-Alive", True),
                (b"Connection: close", False),
                (b"Content-Type: Application/JSON; charset=utf-8", True),
                (b"Content-Type: text/plain", False),
                (b"Transfer-Encoding: chunked", False),
                (b"Expect: 100-continue", False),
                (b"Upgrade: h2c", False),
                (b"TE: trailers", False),
                (b"X-A:", True),
                (b"X-A: \t b", True),
                (b" X-A: b", False),
                (b"X-A : b", False),
                (b": b", False),
                (b"X-A", False),
                (b"X-A: \x80", False),
                (b"X-A: \x00", False),
                (b"X-A: a\nb", False),
                (b"X-A: a\rb", False),
            )
        ),
        ([b"Host: x", b"Content-Length: 5", b"User-Agent: a", b"user-agent: a"], False),
        ([b"Host: x", b"Content-Length: 5", b"ETag: a", b"ETag: b"], False),
        ([b"Host: x", b"Content-Length: 5", *[b"X-A: b"] * (MAX_LINES - 2)], True),
        ([b"Host: x", b"Content-Length: 5", *[b"X-A: b"] * (MAX_LINES - 1)], False),
    ],
)
def test_what_is_not_plainly_understood_is_not_read_at_all(lines: list[bytes], is_understood: bool) -> None:
    heads = HeadCache(ROUTES)
    head = heads.read(b"\r\n".join([b"POST /a HTTP/1.1", *lines, b"", b""]))
    assert (head is not None) == is_understood
    assert bool(heads._fields) == is_understood, "what is refused leaves nothing behind"


def test_a_head_with_a_new_line_is_not_remembered_so_that_traces_push_out_nothing() -> None:
    heads = HeadCache(ROUTES)
    plain = GOOD + b"\r\n"
    assert heads.read(plain) is not None
    assert plain not in heads.known
    assert heads.read(plain) is not None
    assert plain in heads.known
    for number in range(5 * MAX_KNOWN):
        assert heads.read(GOOD + b"traceparent: %032x\r\n\r\n" % number) is not None
    assert list(heads.known) == [plain]
    assert len(heads._fields) <= MAX_KNOWN


def test_what_is_remembered_is_bounded() -> None:
    heads = HeadCache([FastRoute("/a", bytes, 10**7, 200)])
    for number in range(3 * MAX_KNOWN):
        head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % number
        assert heads.read(head) == heads.read(head)
        assert len(heads.known) <= MAX_KNOWN
    assert head in heads.known


def test_a_line_of_a_stranger_is_read_by_nobody_and_not_remembered() -> None:
    heads = HeadCache(ROUTES, Hosts(["shop.example"]))
    for name, is_understood in (
        (b"localhost:7600", True),
        (b"shop.example", True),
        (b"127.0.0.1", True),
        (b"a.example", False),
        (b"", False),
    ):
        head = GOOD.replace(b"Host: x", b"Host: " + name) + b"\r\n"
        for _ in range(3):
            assert (heads.read(head) is not None) == is_understood
        assert (head in heads.known) == is_understood
    anyone = HeadCache(ROUTES)
    assert anyone.read(GOOD.replace(b"Host: x", b"Host: a.example") + b"\r\n") is not None


@pytest.mark.parametrize(
    ("line", "is_understood"),
    [
        (b"Sec-Fetch-Site: none", True),
        (b"Sec-Fetch-Site: same-origin", True),
        (b"Sec-Fetch-Site: same-site", False),
        (b"Sec-Fetch-Site: cross-site", False),
        (b"Sec-Fetch-Site:", False),
        (b"Origin: http://x", False),
        (b"Origin: null", False),
        (b"Sec-Fetch-Mode: cors", True),
    ],
)
def test_what_only_a_browser_sends_is_understood_where_it_is_plainly_ours(line: bytes, is_understood: bool) -> None:
    assert (HeadCache(ROUTES).read(GOOD + line + b"\r\n\r\n") is not None) == is_understood
