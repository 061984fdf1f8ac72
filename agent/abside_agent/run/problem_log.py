"""Logs the problems of an agent: each once until it is gone, and no more than a person reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.log import Log

if TYPE_CHECKING:
    from abside_agent.run.child.exchange import ChildReply

log = Log("abside.agent")
MAX_HELD_LINES = 100  # the bound of problems in one reading; a conflict can hold back six thousand experiments


@dataclass(slots=True)
class ReportedProblems:
    """The problems that are in the log already."""

    _lines: frozenset[str] = frozenset()

    def once(self, event: str, **fields: str) -> None:
        """Log an error that is not in the log yet."""
        line = f"{event} {fields}"
        if line not in self._lines:
            self._lines |= {line}
            log.error(event, **fields)

    def forget(self, event: str) -> None:
        """Have an error of this name logged again when it comes back."""
        self._lines = frozenset(line for line in self._lines if not line.startswith(event))

    def reply(self, reply: ChildReply) -> None:
        """Log each problem and each path held back that is not in the log yet."""
        if reply.last_refused:
            log.warning("last_snapshot_unreadable", why=reply.last_refused, then="going on without it")
        problems = {str(one): one for one in reply.problems}
        for text, one in problems.items():
            if text not in self._lines:
                write = log.error if one.severity == "error" else log.warning
                write("problem", text=text, code=one.code, file=one.file, line=one.line)
        held = {f"held back {path}": (path, served) for path, served in reply.held.items()}
        new = [what for line, what in held.items() if line not in self._lines]
        for path, served in new[:MAX_HELD_LINES]:
            log.warning("held_back", what=path, serving=served)
        if len(new) > MAX_HELD_LINES:
            log.warning("held_back_more", count=len(new) - MAX_HELD_LINES, see="abside check, on the documents")
        self._lines = frozenset({*problems, *held})
