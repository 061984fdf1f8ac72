"""Parameters laid over others: the same as a plain merge of leaves, written apart."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abside.snapshot import is_set, laid_over, leaf_name, leaves

if TYPE_CHECKING:
    from abside.snapshot import Leaf

# A shared machine may stall for a second: how long an example takes says nothing about the code.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEYS = st.sampled_from(["a", "b", "a.b", ""])
VALUES: st.SearchStrategy[Any] = st.none() | st.integers(0, 3) | st.lists(st.dictionaries(KEYS, st.integers(0, 3)))
PARAMETERS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    KEYS, st.recursive(VALUES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=6), max_size=3
)


def flat(parameters: Any, above: Leaf = ()) -> dict[Leaf, Any]:
    if not isinstance(parameters, dict) or (above and not parameters):
        return {above: parameters}
    return {leaf: value for key, inner in parameters.items() for leaf, value in flat(inner, (*above, key)).items()}


def nested(values: dict[Leaf, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for leaf, value in values.items():
        within = whole
        for key in leaf[:-1]:
            within = within.setdefault(key, {})
        within[leaf[-1]] = value
    return whole


def begins(one: Leaf, other: Leaf) -> bool:
    return other[: len(one)] == one


def plain_merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Merge by leaves: each of `own` takes the place of those above and below it; an empty mapping of none below."""
    values = flat(base)
    for leaf, value in flat(own).items():
        below = {one for one in values if begins(leaf, one)}
        if value == {} and below - {leaf}:
            continue
        for one in below | {one for one in values if begins(one, leaf)}:
            del values[one]
        values[leaf] = value
    return nested(values)


@UNHURRIED
@given(PARAMETERS, PARAMETERS)
def test_laid_over_is_a_plain_merge_of_leaves_and_changes_neither(base: dict[str, Any], own: dict[str, Any]) -> None:
    before = deepcopy((base, own))
    assert laid_over(base, own) == plain_merge(base, own)
    assert (base, own) == before


@UNHURRIED
@given(PARAMETERS)
def test_leaves_are_every_value_and_nothing_else(parameters: dict[str, Any]) -> None:
    assert dict(leaves(parameters)) == flat(parameters)
    assert laid_over({}, parameters) == parameters == laid_over(parameters, {})
    names = [leaf_name(leaf) for leaf, _ in leaves(parameters)]
    assert len(set(names)) == len(names)


@UNHURRIED
@given(PARAMETERS)
def test_a_mapping_that_names_every_key_means_what_it_meant_when_it_was_replaced_whole(base: dict[str, Any]) -> None:
    own = nested({leaf: {} if value == {} else 9 for leaf, value in leaves(base)})
    assert laid_over(base, own) == {**base, **own}


@UNHURRIED
@given(PARAMETERS, PARAMETERS)
def test_a_leaf_is_set_where_a_value_is_it_or_above_it_or_below_it(own: dict[str, Any], other: dict[str, Any]) -> None:
    for leaf, _ in leaves(other):
        values = (begins(leaf, mine) or (begins(mine, leaf) and value != {}) for mine, value in leaves(own))
        assert is_set(own, leaf) == any(values)


@pytest.mark.parametrize(
    ("leaf", "name"),
    [
        (("model",), "model"),
        (("weights", "margin"), "weights.margin"),
        (("weights", "a.b", "c"), 'weights."a.b".c'),
        (('"a"',), r'"\"a\""'),
        (("a b", "[0]", "", "é"), '"a b"."[0]"."".é'),
    ],
)
def test_the_name_of_a_leaf_is_its_keys_with_dots_and_a_key_that_would_be_ambiguous_in_quotes(
    leaf: Leaf, name: str
) -> None:
    assert leaf_name(leaf) == name
