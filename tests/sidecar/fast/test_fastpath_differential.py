"""Both paths are one: the same bytes, however they are cut and whatever is wrong with them, get the same answer."""

import itertools
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cases import cases

from abside.scrape.render import RENDER_SECONDS
from abside.snapshot import Attribute, Experiment, Placement, Variant, assemble, encode

SILENT_SECONDS = 0.25  # neither side says a word for so long: both wait for more
PATIENCE_SECONDS = 10.0  # one side spoke: the other has this long to say the same
PAUSES_SECONDS = (0.0005, 0.02, 0.2)  # between two segments: longer only where the two sides differ
UNREADABLE = "this is not an HTTP request that can be read"
MATTERING = ("content-type", "content-length", "retry-after", "allow", "connection")


@dataclass
class Side:
    """One sidecar process and where it listens."""

    port: int
    admin: int
    process: subprocess.Popen[bytes]

    def counter(self, name: str) -> int:
        time.sleep(RENDER_SECONDS + 0.1)  # so that the answer is rendered after all that was sent
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as answer:
            found = re.search(rf"^abside_{name}_total (\S+)$", answer.read().decode(), re.MULTILINE)
        assert found
        return int(float(found[1]))


@dataclass
class Pair:
    """The same configuration behind both paths, and how often they were compared."""

    fast: Side
    plain: Side
    compared: int = field(default=0)

    def compare(self, *segments: bytes) -> list[tuple[object, ...]]:
        """Send the same segments to both; give what both answered.

        The kernel may join two segments into one read, on one side only, and aiohttp drops what stands before garbage
        in one read. A difference of ours is there however far apart the segments arrive.
        """
        self.compared += 1
        for pause_seconds in PAUSES_SECONDS:
            got = self._exchange(segments, pause_seconds)
            both = [answers(raw) for raw in got]
            garbage = [one[-1:] for one in both if one and UNREADABLE in str(one[-1])]
            if both[0] == both[1] or (len(garbage) == 2 and garbage[0] == garbage[1]):
                return both[0]
        raise AssertionError(f"{segments!r}: fast {got[0]!r}, aiohttp {got[1]!r}")

    def _exchange(self, segments: tuple[bytes, ...], pause_seconds: float) -> list[bytes]:
        with (
            socket.create_connection(("127.0.0.1", self.fast.port)) as one,
            socket.create_connection(("127.0.0.1", self.plain.port)) as other,
        ):
            for connection in (one, other):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for segment in segments:
                    send(connection, segment, pause_seconds)
            return listen([one, other])


def send(connection: socket.socket, segment: bytes, pause_seconds: float) -> None:
    try:
        connection.sendall(segment)
    except (BrokenPipeError, ConnectionResetError):
        return  # it was answered and closed before all was sent: its answer is still to be read
    if len(segment) < 20_000:
        time.sleep(pause_seconds)


def listen(connections: list[socket.socket]) -> list[bytes]:
    """Read both until both are silent, or closed, after equally many answers."""
    got = [b"", b""]
    closed = [False, False]
    begun = time.monotonic()
    last = begun
    while not all(closed):
        waiting = [one for one, done in zip(connections, closed, strict=True) if not done]
        ready, _, _ = select.select(waiting, [], [], 0.02)
        for one in ready:
            place = connections.index(one)
            try:
                data = one.recv(65536)
            except ConnectionResetError:
                data = b""
            closed[place] = closed[place] or not data
            got[place] += data
            last = time.monotonic()
        quiet = time.monotonic() - last
        both = [answers(raw) for raw in got]
        same = len(both[0]) == len(both[1]) and closed[0] == closed[1]
        if quiet > (SILENT_SECONDS if same else PATIENCE_SECONDS):
            break
        if same and both[0] and quiet > 0.02 and all(complete(raw) for raw in got):
            break
    return [raw + (b"" if not done else b"\x00closed") for raw, done in zip(got, closed, strict=True)]


def complete(raw: bytes) -> bool:
    return sum(len(body) for _, _, body in split(raw)) > 0 and split(raw)[-1][0] != b""


def split(raw: bytes) -> list[tuple[bytes, dict[str, str], bytes]]:
    """Cut a stream of answers into status line, headers and body."""
    found = []
    while raw and raw != b"\x00closed":
        head, _, rest = raw.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        fields = [one.decode().partition(":") for one in lines[1:]]
        headers = {name.lower(): value.strip() for name, _, value in fields}
        size = int(headers.get("content-length", "0"))
        found.append((lines[0], headers, rest[:size]))
        raw = rest[size:]
    return found


def answers(raw: bytes) -> list[tuple[object, ...]]:
    """Return what must be the same: status, the headers that matter, the body but for its counters."""
    return [
        (
            line.split(b" ")[1:2],
            {name: value for name, value in headers.items() if name in MATTERING and name != "content-length"},
            re.sub(rb'("exposure(?:_id|_token|Id)":)"[^"]*"', rb'\1"x"', body),
        )
        for line, headers, body in split(raw)
    ]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    arms = (Variant("control", 0, 8000), Variant("treatment", 8000, 10_000, {"pdp": {"model": "ranker-v2"}}))
    experiment = Experiment("pdp-reranker", "PDP", "Lifts.", "running", ("pdp",), arms, "control")
    places = [Placement("pdp", {"model": "ranker-v1", "item_count": 12}), Placement("cart", {"model": "c1"})]
    attributes = {"country": Attribute("string", log=True)}
    (folder / "snapshot").write_bytes(encode(assemble(attributes, [*places, experiment], written_at_us=1)))
    sides = started(folder, "on"), started(folder, "off")
    made = Pair(*sides)
    yield made
    answered, over = made.fast.counter("fast_answers"), made.fast.counter("fast_hand_overs")
    print(f"\n  {made.compared:,} byte sequences over both paths, no difference:", end=" ")
    print(f"{answered:,} fast answers, {over:,} hand-overs")
    for side in sides:
        side.process.send_signal(signal.SIGTERM)
        assert side.process.wait(30) == 0


def started(folder: Path, fast_path: str) -> Side:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    port, admin = (int(one.getsockname()[1]) for one in held)
    for one in held:
        one.close()
    command = [sys.executable, "-m", "abside", "sidecar", "--fast-path", fast_path, "--linger-seconds", "0"]
    command += ["--snapshot", str(folder / "snapshot"), "--spool", str(folder / f"spool-{fast_path}")]
    command += ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", "--spool-limit", "1GiB"]
    with (folder / f"log-{fast_path}").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return Side(port, admin, process)
    raise AssertionError("the sidecar does not listen")


BODY = b'{"placement":"pdp","user_id":"u1","attributes":{"country":"DE"}}'
EVENT = b'{"type":"click","user_id":"u1","item_id":"i1"}'


def post(path: bytes, body: bytes, *extra: bytes, version: bytes = b"HTTP/1.1", length: bytes | None = None) -> bytes:
    size = str(len(body)).encode() if length is None else length
    lines = [b"POST " + path + b" " + version, b"Host: localhost", b"Content-Type: application/json"]
    lines += [b"Content-Length: " + size, *extra]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


GOOD = post(b"/v1/assign", BODY)
CHUNKED = b"POST /v1/assign HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"

FLAG = b"/ofrep/v1/evaluate/flags/pdp"
CONTEXT = b'{"context":{"targetingKey":"u1","session_id":"s1","country":"DE"}}'
TRACKED = b'{"event":"addToCart","context":{"targetingKey":"u1"},"value":2,"attributes":{"itemId":"i","a":1}}'

ODD = {
    "a flag": post(FLAG, CONTEXT),
    "an experiment as a flag": post(FLAG + b"-reranker", CONTEXT),
    "a flag without a body": post(FLAG, b""),
    "a flag of nobody": post(FLAG + b"-reranker", b"{}"),
    "a flag and a bad body": post(FLAG, b"{"),
    "a flag that is not there": post(FLAG + b"q", CONTEXT),
    "a flag by an escaped key": post(FLAG[:-3] + b"%70dp", CONTEXT),
    "a flag behind two slashes": post(b"/" + FLAG, CONTEXT),
    "a flag for another site": post(FLAG, CONTEXT, b"Origin: https://a.example"),
    "a flag, chunked": CHUNKED.replace(b"/v1/assign", FLAG) % (len(CONTEXT), CONTEXT),
    "a flag beyond the bound": post(FLAG, b"x" * 70_000),
    "a flag by another method": post(FLAG, CONTEXT).replace(b"POST", b"PUT", 1),
    "all flags": post(FLAG[:-4], CONTEXT),
    "all flags that are known": post(FLAG[:-4], CONTEXT, b"If-None-Match: *"),
    "tracking": post(b"/v1/track", TRACKED),
    "bad tracking": post(b"/v1/track", TRACKED.replace(b"2", b'"2"')),
    "plain": GOOD,
    "an event": post(b"/v1/events", EVENT),
    "a list of events": post(b"/v1/events", b"[" + EVENT + b"]"),
    "a bad event": post(b"/v1/events", b'{"type":"exposure","user_id":"u1"}'),
    "a bad token": post(b"/v1/exposures", b'{"exposure_token":"x"}'),
    "no unit": post(b"/v1/assign", b'{"placement":"pdp"}'),
    "unknown placement": post(b"/v1/assign", b'{"placement":"pdq","user_id":"u"}'),
    "malformed": post(b"/v1/assign", b"{"),
    "empty body": post(b"/v1/assign", b""),
    "no length": b"POST /v1/assign HTTP/1.1\r\nHost: x\r\n\r\n",
    "several": post(b"/v1/assign", b'{"placements":["pdp","cart"],"expose":true,"user_id":"u1"}'),
    "prefetch": post(b"/v1/assign", b'{"placements":["pdp","cart"],"expose":false,"user_id":"u1"}'),
    "explain": post(b"/v1/explain", BODY),
    "another route": b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
    "another method": b"PUT /v1/assign HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "lower-case method": GOOD.replace(b"POST", b"post", 1),
    "a query": post(b"/v1/assign?x=1", BODY),
    "absolute form": post(b"http://localhost/v1/assign", BODY),
    "http 1.0": post(b"/v1/assign", BODY, version=b"HTTP/1.0"),
    "http 1.0 keep-alive": post(b"/v1/assign", BODY, b"Connection: keep-alive", version=b"HTTP/1.0"),
    "http 2.0": post(b"/v1/assign", BODY, version=b"HTTP/2.0"),
    "close": post(b"/v1/assign", BODY, b"Connection: close"),
    "keep-alive": post(b"/v1/assign", BODY, b"Connection: Keep-Alive"),
    "upgrade": post(b"/v1/assign", BODY, b"Connection: Upgrade", b"Upgrade: h2c"),
    "expect": post(b"/v1/assign", BODY, b"Expect: 100-continue"),
    "expect nonsense": post(b"/v1/assign", BODY, b"Expect: miracles"),
    "chunked": CHUNKED % (len(BODY), BODY),
    "chunked and length": post(b"/v1/assign", BODY, b"Transfer-Encoding: chunked"),
    "same length twice": post(b"/v1/assign", BODY, b"Content-Length: %d" % len(BODY)),
    "two lengths": post(b"/v1/assign", BODY, b"Content-Length: 1"),
    "length list": post(b"/v1/assign", BODY, length=b"5, 5"),
    "length with a sign": post(b"/v1/assign", BODY, length=b"+%d" % len(BODY)),
    "negative length": post(b"/v1/assign", BODY, length=b"-1"),
    "hexadecimal length": post(b"/v1/assign", BODY, length=b"0x10"),
    "padded length": post(b"/v1/assign", BODY, length=b"00%d" % len(BODY)),
    "length of 2 GB": post(b"/v1/assign", BODY, length=b"2147483648"),
    "length above the bound": post(b"/v1/assign", b"x" * 70_000),
    "gzip": post(b"/v1/assign", BODY, b"Content-Encoding: gzip"),
    "text": GOOD.replace(b"application/json", b"text/plain"),
    "json with a charset": GOOD.replace(b"application/json", b"application/json; charset=utf-8"),
    "json with another charset": GOOD.replace(b"application/json", b"application/json; charset=latin-1"),
    "an empty type": GOOD.replace(b"application/json", b""),
    "no host": GOOD.replace(b"Host: localhost\r\n", b""),
    "two hosts": post(b"/v1/assign", BODY, b"Host: other"),
    "a page of another site": post(b"/v1/assign", BODY, b"Sec-Fetch-Site: cross-site", b"Origin: https://a.example"),
    "a beacon of another site": post(b"/v1/events", EVENT, b"Sec-Fetch-Site: cross-site"),
    "a page of the same site": post(b"/v1/assign", BODY, b"Sec-Fetch-Site: same-site"),
    "our own page": post(b"/v1/assign", BODY, b"Sec-Fetch-Site: same-origin", b"Origin: http://localhost"),
    "an address bar": post(b"/v1/assign", BODY, b"Sec-Fetch-Site: none"),
    "a site that is not known": post(b"/v1/assign", BODY, b"Sec-Fetch-Site: "),
    "a site twice": post(b"/v1/assign", BODY, b"Sec-Fetch-Site: none", b"sec-fetch-site: cross-site"),
    "an origin of another port": post(b"/v1/assign", BODY, b"Origin: http://localhost:3000"),
    "an origin of nobody": post(b"/v1/assign", BODY, b"Origin: null"),
    "a name of a stranger": GOOD.replace(b"Host: localhost", b"Host: rebind.a.example:7600"),
    "a name in capitals": GOOD.replace(b"Host: localhost", b"HOST: LOCALHOST:7600"),
    "an address": GOOD.replace(b"Host: localhost", b"Host: 127.0.0.1:7600"),
    "an address of version 6": GOOD.replace(b"Host: localhost", b"Host: [::1]:7600"),
    "a host that is none": GOOD.replace(b"Host: localhost", b"Host: a b"),
    "an empty host": GOOD.replace(b"Host: localhost", b"Host:"),
    "a page of another site, to another route": GOOD.replace(b"/v1/assign", b"/").replace(
        b"Content-Type", b"Sec-Fetch-Site: cross-site\r\nContent-Type"
    ),
    "folded header": post(b"/v1/assign", BODY, b"X-Folded: a\r\n b"),
    "space before the colon": post(b"/v1/assign", BODY, b"X-Odd : a"),
    "no colon": post(b"/v1/assign", BODY, b"X-Odd"),
    "NUL in a header": post(b"/v1/assign", BODY, b"X-Odd: a\x00b"),
    "bytes above ASCII in a header": post(b"/v1/assign", BODY, b"X-Odd: caf\xc3\xa9"),
    "bare CR in a header": post(b"/v1/assign", BODY, b"X-Odd: a\rb"),
    "bare LF line ends": GOOD.replace(b"\r\n", b"\n"),
    "NUL bytes": b"\x00" * 40 + b"\r\n\r\n",
    "blank lines first": b"\r\n\r\n" + GOOD,
    "a long header": post(b"/v1/assign", BODY, b"X-Long: " + b"x" * 5000),
    "a header too long": post(b"/v1/assign", BODY, b"X-Long: " + b"x" * 20_000),
    "ten thousand headers": post(b"/v1/assign", BODY, *(b"X-%d: y" % n for n in range(10_000))),
    "pipelined": GOOD + GOOD,
    "pipelined with another route": GOOD + b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tail of garbage": GOOD + b"garbage\r\n\r\n",
    "a smuggled request": post(b"/v1/assign", BODY + GOOD, length=b"%d" % len(BODY)),
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_request_gets_the_same_answer_on_both_paths(pair: Pair, what: str) -> None:
    pair.compare(ODD[what])


def test_a_plain_request_cut_at_every_place_gets_the_same_answer(pair: Pair) -> None:
    for place in range(1, len(GOOD)):
        assert pair.compare(GOOD[:place], GOOD[place:])[0][0] == [b"200"]


def test_a_body_that_comes_apart_with_a_tail_behind_it_gets_the_same_answer(pair: Pair) -> None:
    head, _, body = GOOD.partition(b"\r\n\r\n")
    for tail in (b"}", b"\x00", b"\r\n\r\n", GOOD[:20]):
        pair.compare(head + b"\r\n\r\n", body + tail)
        pair.compare(head + b"\r\n\r\n", body[:10], body[10:] + tail)
        pair.compare(head + b"\r\n\r\n", b"\x00" + body)


def test_plain_requests_on_one_connection_stay_on_the_fast_path(pair: Pair) -> None:
    before = pair.fast.counter("fast_hand_overs")
    with socket.create_connection(("127.0.0.1", pair.fast.port)) as connection:
        for number in range(50):
            head, _, body = GOOD.replace(b"u1", b"u%d" % (number % 10)).partition(b"\r\n\r\n")
            connection.sendall(head + b"\r\n\r\n")
            if number % 2:
                time.sleep(0.002)
            connection.sendall(body)
            while not split(received := connection.recv(65536))[0][2]:
                pass
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert pair.fast.counter("fast_hand_overs") == before


HOSTS = [
    b"localhost",
    b"127.0.0.1:7600",
    b"x",
    b"a.example",
    b"LOCALHOST.",
    b"a.localhost",
    b"[::1]",
    b"a@localhost",
    b"",
]
SITES = [None, b"none", b"same-origin", b"same-site", b"cross-site", b"None", b" none ", b"none, none"]
ORIGINS = [
    None,
    b"null",
    b"http://localhost",
    b"http://127.0.0.1:7600",
    b"https://localhost",
    b"http://a.example",
    b"x",
]


@pytest.mark.parametrize("host", HOSTS)
def test_who_asks_is_judged_alike_on_both_paths_and_again_when_the_head_is_known(pair: Pair, host: bytes) -> None:
    for site, origin in itertools.product(SITES, ORIGINS):
        extra = [b"Sec-Fetch-Site: " + site] if site is not None else []
        extra += [b"Origin: " + origin] if origin is not None else []
        asked = post(b"/v1/assign", BODY, *extra).replace(b"Host: localhost", b"Host: " + host)
        (first,) = pair.compare(asked)
        assert pair.compare(asked) == pair.compare(asked) == [first]
        is_foreign = site in {b"same-site", b"cross-site"} or origin in {b"null", b"http://a.example", b"x"}
        if is_foreign or host == b"a.example":
            assert first[0] == [b"403"]


HOWS = st.sampled_from(["drop", "insert", "replace", "repeat"])
MUTATIONS = st.lists(st.tuples(HOWS, st.integers(0, 400), st.binary(min_size=1, max_size=6)), max_size=3)
REQUESTS = st.sampled_from([ODD[name] for name in ("plain", "an event", "several", "prefetch", "pipelined")])


def mutate(raw: bytes, mutations: list[tuple[str, int, bytes]]) -> bytes:
    for how, where, what in mutations:
        at = where % (len(raw) + 1)
        if how == "drop":
            raw = raw[:at] + raw[at + len(what) :]
        elif how == "insert":
            raw = raw[:at] + what + raw[at:]
        elif how == "replace":
            raw = raw[:at] + what + raw[at + len(what) :]
        else:
            raw = raw[:at] + raw[max(0, at - 20) : at] + raw[at:]
    return raw


@settings(
    max_examples=cases(100),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(REQUESTS, MUTATIONS, st.lists(st.integers(1, 300), max_size=3))
def test_mutated_and_cut_requests_get_the_same_answer(
    pair: Pair, raw: bytes, mutations: list[tuple[str, int, bytes]], cuts: list[int]
) -> None:
    raw = mutate(raw, mutations)
    places = sorted({cut % (len(raw) + 1) for cut in cuts} | {0, len(raw)})
    pair.compare(*(raw[start:stop] for start, stop in itertools.pairwise(places) if start < stop))
