"""Writes events to the spool before they are answered, and keeps the accounts of what was accepted and lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from abside import event
from abside.event import MAX_EVENT_BYTES
from abside.log import Log
from abside.serve.answer import Refusal
from abside.spool.errors import SpoolRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from abside.event import EventIds, EventMap
    from abside.sidecar.record.accounts import Accounts, ArmCount
    from abside.spool.write.writer import Spool

log = Log("abside.journal")
MAX_TOGETHER = 64  # exposures written in one call: a turn of the loop seldom brings more
MAX_STATEMENTS = 5  # of one seal, 1,000 arms: what is left comes with the next, and all of it at the end
QUIET_US = 60_000_000
RETRY_AFTER_SECONDS = 5  # about a seal interval: by then the shipper may have made room


class Journal:
    """The one way into the spool. `clock` returns µs UTC."""

    def __init__(self, spool: Spool, accounts: Accounts, ids: EventIds, clock: Callable[[], int]) -> None:
        self.spool = spool
        self.accounts = accounts
        self.ids = ids
        self.clock = clock
        self._logged_us: int | None = None  # when a refusal was last logged
        self.ending = False  # set once, when the last seal of a drain is next
        spool.before_seal = self.account

    def accept(self, events: Sequence[EventMap], *, several: bool = True) -> None:
        """Append a caller's events, all or none. Raises Refusal 422 for one too large, 503 SPOOL_FULL for no room.

        `several`: they came in a list, so a refusal names the index.
        """
        self.accept_packed([self.pack(one, index if several else None) for index, one in enumerate(events)], events)

    def pack(self, one: EventMap, index: int | None) -> bytes:
        """Return the packed event. Raises Refusal 422 for one that is too large, with its index in a list."""
        payload = event.encode(one)
        if len(payload) > MAX_EVENT_BYTES:
            detail = f"the event has {len(payload):,} bytes packed; at most {MAX_EVENT_BYTES:,} are taken"
            raise Refusal(422, "INVALID_EVENT", detail, index=index)
        return payload

    def accept_packed(self, payloads: Sequence[bytes], events: Sequence[EventMap]) -> None:
        """Append packed events, all or none; `events` are what is counted. Raises Refusal 503 SPOOL_FULL."""
        try:
            self.spool.append(payloads)
        except SpoolRefused as exc:
            self._refused(exc)
            detail = "the spool takes no more events for now; nothing of this request was taken"
            raise Refusal(503, "SPOOL_FULL", detail, retry_after_seconds=RETRY_AFTER_SECONDS) from exc
        for one in events:
            if one["type"] == "exposure":
                arms = [self.accounts.arm(arm["experiment"], arm["variant"]) for arm in one["assignments"]]
                self.accounts.accept_exposures([arms])
            else:
                self.accounts.accept(one["type"])

    def batch(self) -> ExposureBatch:
        """Return a batch for the exposures of answers that leave together."""
        return ExposureBatch(self)

    def append_exposures(self, payloads: list[bytes], exposed: list[tuple[ArmCount, ...]]) -> None:
        """Append packed exposures, each with the counts of its arms. What has no room is counted as lost, by arm."""
        try:
            refused = self.spool.append_each(payloads)
        except Exception:
            for counts in exposed:  # whatever went wrong there: what is not known to be written is counted as lost
                self.accounts.lose_exposure(counts)
            raise
        if refused is None:
            self.accounts.accept_exposures(exposed)
            return
        for is_in, counts in zip(refused[0], exposed, strict=True):
            if is_in:
                self.accounts.accept_exposures([counts])
            else:
                self.accounts.lose_exposure(counts)
        self._refused(refused[1])

    def note(self, events: Sequence[EventMap]) -> bool:
        """Append events of the sidecar's own (config); return whether there was room."""
        try:
            self.spool.append([event.encode(one) for one in events])
        except SpoolRefused:
            return False
        for one in events:
            self.accounts.accept(one["type"])
        return True

    def _refused(self, reason: SpoolRefused) -> None:
        """Log that the spool refuses, and why: once a minute, however many requests meet it."""
        now_us = self.clock()
        if self._logged_us is None or abs(now_us - self._logged_us) >= QUIET_US:  # also after a clock stepped back
            self._logged_us = now_us
            log.warning("spool_refuses", reason=str(reason), lost_exposures=self.accounts.lost["exposure"])

    def account(self) -> list[bytes]:
        """Return the accounts of what changed; the spool appends them at each seal. The last has `clean_end`."""
        statements: list[bytes] = []
        while self.ending or (self.accounts.has_changed() and len(statements) < MAX_STATEMENTS):
            statement = self.accounts.statement(event_id=self.ids.next(), now_us=self.clock())
            self.accounts.mark_stated(statement)
            if self.ending and not self.accounts.has_changed():
                statement["clean_end"] = True
                self.ending = False
            statements.append(event.encode(statement))
        return statements


class ExposureBatch:
    """Exposures of answers that leave together: one call of the spool takes them all.

    Whoever owns a batch calls `write` before the first of those answers leaves. As a context manager it writes at the
    end of its block.
    """

    __slots__ = ("_journal", "counts", "payloads")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.payloads: list[bytes] = []  # these two lists stay the same
        self.counts: list[tuple[ArmCount, ...]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.write()

    def add(self, payload: bytes, counts: tuple[ArmCount, ...]) -> None:
        """Take the packed exposure of an answer."""
        if len(payload) > MAX_EVENT_BYTES:
            payload = event.encode(event.within_bound(event.decode(payload)))
            if len(payload) > MAX_EVENT_BYTES:  # hundreds of arms: no frame takes it, and it must not cost the others
                self._journal.accounts.lose_exposure(counts)
                return
        self.payloads.append(payload)
        self.counts.append(counts)
        if len(self.payloads) >= MAX_TOGETHER:
            self.write()

    def write(self) -> None:
        """Append what was taken to the spool."""
        if self.payloads:
            try:
                self._journal.append_exposures(self.payloads, self.counts)
            finally:
                self.payloads.clear()
                self.counts.clear()
