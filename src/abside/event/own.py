"""The events that the sidecar writes itself: exposure, config, account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from abside.event.record import MAX_EVENT_BYTES, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from abside.event.record import EventMap


@dataclass(frozen=True, slots=True)
class Exposed:
    """One assignment inside an exposure event."""

    experiment: str
    phase: int
    variant: str
    unit_type: str
    unit_id: str
    forced: bool
    traffic_bp: int


def exposure(
    *,
    event_id: str,
    now_us: int,
    user_id: str | None,
    session_id: str | None,
    placement: str,
    revision: str,
    config_id: str,
    algo: int,
    assignments: Iterable[Exposed],
    attributes: Mapping[str, Any],
    bot: bool = False,
) -> EventMap:
    """Return the one exposure event of one placement answered; its `exposure_id` is its `event_id`."""
    event: EventMap = {
        "event_id": event_id,
        "type": "exposure",
        "ts": now_us,
        "seen_ts": now_us,
        "user_id": user_id,
        "session_id": session_id,
        "exposure_id": event_id,
        "placement": placement,
        "revision": revision,
        "config_id": config_id,
        "algo": algo,
        "assignments": [assignment(one) for one in assignments],
        "attributes": dict(attributes),
    }
    if bot:
        event["bot"] = True
    return event


def assignment(one: Exposed) -> dict[str, Any]:
    """Return an assignment as an exposure event contains it."""
    return {
        "experiment": one.experiment,
        "phase": one.phase,
        "variant": one.variant,
        "unit_type": one.unit_type,
        "unit_id": one.unit_id,
        "forced": one.forced,
        "traffic_bp": one.traffic_bp,
    }


def within_bound(exposure: EventMap) -> EventMap:
    """Return the exposure, without its attributes where it is too large for an event: assignments must not be lost."""
    return {**exposure, "attributes": {}} if len(encode(exposure)) > MAX_EVENT_BYTES else exposure


def source_of(*, pod: str, app: str, version: str, namespace: str, cluster: str) -> dict[str, str]:
    """Return who writes events, as each `config` and `account` event names it; what is not known is empty."""
    return {"pod": pod, "app": app, "version": version, "namespace": namespace, "cluster": cluster}


def own(kind: Literal["config", "account"], *, event_id: str, now_us: int, **fields: Any) -> EventMap:
    """Return a `config` or `account` event: about the sidecar, of no shopper."""
    head = {"event_id": event_id, "type": kind, "ts": now_us, "seen_ts": now_us, "user_id": None, "session_id": None}
    return {**head, **fields}
