"""What a call gives back, and what can go wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict

Config: TypeAlias = dict[str, Any]  # what JSON can carry, by parameter name
PinnedKind = Literal["user", "session"]
# Why an answer is a fallback: no answer within the deadline; no connection, or one that was cut; a 5xx, 408 or 429;
# an answer that is not the sidecar's; a 4xx, which is the caller's to mend.
Why = Literal["timeout", "unreachable", "unavailable", "garbage", "refused"]


class Unit(TypedDict):
    """What was randomised: plain JSON, to be kept with the visit and sent back as `pinned_unit`."""

    type: PinnedKind
    id: str


class Assigned(NamedTuple):
    """One variant this unit is exposed to."""

    experiment: str
    variant: str
    phase: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """What to do at one placement.

    `config` is what to use there, whatever happened; `config_id` names it and is the key to cache by (None for the
    caller's own fallback). `exposure_id` goes along with the impressions and clicks; `exposure_token`, instead of it
    where `expose=False`, goes to `expose` when the answer is used. With `fallback` true nothing was assigned or
    logged, and `why` says what happened.
    """

    placement: str
    config: Config
    config_id: str | None
    assignments: tuple[Assigned, ...] = ()  # by experiment id
    exposure_id: str | None = None
    exposure_token: str | None = None
    unit: Unit | None = None
    revision: str | None = None
    fallback: bool = False
    why: Why | None = None

    def variant(self, experiment: str) -> str | None:
        """Give the variant of one experiment; None when this unit is not in it."""
        return next((one.variant for one in self.assignments if one.experiment == experiment), None)


class CallFailed(Exception):  # noqa: N818 it is caught inside the client and becomes a fallback
    """A call without a usable answer. The detail holds no text that came over the wire."""

    def __init__(self, why: Why, detail: str) -> None:
        super().__init__(why, detail)
        self.why: Why = why
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.why}: {self.detail}"


class Refused(CallFailed):
    """The caller's mistake, raised by a `strict` client: the sidecar's 4xx, or a request that is not JSON.

    `status` is None when nothing could be sent; `code`, `path` and `index` are those of the problem document.
    """

    def __init__(
        self, code: str, detail: str, *, status: int | None = None, path: str | None = None, index: int | None = None
    ) -> None:
        super().__init__("refused", code)
        self.code = code
        self.status = status
        self.sentence = detail
        self.path = path
        self.index = index

    def __str__(self) -> str:
        at = "" if self.index is None else f"[{self.index}] "
        return f"{self.status or 'not sent'} {self.code}: {at}{self.sentence}"
