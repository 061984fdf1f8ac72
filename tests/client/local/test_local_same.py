"""Local and the sidecar are one: the same configuration, ids, refusals and events, whoever decides."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest

from abside.client import Client, Refused
from abside.client.local import Local

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.client.conftest import Process

    from abside.snapshot import Snapshot


@pytest.fixture
def world(every_kind: Snapshot) -> Snapshot:
    return every_kind


@pytest.fixture
def local(sidecar: Process) -> Iterator[Local]:
    with Local(sidecar.folder / "snapshot", sidecar.folder / "spool") as client:
        yield client


def calls(chance: random.Random, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        one: dict[str, Any] = {"user_id": chance.choice([f"u{number}", f"ü{number}", number, "qa-1", "guest"])}
        one["session_id"] = chance.choice([None, f"s{number % 50}", " "])
        if one["session_id"] in {None, " "} and one["user_id"] == "guest":
            one["session_id"] = f"s{number}"
        one["attributes"] = chance.choice(
            [
                None,
                {},
                {"country": "DE"},
                {"country": "AT", "visits": number},
                {"country": 7},
                {"other": [{"a": None}]},
            ]
        )
        if chance.random() < 0.3:
            one |= chance.choice([{"bot": True}, {"expose": False}, {"fallback": {"model": "x"}}])
        yield {name: value for name, value in one.items() if value is not None}


def test_the_same_answers_and_the_same_events(sidecar: Process, local: Local) -> None:
    chance, fallbacks = random.Random(7), 0
    with Client(sidecar.address, deadline_seconds=10) as client:
        for one in calls(chance, 400):
            place = chance.choice(["pdp", "home"])
            here, there = local.assign(place, **one), client.assign(place, **one)
            fallbacks += there.fallback
            assert replace(here, exposure_id=None, exposure_token=None) == replace(
                there, exposure_id=None, exposure_token=None
            )
            assert (here.exposure_id is None, here.exposure_token is None) == (
                there.exposure_id is None,
                there.exposure_token is None,
            )
            if here.exposure_token is not None and there.exposure_token is not None:
                assert local.expose(here.exposure_token)
                assert client.expose(there.exposure_token)
        many: dict[str, Any] = {"expose": True, "user_id": "u-many", "attributes": {"country": "DE"}}
        assert local.assign_many(["pdp", "home"], **many)["pdp"].config == (
            client.assign_many(["pdp", "home"], **many)["pdp"].config
        )
    boot = local._process.deciding.accounts.boot
    local.close()
    sidecar.await_no_local()
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for event in sidecar.spooled("exposure"):
        (ours if event["event_id"].startswith(boot) else theirs).append(
            {name: value for name, value in event.items() if name not in {"event_id", "exposure_id", "ts", "seen_ts"}}
        )
    assert len(ours) > 250
    assert fallbacks < 20  # of a shared id with a blank session: both refuse
    assert ours == theirs


WRONG: list[dict[str, Any]] = [
    {"user_id": ""},
    {"user_id": 1.5},
    {"user_id": "x" * 300},
    {"user_id": "u1", "attributes": {str(number): 1 for number in range(65)}},
    {"user_id": "u1", "attributes": {"country": "D" * 70_000}},
    {"user_id": "u1", "pinned_unit": {"type": "user", "id": "u2"}},
    {"user_id": "u1", "force": {"one": "treatment"}},
    {"user_id": "u\ud800"},
    {"user_id": "u1", "attributes": {"n" * 70_000: 1}},
    {"user_id": "u1", "attributes": {str(number): "x" * 1_024 for number in range(64)}},
    {"user_id": "u1", "attributes": {"n\ud800": 1}},
]


class Shopper(StrEnum):
    QA = "qa-7"


class Number(int, Enum):  # its `str` is "Number.SEVEN"
    SEVEN = 7


def test_the_same_refusals(sidecar: Process) -> None:
    said: dict[str, list[tuple[Any, ...]]] = {}
    with (
        Local(sidecar.folder / "snapshot", sidecar.folder / "spool", strict=True) as here,
        Client(sidecar.address, deadline_seconds=10, strict=True) as there,
    ):
        for name, client in {"here": here, "there": there}.items():
            said[name] = []
            for one in WRONG:
                with pytest.raises(Refused) as caught:
                    client.assign("pdp", **one)
                said[name].append((caught.value.code, caught.value.status, caught.value.path))
            with pytest.raises(Refused) as caught:
                client.assign("pdq", user_id="u1")
            said[name].append((caught.value.code, caught.value.sentence, caught.value.path))
            with pytest.raises(Refused) as caught:
                client.event("add_to_cart", user_id="u1", quantity=0)
            said[name].append((caught.value.code, caught.value.sentence, caught.value.path))
    assert said["here"] == said["there"]


def test_the_same_flags_and_the_same_tracking(sidecar: Process) -> None:
    said: dict[str, list[Any]] = {}
    contexts: list[dict[str, Any]] = [{"targetingKey": f"u{number}", "country": "DE"} for number in range(20)]
    contexts += [{}, {"targetingKey": True}, {"user_id": "", "sessionId": "s1"}]
    with (
        Local(sidecar.folder / "snapshot", sidecar.folder / "spool") as here,
        Client(sidecar.address, deadline_seconds=10) as there,
    ):
        for name, client in {"here": here, "there": there}.items():
            flags = [client.evaluate(key, context=one) for key in ("pdp", "home", "pdq") for one in contexts]
            said[name] = [(one.value, one.variant, one.reason, one.why, set(one.metadata)) for one in flags]
            said[name].append(client.track("addToCart", context={"targetingKey": name}, value=3, attributes={"a": 1}))
            said[name].append(client.track("Add to cart", context={"targetingKey": name}))
    assert said["here"] == said["there"]
    assert {one[3] for one in said["here"][:-2]} == {None, "refused"}
    sidecar.await_no_local()
    first, second = sidecar.spooled("add_to_cart")
    changing = {"event_id", "ts", "seen_ts", "user_id"}
    assert {name: first[name] for name in first.keys() - changing} == {
        name: second[name] for name in second.keys() - changing
    }
    exposed = [(one["user_id"], one["placement"], one["assignments"]) for one in sidecar.spooled("exposure")]
    assert len(exposed) > 20
    assert sorted(exposed, key=str)[::2] == sorted(exposed, key=str)[1::2]


def test_an_outcome_of_here_is_an_outcome_of_there(sidecar: Process, local: Local, tmp_path: Path) -> None:
    assert local.event("add_to_cart", user_id="u1", item_id="i1", value=9.5, currency="EUR", event_id="mine")
    local.close()
    sidecar.await_no_local()
    (cart,) = sidecar.spooled("add_to_cart")
    assert (cart["event_id"], cart["value"], cart["user_id"]) == ("mine", 9.5, "u1")
    (account,) = [one for one in sidecar.spooled("account") if one.get("clean_end")]
    assert account["accepted"] == {"add_to_cart": 1}


def test_the_values_of_python_services_are_the_same(sidecar: Process) -> None:
    attributes = {
        "country": np.str_("DE"),
        "price": Decimal("9.90"),
        "age": np.int64(3),
        "bad": float("nan"),
        "big": 2**70,
    }
    said: dict[str, list[Any]] = {}
    with (
        Local(sidecar.folder / "snapshot", sidecar.folder / "spool", strict=True) as here,
        Client(sidecar.address, deadline_seconds=10, strict=True) as there,
    ):
        clients: dict[str, Client | Local] = {"here": here, "there": there}
        for name, client in clients.items():
            said[name] = []
            for user in (np.int64(42), UUID(int=7), np.str_("u3"), 42, Shopper.QA, Number.SEVEN):
                answer = client.assign("pdp", user_id=user, attributes=attributes)
                plain = client.assign("pdp", user_id=user, attributes={"country": "DE"})
                said[name] += [answer.unit, answer.config, answer.assignments == plain.assignments]
                said[name] += [type(one.unit["id"]) for one in (answer, plain) if one.unit is not None]
            said[name] += [client.stats.left_out, bool(client.event("cart", user_id="u1", value=Decimal("9.90")))]
    assert said["here"] == said["there"]
    assert said["here"][0] == {"type": "user", "id": "42"}
    assert said["here"][-2:] == [{"bad": 6, "big": 6}, True]
