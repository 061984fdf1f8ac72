"""The door table of the architecture, executed: who may import whom, and no cycle anywhere."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
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
        "abside.scrape",
    }
)
MOST_FILES = 14
VERSION = frozenset({"abside"})  # abside/__init__.py contains the version and imports nothing

SIDECAR = frozenset(f"abside.sidecar.{room}" for room in ("record", "active", "decide", "fast", "ship", "observe"))
AGENT_GROUND = (GROUND | {"abside.assignment"}) - {"abside.event"}

# room → rooms it may import (itself always). A prefix covers everything below it.
DOORS: dict[str, frozenset[str]] = {
    "abside": frozenset(),
    "abside.snapshot": frozenset(),
    "abside.event": frozenset(),
    "abside.environ": frozenset(),
    "abside.backoff": frozenset(),
    "abside.log": frozenset(),
    "abside.files": frozenset(),
    "abside.metric": frozenset(),  # the one list of metrics: what check refuses is what the report cannot compute
    "abside.chi_square": frozenset(),  # the sample ratio of the status page, and of simulate
    "abside.kafka": frozenset({"abside.files", "abside.log"}),
    "abside.serve": frozenset({"abside.files", "abside.log", "abside.supervise"}),
    "abside.scrape": frozenset({"abside", "abside.serve"}),
    "abside.supervise": frozenset({"abside.backoff", "abside.log"}),
    "abside.assignment": frozenset({"abside.snapshot"}),
    "abside.spool": frozenset({"abside.event", "abside.files", "abside.log"}),
    "abside.spool.queue": frozenset({"abside.spool", "abside.files", "abside.log"}),
    "abside.spool.write": frozenset({"abside.spool", "abside.spool.queue", "abside.files", "abside.log"}),
    "abside.byhand": frozenset({"abside.spool", "abside.spool.queue", "abside.environ", "abside.files"}),
    "abside.upstream": frozenset({"abside.event", "abside.backoff", "abside.log", "abside.files", "abside.kafka"}),
    # The composition root, its settings and its routes may import every room of the sidecar.
    "abside.sidecar": GROUND
    | VERSION
    | SIDECAR
    | {"abside.assignment", "abside.spool", "abside.spool.write", "abside.upstream"},
    "abside.sidecar.record": GROUND | {"abside.spool", "abside.spool.write"},
    "abside.sidecar.active": GROUND | {"abside.assignment", "abside.sidecar.record"},
    "abside.sidecar.decide": GROUND | {"abside.assignment", "abside.sidecar.record", "abside.sidecar.active"},
    "abside.sidecar.fast": GROUND,
    "abside.sidecar.ship": GROUND | {"abside.spool", "abside.spool.queue", "abside.spool.write", "abside.upstream"},
    "abside.sidecar.observe": GROUND
    | VERSION
    | (SIDECAR - {"abside.sidecar.observe"})
    | {"abside.assignment", "abside.chi_square"},
    "abside.collector": ((GROUND | VERSION) - {"abside.snapshot", "abside.metric"})
    | {"abside.kafka"}
    | {"abside.collector.consume", "abside.collector.store", "abside.collector.receive", "abside.collector.keep"},
    "abside.collector.receive": frozenset(
        {"abside.event", "abside.files", "abside.log", "abside.serve"}
        | {"abside.collector.store", "abside.collector.keep"}
    ),
    "abside.collector.keep": frozenset({"abside.files", "abside.log", "abside.collector.store"}),
    "abside.collector.consume": frozenset(
        {
            "abside.backoff",
            "abside.event",
            "abside.kafka",
            "abside.log",
            "abside.scrape",
            "abside.serve",
            "abside.supervise",
        }
        | {"abside.collector.receive", "abside.collector.store"}
    ),
    # The same calls in the caller's own process: the sidecar's rules without its socket.
    "abside.local": GROUND
    | {"abside.assignment", "abside.spool", "abside.spool.write"}
    | {"abside.sidecar.active", "abside.sidecar.decide", "abside.sidecar.record"},
    "abside.client.local": frozenset({"abside.assignment", "abside.client", "abside.local", "abside.serve"})
    | {"abside.sidecar.decide", "abside.spool"},
    "abside.client": frozenset(),  # importable beside a rec service with nothing else of ours loaded
    # For the tests of applications: the rules of the sidecar, and those of the agent where documents are given.
    "abside.testing": GROUND
    | {"abside.assignment", "abside.client", "abside.local", "abside.spool", "abside.spool.write"}
    | {"abside.sidecar.active", "abside.sidecar.decide", "abside.sidecar.record"}
    | {"abside_agent.settle", "abside_agent.sources"},
    "abside.openfeature": frozenset(
        {"abside.client", "abside.client.local"}
    ),  # nobody imports it who does not have the SDK
    "abside.report": VERSION
    | {"abside.snapshot", "abside.event", "abside.collector.store", "abside.environ", "abside.files", "abside.log"}
    | {"abside.metric"},
    # What is on disk: the one part of a collector that a reader may know.
    "abside.collector.store": frozenset({"abside.files"}),
    "abside.up": frozenset({"abside.environ", "abside.files", "abside.log", "abside.child", "abside.serve"}),
    "abside.child": frozenset({"abside.backoff", "abside.log"}),
    "abside.cli": frozenset({"abside.environ", "abside.log"}) | VERSION,
    "abside.__main__": frozenset({"abside.cli"}),
    "abside_agent.document": AGENT_GROUND,
    "abside_agent.settings": AGENT_GROUND | {"abside_agent.document"},
    "abside_agent.rules": AGENT_GROUND | {"abside_agent.document"},
    "abside_agent.settle": AGENT_GROUND | {"abside_agent.document", "abside_agent.rules"},
    "abside_agent.sources": AGENT_GROUND | {"abside_agent.document"},
    "abside_agent.watch": AGENT_GROUND | {"abside_agent.document", "abside_agent.settings", "abside_agent.sources"},
    "abside_agent.run": AGENT_GROUND
    | {"abside_agent.document", "abside_agent.settings", "abside_agent.settle"}
    | {"abside_agent.sources", "abside_agent.watch"},
    "abside_agent.admission": AGENT_GROUND
    | {
        "abside_agent.document",
        "abside_agent.settings",
        "abside_agent.rules",
        "abside_agent.settle",
        "abside_agent.run",
        "abside_agent.watch",
    },
    "abside_agent.commands": AGENT_GROUND
    | {"abside_agent.document", "abside_agent.settings", "abside_agent.rules", "abside_agent.settle"}
    | {"abside_agent.sources", "abside.chi_square"}
    | {"abside.report"},  # `plan --events`: what is planned with is counted as it will be
    "abside_agent": frozenset(),  # __init__.py is empty
}

# Files of a room that no other room may import: what is not named here is the room's face.
INNER: dict[str, frozenset[str]] = {
    "abside.serve": frozenset({"body", "connection", "handshake"}),
    "abside.snapshot": frozenset({"digests", "file", "records", "shapes"}),
    "abside.event": frozenset({"caller", "fields", "meant", "own", "record", "shape", "timestamp"}),
    "abside.assignment": frozenset({"bucket"}),
    "abside.upstream": frozenset({"answer", "encode", "kafka_verdict", "producer", "record", "verdict"}),
    "abside.spool.write": frozenset(
        {"calendar", "claim", "complaint", "openfile", "room", "sealing", "settle", "starting", "upkeep"}
    ),
    "abside.sidecar.decide": frozenset({"callers", "token"}),
    "abside.sidecar.observe": frozenset(
        {"page.experiment", "page.layers", "page.markup", "page.pod", "page.shopper", "page.variants"}
    ),
    "abside.sidecar.ship": frozenset({"leaving", "order", "patience", "shipping", "unreadable"}),
    "abside.collector.receive": frozenset({"few", "heading", "ingest", "rows", "usual"}),
    "abside.collector.keep": frozenset({"aside", "clock_jump", "compact", "recovery"}),
    "abside.collector.store": frozenset({"place.bucket", "place.choose", "place.contract", "place.directory"}),
    "abside_agent.document": frozenset({"example", "syntax", "text"}),
    "abside_agent.rules": frozenset({"overlap"}),
    "abside_agent.settle": frozenset({"build", "metrics", "seats"}),
    "abside_agent.sources": frozenset({"trust"}),
    "abside_agent.watch": frozenset({"cluster", "timeouts", "topic"}),  # api and config_map: admission asks once, too
    "abside_agent.run": frozenset({"agent", "early_pauses", "loop", "memory", "problem_log", "publish"}),
}


def room_of(module: str) -> str:
    """Name the room a module belongs to: the longest entry of the table that is the module or a package above it."""
    candidates = [room for room in DOORS if module == room or module.startswith(room + ".")]
    named = [room for room in candidates if room != "abside"] or [room for room in candidates if module == "abside"]
    assert named, f"{module} belongs to no room: add it to the room table of docs/architecture.md and here"
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


@cache
def statements(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """List what a file imports, inside functions and for types too."""
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]


@cache
def imports(path: Path) -> frozenset[str]:
    """List our own modules among them."""
    found = set()
    for node in statements(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in SOURCES}
        else:
            assert node.level == 0, f"{path}: relative import; write the whole name"
            if node.module and node.module.split(".")[0] in SOURCES:
                below = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {name if is_module(name) else node.module for name in below}
    return frozenset(found)


MODULES = dict(modules())


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_through_its_rooms_doors(module: str) -> None:
    room = room_of(module)
    for target in imports(MODULES[module]):
        assert room_of(target) in DOORS[room] | {room}, f"{module} imports {target}: no door from {room}"


@pytest.mark.parametrize("room", INNER)
def test_what_is_inside_a_room_is_imported_by_nobody_outside(room: str) -> None:
    inner = {f"{room}.{name}" for name in INNER[room]}
    assert inner <= MODULES.keys(), f"{room} has no {inner - MODULES.keys()}"
    for module, path in MODULES.items():
        if room_of(module) != room:
            assert not imports(path) & inner, f"{module} imports what is inside {room}"


def test_rooms_depend_on_each_other_in_one_direction() -> None:
    graph = {
        room: {room_of(target) for name in MODULES if room_of(name) == room for target in imports(MODULES[name])}
        for room in DOORS
    }
    for room, below in graph.items():
        for other in below - {room}:
            assert room not in graph[other], f"{room} and {other} import each other"


def test_no_folder_is_larger_than_a_person_can_survey() -> None:
    crowded = {}
    for folder in {path.parent for root in (*SOURCES.values(), ROOT / "tests") for path in root.rglob("*.py")}:
        count = sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        if count > MOST_FILES:
            crowded[str(folder.relative_to(ROOT))] = count
    assert not crowded


def test_no_two_test_files_share_a_name() -> None:
    # The tests are no packages, so that pytest would refuse to collect the second one, and with it all of them
    named = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in named.items() if count > 1] == []


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
        if room_of(module).startswith(("abside.collector", "abside.report")):
            continue
        for node in statements(path):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not {name.split(".")[0] for name in names} & heavy, f"{module} imports {names}"


PAGE = (ROOT / "docs" / "architecture.md").read_text()
NAMED = {"ground": GROUND, "agent ground": AGENT_GROUND, "nothing": frozenset[str]()}


def rooms_of(cell: str) -> Iterator[str]:
    """Yield the rooms in a cell of the map: `a.{b,c}` is two of them, words without backticks name a set."""
    for word in re.findall(r"`[^`]+`|\w[\w ]*", cell):
        if word.startswith("`"):
            head, braces, inner = word.strip("`").partition("{")
            names, _, tail = inner.partition("}")
            yield from (f"{head}{one}{tail}" for one in names.split(",")) if braces else (head,)
        else:
            yield from NAMED[word]


def test_the_map_lists_each_room_once_with_what_it_may_import() -> None:
    table = PAGE[PAGE.index("| room | for | may import |") : PAGE.index("## Where do I change")]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:] if line]
    listed = [(room, frozenset(rooms_of(may_import))) for names, _, may_import in rows for room in rooms_of(names)]
    shown = dict(listed)
    assert len(listed) == len(shown), "a room is in two rows"
    assert shown.keys() == DOORS.keys()
    wrong = {room: (shown[room] - doors, doors - shown[room]) for room, doors in DOORS.items() if shown[room] != doors}
    assert not wrong, "by room: what is only on the page, what is only in DOORS"


def test_the_map_explains_its_two_sets_of_rooms() -> None:
    found = re.search(r"^\*Ground\* is (`[^`]+`)", PAGE, re.MULTILINE)
    assert found
    assert set(rooms_of(found[1])) == GROUND
    assert (GROUND - {"abside.event"}) | {"abside.assignment"} == AGENT_GROUND
