"""Parses responses of the Kubernetes API about one ConfigMap: lists, watch events, keys as in its volume."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

MAX_ANSWER_BYTES = 8 * 2**20  # a ConfigMap has 1 MiB; JSON may need six bytes for one, and there is metadata


class GarbageError(Exception):
    """The API sent something that is not of its protocol."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"the API's answer cannot be read: {self.what}"


class ExpiredError(Exception):
    """The API no longer knows the version to watch from: list again."""


class RefusedError(Exception):
    """The API answered with an error."""

    def __init__(self, status: int, message: str, retry_seconds: float = 0.0) -> None:
        super().__init__(status, message, retry_seconds)
        self.status = status
        self.message = message
        self.retry_seconds = retry_seconds  # of the Retry-After header

    def __str__(self) -> str:
        return f"the API answered {self.status}: {self.message}"


@dataclass(frozen=True, slots=True)
class ConfigMapState:
    """The ConfigMap at one version: the bytes of each key, in order; None for a bookmark, which has only a version."""

    version: str
    keys: dict[str, bytes] | None


def listed(body: bytes, name: str) -> ConfigMapState:
    """Parse a list; a ConfigMap that does not exist has no keys, as in its volume. Raises GarbageError."""
    entry = _map(body)
    items = entry.get("items") or []
    if entry.get("kind") != "ConfigMapList" or not isinstance(items, list):
        raise GarbageError("it is no list of ConfigMaps")
    found = [item for item in items if _metadata(item).get("name") == name]
    return ConfigMapState(_version(entry), _keys(found[0]) if found else {})


def event(line: bytes, name: str) -> ConfigMapState | None:
    """Parse a watch event; None for another ConfigMap. Raises GarbageError, ExpiredError, RefusedError."""
    entry = _map(line)
    kind, content = entry.get("type"), entry.get("object")
    if not isinstance(content, dict):
        raise GarbageError("an event without an object")
    match kind:
        case "BOOKMARK":
            return ConfigMapState(_version(content), None)
        case "ERROR":
            code = content.get("code")
            if code == HTTPStatus.GONE:
                raise ExpiredError
            raise RefusedError(code if isinstance(code, int) else 500, message_of(content))
        case "ADDED" | "MODIFIED" | "DELETED":
            if _metadata(content).get("name") != name:
                return None
            return ConfigMapState(_version(content), {} if kind == "DELETED" else _keys(content))
    raise GarbageError(f"an event of the type {str(kind)[:40]!r}")


def message_of(content: object) -> str:
    """Return the message of a Status."""
    message = content.get("message") if isinstance(content, dict) else None
    return message[:300] if isinstance(message, str) else "no reason given"


def _map(body: bytes) -> dict[str, Any]:
    try:
        entry = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise GarbageError(str(exc)) from exc
    if not isinstance(entry, dict):
        raise GarbageError("it is no JSON object")
    return entry


def _metadata(content: object) -> dict[str, Any]:
    metadata = content.get("metadata") if isinstance(content, dict) else None
    if not isinstance(metadata, dict):
        raise GarbageError("an object without metadata")
    return metadata


def _version(content: dict[str, Any]) -> str:
    version = _metadata(content).get("resourceVersion")
    if not isinstance(version, str) or not version:
        raise GarbageError("an object without a resourceVersion")
    return version


def _keys(content: dict[str, Any]) -> dict[str, bytes]:
    """Return the bytes of each key, as the files of the volume have them."""
    found: dict[str, bytes] = {}
    for section in ("data", "binaryData"):
        entries = content.get(section) or {}
        if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
            raise GarbageError(f"{section} is not text by key")
        if "" in entries:
            raise GarbageError(f"{section} has a key without a name")
        try:
            read = _base64 if section == "binaryData" else str.encode
            found |= {key: read(value) for key, value in entries.items() if not key.startswith(".")}
        except (binascii.Error, UnicodeEncodeError) as exc:
            raise GarbageError(f"{section} cannot be read: {exc}") from exc
    return dict(sorted(found.items()))


def _base64(value: str) -> bytes:
    return base64.b64decode(value, validate=True)  # else characters outside the alphabet are skipped
