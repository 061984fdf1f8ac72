"""One visit of one shopper: the ids that go with every call, and the unit that stays when they log in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, SupportsIndex
from uuid import UUID

if TYPE_CHECKING:
    from abside.client.result import Assignment, Unit

Id = str | SupportsIndex | UUID  # text of at most 256 UTF-8 bytes, or a 64-bit integer, numpy's too


class Visit:
    """Pass it as `visit=` instead of ids. The first unit the sidecar used is kept, so that a visit that began logged
    out keeps its session's variants after login. Where a visit spans processes, store `pinned_unit` (plain JSON) with
    the session and pass it in again. For one shopper at a time; not for several threads at once.
    """  # noqa: D205 the first sentence is the use

    __slots__ = ("_pinned", "session_id", "user_id")

    def __init__(
        self, *, user_id: Id | None = None, session_id: Id | None = None, pinned_unit: Unit | None = None
    ) -> None:
        self.user_id = user_id
        self.session_id = session_id
        self._pinned = pinned_unit
        if pinned_unit is not None and not _is_unit(pinned_unit):
            raise ValueError("pinned_unit is no unit; pass the `unit` of an earlier answer, or {'type': …, 'id': …}")

    @property
    def pinned_unit(self) -> Unit | None:
        """The unit to send back; None before the first answer, and when it belongs to another user or session."""
        pinned = self._pinned
        if pinned is None:
            return None
        own = self.user_id if pinned["type"] == "user" else self.session_id
        return pinned if str(own) == pinned["id"] else None

    def login(self, user_id: Id) -> None:
        """Use this user id from now on; the unit stays."""
        self.user_id = user_id

    def logout(self) -> None:
        """Use the session id only from now on."""
        self.user_id = None

    def saw(self, answer: Assignment) -> None:
        """Keep the unit of the first answer. The clients call this."""
        if answer.unit is not None and self.pinned_unit is None:
            self._pinned = answer.unit


def _is_unit(found: Any) -> bool:
    """Return whether what was kept with a session can be a unit: text by the two names."""
    return isinstance(found, Mapping) and all(isinstance(found.get(name), str) for name in ("type", "id"))
