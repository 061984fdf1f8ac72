"""`abside list`: what runs where, since when, at which share, and what comes next; from documents or a sidecar."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import orjson

from abside.assignment.attribute import date_text
from abside.assignment.schedule import ScheduledChange, effective_status, next_change, since_us
from abside.environ import now_us
from abside_agent.commands.exit_codes import ExitCode, refuse
from abside_agent.commands.in_force import NothingInForceError, UsageError, put_in_force
from abside_agent.commands.listing.sidecar_status import StatusError, status_of
from abside_agent.document.wording import shown_percent, shown_split, written_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from abside.assignment.assign import Evaluator
    from abside_agent.settings import OverviewSettings

# What needs an eye comes first.
ORDER = ("left_out", "running", "paused", "not_started", "draft", "ended")
HEADS = ("experiment", "status", "traffic", "since", "next", "placements", "variants", "layer", "owner")


@dataclass(frozen=True, slots=True)
class ListedExperiment:
    """One experiment. `weights`: variant → basis points, control first; times in µs UTC."""

    id: str
    name: str
    status: str
    reason: str | None
    traffic_bp: int
    since_us: int | None
    next: ScheduledChange | None
    placements: tuple[str, ...]
    weights: Mapping[str, int]
    layer: str | None
    slots: tuple[int, int] | None
    owner: str


def main(settings: OverviewSettings) -> int:
    """Print the experiments. Return 0; 1 where an error leaves something out of force, 2 for a wrong call."""
    problems: list[str] = []
    try:
        _judge(settings)
        lines = _served(settings.url, problems) if settings.url else _written(settings, problems)
    except (UsageError, StatusError) as exc:
        return refuse("list", exc)
    except NothingInForceError as exc:
        sys.stderr.writelines(f"{problem}\n" for problem in exc.problems)
        return ExitCode.PROBLEMS
    lines.sort(key=lambda line: (ORDER.index(line.status) if line.status in ORDER else 0, line.id))
    click.echo(_json(lines) if settings.json else _text(lines), nl=False)
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return ExitCode.PROBLEMS if problems else ExitCode.DONE


def _judge(settings: OverviewSettings) -> None:
    if bool(settings.config) == (settings.url is not None):
        raise UsageError("write either --config DIR, which lists documents, or --url URL of a sidecar")
    if settings.url and (settings.paused or settings.at is not None):
        raise UsageError("--paused and --at go with --config: a sidecar lists what it has in force now")


def _written(settings: OverviewSettings, problems: list[str]) -> list[ListedExperiment]:
    """Return what documents ask for; add their errors to `problems`."""
    found = put_in_force(settings.config, settings.paused, now_us() if settings.at is None else settings.at)
    problems += map(str, found.errors)
    return [_line(one, found.at_us) for one in found.plans.evaluators.values()]


def _line(evaluator: Evaluator, at_us: int) -> ListedExperiment:
    one = evaluator.experiment
    return ListedExperiment(
        id=one.id,
        name=one.name,
        status=effective_status(one, evaluator.closed),
        reason=one.pause,
        traffic_bp=evaluator.traffic_bp,
        since_us=since_us(one, at_us),
        next=next_change(evaluator),
        placements=one.placements,
        weights=_control_first({arm.id: arm.stop - arm.start for arm in one.variants}, one.control),
        layer=one.layer,
        slots=one.slots,
        owner=one.owner,
    )


def _served(url: str, problems: list[str]) -> list[ListedExperiment]:
    """Return what a sidecar has in force; add its errors to `problems`. Raises StatusError."""
    status = status_of(url)
    try:
        problems += [
            f"{one['file']}: {one['path']}: {one['message']} [{one['code']}]"
            for one in status["problems"]
            if one["severity"] == "error"
        ]
        return [_of_sidecar(name, one) for name, one in status["experiments"].items()]
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise StatusError(f"{url}: its status is not that of a sidecar of this version: {exc!r}") from exc


def _of_sidecar(name: str, one: dict[str, Any]) -> ListedExperiment:
    weights = {variant: arm["weight_bp"] for variant, arm in one["variants"].items()}
    return ListedExperiment(
        id=name,
        name=one["name"],
        status=one["status"],
        reason=one.get("pause") or one.get("reason"),
        traffic_bp=one["traffic_bp"],
        since_us=one["since_us"],
        next=ScheduledChange(**one["next"]) if one["next"] else None,
        placements=tuple(one["placements"]),
        weights=_control_first(weights, one["control"]),
        layer=one["layer"],
        slots=tuple(one["slots"]) if one["slots"] else None,
        owner=one["owner"],
    )


def _control_first(weights: dict[str, int], control: str | None) -> dict[str, int]:
    first = {} if control is None or control not in weights else {control: weights[control]}
    return {**first, **weights}


def _json(lines: Iterable[ListedExperiment]) -> str:
    rows = [
        {
            "experiment": one.id,
            "name": one.name,
            "status": one.status,
            "reason": one.reason,
            "traffic_bp": one.traffic_bp,
            "since_us": one.since_us,
            "next": one.next._asdict() if one.next else None,
            "placements": one.placements,
            "weights_bp": one.weights,
            "layer": one.layer,
            "slots_bp": one.slots,
            "owner": one.owner,
        }
        for one in lines
    ]
    return orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n"


def _text(lines: list[ListedExperiment]) -> str:
    if not lines:
        return "no experiments\n"
    rows = [HEADS, *map(_row, lines)]
    used = [column for column, _ in enumerate(HEADS) if any(row[column] for row in rows[1:])]
    wide = {column: max(len(row[column]) for row in rows) for column in used}
    text = ["  ".join(f"{row[column]:<{wide[column]}}" for column in used).rstrip() for row in rows]
    return "\n".join([text[0], *_coloured(text[1:], lines)]) + "\n"


def _row(one: ListedExperiment) -> tuple[str, ...]:
    return (
        one.id,
        one.status.replace("_", " ") + (f": {one.reason}" if one.reason else ""),
        shown_percent(one.traffic_bp) if one.status == "running" else "",
        _minute(one.since_us) if one.since_us else "",
        _next(one.next),
        ", ".join(one.placements),
        f"{', '.join(one.weights)}  {shown_split(one.weights.values())}" if one.weights else "",
        f"{one.layer} {written_range(one.slots)}" if one.layer and one.slots else one.layer or "",
        one.owner,
    )


def _next(change: ScheduledChange | None) -> str:
    if change is None:
        return ""
    at = _minute(change.at_us)
    return f"end {at}" if change.what == "end" else f"{shown_percent(change.traffic_bp)} from {at}"


def _minute(at_us: int) -> str:
    """Return an instant to the minute, in UTC."""
    return date_text(at_us // 60_000_000 * 60_000_000).replace(":00Z", "Z").replace("T", " ")


def _coloured(rows: Iterable[str], lines: Iterable[ListedExperiment]) -> Iterator[str]:
    """Yield rows in colours: green is what shoppers get, red what is out of force, and what is over steps back."""
    for row, one in zip(rows, lines, strict=True):
        runs = one.status == "running"
        green, red = runs and one.traffic_bp > 0, one.status == "left_out"
        colour = "green" if green else "red" if red else "yellow" if runs or one.status == "paused" else None
        yield click.style(row, fg=colour, dim=colour is None)
