"""The two topics of a watched ConfigMap: how its keys are read, and the words of its problems."""

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
    """`read` parses the keys. For problems: `what` comes by the volume, `meanwhile`; `role`: the name of the Role."""

    read: Callable[[Mapping[str, bytes]], TopicContent]
    what: str
    meanwhile: str
    role: str


def pauses_of(keys: Mapping[str, bytes]) -> Pauses:
    """Return each key with its text, as the paused directory has them."""
    return {name: reason_of(data) for name, data in keys.items()}


PAUSES: Topic[Pauses] = Topic(pauses_of, "pauses", "none is lifted for this", "abside-paused-reader")
EXPERIMENTS: Topic[Keys] = Topic(
    documents_of,
    "experiments",
    "the last answer stays valid until the volume has it, two minutes at most",
    "abside-experiments-reader",
)
