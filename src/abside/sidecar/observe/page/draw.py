"""`GET /`: the whole page and its headers. No script, no asset from elsewhere, one style sheet allowed by its hash."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from abside.serve.answer import Response
from abside.sidecar.observe.asking import AskedShopper
from abside.sidecar.observe.page.experiment import experiments
from abside.sidecar.observe.page.layers import layers
from abside.sidecar.observe.page.markup import NOTHING, Html, counted, duration, html, joined
from abside.sidecar.observe.page.pod import alerts, pod
from abside.sidecar.observe.page.shopper import shopper

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.sidecar.observe.page.experiment import DetailsOf

REFRESH_SECONDS = 15  # often enough to watch a ramp; a page of 1,000 experiments takes the loop about 10 ms
MAX_FIND_CHARS = 100  # of what is looked for: longer than any id
MAX_OPEN_PROBLEMS = 5  # more are folded, so that the experiments stay in reach of a thumb
ICON = (  # two arms
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E"
    "%3Cpath fill='%233b6fd4' d='M0 0h5v8H0z'/%3E%3Cpath fill='%23d9822b' d='M5 0h3v8H5z'/%3E%3C/svg%3E"
)


def no_details(_: str) -> None:
    """Return that nothing more is known of an experiment than its status."""


NOBODY = AskedShopper()


def page(
    status: Mapping[str, Any],
    now_us: int,
    *,
    find: str = "",
    refresh: bool = True,
    details: DetailsOf = no_details,
    asked: AskedShopper = NOBODY,
) -> Response:
    """Draw the page from a status document, with `details` of the experiments that are drawn.

    `find` narrows the experiments; `refresh` reloads it by itself, unless a shopper was asked for.
    """
    find = find.strip()[:MAX_FIND_CHARS]
    refresh = refresh and not asked.is_asked
    style, policy = _style()
    running = sum(one["status"] == "running" for one in status["experiments"].values())
    document = html(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        'content="light dark">{}<link rel="icon" href="{}"><style>{}</style></head><body>'
        '<a class="skip" href="#experiments">Skip to the experiments</a>{}<main>{}{}{}{}{}{}</main>{}</body></html>',
        f"abside: {running:,} running{_problem_count(status)}",
        html('<meta http-equiv="refresh" content="{}">', REFRESH_SECONDS) if refresh else NOTHING,
        *(Html(ICON), style),
        _header(status),
        alerts(status, now_us),
        _problems(status),
        experiments(status["experiments"], find, now_us, details),
        layers(status["experiments"]),
        shopper(status, asked),
        pod(status),
        _footer(status, find, refresh=refresh),
    )
    headers = (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
    )
    return Response(200, document.encode(), "text/html", headers)


@cache
def _style() -> tuple[Html, str]:
    """Return the style sheet, and the policy that allows it and nothing else."""
    text = files("abside.sidecar.observe.page").joinpath("page.css").read_text(encoding="utf-8")
    digest = b64encode(sha256(text.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return Html(text), policy


def _problem_count(status: Mapping[str, Any]) -> str:
    return f", {counted(len(status['problems']), 'problem')}" if status["problems"] else ""


def _header(status: Mapping[str, Any]) -> Html:
    snapshot = status["snapshot"]
    if status["revision"] is None:
        return html("<header><h1>abside</h1><p>Nothing is in force.</p></header>")
    return html(
        "<header><h1>abside</h1><p>Revision <code>{}</code>, published {} ago, in force here for {}.</p></header>",
        status["revision"],
        duration(snapshot["published_age_seconds"]),
        duration(snapshot["applied_age_seconds"]),
    )


def _problems(status: Mapping[str, Any]) -> Html:
    problems = status["problems"]
    if not problems:
        return NOTHING
    items = joined(_problem(one, status["experiments"]) for one in problems)
    counts = Counter(one["severity"] for one in problems)
    return html(
        '<section aria-labelledby="held-back"><h2 id="held-back">Problems in the documents</h2>'
        '<details{}><summary>{}</summary><ol class="problems">{}</ol></details></section>',
        Html(" open") if len(problems) <= MAX_OPEN_PROBLEMS else NOTHING,
        ", ".join(counted(number, severity) for severity, number in counts.items()),
        items,
    )


def _problem(one: Mapping[str, Any], in_force: Mapping[str, Any]) -> Html:
    where = f"{one['file']}:{one['line']}:{one['column']}" if one["line"] else one["file"]
    held = _held(one, in_force)
    return html(
        '<li class="{}"><p><code>{}</code> <span class="badge {}">{}</span></p><p>{}{}{}</p>{}{}</li>',
        *(one["severity"], where, one["severity"], one["severity"]),
        html("<code>{}</code>: ", one["path"]) if one["path"] else NOTHING,
        html("<bdi>{}</bdi>", one["message"]),
        html(" (got <code>{}</code>)", one["value"]) if one["value"] else NOTHING,
        html('<p class="remedy">What to do: <bdi>{}</bdi></p>', one["remedy"]) if one["remedy"] else NOTHING,
        html('<p class="held">{}</p>', held) if held else NOTHING,
    )


def _held(one: Mapping[str, Any], in_force: Mapping[str, Any]) -> str:
    """Return what an error does to its experiment: its last good version is served, or it stays out."""
    section, _, rest = one["path"].partition(".")
    if one["severity"] != "error" or section != "experiments" or not rest:
        return ""
    for name in (name for name, shown in in_force.items() if shown["status"] != "left_out"):
        if rest == name or rest.startswith((f"{name}.", f"{name}[")):
            return f"Until then {name} stays as it was last good."
    return "Until then this experiment stays out."


def _footer(status: Mapping[str, Any], find: str, *, refresh: bool) -> Html:
    query = {**({"find": find} if find else {}), **({"refresh": "off"} if refresh else {})}
    reloading = f"Reloads every {REFRESH_SECONDS} seconds." if refresh else "Does not reload by itself."
    return html(
        '<footer><p>{} <a href="/{}">{}</a></p><p>Counts are exposures of this pod since its sidecar started, not '
        "shoppers; the mark in a bar is the weight. Targeting is measured on a sample: the first hundred "
        "requests after each change, then ever fewer, down to one in a thousand.</p>"
        '<p><a href="/v1/status">The same as JSON</a> · abside {}</p></footer>',
        reloading,
        f"?{urlencode(query)}" if query else "",
        "Stop reloading" if refresh else "Start reloading",
        status["version"],
    )
