"""What is the same in every answer made of one prepared one, in the form that a caller gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.sidecar.active.prepared import AnswerCache, PreparedAnswer

MAX_KEPT = 4_096  # answers kept beside what the snapshot's own caches keep
_FLAT = frozenset({str, int, float, bool, type(None)})


class FixedAnswer(NamedTuple):
    """The parts of an answer that no call changes."""

    config: bytes  # JSON
    flat: dict[str, Any] | None  # the same, where a shallow copy is a caller's own
    config_id: str
    assigned: tuple[Any, ...]
    revision: str


class FixedAnswers:
    """Those made so far, by the prepared answer; `assigned` makes what shows experiment, variant and phase."""

    def __init__(self, assigned: Callable[[str, str, int], Any]) -> None:
        self.known: dict[PreparedAnswer, FixedAnswer] = {}  # stays the same object
        self._assigned = assigned

    def made(self, prepared: PreparedAnswer, cache: AnswerCache) -> FixedAnswer:
        """Make one that is not known, and keep it."""
        config = prepared.config
        assigned = tuple([self._assigned(arm.experiment, arm.variant.id, arm.phase) for arm in prepared.arms])
        flat = config if all(type(value) in _FLAT for value in config.values()) else None
        fixed = FixedAnswer(orjson.dumps(config), flat, prepared.config_id, assigned, cache.revision)
        if len(self.known) >= MAX_KEPT:
            self.known.clear()
        self.known[prepared] = fixed
        return fixed
