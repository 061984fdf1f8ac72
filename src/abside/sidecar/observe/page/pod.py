"""This pod on the page: what needs a person now, and where its events are."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from abside.sidecar.observe.page.markup import NOTHING, Html, counted, duration, html, joined, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NEARLY_FULL = 0.8  # of the spool's quota: from here on it is worth a look before events are refused
NAMED = {"placements": "placement", "flags": "flag", "attributes": "attribute", "event_types": "event type"}
MAX_NAMES = 5  # that are probably wrong, of each kind; /v1/status has all
FAILING_SECONDS = 60  # an upstream that restarts is away for less
MAX_PAUSES = 5  # of those that pause nothing; all are listed among the problems

DEAD_REMEDY = "Events that could not be shipped: abside spool ls says why, abside spool retry sends them again."


def alerts(status: Mapping[str, Any], now_us: int) -> Html:
    """Draw what needs a person, or that nothing does."""
    found = list(_alerts(status, now_us))
    if not found:
        return html('<p class="alert fine"><strong>All is well.</strong> The documents are in force as written.</p>')
    return html(
        '<ul class="alerts">{}</ul>',
        joined(html('<li class="alert {}"><strong>{}</strong> {}</li>', *alert) for alert in found),
    )


def _alerts(status: Mapping[str, Any], now_us: int) -> Iterator[tuple[str, str, object]]:
    """Yield (weight, what it is, what it means), the worst first."""
    snapshot, spool, upstream = status["snapshot"], status["spool"], status["upstream"]
    lost = sum(status["events"]["lost"].values())
    errors = sum(one["severity"] == "error" for one in status["problems"])
    if status["revision"] is None:
        what = html("Nothing usable at <code>{}</code>; the rec service uses its own defaults.", snapshot["path"])
        yield "bad", "No configuration yet.", what
    if snapshot["refusal"]:
        yield "bad", "The last snapshot file cannot be used; the one before stays.", snapshot["refusal"]
    elif status["revision"] is not None and snapshot["missing"]:
        yield "bad", "The snapshot file is gone.", "What was read stays in force until this pod restarts."
    if errors:
        what = html('<a href="#held-back">{}</a> in the documents', counted(errors, "problem"))
        yield "bad", "Held back:", html("{}; the last good version is served where there is one.", what)
    for one in [one for one in status["problems"] if one["code"] == "PAUSED_UNKNOWN"][:MAX_PAUSES]:
        yield "bad", "A pause pauses nothing:", html("<bdi>{}</bdi>; {}", one["message"], one["remedy"])
    if upstream is not None and upstream["loud"]:
        yield "bad", "The upstream needs a person.", html("<code>{}</code>: {}", upstream["address"], upstream["loud"])
    elif upstream is not None and upstream["failing_since_us"]:
        seconds = (now_us - upstream["failing_since_us"]) / 1e6
        weight = "bad" if seconds >= FAILING_SECONDS else "warn"
        yield weight, f"The upstream has been away for {duration(seconds)}.", "Events wait on disk and are sent later."
    if upstream is not None and upstream["waiting_alone"]:
        one = upstream["alone"][0]
        what = html(
            "The first is <code>{}</code>, for {}: {}", one["segment"], duration(one["for_seconds"]), one["reason"]
        )
        yield "warn", f"{counted(upstream['waiting_alone'], 'batch fails', 'batches fail')} while others arrive.", what
    if lost:
        yield "bad", f"{counted(lost, 'event')} lost.", "The spool had no room or the disk failed."
    if spool["used_bytes"] >= NEARLY_FULL * spool["limit_bytes"]:
        yield "bad", "The spool is nearly full.", "Exposures that find no room are counted as lost."
    if spool["trouble"]:
        yield "bad", "The spool is in trouble.", spool["trouble"]
    if spool["dead_files"]:
        yield "bad", f"{counted(spool['dead_files'], 'file')} in dead/.", DEAD_REMEDY
    if spool["clock_ahead_seconds"]:
        yield "warn", "The clock of this machine jumped.", "Nothing in dead/ is removed for its age by it."
    for one in status["warnings"]:
        what = html("“<bdi>{}</bdi>”: {}; {}.", one["id"], one["message"], one["remedy"])
        yield "warn", f"One {one['field']} is many shoppers.", what
    yield from _strange_names(status["names"])
    for task, died_of in status["degraded_tasks"].items():
        yield "warn", f"The background task “{task}” starts anew.", died_of
    if upstream is None:
        yield "warn", "No upstream is set.", "Events stay on the disk of this pod until it is full."
    if status["draining"]:
        yield "warn", "Draining.", "This pod is about to end."


def _strange_names(names: Mapping[str, Any]) -> Iterator[tuple[str, str, object]]:
    """Yield what callers name and nobody declared. An attribute is perhaps sent for another reader: it is no alert."""
    for kind, named in NAMED.items():
        for name, seen in islice(names[kind].items(), MAX_NAMES):
            hint = html("Did you mean <code>{}</code>?", seen["meant"]) if seen["meant"] else "It is declared nowhere."
            if seen["meant"] or kind != "attributes":
                yield "warn", f"{counted(seen['count'], 'request')} named the {named} “{name}”.", hint


def pod(status: Mapping[str, Any]) -> Html:
    """Draw events, spool and upstream."""
    return html(
        '<section aria-labelledby="pod"><h2 id="pod">This pod</h2><div class="cards">{}{}{}</div></section>',
        _events(status["events"], status["names"]["attributes"]),
        _spool(status["spool"]),
        _upstream(status["upstream"]),
    )


def _events(events: Mapping[str, Any], undeclared: Mapping[str, Any]) -> Html:
    kinds = sorted(events["accepted"].keys() | events["lost"].keys())
    row = '<tr><th scope="row"><code>{}</code></th><td>{}</td><td>{}</td></tr>'
    rows = joined(
        html(row, kind, f"{events['accepted'].get(kind, 0):,}", f"{events['lost'].get(kind, 0):,}") for kind in kinds
    )
    table = html(
        '<table><caption class="spoken">Events since the sidecar of this pod started</caption><thead><tr>'
        '<th scope="col">Type</th><th scope="col">Accepted</th><th scope="col">Lost</th></tr></thead>'
        "<tbody>{}</tbody></table>",
        rows,
    )
    body = table if kinds else html("<p>None since the sidecar started.</p>")
    sent = joined((html("<code>{}</code>", name) for name in islice(undeclared, MAX_NAMES)), ", ")
    note = html("<p>Attributes that are sent, and that no document declares: {}.</p>", sent) if sent else NOTHING
    return html('<article aria-labelledby="events"><h3 id="events">Events</h3>{}{}</article>', body, note)


def _spool(spool: Mapping[str, Any]) -> Html:
    oldest = spool["oldest_age_seconds"]
    waiting = counted(spool["waiting_segments"], "batch", "batches")
    facts = [
        ("On disk", f"{size(spool['used_bytes'])} of {size(spool['limit_bytes'])}"),
        ("Waiting", f"{waiting}, {size(spool['waiting_bytes'])}" if spool["waiting_segments"] else "nothing"),
        *([("Oldest", f"{duration(oldest)} old")] if oldest is not None else []),
        *([("Refused", counted(spool["full_events"], "event"))] if spool["full_events"] else []),
        *([("Last failure", spool["last_failure"])] if spool["last_failure"] else []),
    ]
    meter = html(
        '<meter aria-label="Spool in use" min="0" max="{}" high="{}" value="{}"></meter>',
        *(spool["limit_bytes"], int(NEARLY_FULL * spool["limit_bytes"]), spool["used_bytes"]),
    )
    return _facts("spool", "Spool", facts, meter)


def _upstream(upstream: Mapping[str, Any] | None) -> Html:
    if upstream is None:
        return _facts("upstream", "Upstream", [("Address", "none is set")], NOTHING)
    last = upstream["last_success_age_seconds"]
    facts = [
        ("Address", upstream["address"]),
        ("Last delivery", f"{duration(last)} ago" if last is not None else "none yet"),
        ("Delivered", f"{counted(upstream['acked_events'], 'event')}, {size(upstream['acked_bytes'])}"),
        *([("Tried again", counted(upstream["retries"], "time"))] if upstream["retries"] else []),
        *([("Given up", counted(upstream["dead_events"], "event"))] if upstream["dead_events"] else []),
        *([("Last error", upstream["last_error"])] if upstream["last_error"] else []),
    ]
    return _facts("upstream", "Upstream", facts, NOTHING)


def _facts(anchor: str, title: str, facts: list[tuple[str, str]], after: Html) -> Html:
    drawn = joined(html("<div><dt>{}</dt><dd>{}</dd></div>", *fact) for fact in facts)
    text = '<article aria-labelledby="{}"><h3 id="{}">{}</h3><dl>{}</dl>{}</article>'
    return html(text, anchor, anchor, title, drawn, after)
