"""The variants on a card: weight, share, what each changes at its placements, and whether shares fit weights."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from abside.sidecar.observe.page.markup import NOTHING, Html, counted, html, joined, moment, percent, share, value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from abside.sidecar.observe.details import LeafChange, PodRatio

MAX_CHANGES = 8  # of one variant; the documents have the others
ALARM = 0.001  # of p, as in the report
SMALLEST_P = 0.0001  # written out; below it only its bound is


def variants(name: str, one: Mapping[str, Any], changes: Mapping[str, Sequence[LeafChange]]) -> Html:
    """Draw the table of the variants."""
    whole = sum(arm["exposures"] for arm in one["variants"].values())
    rows = joined(
        _variant(variant, arm, one["control"], whole, changes.get(variant)) for variant, arm in one["variants"].items()
    )
    return html(
        '<table><caption class="spoken">Variants of {}: weight, and share of this pod</caption><thead><tr>'
        '<th scope="col">Variant</th><th scope="col">Weight</th><th scope="col">Share</th>'
        '<th scope="col">Exposures</th></tr></thead>'
        "<tbody>{}</tbody></table>",
        name,
        rows,
    )


def _variant(
    variant: str, arm: Mapping[str, Any], control: str, whole: int, changes: Sequence[LeafChange] | None
) -> Html:
    mark = html(' <span class="mark">control</span>') if variant == control != "control" else NOTHING
    weight = arm["weight_bp"] / 100
    had = 100 * arm["exposures"] / whole if whole else 0.0
    return html(
        '<tr><th scope="row"><code>{}</code>{}</th><td>{}</td><td>{}</td><td>{}</td></tr>'
        '<tr class="bar" aria-hidden="true"><td colspan="4"><svg viewBox="0 0 100 8" preserveAspectRatio="none">'
        '<rect class="track" y="2" width="100" height="4"/><rect class="had" y="2" width="{}" height="4"/>'
        '<rect class="due" x="{}" width="0.6" height="8"/></svg></td></tr>{}',
        *(variant, mark, percent(arm["weight_bp"]), share(arm["exposures"], whole), f"{arm['exposures']:,}"),
        *(f"{had:.1f}", f"{min(weight, 99.4):.1f}"),
        NOTHING if changes is None else _changes(changes),
    )


def _changes(changes: Sequence[LeafChange]) -> Html:
    if not changes:
        return html('<tr class="changes"><td colspan="4">changes nothing</td></tr>')
    parts = [
        html("<code>{}</code>: {}", placement, joined(map(_change, of_it), ", "))
        for placement, of_it in groupby(changes[:MAX_CHANGES], key=attrgetter("placement"))
    ]
    more = len(changes) - MAX_CHANGES
    parts += [html("{} in its document", counted(more, "more change"))] if more > 0 else []
    return html('<tr class="changes"><td colspan="4">{}</td></tr>', joined(parts, "; "))


def _change(one: LeafChange) -> Html:
    text = "<code>{}</code> <code>{}</code> → <code>{}</code>"
    return html(text, one.parameter, value(one.was), value(one.becomes))


def ratio(one: Mapping[str, Any], found: PodRatio | None, now_us: int) -> Html:
    """Draw how well the exposures of this pod fit the weights, where they may say something."""
    if found is None or one["status"] != "running":
        return NOTHING
    counts = html("{} of this pod since {}", counted(found.exposures, "exposure"), moment(found.since_us, now_us))
    if found.p is None:
        return html('<p class="ratio">Sample ratio: not yet, {} are too few.</p>', counts)
    p = f"p = {found.p:.2g}" if found.p >= SMALLEST_P else f"p < {SMALLEST_P:g}"
    alarm = found.p < ALARM
    return html(
        '<p class="ratio{}">Sample ratio: <strong>{}</strong>, from {}.{}</p>',
        *(" marked" if alarm else "", p, counts),
        " A shopper who comes back counts again, so look at abside report, which counts shoppers." if alarm else "",
    )
