"""The topic's id, watched: a topic made anew is another one, whose offsets begin at 0 again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.collector.consume.client import TopicMissing
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from abside.collector.consume.client import TopicDescription

WATCH_SECONDS = 10.0
RETRY_SECONDS = 1.0
log = Log("abside.collector.consume.topic")


class TopicWatch:
    """Asks for the topic's description again and again, in a thread; `turn` takes the answer."""

    def __init__(self, describe: Callable[[], TopicDescription], threads: Executor) -> None:
        self.topic_id: str | None = None
        self.partitions = 0
        self.problem: str | None = "no broker has answered yet"
        self._describe = describe
        self._threads = threads
        self._asked: Future[TopicDescription] | None = None
        self._next = 0.0

    def turn(self, now: float) -> bool:
        """Ask where it is time and take an answer; return whether the id is another than before, gone or back."""
        if self._asked is None:
            if now >= self._next:
                self._asked = self._threads.submit(self._describe)
            return False
        if not self._asked.done():
            return False
        asked, self._asked = self._asked, None
        self._next = now + WATCH_SECONDS
        before = self.topic_id
        try:
            found = asked.result()
        except TopicMissing:
            self._tell("the topic does not exist; it is waited for")
            self.topic_id = None
        except Exception as exc:  # noqa: BLE001 the library's, which is loaded where it is used; the id stays believed
            self._tell(f"the brokers do not describe the topic: {exc}")
        else:
            if self.problem or before != found.topic_id:
                log.info("topic_found", topic_id=found.topic_id, partitions=found.partitions)
            self.topic_id, self.partitions, self.problem = found.topic_id, found.partitions, None
        if self.problem:
            self._next = now + RETRY_SECONDS
        if before and self.topic_id and before != self.topic_id:
            log.error(
                "topic_made_anew", before=before, now=self.topic_id, then="read from its beginning, into a new folder"
            )
        return before != self.topic_id

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            log.error("topic_not_known", reason=problem)
        self.problem = problem
