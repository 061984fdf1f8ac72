"""What is sent of an event that is not decoded for it: the key is the one that its fields have."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from abside import event
from abside.upstream.contract import Batch, Rejected
from abside.upstream.record import key_of, packed_key, records, split

TRICKS = (
    "§user_id¡x",
    "¤type¥click¢ts",
    "ªsession_id¡y",
    "\xa4type\xa5click\xa2ts\xcf" + "0" * 8,
    "ü",
    "x" * 31,
    "y" * 300,
)
TEXTS = st.text(max_size=40) | st.lists(st.sampled_from(TRICKS), max_size=4).map("".join)


def packed(**fields: Any) -> bytes:
    head = {"event_id": "b-1", "type": "click", "ts": 1_700_000_000_000_000, "seen_ts": 1_700_000_000_000_000}
    return event.encode({**head, "user_id": None, "session_id": None, **fields})


@given(event_id=TEXTS, kind=TEXTS, user=st.none() | TEXTS, session=st.none() | TEXTS, more=TEXTS)
@example(event_id="e", kind="click", user=None, session="", more="")
@example(event_id="e" * 255, kind="click", user="u" * 255, session="s", more="")
@example(event_id="¤type¥click¢ts" * 30, kind="click", user="u", session=None, more="ªsession_id¡y")
def test_the_key_is_that_of_the_fields_whatever_callers_write(
    event_id: str, kind: str, user: str | None, session: str | None, more: str
) -> None:
    payload = packed(event_id=event_id, type=kind, user_id=user, session_id=session, properties={"x": more})
    found = packed_key(payload)
    assert found is None or (found or None) == key_of(msgpack.unpackb(payload))


@pytest.mark.parametrize(
    ("user", "session", "key"),
    [("u1", "s1", b"u1"), (None, "s1", b"s1"), (None, None, b""), ("", "s1", b"s1"), ("u" * 255, None, b"u" * 255)],
)
def test_what_a_sidecar_packs_is_not_decoded(user: str | None, session: str | None, key: bytes) -> None:
    assert packed_key(packed(user_id=user, session_id=session, value=1.5)) == key


@pytest.mark.parametrize("form", ["msgpack", "json"])
async def test_an_event_is_the_same_record_by_itself_and_in_a_payload(form: Any) -> None:
    payloads = [packed(user_id=f"u{number}", value=number) for number in range(70)]
    payloads += [packed(session_id="ü"), msgpack.packb({"user_id": "bare"}), msgpack.packb({})]
    joined = b"".join(payloads)
    alone = await records(Batch("b", len(payloads), joined, events=payloads), 5, form, 10_000)
    assert alone == await records(Batch("b", len(payloads), joined), 5, form, 10_000)
    assert list(split(joined)) == payloads
    assert not isinstance(alone, Rejected)
    assert [record.key for record in alone[-4:]] == [b"u69", "ü".encode(), b"bare", None]


@pytest.mark.parametrize("odd", [b"\xc1", msgpack.packb(7), msgpack.packb({}) * 2, b"\x82\xa1n\x01", b""])
async def test_a_frame_that_is_no_event_is_named(odd: bytes) -> None:
    payloads = [packed(), packed(), odd]
    refused = await records(Batch("b", 3, b"".join(payloads), events=payloads), 3, "msgpack", 10_000)
    assert isinstance(refused, Rejected)
    assert (refused.index, refused.final) == (2, True)
