"""The warnings of a change of the pauses: what it does not do. A pause itself is always allowed."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgpack

from abside.log import Log
from abside.snapshot import Problem
from abside_agent.admission.exchange import IDS_COMMAND
from abside_agent.admission.neighbours import UnreadError
from abside_agent.document.reading import EVERY_EXPERIMENT, File, Reading, is_document
from abside_agent.document.wording import did_you_mean
from abside_agent.run.child.exchange import Order
from abside_agent.run.child.spawn import ChildError, ChildLateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside_agent.admission.checks import Checks
    from abside_agent.admission.neighbours import Neighbours
    from abside_agent.admission.review import Review, ReviewKeys
    from abside_agent.run.child.exchange import ChildReply
    from abside_agent.settings import AdmissionSettings

log = Log("abside.admission")
MOST_KNOWN = 64  # states of the documents whose ids are remembered: those of some dozens of namespaces
MOST_NAMES = 10_000  # compared with an unknown id: 30 ms
MOST_GUESSED = 5  # unknown ids that are compared with all names: a person writes one
MOST_UNKNOWN = 20  # that are named; kubectl shows no more than some twenty warnings


@dataclass(frozen=True, slots=True)
class KnownIds:
    """The ids of experiments in the documents. `unread`: files that cannot be parsed, so that there may be more."""

    ids: frozenset[str]
    unread: tuple[str, ...]


class PauseWarnings:
    """Finds keys that pause nothing, within `pause_seconds`; what takes longer is found for the next change."""

    def __init__(self, settings: AdmissionSettings, neighbours: Neighbours, checks: Checks) -> None:
        self._settings = settings
        self._neighbours = neighbours
        self._checks = checks
        self._known: dict[bytes, KnownIds] = {}  # by the digest of the documents, the newest last

    async def of(self, review: Review, new: ReviewKeys) -> tuple[Problem, ...]:
        """Return the warnings of the pauses `new`."""
        found = list(_all(review.name, new))
        if asked := sorted(new.keys() - {EVERY_EXPERIMENT}):
            try:
                found += _unknown(review.name, asked, await self._ids(review.namespace))
            except (UnreadError, ChildError) as exc:
                why = exc.reason if isinstance(exc, ChildError) else str(exc)
                if isinstance(exc, ChildLateError):  # its own limit was what reading the API left
                    why = ChildLateError(self._settings.pause_seconds).reason
                log.warning("ids_not_checked", namespace=review.namespace, name=review.name, why=why, then="allowed")
                message = f"the pause is taken; WHETHER THESE IDS EXIST WAS NOT CHECKED: {', '.join(asked[:3])}: {why}"
                found.append(_warning(review.name, "IDS_NOT_CHECKED", message, "see /v1/status of a pod"))
        return tuple(found)

    async def _ids(self, namespace: str) -> KnownIds:
        """Return the ids in the documents of a namespace. Raises UnreadError, ChildError."""
        loop, settings = asyncio.get_running_loop(), self._settings
        until = loop.time() + settings.pause_seconds
        parts = await self._neighbours.read(namespace, settings.configmap, settings.pause_seconds / 2)
        files = tuple(
            File(key, data, name)
            for name, keys in zip(settings.configmap, parts, strict=True)
            for key, data in sorted(keys.items())
            if is_document(key)
        )
        packed = Reading(files).pack()
        digest = hashlib.sha256(packed).digest()
        if (known := self._known.pop(digest, None)) is None:
            order = Order(packed, b"", 0, settings.check_cpu_seconds, settings.check_memory)

            def keep(reply: ChildReply) -> None:
                self._keep(digest, _read(reply))

            left = max(until - loop.time(), 0.0)
            known = _read(await self._checks.reply(order, IDS_COMMAND, left, late=keep))
        self._keep(digest, known)
        return known

    def _keep(self, digest: bytes, known: KnownIds) -> None:
        self._known[digest] = known
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]


def _read(reply: ChildReply) -> KnownIds:
    ids, unread = msgpack.unpackb(reply.snapshot)
    return KnownIds(frozenset(ids), tuple(unread))


def _all(name: str, keys: ReviewKeys) -> Iterator[Problem]:
    if EVERY_EXPERIMENT in keys:
        message = f"the key {EVERY_EXPERIMENT} pauses EVERY experiment"
        yield _warning(name, "ALL_PAUSED", message, "delete the key to resume")


def _unknown(name: str, asked: list[str], known: KnownIds) -> Iterator[Problem]:
    unknown = [one for one in asked if one not in known.ids]
    unread = f" in what can be read ({known.unread[0]} cannot)" if known.unread else ""
    names = {*known.ids, EVERY_EXPERIMENT}
    for number, one in enumerate(unknown[:MOST_UNKNOWN]):
        near = did_you_mean(one, names, MOST_NAMES) if number < MOST_GUESSED else ""
        message = f"NOTHING IS PAUSED by {one}: no experiment has this id{unread}"
        yield _warning(name, "PAUSED_UNKNOWN", message, near or "delete the key")
    if len(unknown) > MOST_UNKNOWN:
        more = f"{len(unknown) - MOST_UNKNOWN} more keys pause nothing"
        yield _warning(name, "PAUSED_UNKNOWN", more, "delete the keys")


def _warning(name: str, code: str, message: str, remedy: str) -> Problem:
    return Problem("warning", code, name, 0, 0, "", "", message, remedy)
