"""From a tree to the records of records.py, with every mistake in one pass, each noted on the tree.

msgspec's own conversion stops at the first mistake of a record; this walk uses the same type information and goes on.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from msgspec import NODEFAULT, UNSET, inspect

from abside.assignment.operand import AS_STRING
from abside_agent.document.characters import beyond_ascii
from abside_agent.document.example import example, example_within, instead
from abside_agent.document.forms import ID_WORD, FormError
from abside_agent.document.records import Document
from abside_agent.document.tree import Bad, Mapping, Node, Path, Scalar, Sequence, Tree
from abside_agent.document.wording import STATUSES, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

LARGEST_INTEGER = 2**53  # a JSON reader that stores numbers as doubles rounds larger ones

_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "nothing"}


def conform(tree: Tree) -> Document:
    """Read a tree as a document. A part that cannot be read is UNSET, or left out of its mapping, and noted."""
    if tree.root is None:
        return Document()
    document = _Walk(tree).value(tree.root, _information(Document), ())
    return document if isinstance(document, Document) else Document()


@cache
def _information(record: type[Any]) -> Any:
    return inspect.type_info(record)


class _Walk:
    """One walk over one tree. Each method takes a node, what it should be, and the path to it."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def value(self, node: Node, kind: Any, path: Path, *, is_required: bool = False) -> Any:
        """Read one node as `kind`; UNSET when it is not that. `is_required`: its key cannot be left out."""
        if isinstance(node, Bad):
            return UNSET
        if isinstance(node, Scalar) and node.value is None:
            return self.empty(node, kind, path, is_required=is_required)
        return _READERS[type(kind)](self, node, kind, path)

    def empty(self, node: Scalar, kind: Any, path: Path, *, is_required: bool) -> Any:
        """Refuse a key or a list entry without a value: the intended default is unknown."""
        thing = "entry" if path and isinstance(path[-1], int) else "key"
        message = f"{node.text} is not a value" if node.text else f"there is nothing behind this {thing}"
        remedy = f"write {example(kind)}" if is_required else f"write {example(kind)}, or delete the {thing}"
        self.tree.note("NULL", path, message, remedy)
        return UNSET

    def metadata(self, node: Node, kind: inspect.Metadata, path: Path) -> Any:
        form = (kind.extra or {}).get("form")
        return self.value(node, kind.type, path) if form is None else self.form(node, form, kind, path)

    def form(self, node: Node, reader: Callable[[Scalar], Any], kind: Any, path: Path) -> Any:
        if not isinstance(node, Scalar):
            return self.wrong(node, "one value", kind, path)
        try:
            return reader(node)
        except FormError as exc:
            self.tree.note(exc.code, path, f"{exc}{beyond_ascii(node.text)}", exc.remedy)
            return UNSET

    def union(self, node: Node, kind: inspect.UnionType, path: Path) -> Any:
        """Read an optional value: the only unions a document has."""
        wanted = next(part for part in kind.types if not isinstance(part, inspect.NoneType))
        return self.value(node, wanted, path)

    def any(self, node: Node, _: Any, path: Path) -> Any:
        """Read any JSON value."""
        if isinstance(node, Mapping):
            return {key: self.value(item, _ANY, (*path, key)) for key, item in node.items.items()}
        if isinstance(node, Sequence):
            return [self.value(item, _ANY, (*path, index)) for index, item in enumerate(node.items)]
        value = node.value if isinstance(node, Scalar) else UNSET
        if type(value) is int and abs(value) > LARGEST_INTEGER:
            message = "integers beyond ±2^53 lose digits in many readers of JSON"
            self.tree.note("INTEGER_TOO_BIG", path, message, _as_text(path))
            return UNSET
        return value

    def literal(self, node: Node, kind: inspect.LiteralType, path: Path) -> Any:
        if isinstance(node, Scalar) and node.value in kind.values:
            return node.value
        known = [str(value) for value in kind.values]
        text = node.text if isinstance(node, Scalar) else ""
        message, remedy = f"must be one of {', '.join(known)}{beyond_ascii(text)}", did_you_mean(text, known)
        meant = STATUSES.get(text.lower())
        if meant in known:
            remedy = f"did you mean {meant}?"
        self.tree.note("UNKNOWN_VALUE", path, message, remedy or f"write one of {', '.join(known)}")
        return UNSET

    def text(self, node: Node, kind: inspect.StrType, path: Path) -> Any:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            return self.wrong(node, "text", kind, path)
        return self.measured(node.value, kind, "characters", path)

    def integer(self, node: Node, kind: inspect.IntType, path: Path) -> Any:
        if not isinstance(node, Scalar) or type(node.value) is not int:
            return self.wrong(node, "a whole number", kind, path)
        low, high = kind.ge, kind.le
        if (low is not None and node.value < low) or (high is not None and node.value > high):
            self.tree.note("OUT_OF_RANGE", path, "the number is out of range", f"write {low} to {high}")
            return UNSET
        return node.value

    def boolean(self, node: Node, kind: Any, path: Path) -> Any:
        if not isinstance(node, Scalar) or not isinstance(node.value, bool):
            return self.wrong(node, "true or false", kind, path)
        return node.value

    def sequence(self, node: Node, kind: inspect.ListType, path: Path) -> Any:
        if not isinstance(node, Sequence):
            return self.wrong(node, "a list", kind, path)
        items = [self.value(item, kind.item_type, (*path, index)) for index, item in enumerate(node.items)]
        return self.measured(items, kind, "entries", path)

    def mapping(self, node: Node, kind: inspect.DictType, path: Path) -> Any:
        if isinstance(node, Sequence):
            return self.listed(node, kind, path)
        if not isinstance(node, Mapping):
            return self.wrong(node, "a mapping", kind, path)
        read = {}
        for name, item in node.items.items():
            self.key(name, node, kind.key_type, (*path, name))
            read[name] = self.value(item, kind.value_type, (*path, name))
        return self.measured(read, kind, "entries", path)

    def listed(self, node: Sequence, kind: inspect.DictType, path: Path) -> Any:
        """Refuse a list where a mapping by id is wanted; the remedy shows its first entry in the right form."""
        first = node.items[0] if node.items else None
        fields = first.items if isinstance(first, Mapping) else {}
        ids = (one.text for name in ("id", "name", "key") if isinstance(one := fields.get(name), Scalar))
        word = next((text for text in ids if ID_WORD.fullmatch(text)), "…")
        remedy = f"write each entry under its id, without the dash: {{{word}: {example_within(kind.value_type)}}}"
        self.tree.note("WRONG_TYPE", path, "must be a mapping by id, this is a list", remedy)
        return UNSET

    def key(self, name: str, node: Mapping, kind: Any, path: Path) -> None:
        form = (kind.extra or {}).get("form") if isinstance(kind, inspect.Metadata) else None
        if form is None:
            return
        try:
            form(Scalar(name, name, node.keys[name]))
        except FormError as exc:
            self.tree.note(exc.code, path, f"{exc}{beyond_ascii(name)}", exc.remedy, at_key=True, value=name)

    def struct(self, node: Node, kind: inspect.StructType, path: Path) -> Any:
        if not isinstance(node, Mapping):
            return self.wrong(node, "a mapping", kind, path)
        known = {field.encode_name: field for field in kind.fields}
        further = [name for name in node.items if name not in known]
        if kind.forbid_unknown_fields:
            self.unknown(further, known, path)
        else:
            for name in further:
                self.value(node.items[name], _ANY, (*path, name))
        values = {field.name: self.field(node, name, field, path) for name, field in known.items()}
        return kind.cls(**{name: value for name, value in values.items() if value is not NODEFAULT})

    def field(self, node: Mapping, name: str, field: inspect.Field, path: Path) -> Any:
        """Read one field; NODEFAULT where the record's own default applies."""
        if name in node.items:
            return self.value(node.items[name], field.type, (*path, name), is_required=field.required)
        if not field.required:
            return NODEFAULT
        if any(one.startswith(f"{name}:") for one in node.items):
            return UNSET  # its blank is missing, which `unknown` notes
        self.tree.note("MISSING_FIELD", (*path, name), f"{name} is missing", f"add {name}: …")
        return UNSET

    def unknown(self, names: list[str], known: Collection[str], path: Path) -> None:
        what = "field" if path else "section"
        code = "UNKNOWN_FIELD" if path else "UNKNOWN_SECTION"
        for name in names:
            field, colon, value = name.partition(":")
            blank = f"write `{field}: {value}`, with a blank" if colon and field in known else ""
            remedy = blank or did_you_mean(name, known) or f"known here: {', '.join(known)}"
            where = (*path, name) if path else (name,)
            message = f"there is no such {what}{beyond_ascii(name)}"
            self.tree.note(code, where, message, remedy, at_key=True, value=name)

    def measured(self, value: Any, kind: Any, what: str, path: Path) -> Any:
        """Refuse a text or a collection whose length is out of bounds."""
        low, high = kind.min_length or 0, kind.max_length
        if len(value) >= low and (high is None or len(value) <= high):
            return value
        bounds = f"{low} to {high} {what}" if high is not None else f"at least {low} {what}"
        self.tree.note("OUT_OF_RANGE", path, f"{len(value)} {what}", f"write {bounds}", value="")
        return UNSET if isinstance(value, str) else value

    def wrong(self, node: Node, wanted: str, kind: Any, path: Path) -> Any:
        got = {Mapping: "a mapping", Sequence: "a list"}.get(type(node)) or _TYPE_NAMES[type(_scalar(node))]
        remedy = instead(node, wanted, kind)
        if wanted == "a mapping" and len(path) == ARM_PARAMETER and path[4] == "parameters":
            remedy = self._under_a_placement(path)
        self.tree.note("WRONG_TYPE", path, f"must be {wanted}, this is {got}", remedy)
        return UNSET

    def _under_a_placement(self, path: Path) -> str:
        """Report where a variant's parameter stands: under the first placement that the experiment names."""
        named = self.tree.node((*path[:2], "placements", 0))
        placement = named.text if isinstance(named, Scalar) else "PLACEMENT"
        return f"put it under {placement}: parameters: {{{placement}: {{{path[-1]}: …}}}}"


ARM_PARAMETER = 6  # the length of experiments.x.variants.y.parameters.z


def _as_text(path: Path) -> str:
    """Return the remedy for a number that must be text; quotes in one place alone cause the next mistake."""
    if "eligibility" in path:
        return AS_STRING
    return "write it in quotes, as text, in the placement and in every variant"


def _scalar(node: Node) -> Any:
    return node.value if isinstance(node, Scalar) else None


_ANY = inspect.AnyType()
_READERS: dict[type[Any], Callable[[_Walk, Any, Any, Path], Any]] = {
    inspect.Metadata: _Walk.metadata,
    inspect.UnionType: _Walk.union,
    inspect.AnyType: _Walk.any,
    inspect.LiteralType: _Walk.literal,
    inspect.StrType: _Walk.text,
    inspect.IntType: _Walk.integer,
    inspect.BoolType: _Walk.boolean,
    inspect.ListType: _Walk.sequence,
    inspect.DictType: _Walk.mapping,
    inspect.StructType: _Walk.struct,
}
