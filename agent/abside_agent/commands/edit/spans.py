"""Finds where a value of a YAML text begins and ends, and replaces it. Pure.

The marks are those of ruamel.yaml's composer; nothing is dumped, so comments, quotes and spaces stay byte for byte.
The agent does not load this module.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import orjson
from ruamel.yaml import YAML, MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.error import YAMLError

from abside_agent.document.characters import readable
from abside_agent.document.parse import parse
from abside_agent.document.tree import Bad, Mapping, Sequence, plain, written

if TYPE_CHECKING:
    from abside_agent.document.tree import Path

_COMMA = re.compile(r"\s*, *")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


class EditError(Exception):
    """A change that cannot be made in place; `remedy`: how to make it."""

    def __init__(self, path: Path, why: str, remedy: str = "edit the file by hand") -> None:
        super().__init__(path, why, remedy)
        self.path = path
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{written(self.path)}: {self.why}; {self.remedy}"


def word(value: str) -> str:
    """Return a value of the command line as YAML, in quotes only where needed. Raises EditError."""
    for form in (value, orjson.dumps(value).decode()):
        tree = parse("value", f"{{value: {form}}}".encode())
        node = None if tree.flaws else tree.node(("value",))
        as_meant = isinstance(node, Mapping | Sequence) or getattr(node, "text", None) == value
        if node is not None and as_meant and tree.node(()) and len(plain(tree.root)) == 1:  # type: ignore[arg-type]
            return form
    raise EditError((), f"{value!r} cannot be written as one value")


def as_json(value: object) -> str:
    """Return a value as JSON, which is YAML; integers of any size are left to the check."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def change(text: str, path: Path, value: str) -> str:
    """Return the text with the value at `path` replaced by one line of YAML, or added. Raises EditError."""
    lines = _LINE.findall(text)
    parent, node, key = None, _composed(text, path), None
    for index, part in enumerate(path):
        parent, node, key = node, *_below(node, part)
        if node is None:
            if index == len(path) - 1 and isinstance(parent, MappingNode):
                return _added(text, lines, parent, path, value)
            raise EditError(path[: index + 1], "there is nothing there")
    if isinstance(node, MappingNode) and not node.flow_style:
        return _each(text, path, value)
    return _replaced(text, lines, path, node, key, value)


def removed(text: str, path: Path) -> str:
    """Return the text without the key at `path` and its value; as it is where there is none. Raises EditError."""
    lines = _LINE.findall(text)
    parent: Any = None
    node, key = _composed(text, path), parent
    for part in path:
        parent, node, key = node, *_below(node, part)
        if node is None:
            return text
    if not isinstance(parent, MappingNode) or len(parent.value) == 1:
        raise EditError(path, "there is nothing beside it", f"write {written(path[2:-1])}= to take all of it away")
    if not parent.flow_style:
        return "".join([*lines[: key.start_mark.line], *lines[_last_line(key, node) + 1 :]])
    index = next(at for at, (name, _) in enumerate(parent.value) if name is key)
    if index + 1 < len(parent.value):
        comma = _COMMA.match(text, _at(lines, node.end_mark))
        if comma is None:
            raise EditError(path, "there is a comment, which would be lost")
        return text[: _at(lines, key.start_mark)] + text[comma.end() :]
    return text[: _at(lines, parent.value[index - 1][1].end_mark)] + text[_at(lines, node.end_mark) :]


def _composed(text: str, path: Path) -> Any:
    try:
        return YAML(pure=True).compose(readable(text.removeprefix("\ufeff")))
    except YAMLError as exc:  # the parser of the agent reads this, ruamel.yaml does not
        raise EditError(path, "this file cannot be changed in place") from exc


def _below(node: Any, part: str | int) -> tuple[Any, Any]:
    """Return the value under a key or index, and the node of its key."""
    if isinstance(node, MappingNode):
        return next(((value, key) for key, value in node.value if key.value == str(part)), (None, None))
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], None
    return None, None


def _replaced(text: str, lines: list[str], path: Path, node: Any, key: Any, value: str) -> str:
    if isinstance(node, ScalarNode) and node.style in ("|", ">"):
        raise EditError(path, "there is a block of text")
    start = _at(lines, node.start_mark)
    if isinstance(node, SequenceNode) and not node.flow_style:
        return _block(text, lines, path, node, key, value)
    stop = _at(lines, node.end_mark)
    if start == stop:  # the value is empty, and its mark may be on a later line
        at = _at(lines, key.end_mark)
        at += len(text[at:]) - len(text[at:].removeprefix(":"))
        return f"{text[:at]} {value}{text[at:]}"
    return text[:start] + value + text[stop:]


def _block(text: str, lines: list[str], path: Path, node: Any, key: Any, value: str) -> str:
    """Write a value on the line of its key, in place of the list below it."""
    start, stop = _at(lines, key.end_mark) + 1, _at(lines, _last(node).end_mark)
    if text[start - 1] != ":" or "#" in text[start:stop]:
        raise EditError(path, "there is a list with comments, which would be lost")
    return f"{text[:start]} {value}{text[stop:]}"


def _each(text: str, path: Path, value: str) -> str:
    """Change the keys of a mapping one by one, to keep its layout."""
    root = parse("value", f"{{value: {value}}}".encode()).node(("value",))
    wanted = None if root is None or isinstance(root, Bad) else plain(root)
    if not isinstance(wanted, dict):
        raise EditError(path, "there is a mapping", "name one of its keys")
    for name, item in wanted.items():
        text = change(text, (*path, name), as_json(item))
    return text


def _added(text: str, lines: list[str], parent: Any, path: Path, value: str) -> str:
    entry = f"{path[-1]}: {value}"
    if parent.flow_style:
        at = _at(lines, parent.start_mark) + 1
        return f"{text[:at]}{entry}{', ' if parent.value else ''}{text[at:]}"
    first = parent.value[0][0].start_mark
    indent = lines[first.line][: first.column].removeprefix("\ufeff")
    if indent.strip():
        raise EditError(path, "it is not there, and its mapping does not begin a line")
    after = next((value for key, value in parent.value if key.value == "status"), None)
    line = first.line if after is None else after.end_mark.line + 1
    end = "\r\n" if lines[0].endswith("\r\n") else "\n"
    before, rest = lines[:line], lines[line:]
    if before and not before[-1].endswith(("\n", "\r")):
        before.append(end)
    return "".join([*before, indent, entry, end, *rest])


def _last(node: Any) -> Any:
    while isinstance(node, MappingNode | SequenceNode) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, MappingNode) else node.value[-1]
    return node


def _last_line(key: Any, node: Any) -> int:
    """Return the number of the last line of a value that stands on lines of its own."""
    last = _last(node)
    if last.start_mark.index == last.end_mark.index:  # nothing is behind the key, and the mark may be on a later line
        return int(key.end_mark.line)
    return int(last.end_mark.line - (last.end_mark.column == 0))  # a block of text ends where the next line begins


def _at(lines: list[str], mark: Any) -> int:
    """Return the index of a mark in the text; a byte order mark has no column."""
    column = mark.column + (mark.line == 0 and bool(lines) and lines[0].startswith("\ufeff"))
    return sum(len(line) for line in lines[: mark.line]) + int(column)
