"""“What does this shopper get?” on the page: a form that asks by GET, and the answer with its reasons."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from abside.sidecar.observe.asking import ATTRIBUTE, AskedShopper
from abside.sidecar.observe.page.markup import NOTHING, Html, html, joined, value
from abside.snapshot import leaf_name, leaves

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAX_PLACEMENTS = 200  # offered in the form's list; others may be typed
EXAMPLES = {
    "string": "text",
    "number": "18",
    "boolean": "true or false",
    "version": "2.10.1",
    "date": "2026-12-01T09:00:00Z",
    "list": "one, another",
}
OUTSIDE = {"layer": "slots", "traffic": "traffic"}
OUT = {
    "PAUSED": "it is paused",
    "DRAFT": "it is a draft",
    "NOT_STARTED": "it has not started",
    "ENDED": "it has ended",
    "NO_UNIT": "the id that it needs was not given",
}


def shopper(status: Mapping[str, Any], asked: AskedShopper) -> Html:
    """Draw the form, filled in as it was sent, and what it was answered."""
    if status["revision"] is None:
        return NOTHING
    return html(
        '<section aria-labelledby="shopper"><h2 id="shopper">What does this shopper get?</h2>'
        "<p>Asking logs nothing: no exposure, no event.</p>"
        '<form class="ask" method="get" action="/#shopper">{}{}{}{}<button type="submit">Ask</button></form>'
        "{}</section>",
        _placement(status["placements"], asked.placement),
        _input("user_id", "User id", asked.user_id, ""),
        _input("session_id", "Session id", asked.session_id, ""),
        _attributes(asked),
        _outcome(asked),
    )


def _placement(known: Sequence[str], chosen: str) -> Html:
    options = joined(html('<option value="{}"></option>', name) for name in known[:MAX_PLACEMENTS])
    return html(
        '<label>Placement <input name="placement" list="placements" required maxlength="64" autocomplete="off" '
        'value="{}"></label><datalist id="placements">{}</datalist>',
        chosen or (known[0] if len(known) == 1 else ""),
        options,
    )


def _input(name: str, label: str, text: str, hint: str) -> Html:
    return html(
        '<label>{} <input name="{}" maxlength="256" autocomplete="off" placeholder="{}" value="{}"></label>',
        *(label, name, hint, text),
    )


def _attributes(asked: AskedShopper) -> Html:
    return joined(
        _input(ATTRIBUTE + name, name, asked.attributes.get(name, ""), EXAMPLES.get(declared, ""))
        for name, declared in asked.types.items()
    )


def _outcome(asked: AskedShopper) -> Html:
    if asked.refusal:
        return html('<p class="why" role="status">Not answered: <bdi>{}</bdi></p>', asked.refusal)
    if asked.answer is None:
        return NOTHING
    return html(
        '<div class="answer"><article aria-labelledby="shopper-experiments"><h3 id="shopper-experiments">'
        "Experiments at <code>{}</code></h3>{}</article><article "
        'aria-labelledby="shopper-config"><h3 id="shopper-config">Configuration <code>{}</code></h3>{}</article></div>',
        asked.placement,
        _experiments(asked.answer),
        asked.answer["config_id"],
        _config(asked.answer),
    )


def _experiments(answer: Mapping[str, Any]) -> Html:
    given = {one["experiment"]: one["variant"] for one in answer["assignments"]}
    rows = joined(
        html(
            '<tr><th scope="row"><code>{}</code></th><td>{}</td></tr>',
            name,
            _verdict(given.get(name), list(steps)),
        )
        for name, steps in groupby(answer["steps"], key=itemgetter("experiment"))
    )
    if not rows:
        return html("<p>No experiment names this placement.</p>")
    return html(
        '<table class="words"><thead><tr><th scope="col">Experiment</th><th scope="col">Gets</th></tr></thead>'
        "<tbody>{}</tbody></table>",
        rows,
    )


def _verdict(variant: str | None, steps: Sequence[Mapping[str, Any]]) -> Html:
    """Write what was decided, and by which question."""
    if variant is not None:
        forced = steps[-1]["reason"] == "FORCED"
        why = "forced by the document" if forced else _bucket(steps[-1])
        return html("<strong><code>{}</code></strong>: {}", variant, why)
    return html("not in: {}", joined(_reasons(steps), "; "))


def _reasons(steps: Sequence[Mapping[str, Any]]) -> Iterator[Html]:
    for step in steps:
        if step["ok"]:
            continue
        if step["step"] == "eligibility":
            saw = "nothing" if step["saw"] is None else value(step["saw"])
            note = f", {step['note']}" if step.get("note") else ""
            yield html("<code>{}</code> does not hold, it saw <code>{}</code>{}", step["condition"], saw, note)
        elif step["step"] in OUTSIDE:
            yield html("outside its {}: {}", OUTSIDE[step["step"]], _bucket(step))
        else:
            yield html("{}", OUT.get(step["reason"], step["reason"]))


def _bucket(step: Mapping[str, Any]) -> str:
    start, stop = step["range"]
    last = f"{start:,} to {stop - 1:,}" if stop > start else "none"
    return f"bucket {step['bucket']:,}, in are {last}"


def _config(answer: Mapping[str, Any]) -> Html:
    origins = answer["provenance"]
    rows = joined(
        html(
            '<tr><th scope="row"><code>{}</code></th><td><code>{}</code>{}</td></tr>',
            *(leaf_name(leaf), value(found), _origin(origins[leaf_name(leaf)])),
        )
        for leaf, found in leaves(answer["config"])
    )
    if not rows:
        return html("<p>The placement has no parameters.</p>")
    return html(
        '<table class="words"><thead><tr><th scope="col">Parameter</th><th scope="col">Value</th>'
        "</tr></thead><tbody>{}</tbody></table>",
        rows,
    )


def _origin(provenance: str) -> Html:
    return NOTHING if provenance == "placement" else html(' <span class="marked">by {}</span>', provenance)
