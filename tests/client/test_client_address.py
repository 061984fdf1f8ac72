from typing import Any

import pytest

from abside.client import AsyncClient, Client
from abside.client.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address", "host"),
    [
        ("http://127.0.0.1:7600", Address("127.0.0.1", 7600), "127.0.0.1:7600"),
        ("http://localhost:7600/", Address("127.0.0.1", 7600), "127.0.0.1:7600"),
        ("http://[::1]:7600", Address("::1", 7600), "[::1]:7600"),
        ("unix:/run/abside.sock", Address("localhost", 80, "/run/abside.sock"), "localhost:80"),
    ],
)
def test_an_address_is_read(text: str, address: Address, host: str) -> None:
    assert parse_address(text) == address
    assert address.text == host


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("127.0.0.1:7600", "write http://"),
        ("https://127.0.0.1:7600", "write http://"),
        ("http://127.0.0.1", "write http://"),
        ("http://127.0.0.1:0", "write http://"),
        ("http://127.0.0.1:99999", "out of range"),
        ("http://127.0.0.1:x", "not an address"),
        ("http://127.0.0.1:7600/v1", "write http://"),
        ("http://me@127.0.0.1:7600", "write http://"),
        ("http://abside-gateway:7600", "looked up outside the deadline"),
        ("http://[::1:7600", "not an address"),
        ("unix:", "1 to 107 bytes"),
        ("unix:" + "x" * 108, "1 to 107 bytes"),
        ("", "write http://"),
        (None, "None is not an address; write http://"),
        (7600, "7600 is not an address; write http://"),
    ],
)
def test_a_bad_address_is_refused_when_the_client_is_made(text: Any, reason: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match=reason):
            kind(text)
