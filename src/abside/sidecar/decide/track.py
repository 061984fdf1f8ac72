"""`POST /v1/track`: what every OpenFeature SDK's `track` has, mapped once to an event of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abside import event
from abside.event import snake_case
from abside.serve.answer import Refusal
from abside.sidecar.decide.intake import accept, checked, exposed
from abside.sidecar.decide.request import MAX_SHOWN_CHARS, kind_of, parse_json, unknown_field
from abside.sidecar.decide.visitor import visitor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.sidecar.decide.handlers import HandlerContext

MAX_TRACK_NESTING = 8
EXPOSURE = "$exposure"
CARRIED = "exposureToken"  # as an evaluation's metadata has it
NO_UNIT_DETAIL = "the context has no usable targetingKey, user_id or session_id; send at least one"
_FIELDS = frozenset({"event", "context", "value", "attributes"})
_IDS = frozenset({"user_id", "session_id"})
_EVENTS_OWN = frozenset({"event_id", "ts", "bot"})  # of every event, beside the fields of its type


def track(context: HandlerContext, body: bytes) -> bytes:
    """Take one tracking event and return the body of its 202; it is on disk. Raises Refusal.

    An event named EXPOSURE has the token of an answer that is used now, and logs that exposure.
    """
    fields = parse_json(body, MAX_TRACK_NESTING)
    if type(fields) is not dict:
        raise Refusal(422, "WRONG_TYPE", f"the body must be an object, not {kind_of(fields)}")
    if not fields.keys() <= _FIELDS:
        name = next(name for name in fields if name not in _FIELDS)
        raise unknown_field(name, _FIELDS, beside=fields)
    if fields.get("event") == EXPOSURE:
        return accept(context, [_exposure(context, fields)], several=False)
    user_id, session_id = visitor(_object(fields, "context"), context.rules)
    if user_id is None and session_id is None:
        raise Refusal(400, "NO_UNIT", NO_UNIT_DETAIL)
    meant, paths = _meant(fields)
    taken = _taken(context, meant, paths, user_id, session_id)
    answer = accept(context, [taken], several=False)
    if "value" in taken and "currency" not in taken and taken["type"] in event.FIELDS:
        context.tracked.without_currency += 1
    return answer


def _exposure(context: HandlerContext, fields: Mapping[str, Any]) -> event.EventMap:
    """Return the exposure of a token; whose it is, and of what, is in the token itself."""
    _object(fields, "context")
    attributes = _object(fields, "attributes")
    if attributes.keys() != {CARRIED} or fields.get("value") is not None:
        detail = f"an {EXPOSURE} has one attribute, the {CARRIED} of an evaluation's metadata, and nothing else"
        raise Refusal(422, "INVALID_EVENT", detail, path="attributes")
    return exposed(context, attributes[CARRIED], None, f"attributes.{CARRIED}")


def _taken(
    context: HandlerContext,
    meant: dict[str, Any],
    paths: Mapping[str, str],
    user_id: str | None,
    session_id: str | None,
) -> event.EventMap:
    """Check the event; a value takes the documents' currency, since no SDK's `track` has one."""
    current = context.cell.current
    currency = None if current is None else current.snapshot.head.currency
    if currency is not None and "value" in meant and meant["type"] in event.FIELDS:
        meant.setdefault("currency", currency)
    try:
        return checked(context, meant, user_id, session_id, priced=False)
    except event.EventError as exc:
        path = _place(exc.path, paths)
        raise Refusal(422, exc.code, f"{path}: {exc.detail}", path=path) from exc


def _meant(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the event's fields, and where each is from. What is no field of its type is one of its properties."""
    kind = fields.get("event")
    if kind is None:
        raise Refusal(422, "INVALID_EVENT", "event: is missing: what happened, for example add_to_cart", path="event")
    kind = snake_case(kind) if type(kind) is str and kind.isidentifier() else kind
    known = event.FIELDS.get(kind if type(kind) is str else "", event.CUSTOM_FIELDS).keys() | _EVENTS_OWN
    meant: dict[str, Any] = {"type": kind}
    paths: dict[str, str] = {"type": "event"}
    properties: dict[str, Any] = {}
    given = [(f"attributes.{name[:MAX_SHOWN_CHARS]}", name, one) for name, one in _object(fields, "attributes").items()]
    for path, name, one in [("value", "value", fields.get("value")), *given]:
        ours = name if name in known else snake_case(name[:MAX_SHOWN_CHARS])
        is_field = ours in known
        if ours in _IDS:
            raise Refusal(422, "INVALID_EVENT", f"{path} says who, and belongs into the context", path=path)
        if one is None and (is_field or path == "value"):
            continue  # null is absent, as in every event
        if ours in meant if is_field else name in properties:
            other = paths.get(ours, "value")
            raise Refusal(422, "INVALID_EVENT", f"{path} and {other} are one field, {ours}; send one", path=path)
        if is_field:
            meant[ours], paths[ours] = one, path
        else:
            properties[name] = one
    if properties:
        meant["properties"] = _merged(meant.get("properties", {}), properties)
    return meant, paths


def _merged(given: Any, more: dict[str, Any]) -> Any:
    """Put attributes that are no fields beside those that came as `properties`."""
    if type(given) is not dict:
        return given  # its refusal is the event's own
    twice = next((name for name in more if name in given), None)
    if twice is not None:
        path = f"attributes.{twice[:MAX_SHOWN_CHARS]}"
        raise Refusal(422, "INVALID_EVENT", f"{path} is in attributes.properties too; send one", path=path)
    return {**given, **more}


def _place(path: str, paths: Mapping[str, str]) -> str:
    """Return where in the request a field of the event is."""
    head, dot, rest = path.partition(".")
    if head == "properties" and head not in paths:
        return f"attributes.{rest}" if dot else "attributes"
    return paths.get(head, f"attributes.{head}") + dot + rest


def _object(fields: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    value = fields.get(path)
    if value is None:
        return {}
    if type(value) is not dict:
        raise Refusal(422, "WRONG_TYPE", f"{path} must be an object, not {kind_of(value)}", path=path)
    return value
