"""Who an OpenFeature context is about: one rule for evaluations and for tracking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abside.assignment.unit import MAX_UNIT_BYTES
from abside.sidecar.decide.request import unit_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.sidecar.decide.request import Rules

# The user, then the session: each by its first name that holds a usable id.
USER_NAMES = ("user_id", "userId", "targetingKey")
SESSION_NAMES = ("session_id", "sessionId")
ID_NAMES = frozenset(USER_NAMES + SESSION_NAMES)
_SELDOM = frozenset({"user_id", "userId", "sessionId"})


def visitor(context: Mapping[str, Any], rules: Rules) -> tuple[str | None, str | None]:
    """Return (user id, session id) of a context, None where it has none. Raises Refusal 422 INVALID_UNIT."""
    if _SELDOM.isdisjoint(context):
        user_id, session_id = context.get("targetingKey"), context.get("session_id")
        if (user_id is None or _is_plain(user_id, rules)) and (session_id is None or _is_plain(session_id, rules)):
            return user_id, session_id
    return _first(context, USER_NAMES, rules), _first(context, SESSION_NAMES, rules)


def _is_plain(value: Any, rules: Rules) -> bool:
    """Return whether a value is an id in its usual form, for which the whole rule need not be asked."""
    return (
        type(value) is str
        and value.isascii()
        and value >= "!"
        and len(value) <= MAX_UNIT_BYTES
        and (len(value) not in rules.shared_lengths or value.lower() not in rules.shared_ids)
    )


def _first(context: Mapping[str, Any], names: tuple[str, ...], rules: Rules) -> str | None:
    """Read every one that is there, so that a wrong one is refused wherever it is."""
    found = [_id(context[name], f"context.{name}", rules) for name in names if context.get(name) is not None]
    return next((one for one in found if one is not None), None)


def _id(value: Any, path: str, rules: Rules) -> str | None:
    return unit_id({path: value}, path, rules.shared_ids)
