"""Failing open: the answers while the sidecar cannot be reached, and a record of them for the analyst.

Base parameters are learned from answers without assignments only: a variant's parameters never become a fallback.
Each fallback is kept, with its ids, until the sidecar accepts it as an event of type `client_fallback`, so that an
analysis can leave such traffic out. The ids go into those events and nowhere else: never into a log line.
"""

from __future__ import annotations

import itertools
import json
import secrets
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from abside.client.away.complaints import Complaints
from abside.client.away.hanging import NOT_WAITED
from abside.client.away.unsent import MAX_WAITING, Unsent
from abside.client.result import Assignment, Receipt, Stats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from abside.client.message import DecisionCall, EventCall
    from abside.client.result import CallFailed, Why

EVENT_TYPE = "client_fallback"
MAX_UNPOSTED = 10_000  # shoppers kept by id, about 4 MB; beyond it only counts are kept
MAX_BASES = 1_024  # placements; a document has a handful
MAX_NAMES = 100  # of attributes that were left out
OTHER_NAMES = "(others)"  # those beyond it
MAX_ID_BYTES = 256  # the sidecar's bound; it refuses a whole batch for one longer id
MAX_PLACEMENT_CHARS = 64
BATCH_EVENTS = 500  # half of what a request may carry
POST_EVERY_SECONDS = 1.0  # while fallbacks and answers alternate
POST_AGAIN_SECONDS = 5.0  # after the sidecar did not take them: about its seal interval


@dataclass(slots=True)
class _Shopper:
    """The fallbacks of one shopper at one placement for one reason."""

    event_id: str
    ts_us: int  # of the first time
    count: int = 0


_Key = tuple[str | None, str | None, str | None, bool, "Why"]  # user, session, placement, bot, why


class Fallbacks:
    """The base parameters seen and the fallbacks returned. Thread-safe. `clock` returns seconds, `wall` µs UTC."""

    def __init__(
        self,
        clock: Callable[[], float],
        wall: Callable[[], int],
        bases: Mapping[str, tuple[str, str]] | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._lock = threading.RLock()  # a signal handler may call within a call
        self._boot = secrets.token_hex(8)
        self._numbers = itertools.count()
        self.bases = dict(bases or {})  # placement → config_id, and the parameters as JSON: callers may change theirs
        self._counts: Counter[Why] = Counter()
        self._answered = self._lost_reports = self._posted = self._untellable = self._not_waited = 0
        self._left_out: Counter[str] = Counter()
        self._shoppers: dict[_Key, _Shopper] = {}
        self._overflow: Counter[Why] = Counter()
        self._unposted: list[dict[str, Any]] = []
        self._post_from = 0.0
        self.complaints = Complaints(clock)
        self.unsent = Unsent(max_waiting, wall)

    def seen(self, answers: Iterable[Assignment]) -> None:
        """Count answers of the sidecar, and keep the base parameters they show."""
        with self._lock:
            for answer in answers:
                self._answered += 1
                if answer.assignments or answer.config_id is None:
                    continue
                known = self.bases.get(answer.placement)
                if (known is None and len(self.bases) < MAX_BASES) or (known and known[0] != answer.config_id):
                    self.bases[answer.placement] = (answer.config_id, json.dumps(answer.config))

    def fall_back(self, call: DecisionCall, failed: CallFailed) -> dict[str, Assignment]:
        """Return the answers of a call without the sidecar; count them and keep them to be posted."""
        self.complaints.failed("fallback", failed)
        fields = call.fields
        user_id, session_id = _usable(fields.get("user_id")), _usable(fields.get("session_id"))
        bot = fields.get("bot") is True
        with self._lock:
            self._not_waited += failed.code == NOT_WAITED
            for placement in call.placements:
                self._counts[failed.why] += 1
                if user_id is None and session_id is None:
                    self._overflow[failed.why] += 1
                else:
                    self._keep((user_id, session_id, _short(placement), bot, failed.why))
        return {name: self._answer(name, call, failed.why) for name in call.placements}

    def not_taken(self, report: EventCall, failed: CallFailed) -> Receipt:
        """Keep an event or exposure that was not accepted, or count it as lost; return what to say of it."""
        self.complaints.failed("report", failed)
        waits = failed.why != "refused" and self.unsent.keep(report)
        with self._lock:
            self._lost_reports += not waits
            self._not_waited += failed.code == NOT_WAITED
        return Receipt(False, failed.why, failed.code, failed.path, failed.sentence, waits)

    def left_out(self, name: str, reason: str) -> None:
        """Count an attribute that could not be sent."""
        self.complaints.left_out(name, reason)
        with self._lock:
            self._left_out[name if name in self._left_out or len(self._left_out) < MAX_NAMES else OTHER_NAMES] += 1

    def due(self) -> bool:
        """Return whether to post now; after a true, false for POST_EVERY_SECONDS, so that only one caller posts."""
        if not self._shoppers and not self._overflow and not self._unposted and not self.unsent.waiting:
            # The hot path: four reads, no lock.
            return False
        now = self._clock()
        with self._lock:
            if now < self._post_from:
                return False
            self._post_from = now + POST_EVERY_SECONDS
            return True

    def take(self) -> list[dict[str, Any]]:
        """Remove and return up to BATCH_EVENTS events; once posted, pass them to one of the three methods below."""
        with self._lock:
            if self._unposted:
                events, self._unposted = self._unposted, []
                return events
            keys = list(itertools.islice(self._shoppers, BATCH_EVENTS))
            events = [self._event(key, self._shoppers.pop(key)) for key in keys]
            events += [self._sum(why, count) for why, count in self._overflow.items()]
            self._overflow.clear()
            return events

    def accepted(self, events: Iterable[dict[str, Any]]) -> None:
        """Count events that were accepted."""
        with self._lock:
            self._posted += _count(events)

    def put_back(self, events: list[dict[str, Any]], *, later: bool = True) -> None:
        """Keep events that were not accepted, with the same ids, so that posting twice counts once."""
        with self._lock:
            self._unposted += events
            if later:
                self._post_from = self._clock() + POST_AGAIN_SECONDS

    def later(self) -> None:
        """Post nothing for a while: the sidecar does not take it now."""
        with self._lock:
            self._post_from = self._clock() + POST_AGAIN_SECONDS

    def refused(self, events: Iterable[dict[str, Any]]) -> None:
        """Drop events that would never be accepted; the count of a shopper's is posted without ids."""
        with self._lock:
            for one in events:
                if "placement" in one["properties"]:
                    self._overflow[one["properties"]["reason"]] += one["properties"]["count"]
                else:
                    self._untellable += one["properties"]["count"]

    def stats(self) -> Stats:
        """Return the counts."""
        with self._lock:
            kept = sum(one.count for one in self._shoppers.values()) + self._overflow.total()
            untold = kept + _count(self._unposted)
            counts = dict(self._counts)
            unsent = self.unsent
            return Stats(
                answered=self._answered,
                fallbacks=counts,
                lost_reports=self._lost_reports + unsent.refused,
                untold=untold,
                told=self._posted,
                untellable=self._untellable,
                not_waited=self._not_waited,
                waiting=unsent.waiting,
                sent_later=unsent.sent,
                dropped=unsent.dropped,
                left_out=dict(self._left_out),
            )

    def _answer(self, placement: str, call: DecisionCall, why: Why) -> Assignment:
        known = self.bases.get(placement)
        if known is not None:
            return Assignment(placement, json.loads(known[1]), known[0], fallback=True, why=why)
        given = call.fallbacks.get(placement)
        return Assignment(placement, dict(given or {}), None, fallback=True, why=why)

    def _keep(self, key: _Key) -> None:
        shopper = self._shoppers.get(key)
        if shopper is None:
            if len(self._shoppers) >= MAX_UNPOSTED:
                self._overflow[key[4]] += 1
                return
            shopper = self._shoppers[key] = _Shopper(self._event_id(), self._wall())
        shopper.count += 1

    def _event(self, key: _Key, shopper: _Shopper) -> dict[str, Any]:
        user_id, session_id, placement, bot, why = key
        event: dict[str, Any] = {"type": EVENT_TYPE, "event_id": shopper.event_id, "ts": shopper.ts_us}
        if user_id is not None:
            event["user_id"] = user_id
        if session_id is not None:
            event["session_id"] = session_id
        if bot:
            event["bot"] = True
        return {**event, "properties": {"placement": placement, "reason": why, "count": shopper.count}}

    def _sum(self, why: Why, count: int) -> dict[str, Any]:
        """Return the event of fallbacks without ids; its session is this client's own, which is in no experiment."""
        event = {"type": EVENT_TYPE, "event_id": self._event_id(), "session_id": f"abside-client-{self._boot}"}
        return {**event, "properties": {"reason": why, "count": count}}

    def _event_id(self) -> str:
        return f"cf-{self._boot}-{next(self._numbers):x}"


def _usable(value: Any) -> str | None:
    """Return an id as the sidecar reads it; None for one it would refuse."""
    if type(value) is int and -(2**63) <= value < 2**64:
        return str(value)
    if type(value) is not str or not value:
        return None
    try:
        return value if len(value.encode()) <= MAX_ID_BYTES else None
    except UnicodeEncodeError:
        return None


def _short(placement: str) -> str | None:
    """Return a placement's name, or None for one that cannot exist and that an event cannot carry."""
    return placement if len(placement) <= MAX_PLACEMENT_CHARS and placement.isascii() else None


def _count(events: Iterable[dict[str, Any]]) -> int:
    return sum(one["properties"]["count"] for one in events)
