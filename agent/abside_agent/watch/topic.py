"""What a watched ConfigMap is about: what is made of its keys, and what a person is told when it cannot be watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from abside_agent.sources.keys import Keys, documents_of
from abside_agent.sources.mounted import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from abside_agent.document.reading import Pauses

TopicContent = TypeVar("TopicContent")


@dataclass(frozen=True, slots=True)
class Topic(Generic[TopicContent]):
    """`read` makes of the keys what holds; `what` comes by the volume instead, `meanwhile`; `role` is the right."""

    read: Callable[[Mapping[str, bytes]], TopicContent]
    what: str
    meanwhile: str
    role: str


def pauses_of(keys: Mapping[str, bytes]) -> Pauses:
    """Give each key and its text as the paused directory does."""
    return {name: reason_of(data) for name, data in keys.items()}


PAUSES: Topic[Pauses] = Topic(pauses_of, "pauses", "none is lifted for this", "abside-paused-reader")
EXPERIMENTS: Topic[Keys] = Topic(
    documents_of,
    "experiments",
    "what was said last stays until it has caught up, two minutes at most",
    "abside-experiments-reader",
)
