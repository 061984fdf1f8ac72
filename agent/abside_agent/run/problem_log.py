"""What an agent's log has of problems: each is said once, until it is gone; and never more than a person reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.log import Log

if TYPE_CHECKING:
    from abside_agent.run.child.exchange import ChildReply

log = Log("abside.agent")
MAX_HELD_LINES = 100  # as many as there are problems in one reading; six thousand in a conflict are held back at once


@dataclass(slots=True)
class ReportedProblems:
    """The lines that are in the log already."""

    _lines: frozenset[str] = frozenset()

    def once(self, event: str, **fields: str) -> None:
        """Log an error, unless it was."""
        line = f"{event} {fields}"
        if line not in self._lines:
            self._lines |= {line}
            log.error(event, **fields)

    def forget(self, event: str) -> None:
        """Log an error of this name again when it comes back."""
        self._lines = frozenset(line for line in self._lines if not line.startswith(event))

    def outcome(self, outcome: ChildReply) -> None:
        """Log each problem and each thing held back that was not logged before."""
        if outcome.last_refused:
            log.warning("last_snapshot_unreadable", why=outcome.last_refused, then="going on without it")
        problems = {str(one): log.error if one.severity == "error" else log.warning for one in outcome.problems}
        for text, say in problems.items():
            if text not in self._lines:
                say("problem", text=text)
        held = {f"held back {path}": (path, served) for path, served in outcome.held.items()}
        new = [what for line, what in held.items() if line not in self._lines]
        for path, served in new[:MAX_HELD_LINES]:
            log.warning("held_back", what=path, serving=served)
        if len(new) > MAX_HELD_LINES:
            log.warning("held_back_more", count=len(new) - MAX_HELD_LINES, see="abside check, on the documents")
        self._lines = frozenset({*problems, *held})
