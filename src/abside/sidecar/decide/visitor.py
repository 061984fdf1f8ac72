"""Who an OpenFeature context is about: one rule for evaluations and for tracking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abside.sidecar.decide.request import unit_id

if TYPE_CHECKING:
    from collections.abc import Mapping

# The user, then the session: each by its first name that holds a usable id.
USER_NAMES = ("user_id", "userId", "targetingKey")
SESSION_NAMES = ("session_id", "sessionId")


def visitor(context: Mapping[str, Any], shared_ids: frozenset[str]) -> tuple[str | None, str | None]:
    """Return (user id, session id) of a context, None where it has none. Raises Refusal 422 INVALID_UNIT."""
    return _first(context, USER_NAMES, shared_ids), _first(context, SESSION_NAMES, shared_ids)


def _first(context: Mapping[str, Any], names: tuple[str, ...], shared_ids: frozenset[str]) -> str | None:
    found = [_id(context[name], f"context.{name}", shared_ids) for name in names if context.get(name) is not None]
    return next((one for one in found if one is not None), None)


def _id(value: Any, path: str, shared_ids: frozenset[str]) -> str | None:
    return unit_id({path: value}, path, shared_ids)
