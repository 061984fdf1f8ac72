"""Clients without a sidecar: the sidecar's own rules over parameters that a test gives, with the events in a list."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from abside.client.away.fallback import Fallbacks
from abside.client.away.posting import wall_us
from abside.client.calls import Calls
from abside.client.message import encode, read_accepted, read_answers, read_flag
from abside.client.result import ACCEPTED, Assignment, CallFailed, Flag, Receipt, Refused, Stats
from abside.client.strictness import check_fallbacks
from abside.serve.answer import Refusal
from abside.testing.deciding import MemoryDeciding
from abside.testing.world import check_mapping, one_of, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from abside.client.message import DecisionCall, EventCall, FlagCall
    from abside.client.result import Why
    from abside.event import EventMap
    from abside.testing.world import GivenParameters, GivenVariants


class Pretended:
    """What a test gives and sees of a client without a sidecar.

    `placements`: name → the parameters it has outside experiments. `variants`: experiment → variant → placement → what
    differs there; every shopper gets the first variant, until `give` names another. ValueError for a name that does not
    fit. `strict`: a mistake in the calling code (an unknown placement, a misspelt field) raises Refused with the
    sidecar's own sentence; without it such a call is a fallback, as in production.
    """

    def __init__(
        self,
        placements: Mapping[str, GivenParameters],
        variants: Mapping[str, GivenVariants] | None = None,
        *,
        strict: bool = True,
    ) -> None:
        self._made_with: dict[str, Any] = {"placements": placements, "variants": variants, "strict": strict}
        self._placements, self._variants = placements, variants or {}
        check_mapping("placements", self._placements)
        check_mapping("variants", self._variants)
        self._given: dict[str, str | None] = {name: next(iter(arms), None) for name, arms in self._variants.items()}
        self._deciding = MemoryDeciding(self._snapshot())
        self._fallbacks = Fallbacks(time.monotonic, wall_us)
        self._strict = strict
        self._away: Why | None = None
        self._lock = threading.Lock()

    @property
    def exposures(self) -> list[EventMap]:
        """The exposures that were logged, oldest first, each as the collector would get it."""
        return [one for one in self._deciding.spool.events() if one["type"] == "exposure"]

    @property
    def events(self) -> list[EventMap]:
        """The outcomes that were reported, oldest first, each as the collector would get it."""
        return [one for one in self._deciding.spool.events() if one["type"] != "exposure"]

    @property
    def stats(self) -> Stats:
        """The counts since the client was made."""
        return self._fallbacks.stats()

    def clear(self) -> None:
        """Forget the exposures and events so far."""
        self._deciding.spool.clear()

    def give(self, experiment: str, variant: str | None) -> None:
        """Assign another variant to every shopper from now on; None: nobody is in the experiment. Raises ValueError."""
        arms = self._variants[one_of(experiment, self._variants, "experiment")]
        self._given[experiment] = None if variant is None else one_of(variant, arms, f"variant of {experiment}")
        self._deciding.apply(self._snapshot())

    @contextmanager
    def away(self, why: Why = "timeout") -> Iterator[None]:
        """Pretend within the block that the sidecar does not answer: each call is a fallback for this reason."""
        before, self._away = self._away, why
        try:
            yield
        finally:
            self._away = before

    def _snapshot(self) -> Any:
        return snapshot_of(self._placements, self._variants, self._given)

    def _left_out(self, name: str, reason: str) -> None:
        self._fallbacks.left_out(name, reason)

    def _answers(self, call: DecisionCall) -> dict[str, Assignment]:
        try:
            answers = read_answers(call, 200, self._asked(lambda: self._deciding.assign(encode(call.fields))))
        except CallFailed as failed:
            self._raise_if_strict(failed)
            return self._fallbacks.fall_back(call, failed)
        self._fallbacks.seen(answers.values())
        if self._strict and call.fallbacks:
            check_fallbacks(call.fallbacks, answers)
        if call.visit is not None:
            for answer in answers.values():
                call.visit.saw(answer)
        self._send_what_waits()
        return answers

    def _accepted(self, report: EventCall) -> Receipt:
        try:
            read_accepted(202, self._asked(lambda: self._deciding.report(report.path, encode(report.body))))
        except CallFailed as failed:
            self._raise_if_strict(failed)
            return self._fallbacks.not_taken(report, failed)
        self._send_what_waits()
        return ACCEPTED

    def _send_what_waits(self) -> None:
        """Take what was reported while the sidecar was away, as a client sends it once it answers."""
        unsent = self._fallbacks.unsent
        while batch := unsent.take():
            try:
                self._asked(partial(self._deciding.report, batch.path, batch.body))
            except CallFailed as failed:
                unsent.not_accepted(batch, failed.index if isinstance(failed, Refused) else None)
            else:
                unsent.accepted(batch)

    def _evaluated(self, call: FlagCall) -> Flag:
        try:
            body = encode({"context": call.context})
            return read_flag(call.key, *self._asked(lambda: self._deciding.evaluate(call.key, body)))
        except CallFailed as failed:
            self._raise_if_strict(failed)
            self._fallbacks.fall_back(call.as_decision, failed)
            return Flag(call.key, None, reason="ERROR", why=failed.why)

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """Return what `ask` does. Raises CallFailed where the sidecar is away, Refused where it refuses."""
        if self._away is not None:
            raise CallFailed(self._away, "a test pretends it")
        try:
            with self._lock:
                return ask()
        except Refusal as exc:
            raise Refused(exc.code, exc.detail, status=exc.status, path=exc.path, index=exc.index) from None

    def _raise_if_strict(self, failed: CallFailed) -> None:
        if self._strict and isinstance(failed, Refused):
            raise failed


class FakeClient(Pretended, Calls[Assignment, dict[str, Assignment], Receipt, Flag]):
    """The calls of `Client` and `Local`, for a test."""

    def close(self) -> None:
        """Do nothing: there is no connection. The client may be used again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _one(self, call: DecisionCall) -> Assignment:
        return self._answers(call)[call.placements[0]]

    def _many(self, call: DecisionCall) -> dict[str, Assignment]:
        return self._answers(call)

    def _report(self, report: EventCall) -> Receipt:
        return self._accepted(report)

    def _flag(self, call: FlagCall) -> Flag:
        return self._evaluated(call)


class AsyncFakeClient(
    Pretended, Calls[Awaitable[Assignment], Awaitable[dict[str, Assignment]], Awaitable[Receipt], Awaitable[Flag]]
):
    """The calls of `AsyncClient`, for a test."""

    async def close(self) -> None:
        """Do nothing: there is no connection. The client may be used again."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _nothing(self) -> Receipt:
        return ACCEPTED

    async def _one(self, call: DecisionCall) -> Assignment:
        return self._answers(call)[call.placements[0]]

    async def _many(self, call: DecisionCall) -> dict[str, Assignment]:
        return self._answers(call)

    async def _report(self, report: EventCall) -> Receipt:
        return self._accepted(report)

    async def _flag(self, call: FlagCall) -> Flag:
        return self._evaluated(call)
