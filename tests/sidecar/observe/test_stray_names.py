"""Names that are probably wrong: counted by name within a bound, and shown with the one that was perhaps meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abside.sidecar.decide.strays import MAX_STRAYS, OTHER_NAMES, StrayNames

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Running, World


async def test_status_and_page_show_them_with_what_was_meant(
    start: Callable[..., Awaitable[Running]], world: World
) -> None:
    running = await start(world.snapshot())
    for name in ("pdpp", "pdpp", "checkout", "a shopper's text", "pdp"):
        await running.post("/v1/assign", {"placement": name, "user_id": "u-secret"})
    events: list[dict[str, Any]] = [{"type": kind, "user_id": "u1"} for kind in ("add_to_card", "refund", "click")]
    assert (await running.post("/v1/events", events)).status == 202
    assert (await running.status())["names"] == {
        "placements": {
            "pdpp": {"count": 2, "meant": "pdp"},
            "checkout": {"count": 1, "meant": None},
            OTHER_NAMES: {"count": 1, "meant": None},
        },
        "event_types": {"add_to_card": {"count": 1, "meant": "add_to_cart"}},
    }
    page = (await running.get("/")).text
    assert "2 requests named the placement “pdpp”." in page
    assert "Did you mean <code>add_to_cart</code>?" in page
    assert "secret" not in page
    assert "shopper&#x27;s text" not in page


def test_a_caller_that_makes_up_names_grows_no_memory() -> None:
    strays = StrayNames()
    for number in range(MAX_STRAYS + 10):
        strays.placement(f"p{number}")
    strays.placement("p0")
    assert len(strays.placements) == MAX_STRAYS + 1
    assert (strays.placements["p0"], strays.placements[OTHER_NAMES]) == (2, 10)
