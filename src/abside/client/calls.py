"""The methods of both clients, written once: the blocking one returns results, the other one awaitables of them."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from abside.client.message import EVENTS, EXPOSURES, NO_FALLBACKS, TRACK, DecisionCall, EventCall, FlagCall
from abside.client.outcomes.reporting import KnownEvents
from abside.client.result import ACCEPTED
from abside.client.values import ID_TYPES, id_form, sendable
from abside.client.visit import Visit

if TYPE_CHECKING:
    from abside.client.result import Unit
    from abside.client.visit import Id

DEADLINE_SECONDS = 0.02  # a hundred times the time of an answer, and still short beside a ranking

One = TypeVar("One")  # Assignment, now or awaited
Many = TypeVar("Many")  # dict[str, Assignment]
Done = TypeVar("Done")  # Receipt
Evaluation = TypeVar("Evaluation")  # Flag


class Calls(KnownEvents[Done], Generic[One, Many, Done, Evaluation]):
    """The calls of a client. Each ends within its deadline, connecting included, and none raises for what the sidecar
    or the network does; a `strict` client raises Refused for the caller's own mistakes (4xx), and only for those.

    Values may be what Python services have: UUID, Decimal, datetime, enums, numpy's scalars and arrays; docs/python.md
    has the form of each. An attribute that cannot be sent is left out and counted by name; an event with such a field
    is refused.

    Options of all: `user_id` and `session_id` (send both where both are known), or a `visit` instead of the two;
    `deadline_seconds` for this call. TypeError for arguments of the wrong kind.
    """  # noqa: D205 the two promises belong together

    _made_with: dict[str, Any]  # the arguments it was made with, by name

    def assign(
        self,
        placement: str,
        *,
        user_id: Id | None = None,
        session_id: Id | None = None,
        visit: Visit | None = None,
        attributes: Mapping[str, Any] | None = None,
        fallback: Mapping[str, Any] | None = None,
        expose: bool = True,
        pinned_unit: Unit | None = None,
        bot: bool = False,
        force: Mapping[str, str] | None = None,
        deadline_seconds: float | None = None,
    ) -> One:
        """Ask what to use at one placement, and log the exposure. Call it where the code of every variant passes.

        `fallback` is the parameters to answer with (a shallow copy) while the sidecar cannot be reached and no answer
        has shown the placement's own. `expose=False` prefetches: post the token with `expose` when it is used.
        `pinned_unit` is the `unit` in an earlier answer of the same visit. `bot` marks a known bot. `force` picks
        variants by experiment, where the sidecar allows it.
        """
        _check_name(placement)
        check_deadline(deadline_seconds)
        _check_parameters("fallback", fallback)
        attributes = None if attributes is None else sendable(attributes, self._left_out)
        fields = {"placement": placement, "expose": expose, "attributes": attributes, "force": force, "bot": bot}
        fields |= _who(user_id, session_id, pinned_unit, visit)
        fallbacks = {placement: fallback} if fallback is not None else NO_FALLBACKS
        return self._one(DecisionCall((placement,), False, _sent(fields), fallbacks, visit, deadline_seconds))

    def assign_many(
        self,
        placements: Iterable[str],
        *,
        expose: bool,
        user_id: Id | None = None,
        session_id: Id | None = None,
        visit: Visit | None = None,
        attributes: Mapping[str, Any] | None = None,
        fallbacks: Mapping[str, Mapping[str, Any]] | None = None,
        pinned_unit: Unit | None = None,
        bot: bool = False,
        force: Mapping[str, str] | None = None,
        deadline_seconds: float | None = None,
    ) -> Many:
        """Ask for several placements at once, in one consistent answer: a dict by placement.

        `expose` is required: true when all are used now, false when they are prefetched. `fallbacks` are parameters
        by placement. A placement that the sidecar does not know makes the whole call a fallback.
        """
        if isinstance(placements, str) or not isinstance(placements, Iterable):
            raise TypeError(f"placements is {placements!r}; write a list of names, such as ['pdp']")
        names = tuple(dict.fromkeys(placements))
        for name in names:
            _check_name(name)
        check_deadline(deadline_seconds)
        _check_parameters("fallbacks", fallbacks)
        for name, given in (fallbacks or NO_FALLBACKS).items():
            _check_parameters(f"the fallback of {name}", given)
        attributes = None if attributes is None else sendable(attributes, self._left_out)
        fields = {"placements": names, "expose": expose, "attributes": attributes, "force": force, "bot": bot}
        fields |= _who(user_id, session_id, pinned_unit, visit)
        return self._many(DecisionCall(names, True, _sent(fields), fallbacks or NO_FALLBACKS, visit, deadline_seconds))

    def expose(self, token: str | Iterable[str | None] | None, *, deadline_seconds: float | None = None) -> Done:
        """Log the exposure of a prefetched answer that is used now, or of several: a Receipt, as `event` returns.

        May be called again after a false: the exposure carries its id and is counted once. An answer without
        assignments, as every fallback, has the token None: there is nothing to log, and nothing is sent for it.
        """
        check_deadline(deadline_seconds)
        if isinstance(token, Mapping) or not isinstance(token, Iterable | None):
            raise TypeError(
                f"token is a {type(token).__name__}; pass the exposure_token of an answer, or a list of them"
            )
        tokens = token if isinstance(token, str) else [one for one in token or () if one is not None]
        if tokens == []:
            return self._nothing()
        return self._report(EventCall(EXPOSURES, {"exposure_token": tokens}, deadline_seconds))

    def event(
        self,
        type: str,  # noqa: A002 it is the field's name in the contract
        *,
        user_id: Id | None = None,
        session_id: Id | None = None,
        visit: Visit | None = None,
        event_id: str | None = None,
        deadline_seconds: float | None = None,
        **fields: Any,
    ) -> Done:
        """Report what a shopper did: a Receipt, true when the sidecar has it on disk, and else with the reason.

        docs/api.md lists types and their fields, for example `event("click", visit=visit, item_id="i7",
        position=2, placement="pdp", exposure_id=answer.exposure_id)`. A false that `waits` is sent later by itself. To
        try any other again, pass an `event_id` of your own: an event is counted once for each id. Times (`ts`) are µs
        UTC, now when absent.
        """
        check_deadline(deadline_seconds)
        who = _who(user_id, session_id, None, visit)
        who.pop("pinned_unit")
        named = {"type": type, "event_id": event_id or secrets.token_hex(12)}
        return self._report(EventCall(EVENTS, {**_sent(fields), **_sent(who), **named}, deadline_seconds))

    def evaluate(
        self, flag: str, *, context: Mapping[str, Any] | None, deadline_seconds: float | None = None
    ) -> Evaluation:
        """Evaluate a placement or an experiment as a flag, which is exposure; `context` is OpenFeature's, as a mapping.

        Without an answer, and for a mistake, the value is None: use your code's default.
        """
        _check_name(flag)
        check_deadline(deadline_seconds)
        _check_parameters("context", context)
        return self._flag(FlagCall(flag, sendable(context or {}, self._left_out), deadline_seconds))

    def track(
        self,
        event: str,
        *,
        context: Mapping[str, Any] | None,
        value: float | None = None,
        attributes: Mapping[str, Any] | None = None,
        deadline_seconds: float | None = None,
    ) -> Done:
        """Report what a shopper did with the arguments of OpenFeature's track: a Receipt, as `event` returns.

        docs/api.md names the attributes that become fields of an event. `$exposure` takes the `exposureToken` of an
        answer that is used now.
        """
        _check_name(event, "an event")
        check_deadline(deadline_seconds)
        _check_parameters("context", context)
        _check_parameters("attributes", attributes)
        sent = dict(attributes or {})
        if not event.startswith("$") and sent.keys().isdisjoint({"event_id", "eventId"}):
            sent["event_id"] = secrets.token_hex(12)  # a connection that breaks is tried twice
        who = sendable(context or {}, self._left_out)
        fields = {"event": event, "context": who, "value": value, "attributes": sent}
        return self._report(EventCall(TRACK, _sent(fields), deadline_seconds))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and unpickle as a new client with the same settings, and nothing of what this one keeps."""
        return partial(type(self), **self._made_with), ()

    def _nothing(self) -> Done:
        """Return the receipt where there is nothing to send. The asyncio clients have an awaitable of it."""
        return ACCEPTED  # type: ignore[return-value]

    @abstractmethod
    def _left_out(self, name: str, reason: str) -> None:
        """Count an attribute that cannot be sent."""

    @abstractmethod
    def _one(self, call: DecisionCall) -> One: ...

    @abstractmethod
    def _many(self, call: DecisionCall) -> Many: ...

    @abstractmethod
    def _report(self, report: EventCall) -> Done: ...

    @abstractmethod
    def _flag(self, call: FlagCall) -> Evaluation: ...


def _who(user_id: Id | None, session_id: Id | None, pinned_unit: Unit | None, visit: Visit | None) -> dict[str, Any]:
    if visit is None:
        if type(user_id) not in ID_TYPES:
            user_id = id_form(user_id)
        if type(session_id) not in ID_TYPES:
            session_id = id_form(session_id)
        return {"user_id": user_id, "session_id": session_id, "pinned_unit": pinned_unit}
    if not isinstance(visit, Visit):
        raise TypeError(f"visit is a {type(visit).__name__}; make one, for example Visit(session_id=…)")
    if user_id is not None or session_id is not None or pinned_unit is not None:
        raise TypeError("a visit carries the ids and the pinned unit; pass either the visit or them")
    ids = {"user_id": id_form(visit.user_id), "session_id": id_form(visit.session_id)}
    return {**ids, "pinned_unit": visit.pinned_unit}


def _sent(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields without those that are None: to the sidecar absent and null are the same."""
    return {name: value for name, value in fields.items() if value is not None}


def check_deadline(seconds: Any, *, above: float | None = None) -> None:
    """Raise TypeError or ValueError for what is no number of seconds; one of a call may be what is left, 0 or less."""
    if seconds is None and above is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"deadline_seconds is a {type(seconds).__name__}; write seconds, for example 0.02")
    if not isfinite(seconds) or (above is not None and seconds <= above):
        raise ValueError(f"deadline_seconds is {seconds}; write seconds, for example 0.02")


def _check_parameters(what: str, given: Any) -> None:
    """Raise TypeError at once, and not on the day when there is no sidecar and a fallback is used."""
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"{what} is a {type(given).__name__}; write a mapping by name")


def _check_name(name: Any, what: str = "a placement") -> None:
    if not isinstance(name, str):
        raise TypeError(f"{what} is named by a string, not by {type(name).__name__}")
