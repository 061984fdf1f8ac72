"""Reads and writes AdmissionReviews: `admission.k8s.io/v1`. Pure.

Shapes: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from abside_agent.document.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from abside.snapshot import Problem

API_VERSION = "admission.k8s.io/v1"
# The API server may cut a warning at 256 characters, and drops all beyond 4096 characters in total.
MAX_WARNING_CHARACTERS = 256
MAX_WARNINGS_CHARACTERS = 3800  # leaves space for those of other webhooks, and for the line with the number left out
MAX_LOGGED_KEYS = 20  # of each kind; a key has at most 253 characters
UNPROCESSABLE = 422

ReviewKeys: TypeAlias = "dict[str, bytes]"  # of a ConfigMap: data, and binaryData decoded


@dataclass(frozen=True, slots=True)
class Review:
    """One request. `new` is None for DELETE, `old` for CREATE; both for an object that is no ConfigMap."""

    uid: str
    kind: str
    operation: str
    namespace: str
    name: str
    is_dry_run: bool
    new: ReviewKeys | None
    old: ReviewKeys | None
    user: str = ""

    def changes(self) -> dict[str, str]:
        """Return the names of the keys that are added, removed and changed, for the log: no content of any."""
        old, new = self.old or {}, self.new or {}
        found = {
            "added": new.keys() - old.keys(),
            "removed": old.keys() - new.keys(),
            "changed": {name for name in new.keys() & old.keys() if new[name] != old[name]},
        }
        return {what: _named(sorted(names)) for what, names in found.items() if names}


class ReviewUnreadable(Exception):  # noqa: N818 read as a sentence where it is caught
    """The body is no AdmissionReview. `path`: where in it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"{self.path}: {self.why}" if self.path else self.why


def request_of(body: bytes) -> dict[str, Any]:
    """Return the request of an AdmissionReview, which has a uid. Raises ReviewUnreadable."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise ReviewUnreadable("", "the body is not JSON") from exc
    if not isinstance(document, dict) or document.get("kind") != "AdmissionReview":
        raise ReviewUnreadable("kind", "this is no AdmissionReview")
    if document.get("apiVersion") != API_VERSION:
        raise ReviewUnreadable("apiVersion", f"only {API_VERSION} is spoken here")
    request = mapping(document, "request", "request")
    if not text(request, "uid"):
        raise ReviewUnreadable("request.uid", "it is missing, and the answer must carry it")
    return request


def read(body: bytes) -> Review:
    """Read a request. Raises ReviewUnreadable."""
    request = request_of(body)
    operation = text(request, "operation")
    kind = text(mapping(request, "kind", "request.kind"), "kind")
    objects = [mapping(request, name, f"request.{name}") for name in ("object", "oldObject")]
    new, old = (_keys(one, name) for one, name in zip(objects, ("object", "oldObject"), strict=True))
    name = text(request, "name") or next((named for one in objects if (named := _name(one))), "")
    is_config_map = kind == "ConfigMap"
    return Review(
        text(request, "uid"),
        kind,
        operation,
        text(request, "namespace"),
        name,
        request.get("dryRun") is True,
        new if is_config_map and operation != "DELETE" else None,
        old if is_config_map and operation != "CREATE" else None,
        user_of(request),
    )


def user_of(request: dict[str, Any]) -> str:
    """Return the name of who asked. Raises ReviewUnreadable."""
    return text(mapping(request, "userInfo", "request.userInfo"), "username")


def answer(review: Review, problems: Sequence[Problem]) -> bytes:
    """Return the response: any error denies, with one cause each; warnings are in it either way."""
    errors = [problem for problem in problems if problem.severity == "error"]
    response: dict[str, Any] = {"uid": review.uid, "allowed": not errors}
    if errors:
        response["status"] = _status(review, errors)
    return respond(response, problems)


def respond(response: dict[str, Any], problems: Sequence[Problem]) -> bytes:
    """Return a response with the warnings among the problems, as an AdmissionReview."""
    if warnings := list(_warnings([problem for problem in problems if problem.severity == "warning"])):
        response = {**response, "warnings": warnings}
    return orjson.dumps({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})


def mapping(parent: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    """Return an object of an object, empty where there is none. Raises ReviewUnreadable."""
    found = parent.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ReviewUnreadable(path, "it must be an object")
    return found


def text(parent: dict[str, Any], name: str) -> str:
    """Return a text of an object, empty where there is none."""
    found = parent.get(name)
    return found if isinstance(found, str) else ""


def _named(names: list[str]) -> str:
    more = f",… ({len(names)})" if len(names) > MAX_LOGGED_KEYS else ""
    return ",".join(names[:MAX_LOGGED_KEYS]) + more


def _name(config_map: dict[str, Any]) -> str:
    metadata = config_map.get("metadata")
    return text(metadata, "name") if isinstance(metadata, dict) else ""


def _keys(config_map: dict[str, Any], path: str) -> ReviewKeys:
    """Return the keys of a ConfigMap as its volume has them."""
    found: ReviewKeys = {}
    for section in ("data", "binaryData"):
        for key, value in mapping(config_map, section, f"request.{path}.{section}").items():
            if not isinstance(value, str):
                raise ReviewUnreadable(f"request.{path}.{section}.{key}", "it must be text")
            try:
                found[key] = value.encode() if section == "data" else base64.b64decode(value, validate=True)
            except (UnicodeEncodeError, binascii.Error) as exc:
                raise ReviewUnreadable(f"request.{path}.{section}.{key}", "it cannot be decoded") from exc
    return found


def _status(review: Review, errors: list[Problem]) -> dict[str, Any]:
    """Return the status that kubectl prints as a list; without causes it prints the whole object first."""
    causes = [
        {"reason": one.code, "field": _where(one), "message": _sentence(one, f"{one.path}: " if one.path else "")}
        for one in errors
    ]
    number = counted(len(errors), "problem")
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "code": UNPROCESSABLE,
        "reason": "Invalid",
        "message": f"{number} in {review.name}, the first: {causes[0]['field']}: {causes[0]['message']}",
        "details": {"kind": review.kind, "name": review.name, "causes": causes},
    }


def _warnings(problems: list[Problem]) -> Iterator[str]:
    room = MAX_WARNINGS_CHARACTERS
    for index, one in enumerate(problems):
        line = "".join(char if char.isprintable() else " " for char in _sentence(one, f"{_where(one)}: "))
        if len(line) > MAX_WARNING_CHARACTERS:
            line = line[: MAX_WARNING_CHARACTERS - 1] + "…"
        room -= len(line)
        if room < 0:
            yield f"{len(problems) - index} more warnings are not shown here: run abside check"
            return
        yield line


def _where(problem: Problem) -> str:
    return f"{problem.file}:{problem.line}" if problem.line else problem.file


def _sentence(problem: Problem, place: str) -> str:
    got = f" (got {problem.value})" if problem.value else ""
    remedy = f" — {problem.remedy}" if problem.remedy else ""
    return f"{place}{problem.message}{got}{remedy}"
