"""Every event that a process logs as a warning, an error or a crash, found in the source."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tests.monitoring.alerting import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVELS = frozenset({"warning", "error", "crash"})
EVENT = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
# Functions that log the event they are called with.
PASS_ON = {"Complaint": 0, "once": 0, "_hindered": 2}
LOGS = re.compile(r"\blog\.|" + "|".join(rf"\b{name}\(" for name in PASS_ON))  # most files need not be parsed
# Loggers of Python's own: a library's sentence, not an event.
LIBRARIES = ("src/abside/client/", "src/abside/openfeature.py", "src/abside/child.py")


def logged() -> tuple[set[str], list[str]]:
    """Return the events, and the places whose event is not written out."""
    found: set[str] = set()
    hidden: list[str] = []
    for folder in ("src", "agent"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            text = path.read_text()
            if not name.startswith(LIBRARIES) and LOGS.search(text):
                for line, event in _events(ast.parse(text)):
                    found |= {event} if event else set()
                    hidden += [] if event else [f"{name}:{line}"]
    return found, hidden


def _events(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and event of each call that logs; an empty event where it is a name."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        is_log = called in LEVELS and isinstance(owner, ast.Name) and owner.id == "log"
        at = 0 if is_log or called == "write" else PASS_ON.get(called)
        if at is None or len(node.args) <= at:
            continue
        event = node.args[at]
        is_written = isinstance(event, ast.Constant) and isinstance(event.value, str)
        if is_written and EVENT.fullmatch(str(event.value)):  # type: ignore[attr-defined]  # it is a constant
            yield node.lineno, str(event.value)  # type: ignore[attr-defined]  # as above
        elif is_log:
            yield node.lineno, ""
