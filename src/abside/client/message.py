"""Calls as request bodies, and response bodies as Assignments. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from abside.client.raised import is_ours
from abside.client.result import Assigned, CallFailed, Flag, Refused, Unit, assignment
from abside.client.values import UnsendableError, json_form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.client.result import Assignment, Config
    from abside.client.visit import Visit

MAX_ANSWER_BYTES = 1024 * 1024  # 32 placements of 30 KB; parsing more than that takes longer than the deadline
EVENTS, EXPOSURES, TRACK = "/v1/events", "/v1/exposures", "/v1/track"  # where reports go
USER_NAMES = ("user_id", "userId", "targetingKey")  # as the sidecar reads an OpenFeature context
NO_FALLBACKS: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
_CODE = re.compile(r"[A-Z_]{1,32}\Z")  # the only part of an answer that a log line may repeat


@dataclass(frozen=True, slots=True)
class DecisionCall:
    """One call for a decision: the request's fields, and the answers to fall back to."""

    placements: tuple[str, ...]
    several: bool
    fields: dict[str, Any]
    fallbacks: Mapping[str, Mapping[str, Any]]
    visit: Visit | None = None
    deadline_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class EventCall:
    """One call that reports something: an event, or the tokens of answers that were used."""

    path: str
    body: Any
    deadline_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class FlagCall:
    """One flag to evaluate, as OFREP has it."""

    key: str
    context: Mapping[str, Any]
    deadline_seconds: float | None = None

    @property
    def path(self) -> str:
        """Return where it is evaluated."""
        return "/ofrep/v1/evaluate/flags/" + quote(self.key, safe="")

    @property
    def as_decision(self) -> DecisionCall:
        """Return what is kept of it where the sidecar does not answer: who it was, and where."""
        user = next((one for name in USER_NAMES if (one := self.context.get(name)) not in (None, "")), None)
        fields = {"user_id": user, "session_id": self.context.get("session_id") or self.context.get("sessionId")}
        return DecisionCall((self.key,), False, fields, NO_FALLBACKS)


def encode(value: Any) -> bytes:
    """Return a request body. Raises Refused UNSENDABLE for what JSON cannot carry, with the path of it."""
    try:
        return _ENCODER.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        if not is_ours(exc):
            raise
        try:
            return _ENCODER.encode(json_form(value)).encode()  # for the path
        except UnsendableError as found:
            at = f"{found.path}: " if found.path else ""
            raise Refused("UNSENDABLE", f"{at}{found.reason}", path=found.path or None) from exc


def read_answers(call: DecisionCall, status: int, body: bytes) -> dict[str, Assignment]:
    """Return the answers of `/v1/assign` by placement. Raises CallFailed, Refused."""
    answer = _document(status, body, 200)
    try:
        revision, unit = answer["revision"], _unit(answer["unit"])
        if type(revision) is not str:
            raise _garbage("revision is not text")
        parts = answer["placements"] if call.several else {call.placements[0]: answer}
        return {name: _assignment(parts[name], name, unit, revision) for name in call.placements}
    except (KeyError, TypeError, AttributeError) as exc:
        if not is_ours(exc):
            raise
        raise _garbage(f"the answer lacks what it must have ({type(exc).__name__})") from exc


def read_flag(key: str, status: int, body: bytes) -> Flag:
    """Return an evaluated flag. Raises CallFailed; Refused with OFREP's code."""
    fields = _document(status, body, 200, "errorCode", "errorDetails")
    value, variant, reason = fields.get("value"), fields.get("variant"), fields.get("reason")
    metadata = fields.get("metadata")
    if fields.get("key") != key or type(variant) is not str or type(reason) is not str or type(metadata) is not dict:
        raise _garbage("the answer is no evaluated flag")
    if type(value) not in (dict, str, type(None)):
        raise _garbage("its value is neither an object nor text")
    return Flag(key, value, variant, reason, metadata)


def read_accepted(status: int, body: bytes) -> None:
    """Check the answer of `/v1/events` or `/v1/exposures`. Raises CallFailed, Refused."""
    _document(status, body, 202)


def _document(
    status: int, body: bytes, wanted: int, code_name: str = "code", detail_name: str = "detail"
) -> dict[str, Any]:
    """Return the JSON object of an answer with the status wanted; raise for every other."""
    if status in (408, 429) or status >= 500:
        named = _code(body)
        raise CallFailed("unavailable", f"{status} {named}".rstrip(), named or None)
    try:
        document = _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as exc:
        if not is_ours(exc):
            raise
        raise _garbage(f"{status}, not JSON") from exc
    if type(document) is not dict:
        raise _garbage(f"{status}, not a JSON object")
    if status == wanted:
        return document
    code, detail = document.get(code_name), document.get(detail_name)
    if not 400 <= status < 500 or type(code) is not str or not _CODE.match(code) or type(detail) is not str:
        raise _garbage(f"{status}, not an answer of the sidecar")
    path, index = document.get("path"), document.get("index")
    raise Refused(
        code,
        detail,
        status=status,
        path=path if type(path) is str else None,
        index=index if type(index) is int else None,
    )


def _assignment(fields: dict[str, Any], placement: str, unit: Unit | None, revision: str) -> Assignment:
    config, config_id = fields["config"], fields["config_id"]
    exposure_id, token = fields.get("exposure_id"), fields.get("exposure_token")
    if fields["placement"] != placement:
        raise _garbage("it answers another placement")
    if type(config) is not dict or type(config_id) is not str:
        raise _garbage("config is not an object with an id")
    if not isinstance(exposure_id, str | None) or not isinstance(token, str | None):
        raise _garbage("exposure_id is not text")
    assignments = tuple(_assigned(one) for one in fields["assignments"])
    return assignment(placement, cast("Config", config), config_id, assignments, exposure_id, token, unit, revision)


def _assigned(fields: dict[str, Any]) -> Assigned:
    one = Assigned(fields["experiment"], fields["variant"], fields["phase"])
    if type(one.experiment) is not str or type(one.variant) is not str or type(one.phase) is not int:
        raise _garbage("assignments are not {experiment, variant, phase}")
    return one


def _unit(fields: Any) -> Unit | None:
    if fields is None:
        return None
    if fields["type"] not in ("user", "session") or type(fields["id"]) is not str:
        raise _garbage("unit is not {type, id}")
    return Unit(type=fields["type"], id=fields["id"])


def _code(body: bytes) -> str:
    try:
        code = str(_DECODER.decode(body.decode())["code"])
    except (ValueError, RecursionError, LookupError, TypeError) as exc:
        if not is_ours(exc):
            raise
        return ""
    return code if _CODE.match(code) else ""


def _garbage(detail: str) -> CallFailed:
    return CallFailed("garbage", detail)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=json_form)
_DECODER = json.JSONDecoder(parse_constant=_no_constant)
