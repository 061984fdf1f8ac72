"""From bytes to a tree: YAML 1.2's core schema without anchors, tags and several documents; the only reader of YAML.

PyYAML's parser gives events with marks; its composer and its constructors, which know YAML 1.1 only and would follow
aliases, are not used. What is wrong is noted and reading goes on wherever it can.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml  # noqa: TID251 this is the one place the rule keeps it in

from abside_agent.document.characters import LINE_SEPARATORS, CharacterWatch, as_meant, named, readable
from abside_agent.document.reading import MAX_FILE_BYTES
from abside_agent.document.scalar import NumberError, resolve_plain
from abside_agent.document.tree import Bad, Mapping, Node, Path, Place, Scalar, Sequence, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_DEPTH = 32  # the deepest document of ours needs 10; parameters may nest as deep as a request may (32)
MAX_NODES = 200_000  # 1,000 experiments have 60,000; a full ConfigMap of one-letter values would have 500,000

PROSE = frozenset({"name", "hypothesis", "owner"})  # of an experiment: text for people, with all that people type

_NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is 8 times as fast; every wheel brings it


def parse(file: str, data: bytes, *, is_document: bool = True) -> Tree:
    """Read one file into a tree whose flaws say all that is wrong with it as YAML. Never raises for its content.

    Of a document (not of a manifest around one) characters that look like others are flaws, but in prose and comments.
    """
    tree = Tree(file, None)
    try:
        text = _text(data)
        if is_document:
            _Building(tree, CharacterWatch.over(text)).build(_printable(readable(text)))
        else:
            _Building(tree, CharacterWatch("")).build(_printable(text))
    except _Unreadable as refusal:
        tree.root = Bad(refusal.place)
        tree.note(refusal.code, (), refusal.message, refusal.remedy, place=refusal.place, value=refusal.value)
    return tree


class _Unreadable(Exception):  # noqa: N818 it ends the reading of a file and never leaves this room
    """The file as a whole cannot be read."""

    def __init__(self, code: str, place: Place, message: str, remedy: str, value: str = "") -> None:
        super().__init__(message)
        self.code, self.place, self.message, self.remedy, self.value = code, place, message, remedy, value


def _text(data: bytes) -> str:
    if len(data) > MAX_FILE_BYTES:
        raise _Unreadable(
            "FILE_TOO_BIG",
            (0, 0),
            f"the file is larger than the {MAX_FILE_BYTES:,} bytes a ConfigMap can hold",
            "split it over several ConfigMaps",
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Unreadable("NOT_UTF8", (1, 1), "the file is UTF-16", "save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")  # editors on Windows begin UTF-8 with a byte order mark: harmless
    except UnicodeDecodeError as exc:
        good = data[: exc.start].decode()
        byte = f"byte 0x{data[exc.start]:02x}"
        raise _Unreadable("NOT_UTF8", _end_of(good), "the file is not UTF-8", "save it as UTF-8", byte) from exc
    return text


def _printable(text: str) -> str:
    if odd := _NOT_PRINTABLE.search(text):
        place, name = _end_of(text[: odd.start()]), f"U+{ord(odd[0]):04X}"
        if odd[0] in LINE_SEPARATORS:
            raise _Unreadable(
                "LINE_SEPARATOR", place, f"an invisible line separator, {named(odd[0])}", "delete it", name
            )
        raise _Unreadable("CONTROL_CHARACTER", place, "a control character: this is not a text file", "remove it", name)
    return text


def _end_of(text: str) -> Place:
    """Give line and column of what follows `text`, as libyaml counts them."""
    lines = re.split("\r\n|\r|\n", text.removeprefix("\ufeff"))
    return len(lines), len(lines[-1]) + 1


@dataclass(slots=True)
class _Frame:
    """A container still open. `drop`: the value to come is not kept, because its key cannot be."""

    node: Mapping | Sequence
    part: str | int | None = 0  # the key or index of the value to come; None: a key comes next
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
        except _Unreadable as refusal:
            raise self.refused(text, refusal) from refusal
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
            raise _Unreadable(
                "SEVERAL_DOCUMENTS",
                _place(event),
                "a second document begins here; a file holds one",
                "delete the `---`, or move what follows to a file of its own",
            )

    def refused(self, text: str, refusal: _Unreadable) -> _Unreadable:
        """Give what is odd on the line of a syntax error, or the one above, in its place: it is the likely cause."""
        last = refusal.place[0]
        odd = self.odd.ahead(last - 1, last) if refusal.code == "SYNTAX" else None
        if odd is None:
            return refusal
        return _Unreadable(odd.code, _end_of(text[: odd.at]), odd.message, odd.remedy, odd.code_point)

    def between(self, start: int) -> None:
        """Note the first odd character between scalars, where only a comment may have it, of the whole file."""
        if odd := self.odd.between(start):
            self.note(odd.code, (), odd.message, odd.remedy, _end_of(self.odd.text[: odd.at]), odd.code_point)

    def meant(self, event: Any, path: Path) -> str:
        """Give a scalar's text; the first odd character in it is noted, and all are left out. `path`: () for a key."""
        mark, text = event.start_mark, str(event.value)
        self.between(mark.index)
        odd = self.odd.within(event.end_mark.index)
        if odd is None or _is_prose(path):
            return text
        before = _end_of(self.odd.text[mark.index : odd.at])
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
            first = mapping.keys[text][0]
            self.note(
                "DUPLICATE_KEY",
                path,
                f"this key stands twice here, first on line {first}",
                "keep one of the two",
                place,
                text,
            )
        else:
            frame.drop = False

    def start(self, event: Any, node: Mapping | Sequence) -> None:
        self.count(event)
        if self.open and self.open[-1].part is None:
            raise _Unreadable(
                "KEY_NOT_TEXT",
                _place(event),
                "a key must be text, this is a list or a mapping",
                "put text that begins with `{` or `[` in quotes",
            )
        self.properties(event, self.path())
        if len(self.open) >= MAX_DEPTH:
            raise _too_deep(_place(event))
        self.open.append(_Frame(node, None if isinstance(node, Mapping) else 0))

    def end(self) -> None:
        self.add(self.open.pop().node)

    def alias(self, event: Any) -> None:
        self.count(event)
        place = _place(event)
        if self.open and self.open[-1].part is None:
            raise _Unreadable("KEY_NOT_TEXT", place, "a key must be text, this is an alias", "write the key out")
        if not any(frame.drop for frame in self.open):  # else its key is already refused
            message, remedy = "aliases are not read", "write the value out here"
            self.note("ALIAS", self.path(), message, remedy, place, f"*{event.anchor}")
        self.add(Bad(place))

    def properties(self, event: Any, path: Path) -> None:
        """Refuse an anchor or a tag before a value; the value itself is read on."""
        if event.anchor is not None:
            message, remedy = "anchors are not read", "delete it, and write the value out wherever it is used"
            self.note("ANCHOR", path or self.path(), message, remedy, _place(event), f"&{event.anchor}")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            message, remedy = "tags are not read", 'delete it; text that looks like a number goes in quotes: "12"'
            self.note("TAG", path or self.path(), message, remedy, _place(event), tag)

    def add(self, node: Node) -> None:
        """Put a finished value where it belongs."""
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
            raise _Unreadable(
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
        raise _syntax(text, exc) from exc
    except yaml.YAMLError as exc:
        raise _Unreadable("SYNTAX", (0, 0), f"this is not YAML: {exc}", "see https://yaml.org") from exc


def _too_deep(place: Place) -> _Unreadable:
    return _Unreadable("TOO_DEEP", place, f"values nest deeper than {MAX_DEPTH} levels", "flatten them", "")


def _is_prose(path: Path) -> bool:
    return len(path) == 3 and path[0] == "experiments" and path[2] in PROSE


def _place(event: Any) -> Place:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1


# What libyaml says, by a few of its words → what a person can do about it. The first match counts.
_REMEDIES = (
    ("mapping values are not", "a `:` stands where no value can begin", 'indent it, or put text with ": " in quotes'),
    ("unexpected end of stream", "the quote that opens here is never closed", "close it"),
    ("unknown escape", "this escape is not known in double quotes", r"write \\ for a backslash, or use single quotes"),
    ("expected key", "the line is not indented as its neighbours", "indent it as the other keys beside it"),
    ("could not find expected ':'", "a key without its `:`", "write `key: value`"),
    ("expected '-' indicator", "a list item or a key stands at the wrong depth", "indent it as the items beside it"),
    ("',' or ']'", "a `[` list is not closed, or a comma is missing", "write `[a, b]`"),
    ("',' or '}'", "a `{` mapping is not closed, or a comma is missing", "write `{a: 1, b: 2}`"),
    ("cannot start any token", "no value can begin with this character", "put the text in quotes"),
    ("block sequence entries are not allowed", "a list begins on the line of its key", "begin it on a line of its own"),
    ("<document start>", "text follows the end of the document", "indent it, or give it a key"),
)  # fmt: skip


def _syntax(text: str, exc: yaml.MarkedYAMLError) -> _Unreadable:
    mark = exc.problem_mark or exc.context_mark
    said = exc.problem or exc.context or "not YAML"
    if "unexpected end of stream" in said and exc.context_mark is not None:
        mark = exc.context_mark
    if mark is None:
        return _Unreadable("SYNTAX", (0, 0), f"this is not YAML: {said}", "see https://yaml.org")
    lines = text.splitlines()
    if mark.line >= len(lines) and exc.context_mark is not None:
        mark = exc.context_mark  # where it opened: there is nothing to see behind the last line
    place = (min(mark.line + 1, len(lines) or 1), mark.column + 1)
    line = lines[mark.line] if mark.line < len(lines) else ""
    # libyaml 0.2.6 has a bound of its own, and may meet it before we are told the first value.
    if "nesting depth" in said:
        return _too_deep(place)
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return _Unreadable("TAB", (place[0], line.index("\t") + 1), "a tab cannot indent", "use spaces")
    for words, message, remedy in _REMEDIES:
        if words in said:
            return _Unreadable("SYNTAX", place, message, remedy, line.strip()[:60])
    return _Unreadable("SYNTAX", place, f"this is not YAML: {said}", "check quotes and indentation", line.strip()[:60])
