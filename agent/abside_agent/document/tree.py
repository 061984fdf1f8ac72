"""The tree of a file: values with line and column, and the flaws found at them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from abside.snapshot import Problem

if TYPE_CHECKING:
    from abside.snapshot import Json

Path: TypeAlias = "tuple[str | int, ...]"
Place: TypeAlias = tuple[int, int]  # line, column, from 1; (0, 0): none
Severity: TypeAlias = Literal["error", "warning"]

LONGEST_SHOWN = 60  # characters of a value in a problem: enough to recognise it, short enough for one line
MAX_FLAWS = 200  # of one file: nobody reads more, and a hostile file must not fill memory with them
NOWHERE: Place = (0, 0)


@dataclass(slots=True)
class Scalar:
    """One value as read (`value`) and as written (`text`)."""

    value: bool | int | float | str | None
    text: str
    place: Place


@dataclass(slots=True)
class Sequence:
    """A list."""

    items: list[Node]
    place: Place


@dataclass(slots=True)
class Mapping:
    """Keys as written, in written order; `keys` has the place of each key."""

    items: dict[str, Node]
    keys: dict[str, Place]
    place: Place


@dataclass(slots=True)
class Bad:
    """A value that cannot be used. Its flaw is noted already, so readers skip it in silence."""

    place: Place


Node: TypeAlias = Scalar | Sequence | Mapping | Bad


@dataclass(frozen=True, slots=True)
class Flaw:
    """A problem with its path in parts, of which the first two name the entity that cannot be used as written."""

    problem: Problem
    path: Path

    @property
    def entity(self) -> Path:
        """Section and id; shorter for a flaw of the whole file."""
        return self.path[:2]

    @property
    def is_error(self) -> bool:
        """Whether it keeps something out of force."""
        return self.problem.severity == "error"


@dataclass(slots=True)
class Tree:
    """One file as read. `root` is None for a file without content, Bad for one that cannot be read at all."""

    file: str
    root: Node | None
    flaws: list[Flaw] = field(default_factory=list)

    @property
    def is_usable(self) -> bool:
        """Whether the file can still be used: no flaw so far concerns more than one entity."""
        return not any(flaw.is_error and len(flaw.path) < 2 for flaw in self.flaws)

    def note(
        self,
        code: str,
        path: Path,
        message: str,
        remedy: str,
        *,
        severity: Severity = "error",
        place: Place | None = None,
        value: str | None = None,
        at_key: bool = False,
    ) -> None:
        """Note a flaw at `path`; its place and value are looked up there if they are not arguments.

        Past MAX_FLAWS one last flaw of the whole file makes it unusable: further flaws are unknown.
        """
        if len(self.flaws) >= MAX_FLAWS:
            if len(self.flaws) == MAX_FLAWS:
                message, remedy = f"more than {MAX_FLAWS} problems in this file", "mend those above first"
                self.flaws.append(flaw(self.file, "TOO_MANY_PROBLEMS", (), message, remedy))
            return
        self.flaws.append(
            flaw(
                self.file,
                code,
                path,
                message,
                remedy,
                severity=severity,
                place=place or self.place_of(path, at_key=at_key),
                value=self.shown(path) if value is None else value,
            )
        )

    def place_of(self, path: Path, *, at_key: bool = False) -> Place:
        """Return the place of `path`, or of the nearest container of it that has one."""
        node, place = self.root, NOWHERE if self.root is None else self.root.place
        for part in path:
            if isinstance(node, Mapping) and part in node.items:
                place = node.keys[str(part)]
                node = node.items[str(part)]
            elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
                node = node.items[part]
                place = node.place
            else:
                return place
        if at_key or isinstance(node, Mapping) or (isinstance(node, Scalar) and node.value is None):
            return place  # a null may be written as nothing, and libyaml marks that where the next token begins
        return place if node is None else node.place

    def shown(self, path: Path) -> str:
        """Return the value at `path` as written and shortened; empty for what is no scalar."""
        node = self.node(path)
        return short(node.text) if isinstance(node, Scalar) else ""

    def node(self, path: Path) -> Node | None:
        """Return the node at `path`, None where there is none."""
        node = self.root
        for part in path:
            if isinstance(node, Mapping):
                node = node.items.get(str(part))
            elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
                node = node.items[part]
            else:
                return None
        return node


def flaw(
    file: str,
    code: str,
    path: Path,
    message: str,
    remedy: str,
    *,
    severity: Severity = "error",
    place: Place = NOWHERE,
    value: str = "",
) -> Flaw:
    """Return a flaw of a file, also of one that has no tree."""
    return Flaw(Problem(severity, code, file, *place, written(path), value, message, remedy), path)


def written(path: Path) -> str:
    """Return a path as people write it: `experiments.pdp-reranker.steps[0].traffic`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def short(text: str) -> str:
    """Shorten a value for one line."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SHOWN else line[: LONGEST_SHOWN - 1] + "…"


def plain(node: Node) -> Json:
    """Return a node as plain values. Raises ValueError where a part is Bad."""
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [plain(item) for item in node.items]
        case Mapping():
            return {key: plain(item) for key, item in node.items.items()}
        case Bad():
            raise ValueError(f"the value at line {node.place[0]} cannot be taken")
