"""Calls that are banned by what they do, under whichever name they are reached; ruff sees only the written path."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = {str(path.relative_to(ROOT)): path for folder in ("src", "agent") for path in (ROOT / folder).rglob("*.py")}

# name of the called attribute or function → the files that may call it
BANNED: dict[str, frozenset[str]] = {
    # an orphan task dies silently
    "create_task": frozenset(
        {"src/abside/supervise.py", "src/abside/client/aio.py"}
        | {"src/abside/serve/handshake.py"}  # held by its connection, which ends with it
    ),
    "ensure_future": frozenset(),
    # pure code takes the clock as an argument; the client imports nothing of ours, so it has a reader of its own
    "time_ns": frozenset({"src/abside/environ.py", "src/abside/client/away/posting.py"}),
    "utcnow": frozenset(),
    "today": frozenset(),
}
# datetime.now, time.time: attributes whose names alone are too common to ban
BANNED_OF = {("datetime", "now"), ("time", "time"), ("time", "localtime"), ("time", "ctime")}


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def calls(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield (object, name, line) of every call and of every function that is passed on by name."""
    for node in nodes(path):
        if isinstance(node, ast.Attribute):
            value = node.value
            yield (value.id if isinstance(value, ast.Name) else getattr(value, "attr", ""), node.attr, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield (node.module or "", alias.name, node.lineno)


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_file_reaches_a_banned_call(name: str) -> None:
    for of, called, line in calls(FILES[name]):
        allowed = BANNED.get(called)
        assert allowed is None or name in allowed, f"{name}:{line}: {called} is banned here"
        assert (of.rpartition(".")[2], called) not in BANNED_OF, f"{name}:{line}: {of}.{called} reads the clock"


def test_no_column_is_dropped_together_with_another() -> None:
    # Ibis holds them as a set, so the statement would differ from process to process, and --reuse would miss its answer
    together = [
        f"{name}:{node.lineno}"
        for name, path in FILES.items()
        if name.startswith("src/abside/report/")
        for node in nodes(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "drop"
        if len(node.args) != 1 or isinstance(node.args[0], ast.Starred)
    ]
    assert not together, f"write .drop(one).drop(other): {together}"


def test_every_exception_from_a_lint_rule_has_a_reason() -> None:
    bare = []
    for folder in ("src", "agent", "tests", "bench"):
        for path in (ROOT / folder).rglob("*.py"):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if "noqa" in line and re.search(r"#\s*noqa(:\s*[A-Z]+[0-9]+(\s*,\s*[A-Z]+[0-9]+)*)?\s*$", line):
                    bare.append(f"{path.relative_to(ROOT)}:{number}")
    assert not bare, f"write after each why the rule does not apply: {bare}"


def test_the_ban_sees_every_way_to_the_clock_and_to_a_task(tmp_path: Path) -> None:
    ways = ["loop.create_task(x)", "self.loop.create_task(x)", "from asyncio import create_task", "time.time_ns()"]
    ways += [
        "from time import time",
        "datetime.datetime.now(UTC)",
        "clock = time.time",
        "from asyncio import ensure_future",
    ]
    for number, way in enumerate(ways):
        path = tmp_path / f"file{number}.py"
        path.write_text(way)
        found = [(of.rpartition(".")[2], called) for of, called, _ in calls(path)]
        assert any(called in BANNED or (of, called) in BANNED_OF for of, called in found), way
