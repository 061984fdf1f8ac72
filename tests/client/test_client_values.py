"""Values of Python services: the form of each, and what becomes of those that have none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest
from tests.client.answering import ANSWER, http, read_body

from abside.client import Refused
from abside.client.values import MAX_ARRAY_VALUES, UnsendableError, json_form

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tests.client.conftest import Clients, Peer


class Country(Enum):
    GERMANY = "DE"


class Tier(IntEnum):
    GOLD = 3


class Channel(StrEnum):
    APP = "app"


class OldStyle(str, Enum):  # noqa: UP042 that is what is shown
    WEB = "web"


class AnIndex:
    def __index__(self) -> int:
        return 7


class SafeText(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another"


ID = UUID("12345678-1234-5678-1234-567812345678")
FORMS: list[tuple[Any, Any]] = [
    (ID, "12345678-1234-5678-1234-567812345678"),
    (Decimal("29.90"), 29.9),
    (Decimal(12), 12),
    (Decimal("12.0"), 12.0),
    (Decimal("1E+3"), 1000),
    (datetime(2026, 3, 1, 12, 30, tzinfo=timezone(timedelta(hours=2))), "2026-03-01T10:30:00Z"),
    (datetime(2026, 3, 1, 12, 30, 0, 5, tzinfo=UTC), "2026-03-01T12:30:00.000005Z"),
    (date(2026, 3, 1), "2026-03-01"),
    (Country.GERMANY, "DE"),
    (Tier.GOLD, 3),
    (Channel.APP, "app"),
    (OldStyle.WEB, "web"),
    (AnIndex(), 7),
    (SafeText("mine"), "mine"),
    (np.int64(5), 5),
    (np.uint8(5), 5),
    (np.float64(0.5), 0.5),
    (np.float32(0.5), 0.5),
    (np.bool_(True), True),
    (np.str_("DE"), "DE"),
    (np.array([1, 2]), [1, 2]),
    (np.array([["a"], ["b"]]), [["a"], ["b"]]),
    (np.array(4), 4),
    (("a", 1), ["a", 1]),
    (OrderedDict(a=ID), {"a": str(ID)}),
    (2**64 - 1, 2**64 - 1),
    (-(2**63), -(2**63)),
    ("Zürich", "Zürich"),
]
UNSENDABLE: list[tuple[Any, str]] = [
    (float("nan"), "NaN"),
    (float("inf"), "NaN"),
    (np.float32("nan"), "NaN"),
    (np.array([1.0, float("nan")]), "NaN"),
    (Decimal("NaN"), "NaN"),
    (Decimal("1E+400"), "NaN"),
    (datetime(2026, 3, 1), "zone"),  # noqa: DTZ001 without a zone is the point
    (np.datetime64("2026-03-01T00:00:00", "ns"), "zone"),
    (2**64, "64 bits"),
    (np.arange(MAX_ARRAY_VALUES + 1), "1,001 values"),
    ({"a", "b"}, "a set is not JSON"),
    (object(), "a object is not JSON"),
    (b"bytes", "a bytes is not JSON"),
    ("\ud800", "surrogate"),
    ([[[[[[[[[1]]]]]]]]], "nested deeper"),
]


@pytest.mark.parametrize(("value", "form"), FORMS, ids=lambda one: f"{type(one).__name__} {one}"[:40])
def test_a_value_has_its_form(value: Any, form: Any) -> None:
    found = json_form(value)
    assert (found, json.loads(json.dumps(found))) == (form, form)
    assert type(found) is type(form)


@pytest.mark.parametrize(("value", "reason"), UNSENDABLE, ids=lambda one: f"{type(one).__name__}"[:40])
def test_what_has_none_says_why(value: Any, reason: str) -> None:
    with pytest.raises(UnsendableError, match=reason):
        json_form(value)


class Hearing:
    """A peer that answers everything and keeps what it heard."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def __call__(self, connection: socket.socket) -> None:
        while (body := read_body(connection)) is not None:
            self.heard.append(json.loads(body))
            placed = "placement" in self.heard[-1]
            connection.sendall(http(ANSWER) if placed else http({"accepted": 1}, "202 Accepted"))


@pytest.mark.parametrize("strict", [False, True])
async def test_an_attribute_that_cannot_be_sent_is_left_out_and_counted_by_name(
    client: Clients, peer: Callable[..., Peer], strict: bool, caplog: pytest.LogCaptureFixture
) -> None:
    hearing = Hearing()
    asked = client(peer(hearing).address, strict=strict)
    good = {f"good{number}": value for number, (value, _) in enumerate(FORMS)}
    bad: dict[Any, Any] = {f"bad{number}": value for number, (value, _) in enumerate(UNSENDABLE)}
    answer = await asked.assign("pdp", user_id=np.int64(42), session_id=ID, attributes={**good, **bad, 7: "a name"})
    assert not answer.fallback
    [heard] = hearing.heard
    assert heard["attributes"] == {f"good{number}": form for number, (_, form) in enumerate(FORMS)}
    assert (heard["user_id"], heard["session_id"]) == (42, str(ID))
    assert asked.stats.left_out == dict.fromkeys([*bad, "(int)"], 1)
    assert "left out attribute='bad0' because='NaN and infinity are not JSON" in caplog.text


async def test_an_events_fields_have_their_forms_and_one_that_has_none_is_named(
    client: Clients, peer: Callable[..., Peer]
) -> None:
    hearing = Hearing()
    asked = client(peer(hearing).address)
    when = datetime(2026, 3, 1, tzinfo=UTC)
    assert await asked.event(
        "purchase", user_id=ID, value=Decimal("29.90"), quantity=np.int32(2), ts=when, properties={"id": ID}
    )
    sent = {name: value for name, value in hearing.heard[0].items() if name not in {"event_id", "type"}}
    properties = {"id": str(ID)}
    when_text = "2026-03-01T00:00:00Z"
    assert sent == {"user_id": str(ID), "value": 29.9, "quantity": 2, "ts": when_text, "properties": properties}
    for fields, path in (
        ({"value": float("nan")}, "value"),
        ({"properties": {"shelf": {1}}}, "properties.shelf"),
        ({"items": ["i1", object()]}, "items[1]"),
        ({"ts": datetime(2026, 3, 1)}, "ts"),  # noqa: DTZ001 without a zone is the point
    ):
        receipt = await asked.event("purchase", user_id="u1", **fields)
        assert (bool(receipt), receipt.code, receipt.path) == (False, "UNSENDABLE", path)
        assert receipt.sentence.startswith(f"{path}: ")
    strict = client(peer(hearing).address, strict=True)
    with pytest.raises(Refused, match="give it one"):
        await strict.event("purchase", user_id="u1", ts=datetime(2026, 3, 1))  # noqa: DTZ001 without a zone
    assert len(hearing.heard) == 1


def test_nothing_is_imported_for_it() -> None:
    script = "import sys; import abside.client; print('numpy' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
    )
