"""`abside explain`: what one shopper gets at a placement and why, by the code of the sidecar; no server needed."""

from __future__ import annotations

import sys
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click
import orjson

from abside.assignment.attribute import date_text
from abside.assignment.explain import ExplainedStep, Explanation, explain
from abside.assignment.unit import SHARED_IDS, Subject, UnitError, choose_unit, nobody, parse_unit_id
from abside.environ import now_us
from abside.snapshot import leaf_name, leaves
from abside_agent.commands.attributes import read_attributes
from abside_agent.commands.exit_codes import ExitCode, refuse
from abside_agent.commands.in_force import InForce, NothingInForceError, UsageError, put_in_force
from abside_agent.document.wording import did_you_mean, shown_percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.assignment.assign import Evaluator
    from abside.assignment.plan import PlacementPlan
    from abside.snapshot import Json
    from abside_agent.settings import ExplainSettings


def main(settings: ExplainSettings) -> int:
    """Print the explanation. Return 0; 1 where an error leaves something out of force, 2 for a wrong call."""
    try:
        found = put_in_force(settings.config, settings.paused, now_us() if settings.at is None else settings.at)
        plan = _plan(found, settings.placement)
        attributes, ignored = read_attributes(settings.attribute, found.snapshot.head.attributes)
        subject = _subject(settings, attributes)
    except UsageError as exc:
        return refuse("explain", exc)
    except NothingInForceError as exc:
        sys.stderr.writelines(f"{problem}\n" for problem in exc.problems)
        return ExitCode.PROBLEMS
    explained = explain(plan, subject)
    text = _json(found, plan, explained) if settings.json else _text(found, plan, subject, explained)
    click.echo(text, nl=False)
    sys.stderr.writelines(f"{line}\n" for line in (*(f"abside explain: {one}" for one in ignored), *found.errors))
    return ExitCode.PROBLEMS if found.errors else ExitCode.DONE


def _plan(found: InForce, name: str) -> PlacementPlan:
    known = found.plans.placements
    if name not in known:
        hint = did_you_mean(name, known) or f"there is {', '.join(known)}"
        raise UsageError(f"--placement {name}: no placement is called that; {hint}")
    return known[name]


def _subject(settings: ExplainSettings, attributes: Mapping[str, Json]) -> Subject:
    shared_ids = SHARED_IDS | nobody(settings.shared_ids)
    ids = {}
    for option, text in (("--user-id", settings.user_id), ("--session-id", settings.session_id)):
        try:
            ids[option] = parse_unit_id(text, shared_ids)
        except UnitError as exc:
            raise UsageError(f"{option}: {exc}") from exc
    if not any(ids.values()):
        shared = "; an id that many share, as guest or 0, is none"
        raise UsageError(f"neither --user-id nor --session-id is usable: give at least one{shared}")
    return Subject(ids["--user-id"], ids["--session-id"], attributes, settings.placement)


def _json(found: InForce, plan: PlacementPlan, explained: Explanation) -> str:
    """Return the JSON of `POST /v1/explain`; its unit is null where no open experiment uses it."""
    answer = explained.answer
    used = any(one.closed is None and one.kind == "user_or_session" for one in plan.evaluators)
    body: dict[str, Any] = {
        "placement": plan.placement.id,
        "revision": found.snapshot.head.revision,
        "config_id": answer.config_id,
        "exposure_id": None,
        "unit": {"type": answer.unit[0], "id": answer.unit[1]} if answer.unit is not None and used else None,
        "config": answer.config,
        "assignments": [
            {"experiment": one.experiment, "variant": one.variant, "phase": one.phase} for one in answer.assignments
        ],
        "steps": [step.to_map() for step in explained.steps],
        "provenance": explained.provenance,
    }
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() + "\n"


def _text(found: InForce, plan: PlacementPlan, subject: Subject, explained: Explanation) -> str:
    who = " ".join(
        f"{kind} {text}" for kind, text in (("user", subject.user_id), ("session", subject.session_id)) if text
    )
    revision = found.snapshot.head.revision
    lines = [
        f"{plan.placement.id} for {who}, at {date_text(found.at_us // 10**6 * 10**6)}, revision {revision}",
        "",
    ]
    evaluators = {one.experiment.id: one for one in plan.evaluators}
    given = {one.experiment: one.variant for one in explained.answer.assignments}
    for name, steps in groupby(explained.steps, key=lambda step: step.experiment):
        lines.append(click.style(f"{name}: {given.get(name, 'not in')}", bold=True))
        lines += [_step(step, evaluators[name], subject) for step in steps]
        lines.append("")
    if not evaluators:
        lines += ["No experiment names this placement.", ""]
    lines += [f"configuration {explained.answer.config_id}", *_config(explained)]
    return "\n".join(lines) + "\n"


def _step(step: ExplainedStep, evaluator: Evaluator, subject: Subject) -> str:
    mark = click.style("yes", fg="green") if step.ok else click.style("no ", fg="red")
    reason = f"  {click.style(step.reason, bold=True)}" if step.reason else ""
    return f"  {mark}  {step.step:<12} {_seen(step, evaluator, subject)}{reason}"


def _seen(step: ExplainedStep, evaluator: Evaluator, subject: Subject) -> str:
    experiment = evaluator.experiment
    match step.step:
        case "force":
            return "the document forces this unit"
        case "status":
            return _status(evaluator)
        case "unit":
            unit = choose_unit(evaluator.kind, subject)
            return f"{unit[0]} {unit[1]}" if unit is not None else f"it needs a {evaluator.kind} id, and none was given"
        case "eligibility":
            saw = "nothing" if step.saw is None else orjson.dumps(step.saw).decode()
            return f"{step.condition}: saw {saw}" + (f", {step.note}" if step.note else "")
        case "layer":
            return f"bucket {step.bucket} of {experiment.layer}, its slots are {_range(step)}"
        case "traffic":
            return f"bucket {step.bucket}, in are {_range(step)}, which is {shown_percent(evaluator.traffic_bp)}"
        case "variant":
            decided = next(arm.id for arm in experiment.variants if (arm.start, arm.stop) == step.range)
            return f"bucket {step.bucket}, {decided} has {_range(step)}"


def _status(evaluator: Evaluator) -> str:
    experiment = evaluator.experiment
    if experiment.pause is not None:
        return f"paused: {experiment.pause}"
    if evaluator.closed == "NOT_STARTED":
        return f"it starts at {date_text(experiment.start_us or 0)}"
    if evaluator.closed == "ENDED" and experiment.status != "ended":
        return f"it ended at {date_text(experiment.end_us or 0)}"
    return experiment.status


def _range(step: ExplainedStep) -> str:
    """Return the half-open range as its first and last bucket."""
    start, stop = step.range or (0, 0)
    return f"{start} to {stop - 1}" if stop > start else "none"


def _config(explained: Explanation) -> list[str]:
    rows = [(leaf_name(leaf), orjson.dumps(value).decode()) for leaf, value in leaves(explained.answer.config)]
    if not rows:
        return ["  the placement has no parameters"]
    wide, long = (max(len(row[index]) for row in rows) for index in (0, 1))
    origins = explained.provenance
    return [f"  {name:<{wide}}  {value:<{min(long, 40)}}  from {_origin(origins[name])}" for name, value in rows]


def _origin(provenance: str) -> str:
    return "the placement" if provenance == "placement" else provenance
