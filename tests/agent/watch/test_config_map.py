"""Responses of the API about one ConfigMap, read as its volume shows it."""

from __future__ import annotations

import json

import pytest

from abside_agent.watch.config_map import GarbageError, event, listed


def a_map(**content: object) -> dict[str, object]:
    return {"metadata": {"name": "m", "resourceVersion": "7"}, **content}


def an_event(**content: object) -> bytes:
    return json.dumps({"type": "MODIFIED", "object": a_map(**content)}).encode()


def test_keys_that_begin_with_a_dot_are_none_as_in_the_volume() -> None:
    content = {"data": {"b": "text", "..data": "x", ".hidden": "x"}, "binaryData": {"a": "AAE=", ".all": "AAE="}}
    told = event(an_event(**content), "m")
    assert told is not None
    assert told.keys == {"a": b"\x00\x01", "b": b"text"}
    body = {"kind": "ConfigMapList", "metadata": {"resourceVersion": "8"}, "items": [a_map(**content)]}
    assert listed(json.dumps(body).encode(), "m").keys == told.keys


@pytest.mark.parametrize("section", ["data", "binaryData"])
def test_a_key_without_a_name_is_garbage(section: str) -> None:
    with pytest.raises(GarbageError, match=f"{section} has a key without a name"):
        event(an_event(**{section: {"": "eA==", "x": "eA=="}}), "m")
