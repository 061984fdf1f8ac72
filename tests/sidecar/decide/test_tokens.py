from __future__ import annotations

import base64
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abside import event
from abside.sidecar.decide import token
from abside.sidecar.decide.token import ExposureTokenError
from abside.snapshot import Attribute, Experiment, Placement, Variant, assemble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Running, World

    Start = Callable[..., Awaitable[Running]]

NOW_US = 1_795_424_400_000_000


def seal(exposure: event.EventMap) -> str:
    """Return the token of an exposure event."""
    return token.seal(msgpack.packb(event.carried(exposure))).decode()


LATER_US = NOW_US + 60_000_000
EXPOSURE = event.exposure(
    event_id="b00t-1",
    now_us=NOW_US,
    user_id="u1",
    session_id=None,
    placement="pdp",
    revision="0123456789ab",
    config_id="ba9876543210",
    algo=1,
    assignments=[event.Exposed("exp", 1, "treatment", "user", "u1", forced=False, traffic_bp=2000)],
    attributes={"country": "DE"},
)


async def test_a_prefetched_answer_logs_nothing_until_its_token_is_posted(start: Start, world: World) -> None:
    running = await start()
    body = {"placement": "pdp", "user_id": "u7343", "session_id": "s1", "attributes": {"country": "DE"}, "bot": True}
    answer = await running.assign(**body, expose=False)
    assert list(answer) == ["placement", "revision", "config_id", "exposure_token", "unit", "config", "assignments"]
    assert running.spooled("exposure") == []
    reply = await running.post("/v1/exposures", {"exposure_token": answer["exposure_token"]})
    assert (reply.status, reply.json) == (202, {"accepted": 1})
    (posted,) = running.spooled("exposure")
    await running.assign(**body)
    direct = running.spooled("exposure")[1]
    own = ("event_id", "exposure_id", "ts", "seen_ts")
    assert {name: value for name, value in posted.items() if name not in own} == {
        name: value for name, value in direct.items() if name not in own
    }
    assert posted["exposure_id"] == posted["event_id"] != direct["event_id"]
    assert posted["ts"] == posted["seen_ts"] <= direct["ts"]


async def test_a_retry_logs_the_same_event_id(start: Start) -> None:
    running = await start()
    answer = await running.assign(placement="pdp", user_id="u1", expose=False)
    for _ in range(2):
        assert (await running.post("/v1/exposures", {"exposure_token": answer["exposure_token"]})).status == 202
    ids = [one["event_id"] for one in running.spooled("exposure")]
    assert len(ids) == 2
    assert len(set(ids)) == 1


async def test_tokens_may_come_as_a_list_of_either_form(start: Start) -> None:
    running = await start()
    body = {"placements": ["pdp", "newsfeed"], "user_id": "u1", "session_id": "s1", "expose": False}
    tokens = [one["exposure_token"] for one in (await running.assign(**body))["placements"].values()]
    for posted in ({"exposure_token": tokens}, [{"exposure_token": one} for one in tokens]):
        assert (await running.post("/v1/exposures", posted)).json == {"accepted": 2}
    assert [one["placement"] for one in running.spooled("exposure")] == ["pdp", "newsfeed"] * 2
    assert (await running.post("/v1/exposures", [])).json == {"accepted": 0}


async def test_an_answer_without_assignments_has_no_token(start: Start) -> None:
    running = await start()
    body = {"placements": ["home", "pdp"], "user_id": "u1", "expose": False}
    shown = (await running.assign(**body))["placements"]
    assert list(shown["home"]) == ["placement", "config_id", "exposure_token", "config", "assignments"]
    assert shown["home"]["exposure_token"] is None
    assert shown["pdp"]["exposure_token"] is not None
    reply = await running.post("/v1/exposures", {"exposure_token": shown["home"]["exposure_token"]})
    assert (reply.status, reply.json["code"]) == (422, "WRONG_TYPE")


async def test_one_damaged_token_refuses_the_whole_request_and_names_its_place(start: Start) -> None:
    running = await start()
    good = (await running.assign(placement="pdp", user_id="u1", expose=False))["exposure_token"]
    damaged = good[:20] + ("A" if good[20] != "A" else "B") + good[21:]
    for posted in ({"exposure_token": [good, damaged]}, [{"exposure_token": good}, {"exposure_token": damaged}]):
        reply = await running.post("/v1/exposures", posted)
        assert (reply.status, reply.json["code"], reply.json["index"]) == (422, "INVALID_EVENT", 1)
    assert running.spooled("exposure") == []


async def test_tokens_are_taken_without_a_snapshot_and_by_another_sidecar(start: Start, world: World) -> None:
    running = await start()
    good = (await running.assign(placement="pdp", user_id="u1", expose=False))["exposure_token"]
    other = await start(published=None, spool=running.directory / "other", snapshot=running.directory / "none")
    reply = await other.post("/v1/exposures", {"exposure_token": good})
    assert reply.json == {"accepted": 1}


def test_a_token_gives_back_its_exposure_at_the_time_it_was_used() -> None:
    assert token.unseal(seal(EXPOSURE), LATER_US) == {**EXPOSURE, "ts": LATER_US, "seen_ts": LATER_US}
    bot = {**EXPOSURE, "bot": True}
    assert token.unseal(seal(bot), LATER_US)["bot"] is True


async def test_the_largest_exposure_has_a_token_that_is_taken_back_without_its_attributes(start: Start) -> None:
    declared = {f"a{number}": Attribute("string", log=True) for number in range(64)}
    experiments = [
        Experiment(
            f"e{number}".ljust(64, "x"),
            "name",
            "Lifts.",
            "running",
            ("pdp",),
            (Variant("v" * 64, 0, 10_000),),
            "v" * 64,
        )
        for number in range(110)
    ]
    running = await start(assemble(declared, [Placement("pdp", {"model": "v1"}), *experiments], written_at_us=1))
    body = {"placement": "pdp", "user_id": "u" * 256, "attributes": dict.fromkeys(declared, "x" * 256)}
    answer = await running.assign(**body, expose=False)
    assert (await running.post("/v1/exposures", {"exposure_token": answer["exposure_token"]})).status == 202
    await running.assign(**body)
    posted, direct = running.spooled("exposure")
    assert posted["assignments"] == direct["assignments"]
    assert len(posted["assignments"]) == 110
    assert posted["attributes"] == direct["attributes"] == {}
    assert len(event.encode(posted)) <= event.MAX_EVENT_BYTES


def test_any_character_changed_and_any_cut_is_noticed() -> None:
    text = seal(EXPOSURE)
    right = token.unseal(text, LATER_US)
    unnoticed = 0
    for position in range(len(text)):
        changed = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]
        for wrong in (changed, text[:position]):
            with suppress(ExposureTokenError):
                assert token.unseal(wrong, LATER_US) == right  # the last character of base64 has bits that mean nothing
                unnoticed += 1
    assert unnoticed <= 1


def sealed(body: bytes, version: bytes = token.VERSION) -> str:
    return base64.urlsafe_b64encode(version + zlib.crc32(body).to_bytes(4, "little") + body).decode()


ARM = EXPOSURE["assignments"][0]
CARRIED = [
    *("b00t-1", "u1", None, "pdp", "0123456789ab", "ba9876543210", 1),
    *([ARM], {"country": "DE"}, False),
]


NO_NAME: list[Any] = [None, 7, "", ["x"]]
NO_COUNT: list[Any] = [None, "1", -1, 2**15, True]
NO_ARMS: list[Any] = [None, [], {}, "x", [None], [{}], ["x"], [{**ARM, "more": 1}]]
WRONG: list[tuple[int, Any]] = [
    *((place, value) for place in (0, 3, 4, 5) for value in NO_NAME),
    *((place, value) for place in (1, 2) for value in NO_NAME[1:]),
    *((6, value) for value in NO_COUNT),
    *((7, value) for value in NO_ARMS),
    *((7, [{**ARM, name: None}]) for name in ARM),
    *((7, [{**ARM, name: 1.5}]) for name in ARM),
    *((8, value) for value in NO_ARMS[:2]),
]


@pytest.mark.parametrize(("position", "value"), WRONG)
def test_a_token_that_holds_anything_else_is_refused_though_its_checksum_is_right(position: int, value: Any) -> None:
    assert token.unseal(sealed(msgpack.packb(CARRIED)), NOW_US) == EXPOSURE
    wrong = [*CARRIED[:position], value, *CARRIED[position + 1 :]]
    with pytest.raises(ExposureTokenError, match="does not hold an exposure"):
        token.unseal(sealed(msgpack.packb(wrong)), NOW_US)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x90",
        b"\x80",
        b"\x01",
        b"\xa1x",
        msgpack.packb(CARRIED[:-1]),
        msgpack.packb([*CARRIED, 1]),
        b"\x91" * 2000,
    ],
)
def test_a_token_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(ExposureTokenError, match="does not hold an exposure"):
        token.unseal(sealed(body), NOW_US)


def test_a_token_of_another_version_says_so() -> None:
    with pytest.raises(ExposureTokenError, match="another version"):
        token.unseal(sealed(msgpack.packb(CARRIED), b"2"), NOW_US)


@settings(deadline=None)
@given(st.text(st.characters()) | st.binary().map(sealed) | st.text("ABCabc012_-=", max_size=40))
def test_no_text_makes_it_raise_anything_but_a_token_error(text: str) -> None:
    with pytest.raises(ExposureTokenError) as refused:
        token.unseal(text, NOW_US)
    assert len(str(refused.value)) < 200
