"""Every code of a problem, found in the source: where it is made, with which words, as what."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"[A-Z][A-Z0-9]+(_[A-Z0-9]+)*")
HTTP = frozenset({"Refusal", "EventError", "EventRefused", "RowsTooLargeError"})  # what becomes a problem document
CLIENT = frozenset({"Refused"})  # what the Python client raises itself
WARNINGS = frozenset({"Doubt", "_note", "_warn", "_warning"})  # what only ever warns
EVENT_STATUS = 422  # of an event error; Refusal names its own
Scope = dict[str, ast.expr]


@dataclass(frozen=True, slots=True)
class Maker:
    """A function or a record with a parameter `code`: the positions of it, and of the two sentences beside it."""

    name: str
    code: int
    message: int | None
    remedy: int | None


@dataclass(frozen=True, slots=True)
class Site:
    """One place in the source that makes a problem. Sentences are empty where they are put together elsewhere."""

    code: str
    maker: str
    file: str
    line: int
    severity: str
    status: int | None
    message: str
    remedy: str

    @property
    def kind(self) -> str:
        """Which table it belongs to."""
        return (
            "http"
            if self.maker in HTTP or self.file.startswith("src/abside/collector")
            else "client"
            if self.maker in CLIENT
            else "documents"
        )


@dataclass(slots=True)
class Found:
    """What the source contains; `hidden`: calls whose code is not written out, which no reader could find."""

    sites: list[Site] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


@cache
def found(root: Path = ROOT) -> Found:
    """Read all our source, once."""
    paths = [path for folder in ("agent", "src") for path in sorted((root / folder).rglob("*.py"))]
    trees = {str(path.relative_to(root)): ast.parse(path.read_text()) for path in paths}
    makers: dict[str, list[Maker]] = {}
    own = {file: {one.name: one for one in _makers(tree)} for file, tree in trees.items()}
    for each in own.values():
        for name, maker in each.items():
            makers.setdefault(name, []).append(maker)
    into = Found()
    for file, tree in trees.items():
        known = {name: own[file].get(name, several[0]) for name, several in makers.items()}
        _read(tree, file, known, into)
    return into


def _makers(tree: ast.Module) -> Iterator[Maker]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            init = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
            fields = [ast.unparse(one.target) for one in node.body if isinstance(one, ast.AnnAssign)]
            names = fields if init is None else [one.arg for one in init.args.args]
            yield from _maker(node.name, names)
        elif isinstance(node, ast.FunctionDef) and node.name != "__init__":
            yield from _maker(node.name, [one.arg for one in node.args.args])


def _maker(name: str, names: list[str]) -> Iterator[Maker]:
    names = [one for one in names if one != "self"]
    if "code" in names:
        at = {one: index for index, one in enumerate(names)}
        yield Maker(name, at["code"], at.get("message"), at.get("remedy"))


def _read(tree: ast.Module, file: str, makers: dict[str, Maker], into: Found) -> None:
    """Note the sites of a module, function by function: sentences may have names there."""

    def walk(node: ast.AST, scope: Scope) -> None:
        for child in ast.iter_child_nodes(node):
            inner = {**scope} if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else scope
            if isinstance(child, ast.Assign):
                _assign(child, inner)
                if isinstance(child.targets[0], ast.Name) and child.targets[0].id == "code":
                    for code in _codes(child.value):
                        into.sites.append(Site(code, "code", file, child.lineno, "error", None, "", ""))
            elif isinstance(child, ast.Call):
                _call(child, inner, file, makers, into)
            elif isinstance(child, ast.Tuple) and file.endswith("operand.py") and len(child.elts) > 2:
                texts = [_text(one, inner) for one in child.elts]
                if CODE.fullmatch(texts[0]):
                    into.sites.append(Site(texts[0], "tuple", file, child.lineno, "error", None, texts[1], texts[2]))
            walk(child, inner)

    walk(tree, {})


def _assign(node: ast.Assign, scope: Scope) -> None:
    target = node.targets[0]
    pairs: Iterable[tuple[ast.expr, ast.expr]] = [(target, node.value)]
    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
        pairs = zip(target.elts, node.value.elts, strict=False)
    for name, value in pairs:
        if isinstance(name, ast.Name):
            scope[name.id] = value


def _call(node: ast.Call, scope: Scope, file: str, makers: dict[str, Maker], into: Found) -> None:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    maker = makers.get(name)
    if maker is None or maker.code >= len(node.args):
        return
    if isinstance(node.args[maker.code], ast.JoinedStr | ast.BinOp):
        into.hidden.append(f"{file}:{node.lineno}")
    keywords: dict[str | None, Any] = {one.arg: one.value for one in node.keywords}
    given = keywords.get("severity", node.args[0] if name == "Problem" else None)
    severity = "warning" if name in WARNINGS else "error" if given is None else _text(given, {}) or "either"
    first = node.args[0]
    written = first.value if isinstance(first, ast.Constant) and isinstance(first.value, int) else None
    status = written if name == "Refusal" else EVENT_STATUS if name in HTTP else None
    texts = [
        _text(node.args[at], scope) if at is not None and at < len(node.args) else ""
        for at in (maker.message, maker.remedy)
    ]
    for code in _codes(node.args[maker.code]):
        into.sites.append(Site(code, name, file, node.lineno, severity, status, *texts))


def _codes(node: ast.expr) -> list[str]:
    if isinstance(node, ast.IfExp):
        return [*_codes(node.body), *_codes(node.orelse)]
    is_code = isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value)
    return [node.value] if is_code and isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _text(node: ast.expr, scope: Scope, depth: int = 0) -> str:
    """Return a sentence as far as it is written out, "…" for what is put in; empty where it is not."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(one.value if isinstance(one, ast.Constant) else "…" for one in node.values)  # type: ignore[misc]  # str
    if isinstance(node, ast.Name) and node.id in scope and depth < 3:
        return _text(scope[node.id], scope, depth + 1)
    return ""
