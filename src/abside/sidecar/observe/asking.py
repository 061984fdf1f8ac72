"""The page's form “what does this shopper get?”: from its query to the answer of `/v1/explain`, which logs nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from abside.assignment.condition import BUILT_IN
from abside.serve.answer import Refusal
from abside.sidecar.decide.handlers import explain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from abside.sidecar.active.current import Current
    from abside.sidecar.decide.handlers import HandlerContext
    from abside.snapshot import AttributeType

MAX_ATTRIBUTES = 24  # inputs of the form: more than a person fills in
ATTRIBUTE = "attribute."  # how the names of their inputs begin


@dataclass(frozen=True, slots=True)
class AskedShopper:
    """The form as it was filled in, and what came of it.

    `types`: the attributes that some experiment targets. `answer`: the body of `/v1/explain`; None where nothing was
    asked, or where `refusal` says what is wrong with it.
    """

    placement: str = ""
    user_id: str = ""
    session_id: str = ""
    types: Mapping[str, AttributeType] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    answer: Mapping[str, Any] | None = None
    refusal: str = ""

    @property
    def is_asked(self) -> bool:
        """Whether there is something to show below the form."""
        return self.answer is not None or bool(self.refusal)


def ask(context: HandlerContext, query: Mapping[str, str]) -> AskedShopper:
    """Answer the form. Without a placement in the query nothing is asked."""
    types = _targeted(context.cell.current)
    placement, user_id, session_id = (query.get(name, "").strip() for name in ("placement", "user_id", "session_id"))
    attributes = {name: text for name in types if (text := query.get(ATTRIBUTE + name, "").strip())}
    if not placement:
        return AskedShopper(types=types)
    fields = {
        "placement": placement,
        **({"user_id": user_id} if user_id else {}),
        **({"session_id": session_id} if session_id else {}),
        "attributes": {name: _value(text, types[name]) for name, text in attributes.items()},
    }
    answer, refusal = None, ""
    try:
        answer = orjson.loads(explain(context, orjson.dumps(fields)))
    except Refusal as exc:
        refusal = exc.detail
    except orjson.JSONEncodeError:
        refusal = "a value that is not text"
    return AskedShopper(placement, user_id, session_id, types, attributes, answer, refusal)


def _value(text: str, declared: AttributeType) -> Any:
    """Return what a rec service would send; text that is none of its type stays text, and the answer says so."""
    match declared:
        case "list":
            return [part.strip() for part in text.split(",")]
        case "boolean":
            return {"true": True, "false": False}.get(text.lower(), text)
        case "number":
            return _number(text)
        case "date":
            return _number(text)  # seconds since 1970, or a time as text
        case _:
            return text


def _number(text: str) -> Any:
    try:
        return orjson.loads(text) if text[0] in "-0123456789" else text
    except orjson.JSONDecodeError:
        return text


def _targeted(current: Current | None) -> dict[str, AttributeType]:
    """List the attributes that conditions name, in alphabetical order: no other changes an answer."""
    if current is None:
        return {}
    every = (one.experiment.eligibility for one in current.plans.evaluators.values())
    found = {name: declared for nodes in every for name, declared in _named(nodes)}
    return dict(sorted(found.items())[:MAX_ATTRIBUTES])


def _named(nodes: Iterable[Any]) -> Iterator[tuple[str, AttributeType]]:
    for node in nodes:
        if "attribute" not in node:
            yield from _named(node.get("any") or node.get("all") or ())
        elif node["attribute"] not in BUILT_IN:
            yield node["attribute"], node["type"]
