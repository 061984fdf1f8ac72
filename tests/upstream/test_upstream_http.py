from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abside.upstream.answer import MAX_DETAIL_CHARS
from abside.upstream.choose import open_upstream
from abside.upstream.contract import Acked, Batch, Rejected, Retry, Timeouts, TooLarge, UpstreamUrlError
from abside.upstream.encode import best_encoding, compress, json_array
from abside.upstream.verdict import TABLE, retry_after, verdict

if TYPE_CHECKING:
    from pathlib import Path

    from abside.upstream.contract import Encoding


@pytest.mark.parametrize("encoding", ["zstd", "gzip", "identity"])
async def test_the_body_is_msgpack_in_the_encoding_that_is_named(
    receiver: Any, batch: Batch, now_us: Any, encoding: Encoding
) -> None:
    upstream = open_upstream(receiver.url, now_us, encoding=encoding)
    assert await upstream.send(batch) == Acked()
    await upstream.close()
    [delivery] = receiver.deliveries
    assert delivery.path == "/v1/batches"
    assert delivery.headers["Content-Type"] == "application/msgpack"
    assert delivery.headers.get("Content-Encoding", "identity") == encoding
    assert delivery.unpacked == batch.payload


async def test_json_goes_to_the_url_as_it_stands_uncompressed(receiver: Any, batch: Batch, now_us: Any) -> None:
    upstream = open_upstream(f"{receiver.url}/in/abside?query=INSERT%20x&format=json_array", now_us)
    await upstream.send(batch)
    await upstream.close()
    [delivery] = receiver.deliveries
    assert (delivery.path, delivery.query) == ("/in/abside", "query=INSERT x")
    assert delivery.headers["Content-Type"] == "application/json"
    assert "Content-Encoding" not in delivery.headers
    assert orjson.loads(delivery.body)[0]["item_id"] == "é"


async def test_a_collector_below_a_path_is_found_there(receiver: Any, batch: Batch, now_us: Any) -> None:
    upstream = open_upstream(f"{receiver.url}/team/", now_us)
    await upstream.send(batch)
    await upstream.close()
    assert receiver.deliveries[0].path == "/team/v1/batches"


async def test_the_token_is_read_anew_for_every_delivery(
    receiver: Any, batch: Batch, now_us: Any, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    upstream = open_upstream(receiver.url, now_us, token_file=token)
    missing = await upstream.send(batch)
    assert isinstance(missing, Retry)
    assert missing.loud
    assert str(token) in missing.reason
    for word in ("first", "second"):
        token.write_text(f"{word}\n")
        assert isinstance(await upstream.send(batch), Acked)
    assert [one.headers["Authorization"] for one in receiver.deliveries] == ["Bearer first", "Bearer second"]
    await upstream.close()


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"a\r\nX-Evil: 1", b"\xff\xfe", "schlüssel".encode()])
async def test_a_file_that_holds_no_token_is_loud_and_never_shown(
    receiver: Any, batch: Batch, now_us: Any, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "token").write_bytes(content)
    upstream = open_upstream(receiver.url, now_us, token_file=tmp_path / "token")
    result = await upstream.send(batch)
    assert isinstance(result, Retry)
    assert result.loud
    assert "Evil" not in result.reason
    assert receiver.deliveries == []


async def test_tls_with_a_receiver_that_has_none_is_loud(receiver: Any, batch: Batch, now_us: Any) -> None:
    upstream = open_upstream(receiver.url.replace("http://", "https://"), now_us)
    result = await upstream.send(batch)
    assert isinstance(result, Retry)
    assert result.loud
    await upstream.close()


async def test_a_problem_document_is_quoted_and_any_other_text_is_not(receiver: Any, batch: Batch, now_us: Any) -> None:
    upstream = open_upstream(f"{receiver.url}?format=json_array", now_us)
    problem = '{"status": 400, "code": "MALFORMED", "title": "of u1", "detail": "user_id u1", "index": 3}'
    receiver.answer(400, body=problem, content_type="application/problem+json")
    assert await upstream.send(batch) == Rejected("HTTP 400: MALFORMED at index 3"), "the rest may hold an id"
    for text in ("row user_id=u1 is bad", "x" * 1_000_000):
        receiver.answer(400, body=text)
        assert await upstream.send(batch) == Rejected("HTTP 400: the receiver read the batch and does not want it")
    for broken in ("{", "[]", '{"code": 3}'):
        receiver.answer(400, body=broken, content_type="application/problem+json")
        assert isinstance(await upstream.send(batch), Rejected)
    await upstream.close()


async def test_the_collectors_detail_stands_in_the_reason_within_bounds(
    receiver: Any, batch: Batch, now_us: Any
) -> None:
    upstream = open_upstream(receiver.url, now_us)
    for detail, told in (
        ("value: must be a number", "(value: must be a number)"),
        ("two\nlines", "(two lines)"),
        ("x" * 10_000, "(" + "x" * 10_000),
    ):
        receiver.refuse(422, "WRONG_TYPE", title="Unprocessable Entity", detail=detail, index=0)
        result = await upstream.send(batch)
        assert result == Rejected(
            f"HTTP 422: WRONG_TYPE Unprocessable Entity at index 0 {told}"[: MAX_DETAIL_CHARS + 10],
            final=True,
            some_of_it=True,
            index=0,
        )
    await upstream.close()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226])
async def test_any_success_of_any_receiver_of_json_acks(receiver: Any, batch: Batch, now_us: Any, status: int) -> None:
    upstream = open_upstream(f"{receiver.url}?format=json_array", now_us)
    receiver.answer(status)
    assert await upstream.send(batch) == Acked()
    for stopped in (receiver.keep_silent, receiver.write):  # its status is all there is to go by
        stopped(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        impatient = open_upstream(f"{receiver.url}?format=json_array", now_us, timeouts=Timeouts(5.0, 0.5))
        assert await impatient.send(batch) == Acked()
        await impatient.close()
    await upstream.close()


@pytest.mark.parametrize("status", [400, 404, 405, 409, 415, 422, 451])
async def test_any_other_refusal_of_a_receiver_of_json_is_a_rejection(
    receiver: Any, batch: Batch, now_us: Any, status: int
) -> None:
    upstream = open_upstream(f"{receiver.url}?format=json_array", now_us)
    receiver.answer(status)
    result = await upstream.send(batch)
    assert isinstance(result, Rejected)
    assert not result.final
    assert result.reason.startswith(f"HTTP {status}: ")
    receiver.answer(413)
    assert await upstream.send(batch) == TooLarge()
    await upstream.close()


async def test_a_payload_that_is_not_what_it_says_is_never_sent_as_json(receiver: Any, now_us: Any) -> None:
    upstream = open_upstream(f"{receiver.url}?format=json_array", now_us)
    good = msgpack.packb({"type": "click"})
    for payload, count in (
        (b"\xc1", 1),
        (good[:-1], 1),
        (good, 2),
        (good + good[:3], 1),
        (good + b"\x01", 2),
        (b"\x81\xc4\x01a\x01", 1),
    ):
        result = await upstream.send(Batch("b", count, payload))
        assert isinstance(result, Rejected)
        assert result.final
    assert receiver.deliveries == []
    await upstream.close()


async def test_json_says_readably_what_it_cannot_say() -> None:
    event = {"binary": b"\x00\xff", "nan": float("nan"), "big": 2**64 - 1, "at": msgpack.Timestamp(1)}
    payload = msgpack.packb(event) + b"\x81\xa1t\xa1\xff"  # the last value is a string that is not UTF-8
    [first, second] = orjson.loads(await json_array(Batch("b", 2, payload)))
    assert first == {"binary": "AP8=", "nan": None, "big": 2**64 - 1, "at": str(msgpack.Timestamp(1))}
    assert second == {"t": "�"}


async def test_the_best_encoding_is_zstd_where_it_is_installed() -> None:
    assert best_encoding() == "zstd"
    assert len(await compress(b"a" * 10_000, "zstd")) < 100


def test_every_status_has_a_verdict_and_no_unknown_one_is_taken_for_success() -> None:
    for status in range(-1, 1001):
        result = verdict(status)
        assert isinstance(result, Acked) == (200 <= status < 300), status
        assert sum(status in row.statuses for row in TABLE) <= 2, "one row and at most one wider row below it"


def test_every_row_of_the_retry_table_says_why() -> None:
    assert all(len(row.why) > 10 for row in TABLE)


@pytest.mark.parametrize(
    ("header", "date", "seconds"),
    [
        (None, None, None),
        ("0", None, 0.0),
        ("120", None, 120.0),
        ("-5", None, 0.0),
        ("1.5", None, 1.5),
        ("nan", None, None),
        ("inf", None, None),
        ("soon", None, None),
        ("Tue, 14 Nov 2023 22:14:20 GMT", None, 60.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", "rubbish", 60.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", "Tue, 14 Nov 2023 22:14:10 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:14:20 -0000", None, 60.0),
        ("Tue, 14 Nov 2023 22:12:20 GMT", None, 0.0),
        ("Tue, 99 Nov 2023 22:12:20 GMT", None, None),
        ("Tue, 14 Nov 99999999999 22:14:20 GMT", None, None),
        ("Tue, 14 Nov 2023 22:14:20 +99999999999999999999", None, None),
        ("Tue, 14 Nov 2023 22:14:20 GMT", "Tue, 14 Nov 99999999999 22:14:20 GMT", 60.0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None, 251702387139.0),
        ("1e400", None, None),
        ("-1e400", None, None),
        ("9" * 5000, None, None),
        ("14 Nov", None, None),
        ("١٢", None, None),
        ("\udcff", None, None),
        ("[1, 2]", None, None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(
    now_us: Any, header: str | None, date: str | None, seconds: float | None
) -> None:
    assert datetime.fromtimestamp(now_us() / 1e6, UTC).isoformat() == "2023-11-14T22:13:20+00:00"
    assert retry_after(header, date, now_us()) == seconds


DATE_PIECES = ("Tue,", "14", "Nov", "2023", "22:13:20", "GMT", "+0100", "-9999", ":", "::", "-", "(", ")", ",")
ODD_PIECES = ("nan", "1e9", "9" * 11, "9" * 20, "9" * 5000, "²", "١٢", "\udcff", "\0", "")
PIECES = st.sampled_from(DATE_PIECES + ODD_PIECES)
HEADERS = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=8).map(" ".join))


@given(HEADERS, HEADERS)
def test_no_header_makes_retry_after_raise(header: str, date: str) -> None:
    seconds = retry_after(header, date, 0)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("collector:7700", "the scheme collector is not known; write http:// or https://"),
        ("nats://broker:4222/topic", "the scheme nats is not known; write http:// or https:// or kafka://"),
        ("", "the scheme \\(none\\) is not known"),
        ("http://", "there is no host"),
        ("http:///v1", "there is no host"),
        ("http://user:geheim@host", "it holds a name or a password"),
        ("ftp://user:geheim@host", "the scheme ftp is not known"),
        ("http://host:99999", "upstream"),
        ("http://host:7700/v1/batches", "it ends in /v1/batches; the path is added to it; write http://host:7700$"),
        ("https://host/in/v1/batches/?format=msgpack", "write https://host/in$"),
        ("http://host?format=xml", "the format xml is not known; write msgpack or json_array"),
        ("http://host?format=msgpack&format=json_array", "the format msgpack, json_array is not known"),
    ],
)
def test_a_url_that_names_no_upstream_says_what_would(now_us: Any, url: str, says: str) -> None:
    with pytest.raises(UpstreamUrlError, match=says) as refused:
        open_upstream(url, now_us)
    assert "geheim" not in str(refused.value)
