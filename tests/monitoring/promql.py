"""The part of PromQL that our rules and panels are written in, as trees; every other form is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = re.compile(
    r"\s*(?:(?P<range>\[\d+[smhd]\])|(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)|(?P<text>\"[^\"]*\")"
    r"|(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)|(?P<sign>==|!=|<=|>=|=~|!~|[-+*/<>=(){},]))"
)
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LEVELS = (("or",), ("and", "unless"), ("==", "!=", "<", "<=", ">", ">="), ("+", "-"), ("*", "/"))  # loosest first
COMPARISONS = frozenset(LEVELS[2])
AGGREGATES = frozenset({"sum", "min", "max", "avg", "count", "topk"})
FUNCTIONS = frozenset({"rate", "increase", "max_over_time", "min_over_time", "changes"}) | frozenset(
    {"abs", "absent", "time", "histogram_quantile"}
)


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: float


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label: `=`, `!=`, `=~` or `!~`."""

    label: str
    sign: str
    text: str

    def holds(self, value: str) -> bool:
        """Whether a label's value fulfils it; a label that is missing has the empty text."""
        is_equal = re.fullmatch(self.text, value) is not None if "~" in self.sign else value == self.text
        return is_equal != self.sign.startswith("!")


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric with conditions, at one time or over so many seconds."""

    metric: str
    matchers: tuple[Matcher, ...]
    range_seconds: int | None


@dataclass(frozen=True, slots=True)
class Call:
    """A function of its arguments."""

    function: str
    arguments: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregate by labels; `parameter` is how many `topk` keeps."""

    operator: str
    labels: tuple[str, ...]
    inner: Tree
    parameter: float | None = None


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two sides. `on` is None where all labels must agree; `many` marks `group_left`."""

    operator: str
    left: Tree
    right: Tree
    on: tuple[str, ...] | None = None
    many: bool = False
    brought: tuple[str, ...] = ()  # labels that group_left takes over from the right


Tree: TypeAlias = "Number | Selector | Call | Aggregate | Binary"


def parse(text: str) -> Tree:
    """Read an expression. Raises ValueError for what is none, or is of a form that is not known here."""
    reader = _Reader(text)
    tree = reader.level(0)
    if reader.peek():
        raise ValueError(f"{reader.peek()!r} is left over in {text!r}")
    return tree


def walk(tree: Tree) -> Iterator[Tree]:
    """Yield a tree and everything in it."""
    yield tree
    parts: tuple[Tree, ...] = ()
    if isinstance(tree, Call):
        parts = tree.arguments
    elif isinstance(tree, Aggregate):
        parts = (tree.inner,)
    elif isinstance(tree, Binary):
        parts = (tree.left, tree.right)
    for part in parts:
        yield from walk(part)


def seconds(text: str) -> int:
    """Read a duration: `90s`, `5m`, `1h`, `14d`."""
    return int(text[:-1]) * SECONDS[text[-1]]


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text.rstrip()):
            match = TOKEN.match(text, at)
            if match is None:
                raise ValueError(f"{text[at:]!r} of {text!r} cannot be read")
            self._tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
            at = match.end()
        self._tokens.append(("end", ""))
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at][1]

    def take(self, *wanted: str) -> str:
        token = self.peek()
        if wanted and token not in wanted:
            raise ValueError(f"{token!r} where {' or '.join(wanted)} must be, in {self._text!r}")
        self._at += 1
        return token

    def level(self, depth: int) -> Tree:
        """Read operators of this level and of those that bind tighter."""
        if depth == len(LEVELS):
            return self.leaf()
        left = self.level(depth + 1)
        while self.peek() in LEVELS[depth]:
            operator, on, many = self.take(), None, False
            brought: tuple[str, ...] = ()
            if self.peek() == "on":
                self.take()
                on = self.labels()
            if self.peek() == "group_left":
                self.take()
                many, brought = True, self.labels() if self.peek() == "(" else ()
            left = Binary(operator, left, self.level(depth + 1), on, many, brought)
        return left

    def leaf(self) -> Tree:
        kind, word = self._tokens[self._at]
        if word == "(":
            self.take()
            tree = self.level(0)
            self.take(")")
            return tree
        if kind == "number":
            return Number(float(self.take()))
        if kind != "name":
            raise ValueError(f"{word!r} begins nothing, in {self._text!r}")
        self.take()
        if word in AGGREGATES:
            return self.aggregate(word)
        if self.peek() == "(":
            return self.call(word)
        return self.selector(word)

    def aggregate(self, operator: str) -> Aggregate:
        labels: tuple[str, ...] = ()
        if self.peek() == "by":
            self.take()
            labels = self.labels()
        self.take("(")
        parameter = None
        if operator == "topk":
            parameter = float(self.take())
            self.take(",")
        inner = self.level(0)
        self.take(")")
        return Aggregate(operator, labels, inner, parameter)

    def call(self, function: str) -> Call:
        if function not in FUNCTIONS:
            raise ValueError(f"the function {function!r} is not known here: add it, with a test")
        self.take("(")
        arguments: list[Tree] = []
        while self.peek() != ")":
            arguments.append(self.level(0))
            if self.peek() == ",":
                self.take()
        self.take(")")
        return Call(function, tuple(arguments))

    def selector(self, metric: str) -> Selector:
        matchers = []
        if self.peek() == "{":
            self.take()
            while self.peek() != "}":
                label, sign, text = self.take(), self.take("=", "!=", "=~", "!~"), self.take()
                matchers.append(Matcher(label, sign, text.strip('"')))
                if self.peek() == ",":
                    self.take()
            self.take("}")
        is_range = self._tokens[self._at][0] == "range"
        return Selector(metric, tuple(matchers), seconds(self.take()[1:-1]) if is_range else None)

    def labels(self) -> tuple[str, ...]:
        found = []
        self.take("(")
        while self.peek() != ")":
            found.append(self.take())
            if self.peek() == ",":
                self.take()
        self.take(")")
        return tuple(found)
