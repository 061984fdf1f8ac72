"""Parameters laid over others key by key, at every depth; and their leaves, which are replaced whole. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from abside.snapshot.records import Json, Parameters

Leaf: TypeAlias = tuple[str, ...]  # the keys that lead to a value which is no mapping, or an empty one
_PLAIN_KEY = re.compile(r"[^\s.\[\]\"]+")


def laid_over(base: Parameters, own: Parameters) -> Parameters:
    """Return `base` with `own` laid over it: mappings key by key, anything else whole. Neither is changed.

    What `own` does not name is shared with `base`. An empty mapping names nothing.
    """
    merged = dict(base)
    lay(merged, own)
    return merged


def lay(config: Parameters, own: Parameters) -> None:
    """Lay `own` over `config` in place; mappings inside it are replaced by new ones, never changed."""
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(under := config.get(key), dict):
            config[key] = laid_over(under, value)
        else:
            config[key] = value


def leaves(parameters: Mapping[str, Json]) -> Iterator[tuple[Leaf, Json]]:
    """Yield each leaf with its value, in order."""
    for key, value in parameters.items():
        if isinstance(value, dict) and value:
            for leaf, found in leaves(value):
                yield (key, *leaf), found
        else:
            yield (key,), value


def is_set(parameters: Mapping[str, Json], leaf: Leaf) -> bool:
    """Whether `parameters` set this leaf, a value above it or one below it."""
    value: object = parameters
    for key in leaf:
        if not isinstance(value, dict):
            return True
        if key not in value:
            return False
        value = value[key]
    return True


def value_at(parameters: Mapping[str, Json], leaf: Leaf) -> Json:
    """Return what is in the place of a leaf: None for nothing; a value above it where there is one."""
    value: Any = parameters
    for key in leaf:
        if not isinstance(value, dict):
            break
        value = value.get(key)
    return cast("Json", value)


def leaf_name(leaf: Leaf) -> str:
    """Return a leaf as people write it: `feature_weights.margin`; in quotes a key that would be ambiguous."""
    return ".".join(key if _PLAIN_KEY.fullmatch(key) else orjson.dumps(key).decode() for key in leaf)
