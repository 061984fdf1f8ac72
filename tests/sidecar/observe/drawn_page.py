"""A status to draw, and the page that is drawn of it as a browser takes it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from abside.sidecar.observe.page.draw import page

NOW_US = 1_795_000_000_000_000
DAY_US = 86_400_000_000
HOSTILE = """<script>alert("x")</script> & '</style>"""


class Read(HTMLParser):
    """A page as a browser takes it: elements with their attributes, and the text in its order."""

    VOID = frozenset({"meta", "link", "input", "rect", "br"})

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(status: dict[str, Any], **options: Any) -> Read:
    found = Read(page(status, NOW_US, **options).body.decode())
    assert found.open == []  # every element is closed, in order
    return found


def one(**changes: Any) -> dict[str, Any]:
    """One experiment as the status has it."""
    usual = {
        "name": "PDP re-ranker",
        "status": "running",
        "pause": None,
        "placements": ["pdp", "cart"],
        "unit": "user_or_session",
        "layer": None,
        "slots": None,
        "phase": 1,
        "traffic_bp": 2000,
        "next_change_us": None,
        "next": None,
        "since_us": None,
        "owner": "",
        "control": "plain",
        "variants": {
            "plain": {"weight_bp": 8000, "exposures": 790},
            "treatment": {"weight_bp": 2000, "exposures": 210},
        },
        "sample": {"requests": 0, "no_unit": 0, "not_eligible": 0, "attributes": {}},
    }
    return {**usual, **changes}


def status_of(experiments: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A status with nothing wrong."""
    usual = {
        "version": "0.1.0",
        "revision": "9f1c2d03ab77",
        "degraded": False,
        "draining": False,
        "snapshot": {
            "path": "/snapshot/abside.snapshot",
            "published_us": NOW_US,
            "published_age_seconds": 200.0,
            "applied_us": NOW_US,
            "applied_age_seconds": 7300.0,
            "next_change_us": None,
            "swaps": 1,
            "refused": 0,
            "refusal": None,
            "missing": False,
        },
        "problems": [],
        "placements": ["pdp"],
        "experiments": {"pdp-reranker": one()} if experiments is None else experiments,
        "events": {"boot": "b", "accepted": {"exposure": 1000, "click": 7}, "lost": {}},
        "spool": {
            "used_bytes": 3_500_000,
            "limit_bytes": 268_435_456,
            "waiting_segments": 2,
            "waiting_bytes": 5000,
            "oldest_age_seconds": 4.0,
            "trouble": None,
            "dead_files": 0,
            "clock_ahead_seconds": 0,
            "full_events": 0,
            "last_failure": "",
        },
        "upstream": {
            "address": "http://collector:7700",
            "acked_events": 995,
            "acked_bytes": 90_000,
            "retries": 0,
            "dead_events": 0,
            "last_error": "",
            "loud": "",
            "failing_since_us": 0,
            "waiting_alone": 0,
            "alone": [],
            "last_success_age_seconds": 3.0,
        },
        "names": {"placements": {}, "flags": {}, "attributes": {}, "event_types": {}},
        "warnings": [],
        "degraded_tasks": {},
    }
    return {**usual, **changes}


ALLOWED = set(
    re.findall(
        r"\w+",
        "html head meta title link style body a header h1 h2 h3 p code main ul ol li strong section details summary "
        "form label input button article dl div dt dd table caption thead tbody tr th td svg rect span bdi meter "
        "footer time datalist option",
    )
)
