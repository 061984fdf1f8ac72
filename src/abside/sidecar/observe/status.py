"""`GET /v1/status`: the active snapshot, its age, the problems of the documents, and where the events are."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from abside import __version__
from abside.assignment.schedule import effective_status, next_change, since_us
from abside.serve.answer import Response
from abside.sidecar.active.current import LEFT_OUT
from abside.sidecar.decide.seen.sample import ExperimentSample
from abside.sidecar.decide.seen.strays import nearly_known, with_meant
from abside.sidecar.record.accounts import NAMED_TYPES

if TYPE_CHECKING:
    from pathlib import Path

    from abside.assignment.assign import Evaluator
    from abside.sidecar.active.current import Current
    from abside.sidecar.decide.handlers import HandlerContext
    from abside.sidecar.decide.seen.crowds import SharedId
    from abside.sidecar.observe.health import Health
    from abside.sidecar.ship.shipper import Shipper
    from abside.snapshot import LeftOut
    from abside.supervise import Supervisor

SHOWN_ALONE = 8  # of the batches that wait alone: as many as may be in flight, the first of them first


def status(
    context: HandlerContext, shipper: Shipper | None, supervisor: Supervisor, health: Health, path: Path
) -> Response:
    """Return the whole status; `path` is the snapshot's. Times are µs UTC, ages seconds, traffic and weights bp."""
    now_us = context.clock()
    cell = context.cell
    current = cell.current
    accounts = context.journal.accounts
    document: dict[str, Any] = {
        "version": __version__,
        "revision": current.revision if current else None,
        "degraded": bool(current and current.degraded)
        or bool(cell.refusal)
        or health.overdue
        or bool(shipper and shipper.stats.loud)
        or bool(context.journal.spool.trouble or context.journal.spool.calendar.jump_seconds),
        "draining": health.draining,
        "snapshot": {
            "path": str(path),
            "published_us": current.snapshot.head.written_at_us if current else None,
            "published_age_seconds": _age(current.snapshot.head.written_at_us, now_us) if current else None,
            "applied_us": current.applied_us if current else None,
            "applied_age_seconds": _age(current.applied_us, now_us) if current else None,
            "next_change_us": current.plans.next_change_us if current else None,
            "swaps": cell.swaps,
            "refused": cell.refused,
            "refusal": cell.refusal or None,
            "missing": cell.missing,
            "agent_heartbeat_age_seconds": None if cell.beat_us is None else _age(cell.beat_us, now_us),
        },
        "problems": [asdict(one) for one in current.problems] if current else [],
        "placements": sorted(current.plans.placements) if current else [],
        "experiments": _experiments(current, context) if current else {},
        "events": {"boot": accounts.boot, "accepted": dict(accounts.accepted), "lost": dict(accounts.lost)},
        "names": {
            "placements": with_meant(context.strays.placements, current.plans.placements if current else ()),
            "flags": with_meant(context.strays.flags, _flags(current) if current else ()),
            "attributes": with_meant(context.sample.undeclared, current.snapshot.head.attributes if current else ()),
            "event_types": nearly_known(accounts.accepted, NAMED_TYPES),
        },
        "warnings": [_crowd(one) for crowds in context.sample.crowds for one in crowds.found()],
        "spool": _spool(context),
        "upstream": _upstream(shipper, now_us),
        "degraded_tasks": dict(supervisor.degraded),
    }
    return Response(200, orjson.dumps(document, option=orjson.OPT_INDENT_2))


def _flags(current: Current) -> set[str]:
    return current.plans.placements.keys() | current.plans.evaluators.keys()


def _crowd(one: SharedId) -> dict[str, Any]:
    message = f"{one.share:.0%} of the requests have one {one.field}: a crowd shares it, or it is a robot's"
    remedy = "add it to --shared-ids, or do not send it for shoppers without an id of their own; send bot for a robot"
    return {"code": "CROWD_ID", **one._asdict(), "message": message, "remedy": remedy}


def _age(since_us: int, now_us: int) -> float:
    return round(max(0, now_us - since_us) / 1e6, 3)


def _experiments(current: Current, context: HandlerContext) -> dict[str, Any]:
    in_force = {name: _experiment(one, context) for name, one in current.plans.evaluators.items()}
    return {**in_force, **{name: _left_out(name, one) for name, one in current.left_out_experiments.items()}}


def _left_out(name: str, one: LeftOut) -> dict[str, Any]:
    """Return the status of an experiment that cannot be built: every unit gets its placements' own parameters."""
    record = one.record
    return {
        "name": record.name if record else name,
        "status": LEFT_OUT,
        "reason": one.reason,
        "pause": record.pause if record else None,
        "placements": list(record.placements) if record else [],
        "unit": record.unit if record else None,
        "layer": record.layer if record else None,
        "slots": list(record.slots) if record and record.slots else None,
        "phase": record.phase if record else None,
        "traffic_bp": 0,
        "next_change_us": None,
        "next": None,
        "since_us": None,
        "owner": record.owner if record else "",
        "control": record.control if record else None,
        "variants": {},
        "sample": ExperimentSample((), ()).to_map(),
    }


def _experiment(evaluator: Evaluator, context: HandlerContext) -> dict[str, Any]:
    experiment, accounts = evaluator.experiment, context.journal.accounts
    exposed = {arm.variant.id: accounts.arm(experiment.id, arm.variant.id).accepted for arm in evaluator.arms}
    change = next_change(evaluator)
    return {
        "name": experiment.name,
        "status": effective_status(experiment, evaluator.closed),
        "pause": experiment.pause,
        "placements": list(experiment.placements),
        "unit": experiment.unit,
        "layer": experiment.layer,
        "slots": list(experiment.slots) if experiment.slots else None,
        "phase": experiment.phase,
        "traffic_bp": evaluator.traffic_bp,
        "next_change_us": evaluator.valid_until_us,
        "next": change._asdict() if change else None,
        "since_us": since_us(experiment, context.clock()),
        "owner": experiment.owner,
        "control": experiment.control,
        "variants": {
            arm.variant.id: {
                "weight_bp": arm.variant.stop - arm.variant.start,
                "exposures": exposed[arm.variant.id],
            }
            for arm in evaluator.arms
        },
        "sample": context.sample.of(evaluator).to_map(),
    }


def _spool(context: HandlerContext) -> dict[str, Any]:
    spool = context.journal.spool
    waiting = spool.waiting
    return {
        "used_bytes": spool.used_bytes,
        "limit_bytes": spool.settings.limit_bytes,
        "trouble": spool.trouble or None,
        "clock_ahead_seconds": spool.calendar.jump_seconds,
        "undeleted_bytes": spool.backlog.undeleted_bytes,
        "dead_files": spool.backlog.dead.files,
        "dead_bytes": spool.backlog.dead.bytes,
        "local_processes": spool.beside.living,
        "local_bytes": spool.beside.bytes,
        "waiting_segments": waiting.segments,
        "waiting_bytes": waiting.bytes,
        "oldest_age_seconds": None if waiting.oldest_us is None else _age(waiting.oldest_us, context.clock()),
        **asdict(spool.stats),
    }


def _upstream(shipper: Shipper | None, now_us: int) -> dict[str, Any] | None:
    if shipper is None:
        return None
    stats = asdict(shipper.stats)
    last = stats.get("last_success_us")
    flying, alone = shipper.in_flight, shipper.turns.alone
    return {
        "address": shipper.address,
        "in_flight": flying,
        "waiting_alone": len(alone),
        "alone": [
            {"segment": name, "reason": one.reason, "for_seconds": _age(one.since_us, now_us)}
            for name, one in islice(alone.items(), SHOWN_ALONE)
        ],
        **stats,
        **{one.name: one.value for one in shipper.own_figures()},
        "last_success_age_seconds": _age(last, now_us) if last else None,
    }
