"""From bytes to a tree: YAML 1.2's core schema without anchors, tags and several documents; the only reader of YAML.

PyYAML's parser gives events with marks; its composer and its constructors, which know YAML 1.1 only and would follow
aliases, are not used. A mistake is noted, and reading goes on wherever that is possible.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml  # noqa: TID251 this is the one place the rule keeps it in

from abside_agent.document.characters import CharacterWatch, as_meant, readable
from abside_agent.document.scalar import NumberError, resolve_plain
from abside_agent.document.syntax import MAX_DEPTH, syntax_error, too_deep
from abside_agent.document.text import Unreadable, end_of, printable, text_of
from abside_agent.document.tree import Bad, Mapping, Node, Path, Place, Scalar, Sequence, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_NODES = 200_000  # 1,000 experiments have 60,000; a full ConfigMap of one-letter values would have 500,000

PROSE = frozenset({"name", "hypothesis", "owner"})  # of an experiment: text for people, where any character is allowed

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is 8 times as fast; every wheel brings it


def parse(file: str, data: bytes, *, is_document: bool = True) -> Tree:
    """Read one file into a tree that contains every flaw of it as YAML. Never raises for its content.

    In a document (not in a manifest around one) characters that look like others are flaws, but in prose and comments.
    """
    tree = Tree(file, None)
    try:
        text = text_of(data)
        if is_document:
            _Building(tree, CharacterWatch.over(text)).build(printable(readable(text)))
        else:
            _Building(tree, CharacterWatch("")).build(printable(text))
    except Unreadable as refusal:
        tree.root = Bad(refusal.place)
        tree.note(refusal.code, (), refusal.message, refusal.remedy, place=refusal.place, value=refusal.value)
    return tree


@dataclass(slots=True)
class _Frame:
    """An open container. `drop`: the next value is discarded, because its key is wrong."""

    node: Mapping | Sequence
    part: str | int | None = 0  # the key or index of the next value; None: a key comes next
    part_place: Place = (0, 0)
    drop: bool = False


@dataclass(slots=True)
class _Building:
    """Builds one tree from events, without recursion."""

    tree: Tree
    odd: CharacterWatch
    open: list[_Frame] = field(default_factory=list)
    nodes: int = 0
    documents: int = 0

    def build(self, text: str) -> None:
        try:
            self.take(text)
        except Unreadable as refusal:
            raise self.likelier(text, refusal) from refusal
        self.between(len(text))

    def take(self, text: str) -> None:
        for event in _events(text):
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self.scalar(event)
            elif kind is yaml.MappingStartEvent:
                self.start(event, Mapping({}, {}, _place(event)))
            elif kind is yaml.SequenceStartEvent:
                self.start(event, Sequence([], _place(event)))
            elif kind in {yaml.MappingEndEvent, yaml.SequenceEndEvent}:
                self.end()
            elif kind is yaml.AliasEvent:
                self.alias(event)
            elif kind is yaml.DocumentStartEvent:
                self.document(event)

    def document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            raise Unreadable(
                "SEVERAL_DOCUMENTS",
                _place(event),
                "a second document begins here; a file may have one",
                "delete the `---`, or move what follows to a file of its own",
            )

    def likelier(self, text: str, refusal: Unreadable) -> Unreadable:
        """Return the odd character on the line of a syntax error, or the one above, instead of it: the likely cause."""
        last = refusal.place[0]
        odd = self.odd.ahead(last - 1, last) if refusal.code == "SYNTAX" else None
        if odd is None:
            return refusal
        return Unreadable(odd.code, end_of(text[: odd.at]), odd.message, odd.remedy, odd.code_point)

    def between(self, start: int) -> None:
        """Note the first odd character of the file that is between scalars and outside comments."""
        if odd := self.odd.between(start):
            self.note(odd.code, (), odd.message, odd.remedy, end_of(self.odd.text[: odd.at]), odd.code_point)

    def meant(self, event: Any, path: Path) -> str:
        """Return a scalar's text without its odd characters; the first is noted. `path`: () for a key."""
        mark, text = event.start_mark, str(event.value)
        self.between(mark.index)
        odd = self.odd.within(event.end_mark.index)
        if odd is None or _is_prose(path):
            return text
        before = end_of(self.odd.text[mark.index : odd.at])
        place = (mark.line + before[0], before[1] + (mark.column if before[0] == 1 else 0))
        self.note(odd.code, path or (*self.path(), as_meant(text)), odd.message, odd.remedy, place, odd.code_point)
        return as_meant(text)

    def scalar(self, event: Any) -> None:
        self.count(event)
        if self.open and self.open[-1].part is None:
            self.properties(event, ())
            self.key(event)
            return
        path = self.path()
        self.properties(event, path)
        place, text = _place(event), self.meant(event, path)
        node: Node
        try:
            value = text if event.style else resolve_plain(text)
            node = Scalar(value, text, place)
        except NumberError as exc:
            self.note("NUMBER", path, str(exc), exc.remedy, place, text)
            node = Bad(place)
        self.add(node)

    def key(self, event: Any) -> None:
        frame, text, place = self.open[-1], self.meant(event, ()), _place(event)
        mapping = frame.node
        frame.part, frame.part_place, frame.drop = text, place, True
        path = self.path()
        if not text:
            self.note("EMPTY_KEY", path[:-1], "a key is missing before the `:`", "write one, or delete it", place, "")
        elif text == "<<" and not event.style:
            self.note("MERGE_KEY", path, "merge keys are not read", "write the keys out here", place, text)
        elif isinstance(mapping, Mapping) and text in mapping.items:
            message = f"this key stands twice here, first on line {mapping.keys[text][0]}"
            self.note("DUPLICATE_KEY", path, message, "keep one of the two", place, text)
        else:
            frame.drop = False

    def start(self, event: Any, node: Mapping | Sequence) -> None:
        self.count(event)
        if self.open and self.open[-1].part is None:
            raise Unreadable(
                "KEY_NOT_TEXT",
                _place(event),
                "a key must be text, this is a list or a mapping",
                "put text that begins with `{` or `[` in quotes",
            )
        self.properties(event, self.path())
        if len(self.open) >= MAX_DEPTH:
            raise too_deep(_place(event))
        self.open.append(_Frame(node, None if isinstance(node, Mapping) else 0))

    def end(self) -> None:
        self.add(self.open.pop().node)

    def alias(self, event: Any) -> None:
        self.count(event)
        place = _place(event)
        if self.open and self.open[-1].part is None:
            raise Unreadable("KEY_NOT_TEXT", place, "a key must be text, this is an alias", "write the key out")
        if not any(frame.drop for frame in self.open):  # else its key is noted already
            message, remedy = "aliases are not read", "write the value out here"
            self.note("ALIAS", self.path(), message, remedy, place, f"*{event.anchor}")
        self.add(Bad(place))

    def properties(self, event: Any, path: Path) -> None:
        """Note an anchor or a tag before a value; the value itself is read."""
        if event.anchor is not None:
            message, remedy = "anchors are not read", "delete it, and write the value out wherever it is used"
            self.note("ANCHOR", path or self.path(), message, remedy, _place(event), f"&{event.anchor}")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            message, remedy = "tags are not read", 'delete it; text that looks like a number goes in quotes: "12"'
            self.note("TAG", path or self.path(), message, remedy, _place(event), tag)

    def add(self, node: Node) -> None:
        """Add a finished value to its container."""
        if not self.open:
            empty = isinstance(node, Scalar) and node.value is None
            self.tree.root = None if empty else node
            return
        frame = self.open[-1]
        if isinstance(frame.node, Sequence):
            frame.node.items.append(node)
            frame.part = len(frame.node.items)
            return
        if not frame.drop:
            key = str(frame.part)
            frame.node.items[key] = node
            frame.node.keys[key] = frame.part_place
        frame.part, frame.drop = None, False

    def path(self) -> Path:
        return tuple(frame.part for frame in self.open if frame.part is not None)

    def count(self, event: Any) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise Unreadable(
                "TOO_MANY_VALUES",
                _place(event),
                f"more than {MAX_NODES:,} keys and values in one file",
                "split it over several files",
            )

    def note(self, code: str, path: Path, message: str, remedy: str, place: Place, value: str) -> None:
        self.tree.note(code, path, message, remedy, place=place, value=value[:60])


def _events(text: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=_PARSER)
    except yaml.MarkedYAMLError as exc:
        raise syntax_error(text, exc) from exc
    except yaml.YAMLError as exc:
        raise Unreadable("SYNTAX", (0, 0), f"this is not YAML: {exc}", "see https://yaml.org") from exc


def _is_prose(path: Path) -> bool:
    return len(path) == 3 and path[0] == "experiments" and path[2] in PROSE


def _place(event: Any) -> Place:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1
