"""Where a listener is: each form of address, on machines with IPv6 and without, on both event loops."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import platform
import socket
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from abside.serve.address import bind_everywhere, join_address, split_address
from abside.serve.answer import Response, Route
from abside.serve.bounds import Bounds
from abside.serve.listener import Listener
from abside.supervise import new_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
LOOPS = [asyncio.new_event_loop, new_loop]
Started = tuple[str, int]


def has_ipv6() -> bool:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@asynccontextmanager
async def listening(address: str) -> AsyncIterator[str]:
    listener = Listener({"/alive": {"GET": Route(lambda _request, _body: Response(200, b"{}"), probe=True)}}, Bounds())
    try:
        yield await listener.open(address)
    finally:
        await listener.close(0.1)


async def asked(family: int, port: int, name: str = "localhost") -> bytes:
    """Ask over one family; return the line of status, empty where nobody listens."""
    try:
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection(LOOPBACK[family], port)
            writer.write(f"GET /alive HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            line = await reader.readline()
            writer.close()
            return line.rstrip()
    except ConnectionRefusedError:
        return b""


def run(make: Callable[[], asyncio.AbstractEventLoop], main: Coroutine[Any, Any, object]) -> Any:
    with asyncio.Runner(loop_factory=make) as runner:
        return runner.run(main)


@needs_ipv6
@pytest.mark.parametrize("make", LOOPS)
@pytest.mark.parametrize(
    ("address", "answers"),
    [("*:0", {4, 6}), (":0", {4, 6}), ("0.0.0.0:0", {4}), ("[::]:0", {6}), ("[::1]:0", {6}), ("127.0.0.1:0", {4})],
)
def test_an_address_serves_the_families_that_it_names(
    make: Callable[[], asyncio.AbstractEventLoop], address: str, answers: set[int]
) -> None:
    async def main() -> set[int]:
        async with listening(address) as at:
            host, port = split_address(at)
            assert join_address(host, 0) == (address if address != ":0" else "*:0")
            return {family for family in LOOPBACK if await asked(family, port) == b"HTTP/1.1 200 OK"}

    assert run(make, main()) == answers


@needs_ipv6
@pytest.mark.parametrize("family", LOOPBACK)
async def test_a_foreign_name_is_refused_over_loopback_of_either_family(family: int) -> None:
    async with listening("*:0") as at:
        answer = await asked(family, split_address(at)[1], "rebind.a.example")
    assert answer == b"HTTP/1.1 403 Forbidden"


async def test_a_port_that_one_family_has_taken_is_an_error_with_its_address() -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104 for a moment
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"\*:{port} cannot be listened on: Address already in use") as caught:
            await Listener({}, Bounds()).open(f"*:{port}")
    assert caught.value.errno == errno.EADDRINUSE


def test_a_port_is_free_again_at_once() -> None:
    with bind_everywhere(0) as one:
        one.listen()
        port = one.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), one.accept()[0]:
            pass
    bind_everywhere(port).close()


SOCKET_CALL = {"x86_64": 41, "aarch64": 198}.get(platform.machine())


def forbid_ipv6() -> None:
    """Make the kernel answer this thread as one without IPv6 does: socket(AF_INET6) is EAFNOSUPPORT."""

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    def step(code: int, value: int, hit: int = 0, miss: int = 0) -> bytes:
        return code.to_bytes(2, "little") + bytes([hit, miss]) + value.to_bytes(4, "little")

    load, equal, answer = 0x20, 0x15, 0x06
    code = b"".join(
        (
            step(load, 0),  # the number of the call
            step(equal, SOCKET_CALL or 0, miss=3),
            step(load, 16),  # its first argument
            step(equal, socket.AF_INET6, miss=1),
            step(answer, 0x00050000 | errno.EAFNOSUPPORT),
            step(answer, 0x7FFF0000),  # all else is allowed
        )
    )
    held = ctypes.create_string_buffer(code)
    program = Filter(len(code) // 8, ctypes.addressof(held))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for words in ((38, 1, 0, 0, 0), (22, 2, ctypes.byref(program))):  # no new privileges; seccomp, by a filter
        if prctl(*words):
            raise OSError(ctypes.get_errno(), "prctl")


def without_ipv6(what: Callable[[], object]) -> Any:
    """Return what a function returns in a thread whose kernel has no IPv6."""
    outcome: list[object] = []

    def inside() -> None:
        try:
            forbid_ipv6()
            outcome.append(what())
        except BaseException as exc:  # noqa: BLE001 for the test's own thread
            outcome.append(exc)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    (found,) = outcome
    if isinstance(found, BaseException):
        raise found
    return found


needs_filter = pytest.mark.skipif(SOCKET_CALL is None, reason="the number of the call is not known for this machine")


@needs_filter
@pytest.mark.parametrize("make", LOOPS)
def test_without_ipv6_every_address_is_those_of_ipv4(
    make: Callable[[], asyncio.AbstractEventLoop], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> bytes:
        async with listening("*:0") as at:
            return await asked(4, split_address(at)[1])

    caplog.set_level("INFO")
    assert without_ipv6(lambda: run(make, main())) == b"HTTP/1.1 200 OK"
    assert "ipv4_only" in caplog.text


@needs_filter
@pytest.mark.parametrize("make", LOOPS)
def test_without_ipv6_an_address_of_it_is_an_error_that_names_what_works(
    make: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> None:
        async with listening("[::]:0"):
            pass

    with pytest.raises(OSError, match=r"\[::\]:0 cannot be listened on: .* host \* is every address that it has"):
        without_ipv6(lambda: run(make, main()))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7600", ("127.0.0.1", 7600)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),  # noqa: S104 only read
        ("[::1]:7600", ("::1", 7600)),
        ("localhost:1", ("localhost", 1)),
        ("*:7601", ("*", 7601)),
        (":7601", ("*", 7601)),
    ],
)
def test_an_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert split_address(text) == address


@pytest.mark.parametrize("text", ["", "7600", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "h:-1"])
def test_what_is_no_address_says_how_one_is_written(text: str) -> None:
    with pytest.raises(ValueError, match=r"write host:port, for example 127\.0\.0\.1:7600, or unix:PATH"):
        split_address(text)
