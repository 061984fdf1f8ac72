"""The experiments of the page: what each does now, what is next, and why it may have no traffic."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

from abside.sidecar.observe.page.markup import NOTHING, Html, counted, html, joined, moment, percent, share
from abside.sidecar.observe.page.variants import ratio, variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from abside.sidecar.observe.details import ExperimentDetails

    DetailsOf: TypeAlias = Callable[[str], ExperimentDetails | None]

MAX_SHOWN = 100  # cards of a page; each is about 2 KB and 40 µs, and nobody reads more
ORDER = ("left_out", "running", "not_started", "paused", "draft", "ended")  # what shoppers meet comes first
FOLDED = ("draft", "ended")  # shoppers meet none of these
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")  # what may be put into a command that people copy
MANY_MISSING = 0.5  # of the sample: from here on a missing attribute is marked
UNITS = {"user_or_session": "users or sessions", "user": "users", "session": "sessions"}
NO_ID = {"user_or_session": "any id", "user": "a user id", "session": "a session id"}


def experiments(found: Mapping[str, Any], find: str, now_us: int, details: DetailsOf) -> Html:
    """Draw those with `find` in id or name: running ones first, MAX_SHOWN at most, and how many more there are.

    `details` is asked for those that are drawn.
    """
    wanted = find.casefold()
    chosen = [name for name in found if wanted in name.casefold() or wanted in found[name]["name"].casefold()]
    chosen.sort(key=lambda name: (_rank(found[name]["status"]), name))
    by_fold: dict[str, list[Html]] = {"": [], **{status: [] for status in FOLDED}}
    for name in chosen[:MAX_SHOWN]:
        status = found[name]["status"]
        card = _card(name, found[name], now_us, details(name))
        by_fold[status if status in FOLDED else ""].append(card)
    return html(
        '<section aria-labelledby="experiments"><h2 id="experiments">Experiments</h2>{}{}<div class="cards">{}</div>'
        "{}{}</section>",
        _summary(found, chosen, find),
        _search(find) if len(found) > 1 else NOTHING,
        joined(by_fold[""]),
        joined(_fold(status, by_fold[status], is_open=bool(find)) for status in FOLDED),
        _more(len(chosen) - MAX_SHOWN),
    )


def _fold(status: str, cards: list[Html], *, is_open: bool) -> Html:
    if not cards:
        return NOTHING
    heading = counted(len(cards), "draft") if status == "draft" else f"{len(cards):,} {words(status)}"
    text = '<details class="fold"{}><summary>{}</summary><div class="cards">{}</div></details>'
    return html(text, Html(" open") if is_open else NOTHING, heading, joined(cards))


def _rank(status: str) -> int:
    return ORDER.index(status) if status in ORDER else len(ORDER)


def _summary(found: Mapping[str, Any], chosen: list[str], find: str) -> Html:
    if not found:
        return html("<p>None is in force.</p>")
    counts = Counter(one["status"] for one in found.values())
    in_words = ", ".join(f"{counts[status]:,} {words(status)}" for status in sorted(counts, key=_rank))
    if find:
        return html(
            '<p>{} of {} hold “<bdi>{}</bdi>”. <a href="/">Show all</a></p>', f"{len(chosen):,}", len(found), find
        )
    return html("<p>{}.</p>", in_words)


def _search(find: str) -> Html:
    return html(
        '<form method="get" action="/" role="search"><label for="find">Find by name or id</label>'
        '<input id="find" name="find" type="search" maxlength="100" autocomplete="off" value="{}">'
        '<button type="submit">Find</button></form>',
        find,
    )


def _more(hidden: int) -> Html:
    if hidden <= 0:
        return NOTHING
    text = '<p class="more">{} more are not shown: find one by name, or read <a href="/v1/status">all as JSON</a>.</p>'
    return html(text, f"{hidden:,}")


def _card(name: str, one: Mapping[str, Any], now_us: int, more: ExperimentDetails | None) -> Html:
    idle = one["status"] == "running" and not one["traffic_bp"]
    return html(
        '<article aria-labelledby="experiment-{}"><h3 id="experiment-{}"><bdi>{}</bdi> '
        '<span class="badge {}">{}</span></h3><p class="id"><code>{}</code>{}</p>{}{}<dl>{}</dl>{}{}{}{}</article>',
        *(name, name, one["name"] or name),
        *("idle" if idle else one["status"], "running at 0%" if idle else words(one["status"]), name),
        html(" of <bdi>{}</bdi>", one["owner"]) if one["owner"] else NOTHING,
        html('<p class="hypothesis"><bdi>{}</bdi></p>', more.hypothesis) if more and more.hypothesis else NOTHING,
        _pause(one),
        joined(_facts(one, now_us, more)),
        variants(name, one, more.changes if more else {}),
        ratio(one, more.ratio if more else None, now_us),
        _sample(one),
        _command(name, one),
    )


def words(status: str) -> str:
    """Write a status in words."""
    return status.replace("_", " ")


def _pause(one: Mapping[str, Any]) -> Html:
    if one["status"] == "left_out":
        text = '<p class="why">Left out: <bdi>{}</bdi>. Shoppers get what its placements have without it.</p>'
        return html(text, one["reason"])
    if one["status"] != "paused":
        return NOTHING
    why = one["pause"]
    if why is None:
        why = "in its document"
    return html('<p class="why">Paused: <bdi>{}</bdi>. Shoppers get what its placements have without it.</p>', why)


def _command(name: str, one: Mapping[str, Any]) -> Html:
    """Draw the command that pauses or resumes it in Kubernetes; an id that a shell could read otherwise has none."""
    is_paused = one["status"] == "paused" and one["pause"] is not None
    if not ID.match(name) or (one["status"] not in ("running", "not_started") and not is_paused):
        return NOTHING
    value = "null" if is_paused else '"the reason"'
    patch = f"""kubectl patch configmap abside-paused --type merge -p '{{"data":{{"{name}":{value}}}}}'"""
    verb = "Resume it, where its own key is what pauses it" if is_paused else "Pause it"
    return html('<details class="command"><summary>{}</summary><code>{}</code></details>', verb, patch)


def _facts(one: Mapping[str, Any], now_us: int, more: ExperimentDetails | None) -> Iterator[Html]:
    fact = "<div><dt>{}</dt><dd>{}</dd></div>"
    traffic = html("<strong>{}</strong> of eligible {}", percent(one["traffic_bp"]), UNITS.get(one["unit"], "units"))
    yield html(fact, "Traffic", traffic)
    if one["since_us"]:
        yield html(fact, "Since", moment(one["since_us"], now_us))
    yield html(fact, "Next", _next(one, now_us))
    yield html(fact, "Where", ", ".join(one["placements"]) or "not known")
    if more is not None:
        yield html(fact, "Who", _who(more.eligibility))
    if one["layer"] is not None:
        start, stop = one["slots"] or (0, 0)
        yield html(fact, "Layer", f"{one['layer']}, slots {percent(start)} to {percent(stop)}")
    if one["phase"] not in (1, None):
        yield html(fact, "Phase", one["phase"])


def _who(eligibility: tuple[str, ...]) -> Html:
    if not eligibility:
        return html("everybody")
    return joined((html("<code>{}</code>", one) for one in eligibility), " and ")


def _next(one: Mapping[str, Any], now_us: int) -> Html:
    following = one["next"]
    if following is None:
        return html("nothing is scheduled")
    traffic = percent(following["traffic_bp"])
    what = {"start": f"starts with {traffic}", "end": "ends"}.get(following["what"], f"traffic becomes {traffic}")
    paused = " if it is resumed by then" if one["status"] == "paused" else ""
    return html("{} on {}{}", what, moment(following["at_us"], now_us), paused)


def _sample(one: Mapping[str, Any]) -> Html:
    """Draw the sample where it can explain missing traffic: something is targeted, or ids were missing."""
    seen = one["sample"]
    requests = seen["requests"]
    if one["status"] != "running" or not (seen["attributes"] or seen["no_unit"]):
        return NOTHING
    if requests == 0:
        names = ", ".join(seen["attributes"])
        return html('<p class="sample">Targets <code>{}</code>; no request was sampled yet.</p>', names)
    lines = [(f"{share(seen['not_eligible'], requests)} were not eligible", False)] if seen["attributes"] else []
    if seen["no_unit"]:
        lines.append((f"{share(seen['no_unit'], requests)} came without {NO_ID.get(one['unit'], 'an id')}", True))
    items = [html('<li class="{}">{}</li>', "marked" if marked else "", text) for text, marked in lines]
    items += [_attribute(name, counts, requests) for name, counts in seen["attributes"].items()]
    heading = f"Of {counted(requests, 'sampled request')} at its placements"
    return html('<div class="sample"><p>{}:</p><ul>{}</ul></div>', heading, joined(items))


def _attribute(name: str, counts: Mapping[str, int], requests: int) -> Html:
    missing, wrong = counts["missing"], counts["wrong_type"]
    marked = missing + wrong >= MANY_MISSING * requests
    text = f"was missing in {share(missing, requests)}" if missing else "was never missing"
    if wrong:
        text += f", and of another type than declared in {share(wrong, requests)}"
    return html('<li class="{}"><code>{}</code> {}</li>', "marked" if marked else "", name, text)
