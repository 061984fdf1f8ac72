"""Which requests a web page of somebody else is behind, by the headers that a browser adds."""

from __future__ import annotations

import pytest

from abside.serve.strangers import Hosts, foreign_page, is_loopback, name_of

HOSTS = Hosts(["Shop.example."])


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:7600", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.0.0.1:7600"),
        *("127.1", "0.0.0.0:7600", "[::1]:7600", "[fe80::1%eth0]", "10.1.2.3:7601", "experiment-gateway:7600", "x"),
        *("experiment-gateway.recs.svc", "experiment-gateway.recs.svc.cluster.local:7600", "host.docker.internal"),
        *("shop.example", "SHOP.example:443", "shop.example.", " localhost ", "pod_7"),
    ],
)
def test_names_that_no_stranger_can_have_are_known(host: str) -> None:
    assert HOSTS.knows(host)


@pytest.mark.parametrize(
    "host",
    [
        *("a.example", "rebind.a.example:7600", "localhost.a.example", "127.0.0.1.a.example", "www.shop.example"),
        *("localhost.com", "notlocalhost.net", "evilsvc.example", "a.local", "svc.cluster.local.a.example"),
        *("", ":7600", "a b", "a@localhost", "localhost:7600:1", "localhost:x", "http://localhost", "[::1", "a/b"),
        *("localhost,a.example", "loc\u0430lhost.example", "[localhost.example]", "localhost:123456"),
    ],
)
def test_all_others_are_not(host: str) -> None:
    assert not HOSTS.knows(host)


@pytest.mark.parametrize(
    ("sites", "origins", "host", "header"),
    [
        ([], [], "localhost", None),
        (["none"], [], "localhost", None),
        (["same-origin"], ["http://localhost:7600"], "localhost:7600", None),
        ([], ["http://localhost"], "localhost:80", None),
        ([], ["https://LOCALHOST"], "localhost:443", None),
        ([], ["http://[::1]:7600"], "[::1]:7600", None),
        (["same-site"], [], "localhost", "Sec-Fetch-Site"),
        (["cross-site"], [], "localhost", "Sec-Fetch-Site"),
        (["none", "cross-site"], [], "localhost", "Sec-Fetch-Site"),
        (["Same-Origin"], [], "localhost", "Sec-Fetch-Site"),
        ([""], [], "localhost", "Sec-Fetch-Site"),
        (["cross-site"], ["http://localhost:7600"], "localhost:7600", "Sec-Fetch-Site"),
        ([], ["null"], "localhost", "Origin"),
        ([], [""], "localhost", "Origin"),
        ([], ["http://a.example"], "localhost", "Origin"),
        ([], ["http://localhost:3000"], "localhost:7600", "Origin"),
        ([], ["http://127.0.0.1:7600"], "localhost:7600", "Origin"),
        ([], ["file://localhost:7600"], "localhost:7600", "Origin"),
        ([], ["chrome-extension://abcdef"], "abcdef", "Origin"),
        ([], ["http://localhost", "http://a.example"], "localhost", "Origin"),
        ([], ["http://localhost"], None, "Origin"),
        # A name that a person listed: its pages may ask.
        (["cross-site"], ["https://shop.example"], "localhost:7600", None),
        (["cross-site"], ["https://shop.example:8443"], "localhost:7600", None),
        (["cross-site"], [], "shop.example", "Sec-Fetch-Site"),
        (["cross-site"], ["https://shop.example", "https://a.example"], "localhost:7600", "Sec-Fetch-Site"),
    ],
)
def test_a_page_of_another_site_is_known_by_its_headers(
    sites: list[str], origins: list[str], host: str | None, header: str | None
) -> None:
    assert foreign_page(sites, origins, host, HOSTS) == header


def test_a_name_is_read_without_its_port() -> None:
    assert [name_of(text) for text in ("A.b:1", "[::1]:1", "a.", "a b")] == ["a.b", "[::1]", "a", None]


@pytest.mark.parametrize(
    ("sockname", "expected"),
    [
        (("127.0.0.1", 7600), True),
        (("127.0.1.1", 7600), True),
        (("::1", 7600, 0, 0), True),
        (("::ffff:127.0.0.1", 7600, 0, 0), True),
        (("10.1.2.3", 7600), False),
        (("::ffff:10.1.2.3", 7600, 0, 0), False),
        (("fe80::1", 7600, 0, 2), False),
        ("/run/abside.sock", False),
        ("", False),
        (None, False),
    ],
)
def test_where_a_connection_came_to_says_whether_a_browser_of_this_machine_may_be_behind_it(
    sockname: object, expected: bool
) -> None:
    assert is_loopback(sockname) is expected
