"""Names that are probably wrong: counted by name within a bound, and shown with the one that was perhaps meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abside.sidecar.decide.seen.strays import MAX_STRAYS, OTHER_NAMES, count_name, with_meant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Running, World


async def test_status_and_page_show_them_with_what_was_meant(
    start: Callable[..., Awaitable[Running]], world: World
) -> None:
    running = await start(world.snapshot())
    for name in ("pdpp", "pdpp", "checkout", "a shopper's text", "pdp"):
        await running.post("/v1/assign", {"placement": name, "user_id": "u-secret"})
    context = {"targetingKey": "u-secret", "Country": "DE", "country": "DE", "basket": 7}
    assert (await running.post("/ofrep/v1/evaluate/flags/search-dee", {"context": context})).status == 404
    assert (await running.post("/ofrep/v1/evaluate/flags/search", {"context": context})).status == 200
    events: list[dict[str, Any]] = [{"type": kind, "user_id": "u1"} for kind in ("add_to_card", "refund", "click")]
    assert (await running.post("/v1/events", events)).status == 202
    assert (await running.status())["names"] == {
        "placements": {
            "pdpp": {"count": 2, "meant": "pdp"},
            "checkout": {"count": 1, "meant": None},
            OTHER_NAMES: {"count": 1, "meant": None},
        },
        "flags": {"search-dee": {"count": 1, "meant": "search-de"}},
        "attributes": {
            "Country": {"count": 1, "meant": "country"},
            "basket": {"count": 1, "meant": None},
        },
        "event_types": {"add_to_card": {"count": 1, "meant": "add_to_cart"}},
    }
    page = (await running.get("/")).text
    assert "2 requests named the placement “pdpp”." in page
    assert "Did you mean <code>add_to_cart</code>?" in page
    assert "Did you mean <code>country</code>?" in page
    assert "that no document declares: <code>Country</code>, <code>basket</code>." in page
    assert "named the attribute “basket”" not in page
    assert "secret" not in page
    assert "shopper&#x27;s text" not in page


def test_a_caller_that_makes_up_names_grows_no_memory() -> None:
    counted: dict[str, int] = {}
    for number in range(MAX_STRAYS + 10):
        count_name(counted, f"p{number}")
    count_name(counted, "p0")
    assert len(counted) == MAX_STRAYS + 1
    assert (counted["p0"], counted[OTHER_NAMES]) == (2, 10)


def test_a_name_that_was_declared_meanwhile_is_none_of_them() -> None:
    assert with_meant({"pdp": 3, "hom": 1}, ["pdp", "home"]) == {"hom": {"count": 1, "meant": "home"}}
