"""What a call returns, and how it can fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

Config: TypeAlias = dict[str, Any]  # what JSON can carry, by parameter name
PinnedKind = Literal["user", "session"]
# Why an answer is a fallback: no answer within the deadline; no connection, or one that was cut; a 5xx, 408 or 429;
# an answer that is not the sidecar's; a 4xx, which is the caller's mistake.
Why = Literal["timeout", "unreachable", "unavailable", "garbage", "refused"]


class Unit(TypedDict):
    """What was randomised, as plain JSON; keep it with the visit and send it back as `pinned_unit`."""

    type: PinnedKind
    id: str


class Assigned(NamedTuple):
    """One variant this unit is exposed to."""

    experiment: str
    variant: str
    phase: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """The configuration to use at one placement.

    `config` is always usable; `config_id` is its digest, to cache by (None for the caller's own fallback). Send
    `exposure_id` with impressions and clicks. With `expose=False` there is an `exposure_token` instead: pass it to
    `expose` when the answer is used. With `fallback` true nothing was assigned or logged; `why` is the reason.
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
        """Return the variant of one experiment; None when this unit is not in it."""
        return next((one.variant for one in self.assignments if one.experiment == experiment), None)


class _Writable:
    """An assignment while it is made: the same slots, without what keeps them from being written."""

    __slots__ = Assignment.__slots__


def assignment(
    placement: str,
    config: Config,
    config_id: str,
    assignments: tuple[Assigned, ...],
    exposure_id: str | None,
    exposure_token: str | None,
    unit: Unit | None,
    revision: str,
) -> Assignment:
    """Return the Assignment of an answer: a frozen dataclass's own way takes four times as long (2 µs)."""
    made: Any = _Writable()
    made.placement = placement
    made.config = config
    made.config_id = config_id
    made.assignments = assignments
    made.exposure_id = exposure_id
    made.exposure_token = exposure_token
    made.unit = unit
    made.revision = revision
    made.fallback = False
    made.why = None
    made.__class__ = Assignment
    return made  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Flag:
    """One evaluated flag: of a placement the configuration, of an experiment the variant.

    `value` is None where this shopper is in no variant, and where nothing was evaluated: use your code's default. `why`
    is then the reason, None where the sidecar itself has no value.
    """

    key: str
    value: Config | str | None
    variant: str = ""
    reason: str = "DEFAULT"
    metadata: Mapping[str, str] = field(default_factory=dict)
    why: Why | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a report: true where the sidecar has it on disk.

    Where it is false, `why` is the reason and `sentence` says what to do. `code` and `path` (the field) are those of
    the sidecar's refusal; the same report is then refused again. With `waits` the client sends it by itself when the
    sidecar answers again: do not send it a second time.
    """

    accepted: bool
    why: Why | None = None
    code: str | None = None
    path: str | None = None
    sentence: str = ""
    waits: bool = False

    def __bool__(self) -> bool:
        return self.accepted


ACCEPTED = Receipt(accepted=True)


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the client was made (in a forked child: since the fork)."""

    answered: int  # placements answered by the sidecar
    fallbacks: Mapping[Why, int]  # placements answered without it, by reason
    lost_reports: int  # events and exposures that were not accepted and do not wait
    untold: int  # fallbacks still to be posted
    told: int  # fallbacks that the sidecar accepted as events
    untellable: int  # fallbacks that the sidecar refused as events
    not_waited: int = 0  # calls among the timeouts that fell back at once, because the sidecar hangs
    waiting: int = 0  # events and exposures that wait to be sent
    sent_later: int = 0  # those that waited and were accepted
    dropped: int = 0  # those of the lost that found no room to wait
    left_out: Mapping[str, int] = field(default_factory=dict)  # attributes that could not be sent, by name


class CallFailed(Exception):  # noqa: N818 it is caught inside the client and becomes a fallback
    """A call without a usable answer. Neither detail nor sentence has text of an answer that is not the sidecar's."""

    path: str | None = None

    def __init__(self, why: Why, detail: str, code: str | None = None, remedy: str | None = None) -> None:
        super().__init__(why, detail)
        self._remedy = remedy or _REMEDIES[why]
        self.why: Why = why
        self.detail = detail
        self.code: str | None = code

    @property
    def sentence(self) -> str:
        """What happened, and the remedy."""
        return f"{self.detail}; {self._remedy}"

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
        self.code: str = code
        self.status = status
        self.path = path
        self._sentence = detail
        self.index = index

    @property
    def sentence(self) -> str:
        """What was wrong, and what would be right."""
        return self._sentence

    def __str__(self) -> str:
        at = "" if self.index is None else f"[{self.index}] "
        return f"{self.status or 'not sent'} {self.code}: {at}{self.sentence}"


_REMEDIES: dict[Why, str] = {
    "timeout": "is the sidecar busy, or the deadline short?",
    "unreachable": "does the sidecar run, and is this its address?",
    "unavailable": "the sidecar's /v1/status and its log say what it lacks",
    "garbage": "does another program listen at this address?",
    "refused": "the same call is refused again",
}
