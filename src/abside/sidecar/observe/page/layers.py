"""The layers of the page: a bar of all units each, with the slots of its experiments and what is free."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from abside.sidecar.observe.page.markup import NOTHING, Html, html, joined, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_LAYERS = 30  # drawn; a shop has a handful
WHOLE_BP = 10_000
TONES = 4  # of neighbours in a bar


def layers(found: Mapping[str, Any]) -> Html:
    """Draw every layer that an experiment which has not ended is in."""
    members: dict[str, list[tuple[int, int, str, str]]] = defaultdict(list)
    for name, one in found.items():
        if one["layer"] is not None and one["slots"] and one["status"] != "ended":
            members[one["layer"]].append((*one["slots"], name, one["status"]))
    if not members:
        return NOTHING
    cards = joined(_layer(name, sorted(members[name])) for name in sorted(members)[:MAX_LAYERS])
    more = len(members) - MAX_LAYERS
    return html(
        '<section aria-labelledby="layers"><h2 id="layers">Layers</h2><p>Experiments of one layer share no shopper.</p>'
        '<div class="cards">{}</div>{}</section>',
        cards,
        html('<p class="more">{} more are not shown.</p>', f"{more:,}") if more > 0 else NOTHING,
    )


def _layer(name: str, members: list[tuple[int, int, str, str]]) -> Html:
    parts = list(_parts(members))
    bars = joined(_slot(tone, start / 100, (stop - start) / 100) for tone, start, stop, _ in parts)
    items = joined(
        html('<li><span class="swatch tone{}"></span> {} to {}: {}</li>', tone, percent(start), percent(stop), what)
        for tone, start, stop, what in parts
    )
    return html(
        '<article aria-labelledby="layer-{}"><h3 id="layer-{}"><code>{}</code></h3>'
        '<svg class="layer" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
        '<ul class="slots">{}</ul></article>',
        *(name, name, name, bars, items),
    )


def _slot(tone: object, x: float, width: float) -> Html:
    return html('<rect class="tone{}" x="{}" width="{}" height="8"/>', tone, f"{x:g}", f"{width:g}")


def _parts(members: list[tuple[int, int, str, str]]) -> Iterator[tuple[object, int, int, Html]]:
    """Yield (tone, start, stop, what has it) from 0 to the whole, in basis points."""
    free = html("free")
    reached = 0
    for number, (start, stop, name, status) in enumerate(members):
        if start > reached:
            yield "-free", reached, start, free
        shown = NOTHING if status == "running" else html(" ({})", status.replace("_", " "))
        yield number % TONES, start, stop, html("<code>{}</code>{}", name, shown)
        reached = max(reached, stop)
    if reached < WHOLE_BP:
        yield "-free", reached, WHOLE_BP, free
