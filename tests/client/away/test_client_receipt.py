"""What a report returns and what the log says of it: code, field and remedy, once a minute for each."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tests.client.answering import http, says

from abside.client.away.complaints import LOG_EVERY_SECONDS, MAX_APART, Complaints
from abside.client.result import CallFailed, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from tests.client.conftest import Clients, Peer

WRONG_FIELD = {"code": "UNKNOWN_FIELD", "path": "itemid", "detail": "itemid is not a field here; did you mean item_id?"}


async def test_a_receipt_is_true_or_says_code_field_and_remedy(client: Clients, peer: Callable[..., Peer]) -> None:
    taken = await client(peer(says(http({"accepted": 1}, "202 Accepted"))).address).event("click", user_id="u1")
    assert bool(taken) is True
    assert (taken.why, taken.code, taken.path, taken.sentence) == (None, None, None, "")
    refused = await client(peer(says(http(WRONG_FIELD, "422 Unprocessable"))).address).event("click", user_id="u1")
    assert bool(refused) is False
    assert (refused.why, refused.code, refused.path) == ("refused", "UNKNOWN_FIELD", "itemid")
    assert refused.sentence.endswith("did you mean item_id?")
    full = await client(peer(says(http({"code": "SPOOL_FULL"}, "503 Service Unavailable"))).address).expose("t")
    assert not full
    assert (full.why, full.code, full.path) == ("unavailable", "SPOOL_FULL", None)
    assert full.sentence.startswith("503 SPOOL_FULL; ")
    other = await client(peer(says(http(b"<secret>"))).address).event("click", user_id="u1")
    assert (bool(other), other.why, other.code) == (False, "garbage", None)
    assert "secret" not in other.sentence


def test_each_code_and_field_has_a_line_a_minute_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    complaints = Complaints(lambda: now[0])
    said = [
        Refused("UNKNOWN_FIELD", "did you mean item_id?", status=422, path="itemid"),
        Refused("UNKNOWN_FIELD", "did you mean value?", status=422, path="price"),
        Refused("NO_UNIT", "send an id", status=400),
        CallFailed("unavailable", "503 SPOOL_FULL", "SPOOL_FULL"),
        CallFailed("unavailable", "503 NOT_READY", "NOT_READY"),
        CallFailed("timeout", "no answer within the deadline"),
    ]
    with caplog.at_level(logging.WARNING, "abside.client"):
        for _ in range(3):
            for one in said:
                complaints.failed("report", one)
        assert len(caplog.messages) == len(said)
        assert "reason=refused code=UNKNOWN_FIELD field=itemid detail='did you mean item_id?'" in caplog.messages[0]
        now[0] += LOG_EVERY_SECONDS
        complaints.failed("report", said[0])
        assert len(caplog.messages) == len(said) + 1


def test_fields_without_end_share_a_line(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints(lambda: 100.0)
    with caplog.at_level(logging.WARNING, "abside.client"):
        for number in range(MAX_APART + 50):
            complaints.failed("report", Refused("UNKNOWN_FIELD", "no", path=f"f{number}"))
    assert len(caplog.messages) == MAX_APART + 1


def test_a_sentence_is_one_line_and_short(caplog: pytest.LogCaptureFixture) -> None:
    Complaints(lambda: 100.0).failed("report", Refused("X", "a\nWARNING forged " + "x" * 1000))
    assert "\n" not in caplog.messages[0]
    assert len(caplog.messages[0]) < 450
