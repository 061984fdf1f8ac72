"""The short way of a plain call and the whole rule are one: what is decided, written, counted and sampled."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from abside import event
from abside.client.local import Local
from abside.snapshot import encode
from abside.spool.frame import good_frames

if TYPE_CHECKING:
    from pathlib import Path

    from abside.local.deciding import Deciding
    from abside.snapshot import Snapshot

CALLS = 90  # as many as the sample looks at, one by one


def usual(chance: random.Random) -> dict[str, Any]:
    user, session = chance.choice(
        [("u", None), ("u", "s"), (None, "s"), ("qa-1", "s"), ("A" * 256, None), ("guest1", "guest2")]
    )
    number = chance.randrange(1000)
    attributes = chance.choice([{}, {"country": "DE"}, {"country": "AT", "visits": 3}, {"country": 7, "other": "x"}])
    named = {name: one and f"{one}{number}"[:256] for name, one in (("user_id", user), ("session_id", session))}
    return {"placement": chance.choice(["pdp", "home", "footer"]), "attributes": attributes, **named}


UNUSUAL: list[dict[str, Any]] = [
    {"user_id": "GUEST", "session_id": "s1"},
    {"user_id": "u1", "session_id": "nil"},
    {"user_id": "ü1"},
    {"user_id": " "},
    {"user_id": "A" * 257},
    {"user_id": 7},
    {"user_id": "u1", "session_id": "s\ud800"},
    {"user_id": None},
    {"user_id": "u1", "placement": "pdq"},
    {"user_id": "u1", "attributes": {str(number): 1 for number in range(65)}},
]


@pytest.fixture
def both(tmp_path: Path, every_kind: Snapshot) -> tuple[Deciding, Deciding]:
    made = []
    (tmp_path / "snapshot").write_bytes(encode(every_kind))
    for name in ("short", "whole"):
        (tmp_path / name).mkdir()
        client = Local(tmp_path / "snapshot", tmp_path / name, wall=lambda: 1_700_000_000_000_000)
        made.append(client._process.deciding)
    return made[0], made[1]


def written(deciding: Deciding) -> list[event.EventMap]:
    (path,) = deciding.spool.directory.glob("*.open")
    events = [event.decode(one) for one in good_frames(path.read_bytes()).payloads]
    boot = deciding.accounts.boot
    for one in events:
        for name in ("event_id", "exposure_id"):
            if name in one:
                one[name] = one[name].removeprefix(boot)
    return events


def test_a_plain_call_is_what_the_whole_rule_makes_of_it(both: tuple[Deciding, Deciding]) -> None:
    short, whole = both
    chance, exposed = random.Random(3), 0
    for _ in range(CALLS):
        one = usual(chance)
        decided = short.plain(one["placement"], one["user_id"], one["session_id"], one["attributes"])
        assert decided is not None
        fixed, exposure_id, unit = whole.decide(one)
        assert (decided[0], decided[2]) == (fixed, unit)
        assert (decided[1] or "").removeprefix(short.accounts.boot) == (
            (exposure_id or "").removeprefix(whole.accounts.boot)
        )
        exposed += exposure_id is not None
    assert written(short) == written(whole)
    assert short.exposed == exposed > CALLS / 3
    assert short.accounts.accepted == whole.accounts.accepted
    assert short.accounts.arms == whole.accounts.arms
    samples = [
        [asdict(one.writing[0].sample.of(each)) for each in one.cell.current.plans.evaluators.values()]  # type: ignore[union-attr]
        for one in both
    ]
    assert samples[0] == samples[1]
    seen = [one.writing[0].sample for one in both]
    assert seen[0].undeclared == seen[1].undeclared == {"other": seen[0].undeclared["other"]}
    assert [one._ids for one in seen[0].crowds] == [one._ids for one in seen[1].crowds]
    assert all(one._ids for one in seen[0].crowds)
    assert sum(one["requests"] for one in samples[0]) > CALLS


@pytest.mark.parametrize("fields", UNUSUAL, ids=range(len(UNUSUAL)))
def test_what_is_not_plain_is_left_to_the_whole_rule(both: tuple[Deciding, Deciding], fields: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"placement": "pdp", "user_id": None, "session_id": None, "attributes": {}, **fields}
    assert both[0].plain(asked["placement"], asked["user_id"], asked["session_id"], asked["attributes"]) is None
    assert not list(both[0].spool.directory.glob("*"))
