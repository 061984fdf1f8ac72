"""`abside simulate`: shares against weights, overlap and layers for made-up or given ids; no server needed."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from abside.assignment.assign import Evaluator
from abside.assignment.attribute import date_text
from abside.environ import now_us
from abside.files import open_regular
from abside.snapshot import BASIS_POINTS
from abside_agent.commands.attributes import read_attributes
from abside_agent.commands.exit_codes import ExitCode, refuse
from abside_agent.commands.in_force import InForce, NothingInForceError, UsageError, put_in_force
from abside_agent.commands.simulation.count import MAX_OVERLAPPING, ExperimentCounts, Simulation, count
from abside_agent.commands.simulation.units import Skipped, from_lines, synthetic
from abside_agent.document.wording import shown_percent
from abside_agent.rules.apart import LIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from abside.snapshot import Json
    from abside_agent.settings import SimulateSettings

UNITS = 100_000  # a share's standard error is then at most 0.16 points, and it takes a second
MAX_IDS_BYTES = 4 * 2**30  # a hundred million ids, which take ten minutes
SHOWN_PAIRS = 20  # of overlapping experiments, the largest first; --json has all


def main(settings: SimulateSettings) -> int:
    """Print the result. Return 0; 1 where an error leaves something out of force, 2 for a wrong call."""
    skipped = Skipped()
    try:
        found = put_in_force(settings.config, settings.paused, now_us() if settings.at is None else settings.at)
        attributes = _attributes(settings, found)
        with _ids(settings, skipped) as ids:
            tally = count(_evaluators(found, attributes), ids, attributes)
    except (UsageError, OSError) as exc:
        return refuse("simulate", exc)
    except NothingInForceError as exc:
        sys.stderr.writelines(f"{problem}\n" for problem in exc.problems)
        return ExitCode.PROBLEMS
    if not tally.units:
        return refuse("simulate", "there is no unit: every line was blank or an id that many share")
    report = _report(found, tally, skipped, assumed=not attributes)
    sys.stdout.write(_json(report) if settings.json else _text(report))
    sys.stderr.writelines(f"{problem}\n" for problem in found.errors)
    return ExitCode.PROBLEMS if found.errors else ExitCode.DONE


def _attributes(settings: SimulateSettings, found: InForce) -> dict[str, Json]:
    """Return the attributes of every unit. Raises UsageError, also for an undeclared one, which has no effect."""
    attributes, ignored = read_attributes(settings.attribute, found.snapshot.head.attributes)
    if ignored:
        raise UsageError(f"--attribute: {ignored[0]}")
    return attributes


def _evaluators(found: InForce, attributes: dict[str, Json]) -> list[Evaluator]:
    """Return evaluators of the experiments that run; without any attribute everybody counts as eligible."""
    running = [evaluator for evaluator in found.plans.evaluators.values() if evaluator.closed is None]
    if attributes:
        return running
    return [Evaluator.build(replace(one.experiment, eligibility=()), found.at_us) for one in running]


@contextmanager
def _ids(settings: SimulateSettings, skipped: Skipped) -> Iterator[Iterator[str]]:
    """Yield the ids, with a progress bar on a terminal where their number is known. Raises UsageError, OSError."""
    if settings.ids is None:
        number = UNITS if settings.units is None else settings.units
        if number == 0:
            raise UsageError("--units 0: simulate at least one unit")
        with _progress(number) as tick:
            yield synthetic(number, tick)
    elif settings.units is not None:
        raise UsageError("--units and --ids exclude each other: the ids of a file are counted as they are")
    elif settings.ids == "-":
        yield from_lines("stdin", sys.stdin.buffer, skipped, _silent)
    else:
        handle, status = open_regular(Path(settings.ids), MAX_IDS_BYTES)
        with os.fdopen(handle, "rb") as file, _progress(status.st_size) as tick:
            yield from_lines(settings.ids, file, skipped, tick)


@contextmanager
def _progress(length: int) -> Iterator[Callable[[int], None]]:
    if not sys.stderr.isatty():
        yield _silent
        return
    with click.progressbar(length=length, label="simulating", file=sys.stderr) as bar:
        yield bar.update


def _silent(_: int) -> None:
    pass


def _report(found: InForce, tally: Simulation, skipped: Skipped, *, assumed: bool) -> dict[str, Any]:
    evaluators = found.plans.evaluators
    return {
        "revision": found.snapshot.head.revision,
        "at": date_text(found.at_us // 10**6 * 10**6),
        "units": tally.units,
        "skipped": {"shared": skipped.shared, "repeated": skipped.repeated},
        "eligible": "all" if assumed else "by attributes",
        "experiments": [_experiment(counted, tally.units) for counted in tally.experiments],
        "not_running": {name: one.closed for name, one in evaluators.items() if one.closed is not None},
        "layers": [_layer(found, tally, name) for name in found.snapshot.layers],
        "overlap": None if tally.overlaps is None else _overlap(tally, tally.overlaps),
    }


def _experiment(counted: ExperimentCounts, units: int) -> dict[str, Any]:
    evaluator, split = counted.evaluator, counted.split
    inside, chi_square = sum(split), counted.fit
    slots = evaluator.slots or (0, BASIS_POINTS)
    return {
        "experiment": evaluator.experiment.id,
        "in": inside,
        "share": inside / units,
        "planned_share": evaluator.traffic_bp * (slots[1] - slots[0]) / BASIS_POINTS**2,
        "forced": counted.forced,
        "out": counted.reasons,
        "variants": [
            {
                "variant": arm.variant.id,
                "weight": (arm.variant.stop - arm.variant.start) / BASIS_POINTS,
                "units": number,
                "share": number / inside if inside else None,
            }
            for arm, number in zip(evaluator.arms, split, strict=True)
        ],
        "chi_square": None
        if chi_square is None
        else {"statistic": chi_square.statistic, "df": chi_square.df, "p": chi_square.p},
    }


def _layer(found: InForce, tally: Simulation, name: str) -> dict[str, Any]:
    """Return a layer's slots, with paused experiments, and the share of units in the slots of running ones."""
    fell = {one.evaluator.experiment.id: one.in_slots for one in tally.experiments}
    members = []
    taken = [False] * BASIS_POINTS
    for experiment in found.snapshot.experiments.values():
        if experiment.layer != name or experiment.slots is None or experiment.status not in LIVE:
            continue
        start, stop = experiment.slots
        taken[start:stop] = [True] * (stop - start)
        inside, asked = fell.get(experiment.id, (0, 0))
        share = inside / asked if asked else None
        members.append({"experiment": experiment.id, "slots": [start, stop], "share": share})
    return {"layer": name, "free": 1 - sum(taken) / BASIS_POINTS, "experiments": members}


def _overlap(tally: Simulation, overlaps: dict[tuple[str, str], int]) -> list[dict[str, Any]]:
    """Return the share of units in each two experiments, and the share expected of independent hashes."""
    inside = {one.evaluator.experiment.id: sum(one.split) + one.forced for one in tally.experiments}
    layers = {one.evaluator.experiment.id: one.evaluator.experiment.layer for one in tally.experiments}
    return [
        {
            "experiments": [one, other],
            "units": number,
            "share": number / tally.units,
            "independent": inside[one] * inside[other] / tally.units**2,
            "same_layer": layers[one] is not None and layers[one] == layers[other],
        }
        for (one, other), number in sorted(overlaps.items(), key=lambda item: (-item[1], item[0]))
    ]


def _json(report: dict[str, Any]) -> str:
    return orjson.dumps(report, option=orjson.OPT_INDENT_2).decode() + "\n"


def _text(report: dict[str, Any]) -> str:
    everybody = "every unit counts as eligible" if report["eligible"] == "all" else "eligible by the attributes given"
    lines = [f"{report['units']:,} units at {report['at']}, revision {report['revision']}; {everybody}"]
    skipped = report["skipped"]
    if any(skipped.values()):
        lines.append(f"left out: {skipped['shared']:,} blank or shared ids, {skipped['repeated']:,} repeated")
    for one in report["experiments"]:
        lines += ["", *_experiment_lines(one)]
    if not report["experiments"]:
        lines += ["", "No experiment runs at that time."]
    if report["not_running"]:
        closed = ", ".join(f"{name} ({why.lower()})" for name, why in report["not_running"].items())
        lines += ["", f"not running: {closed}"]
    for layer in report["layers"]:
        lines += ["", *_layer_lines(layer)]
    lines += _overlap_lines(report["overlap"])
    return "\n".join(lines) + "\n"


def _experiment_lines(one: dict[str, Any]) -> list[str]:
    planned = "" if one["out"].get("NOT_ELIGIBLE") else f", planned {_share(one['planned_share'])}"
    forced = f", {one['forced']:,} forced" if one["forced"] else ""
    lines = [f"{one['experiment']}: {one['in']:,} in it, {_share(one['share'])} of all{planned}{forced}"]
    wide = max(len(arm["variant"]) for arm in one["variants"])
    for arm in one["variants"]:
        weight, share = _share(arm["weight"]), "—" if arm["share"] is None else _share(arm["share"])
        lines.append(f"  {arm['variant']:<{wide}}  weight {weight:>8}  share {share:>8}  {arm['units']:>12,} units")
    test = one["chi_square"]
    if test is not None:
        lines.append(f"  chi-square {test['statistic']:.3f} on {test['df']} df, p = {test['p']:.4g}")
    if one["out"]:
        out = ", ".join(f"{number:,} {why.lower()}" for why, number in sorted(one["out"].items()))
        lines.append(f"  out: {out}")
    return lines


def _layer_lines(layer: dict[str, Any]) -> list[str]:
    lines = [f"layer {layer['layer']}: {_share(layer['free'])} free"]
    for one in layer["experiments"]:
        start, stop = one["slots"]
        slots = f"{shown_percent(start)} to {shown_percent(stop)}"
        fell = "not running" if one["share"] is None else f"{_share(one['share'])} of its units fell there"
        lines.append(f"  {one['experiment']}: {slots}, {fell}")
    return lines


def _overlap_lines(overlap: list[dict[str, Any]] | None) -> list[str]:
    if overlap is None:
        return ["", f"overlap is not counted for more than {MAX_OVERLAPPING} experiments"]
    if not overlap:
        return []
    lines = ["", "in two at once, and as many as independent hashes would give"]
    for pair in overlap[:SHOWN_PAIRS]:
        layer = ", one layer" if pair["same_layer"] else ""
        names = " and ".join(pair["experiments"])
        lines.append(f"  {names}: {_share(pair['share'])}, {_share(pair['independent'])}{layer}")
    more = len(overlap) - SHOWN_PAIRS
    return [*lines, f"  and {more} more pairs: --json has all"] if more > 0 else lines


def _share(share: float) -> str:
    return f"{share * 100:.2f} %"
