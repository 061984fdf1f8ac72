"""The page as it is drawn and served."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from drawn_page import ALLOWED, DAY_US, HOSTILE, NOW_US, Read, one, read, status_of

from abside.sidecar.observe.page import experiment
from abside.sidecar.observe.page.draw import MAX_OPEN_PROBLEMS, page
from abside.sidecar.observe.page.markup import Html, duration, html, moment, percent, share, size
from abside.snapshot import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Running, World

    Start = Callable[..., Awaitable[Running]]


def problem(**changes: Any) -> dict[str, Any]:
    usual = {
        "severity": "error",
        "code": "WEIGHTS",
        "file": "cart.yaml",
        "line": 12,
        "column": 5,
        "path": "experiments.cart-upsell.variants",
        "value": "90%",
        "message": "weights sum to 90%",
        "remedy": "make them sum to 100%",
    }
    return {**usual, **changes}


def test_it_tells_revision_age_status_traffic_weights_and_shares() -> None:
    text = read(status_of()).text
    assert "Revision 9f1c2d03ab77 , published 3 minutes ago, in force here for 2 hours." in text
    assert "All is well." in text
    assert "PDP re-ranker running pdp-reranker Traffic 20% of eligible users or sessions" in text
    assert "Next nothing is scheduled Where pdp, cart" in text
    assert "plain control 80% 79.0% 790 treatment 20% 21.0% 210" in text
    assert "click 7 0 exposure 1,000 0" in text
    assert "On disk 3.3 MiB of 256.0 MiB Waiting 2 batches, 4.9 KiB Oldest 4 seconds old" in text
    assert "Last delivery 3 seconds ago Delivered 995 events, 87.9 KiB" in text


@pytest.mark.parametrize(
    ("following", "sentence"),
    [
        ({"what": "traffic", "traffic_bp": 5000}, "traffic becomes 50% on"),
        ({"what": "start", "traffic_bp": 50}, "starts with 0.5% on"),
        ({"what": "end", "traffic_bp": 0}, "ends on"),
    ],
)
def test_it_tells_what_comes_next_and_when(following: dict[str, Any], sentence: str) -> None:
    at_us = NOW_US + 2 * DAY_US
    shown = one(next={"at_us": at_us, **following})
    assert f"Next {sentence} 20 Nov 2026, 11:06 UTC (in 2 days) Where" in read(status_of({"a": shown})).text
    assert "if it is resumed by then" in read(status_of({"a": {**shown, "status": "paused"}})).text


def test_every_text_of_people_is_escaped_wherever_it_stands() -> None:
    shown = one(
        name=HOSTILE,
        status="paused",
        pause=HOSTILE,
        placements=[HOSTILE],
        layer=HOSTILE,
        slots=[0, 5000],
        control=HOSTILE,
        variants={HOSTILE: {"weight_bp": 10_000, "exposures": 1}},
    )
    targeted = one(
        name="b",
        sample={
            "requests": 1,
            "no_unit": 0,
            "not_eligible": 1,
            "attributes": {HOSTILE: {"missing": 1, "wrong_type": 0}},
        },
    )
    fields = dict.fromkeys(("file", "path", "value", "message", "remedy"), HOSTILE)
    status = status_of(
        {HOSTILE: shown, "b": targeted},
        problems=[problem(**fields)],
        events={"boot": "b", "accepted": {HOSTILE: 1}, "lost": {}},
        degraded_tasks={HOSTILE: HOSTILE},
    )
    status["snapshot"]["refusal"] = HOSTILE
    status["spool"]["last_failure"] = HOSTILE
    status["upstream"] |= {"last_error": HOSTILE, "loud": HOSTILE}
    found = read(status, find="<script>")
    names = {name for name, _ in found.elements}
    assert "script" not in names
    assert not names - ALLOWED
    assert found.text.count('<script>alert("x")</script>') >= 14
    for _, attributes in found.elements:
        assert not {name for name in attributes if name.startswith("on") or name == "style"}
    assert ("input", "<script>") in {(name, attributes.get("value")) for name, attributes in found.elements}


def test_a_template_escapes_its_values_and_cuts_endless_ones() -> None:
    assert html("<p>{}{}</p>", "<&'\"", Html("<br>")) == "<p>&lt;&amp;&#x27;&quot;<br></p>"
    assert len(html("{}", "a" * 100_000)) < 1000


async def test_the_headers_forbid_everything_but_its_own_style_sheet(start: Start) -> None:
    running = await start()
    reply = await running.get("/")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.headers["Cache-Control"] == "no-store"
    styles = re.findall("<style>(.*?)</style>", reply.text, re.DOTALL)
    (style,) = styles
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert reply.headers["Content-Security-Policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    assert "http" not in re.sub("http-equiv|http://www.w3.org/2000/svg", "", reply.text)


async def test_a_running_sidecar_shows_what_its_status_says(start: Start, world: World) -> None:
    running = await start(world.snapshot(pdp_rank_2026_11={"pause": "carts broken"}))
    await running.assign(placement="search", user_id="u1")
    text = Read((await running.get("/")).text).text
    assert (await running.status())["revision"] in text
    assert "Paused: carts broken . Shoppers get" in text
    assert "Of 1 sampled request at its placements: 100% were not eligible country was missing in 100%" in text
    assert "No upstream is set." in text
    assert "qa-user-1" not in text


async def test_before_the_first_snapshot_there_is_a_page_and_it_says_so(start: Start) -> None:
    running = await start(published=None)
    text = Read((await running.get("/")).text).text
    assert "No configuration yet." in text
    assert "None is in force." in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"draining": True}, "Draining."),
        ({"events": {"boot": "b", "accepted": {}, "lost": {"exposure": 3}}}, "3 events lost."),
        ({"degraded_tasks": {"ship": "OSError: x"}}, "The background task “ship” starts anew. OSError: x"),
        ({"problems": [problem()]}, "Held back: 1 problem in the documents"),
        (
            {
                "problems": [
                    problem(severity="warning", code="PAUSED_UNKNOWN", message="no x", remedy="did you mean y?")
                ]
            },
            "A pause pauses nothing: no x ; did you mean y?",
        ),
        ({"snapshot": {"missing": True}}, "The snapshot file is gone."),
        ({"snapshot": {"refusal": "snapshot refused (short)"}}, "cannot be used; the one before stays. snapshot"),
        ({"spool": {"used_bytes": 260_000_000}}, "The spool is nearly full."),
        ({"spool": {"dead_files": 1}}, "1 file in dead/. Events that could not be shipped: abside spool ls"),
        ({"spool": {"trouble": "could not seal"}}, "The spool is in trouble. could not seal"),
        ({"spool": {"clock_ahead_seconds": 700_000}}, "The clock of this machine jumped."),
        ({"upstream": {"loud": "401"}}, "The upstream needs a person. http://collector:7700 : 401"),
        (
            {
                "upstream": {
                    "waiting_alone": 2,
                    "alone": [{"segment": "7-b", "reason": "HTTP 500", "for_seconds": 61.0}],
                }
            },
            "2 batches fail while others arrive. The first is 7-b , for 1 minute: HTTP 500",
        ),
        (
            {"upstream": {"waiting_alone": 1, "alone": [{"segment": "7-b", "reason": "x", "for_seconds": 61.0}]}},
            "1 batch fails while others arrive.",
        ),
        ({"upstream": {"failing_since_us": NOW_US - 61_000_000}}, "The upstream has been away for 1 minute."),
    ],
)
def test_what_needs_a_person_stands_on_top(changes: dict[str, Any], sentence: str) -> None:
    status = status_of()
    for name, change in changes.items():
        nested = name in {"snapshot", "spool", "upstream"}
        status[name] = {**status[name], **change} if nested else change
    text = read(status).text
    assert sentence in text
    assert "All is well." not in text


def test_a_problem_has_its_place_its_value_its_remedy_and_what_is_served_until_then() -> None:
    known = problem(path="experiments.pdp-reranker.traffic", line=3, column=9)
    warning = problem(severity="warning", path="experiments.pdp-reranker.end", remedy="", value="")
    text = read(status_of(problems=[problem(), known, warning])).text
    assert "2 errors, 1 warning cart.yaml:12:5 error experiments.cart-upsell.variants : weights sum to 90%" in text
    assert "(got 90% ) What to do: make them sum to 100% Until then this experiment stays out." in text
    assert "Until then pdp-reranker stays as it was last good." in text
    assert text.count("Until then") == 2


def test_many_problems_are_folded() -> None:
    few = read(status_of(problems=[problem()] * MAX_OPEN_PROBLEMS))
    many = read(status_of(problems=[problem()] * (MAX_OPEN_PROBLEMS + 1)))
    assert ("details", {"open": None}) in few.elements
    assert ("details", {}) in many.elements


def test_the_first_of_a_thousand_are_listed_running_ones_first_and_any_can_be_found() -> None:
    kinds = ("ended", "draft", "paused", "running", "not_started")
    many = {f"exp-{number:04}": one(name=f"Number {number}", status=kinds[number % 5]) for number in range(1000)}
    began = time.perf_counter()
    found = read(status_of(many))
    assert time.perf_counter() - began < 5.0
    headings = [attributes["id"] for name, attributes in found.elements if name == "h3"]
    cards = [heading for heading in headings if heading and heading.startswith("experiment-")]
    assert cards == [f"experiment-exp-{number:04}" for number in range(3, 500, 5)]
    assert len(cards) == experiment.MAX_SHOWN
    assert "200 running, 200 not started, 200 paused, 200 draft, 200 ended." in found.text
    assert "900 more are not shown" in found.text
    assert len(page(status_of(many), NOW_US).body) < 300_000
    searched = read(status_of(many), find=" NUMBER 99 ").text
    assert "1 of 1000 hold “ NUMBER 99 ”." in searched
    assert "exp-0099" in searched


def test_it_reloads_unless_told_not_to_and_keeps_what_was_looked_for() -> None:
    by_itself, still = read(status_of(), find="a&b"), read(status_of(), find="a&b", refresh=False)
    assert ("meta", {"http-equiv": "refresh", "content": "15"}) in by_itself.elements
    assert ("a", {"href": "/?find=a%26b&refresh=off"}) in by_itself.elements
    assert not [attributes for _, attributes in still.elements if attributes.get("http-equiv")]
    assert ("a", {"href": "/?find=a%26b"}) in still.elements


def test_a_missing_attribute_is_marked_where_it_keeps_many_out() -> None:
    def sampled(missing: int, wrong: int = 0) -> Read:
        counts = {"missing": missing, "wrong_type": wrong}
        seen = {"requests": 100, "no_unit": 5, "not_eligible": missing, "attributes": {"country": counts}}
        return read(status_of({"a": one(sample=seen, unit="session")}))

    assert "5.0% came without a session id country was missing in 50.0%" in sampled(50).text
    assert sampled(50).elements.count(("li", {"class": "marked"})) == 2
    assert sampled(49).elements.count(("li", {"class": "marked"})) == 1
    assert "country was never missing, and of another type than declared in 60.0%" in sampled(0, 60).text
    untouched = {"requests": 0, "no_unit": 0, "not_eligible": 0, "attributes": {"country": {}}}
    assert "Targets country ; no request was sampled yet." in read(status_of({"a": one(sample=untouched)})).text


def test_figures_sizes_and_times_read_as_people_write_them() -> None:
    assert [percent(5), percent(50), percent(2000), percent(10_000)] == ["0.05%", "0.5%", "20%", "100%"]
    assert [share(1, 3), share(0, 3), share(3, 3), share(0, 0)] == ["33.3%", "0%", "100%", "none"]
    assert [size(0), size(1536), size(3 * 2**20), size(5 * 2**40)] == ["0 B", "1.5 KiB", "3.0 MiB", "5120.0 GiB"]
    assert [duration(0.4), duration(61), duration(7200), duration(2 * 86_400)] == [
        *("0 seconds", "1 minute", "2 hours", "2 days"),
    ]
    assert "ago)" in moment(NOW_US - 1, NOW_US)
    assert moment(10**18 * 9, NOW_US).startswith("in ")


async def test_problems_of_a_snapshot_reach_the_page(start: Start, world: World) -> None:
    usual = world.snapshot()
    mistake = Problem("error", "E", "a.yaml", 7, 3, "experiments.x", "", HOSTILE, HOSTILE)
    published = replace(usual, head=replace(usual.head, degraded=True, problems=(mistake,)))
    running = await start(published)
    markup = (await running.get("/")).text
    assert "a.yaml:7:3" in markup
    assert "<script" not in markup
