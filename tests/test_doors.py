"""The door table of the architecture, executed: who may import whom, and no cycle anywhere."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {"abside": ROOT / "src" / "abside", "abside_agent": ROOT / "agent" / "abside_agent"}

GROUND = frozenset(
    {
        "abside.snapshot",
        "abside.event",
        "abside.environ",
        "abside.backoff",
        "abside.log",
        "abside.supervise",
        "abside.serve",
        "abside.files",
        "abside.metric",
    }
)
VERSION = frozenset({"abside"})  # abside/__init__.py holds the version and imports nothing

# room → rooms it may import (itself always). A prefix stands for everything below it.
DOORS: dict[str, frozenset[str]] = {
    "abside": frozenset(),
    "abside.snapshot": frozenset(),
    "abside.event": frozenset(),
    "abside.environ": frozenset(),
    "abside.backoff": frozenset(),
    "abside.log": frozenset(),
    "abside.files": frozenset(),
    "abside.metric": frozenset(),  # the one list of metrics: what check refuses is what the report cannot compute
    "abside.serve": frozenset({"abside.log"}),
    "abside.supervise": frozenset({"abside.backoff", "abside.log"}),
    "abside.assignment": frozenset({"abside.snapshot"}),
    "abside.spool": frozenset({"abside.event", "abside.files"}),
    "abside.upstream": frozenset({"abside.event", "abside.backoff", "abside.log", "abside.files"}),
    "abside.sidecar": GROUND | VERSION | {"abside.assignment", "abside.spool", "abside.upstream"},
    "abside.collector": ((GROUND | VERSION) - {"abside.snapshot"}) | {"abside.collector.store"},
    "abside.client": frozenset(),  # importable beside a rec service with nothing else of ours loaded
    "abside.report": VERSION
    | {
        "abside.snapshot",
        "abside.event",
        "abside.collector.store",
        "abside.environ",
        "abside.files",
        "abside.log",
        "abside.metric",
    },
    "abside.collector.store": frozenset(),  # what stands on disk: the one part of a collector that a reader may know
    "abside.up": frozenset({"abside.environ", "abside.files", "abside.log", "abside.child"}),
    "abside.child": frozenset({"abside.backoff", "abside.log"}),
    "abside.cli": frozenset({"abside.environ"}) | VERSION,
    "abside.__main__": frozenset({"abside.cli"}),
    "abside_agent": (GROUND | VERSION | {"abside.assignment"}) - {"abside.event"},
}


def room_of(module: str) -> str:
    """Name the room a module belongs to: the longest entry of the table that is the module or a package above it."""
    candidates = [room for room in DOORS if module == room or module.startswith(room + ".")]
    named = [room for room in candidates if room != "abside"] or [room for room in candidates if module == "abside"]
    assert named, f"{module} belongs to no room: add it to the door table in design and here"
    return max(named, key=len)


def modules() -> Iterator[tuple[str, Path]]:
    for name, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [name, *path.relative_to(folder).with_suffix("").parts]
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def is_module(name: str) -> bool:
    top, *rest = name.split(".")
    place = SOURCES[top].joinpath(*rest)
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def imports(path: Path) -> set[str]:
    """List our own modules that a file imports, inside functions and for types too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in SOURCES}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            if node.module and node.module.split(".")[0] in SOURCES:
                below = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {name if is_module(name) else node.module for name in below}
    return found


MODULES = dict(modules())


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_through_its_rooms_doors(module: str) -> None:
    room = room_of(module)
    for target in imports(MODULES[module]):
        assert room_of(target) in DOORS[room] | {room}, f"{module} imports {target}: no door from {room}"


def test_no_import_cycle_even_in_functions_and_for_types() -> None:
    graph = {module: imports(path) & MODULES.keys() for module, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join([*trail, module])
        if module not in done:
            for target in graph[module]:
                visit(target, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_heavy_libraries_stay_out_of_the_sidecar_and_the_agent() -> None:
    heavy = {"pyarrow", "duckdb", "pydantic", "kubernetes_asyncio", "opentelemetry", "pandas", "numpy"}
    for module, path in MODULES.items():
        if room_of(module) in {"abside.collector", "abside.collector.store", "abside.report"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            assert not {name.split(".")[0] for name in names} & heavy, f"{module} imports {names}"
