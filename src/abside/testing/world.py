"""What a test gives, as a snapshot: placements with their parameters, and of each experiment the variant that all get.

A mistake is a ValueError, as `abside check` would find it in documents: nothing that is given has no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from abside.snapshot import BASIS_POINTS, Experiment, Placement, Step, Variant, assemble

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from abside.snapshot import Snapshot

GivenParameters: TypeAlias = Mapping[str, Any]  # by name, JSON values
GivenVariants: TypeAlias = Mapping[str, Mapping[str, GivenParameters]]  # variant → placement → parameters


def snapshot_of(
    placements: Mapping[str, GivenParameters], variants: Mapping[str, GivenVariants], given: Mapping[str, str | None]
) -> Snapshot:
    """Return a snapshot in which every unit gets `given[experiment]`, or no variant where that is None.

    Raises ValueError for what no document could contain.
    """
    bases = [Placement(name, _json(f"placement {name}", parameters)) for name, parameters in placements.items()]
    _check(placements, variants)
    experiments = [_experiment(name, arms, given[name]) for name, arms in variants.items()]
    return assemble({}, [*bases, *experiments], written_at_us=1)


def check_mapping(what: str, found: Any) -> None:
    """Raise ValueError for what a test gives in place of a mapping."""
    if not isinstance(found, Mapping):
        raise ValueError(f"{what} is a {type(found).__name__}; write a mapping by name")  # noqa: TRY004 as all here


def one_of(name: str, known: Iterable[str], what: str) -> str:
    """Return a name that is known. Raises ValueError that names the one perhaps meant."""
    names = list(known)
    if name in names:
        return name
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there is {', '.join(names) or 'none'}"
    raise ValueError(f"there is no {what} {name!r}; {hint}")


def _experiment(name: str, arms: GivenVariants, given: str | None) -> Experiment:
    used = tuple(dict.fromkeys(place for parameters in arms.values() for place in parameters))
    if not used:
        raise ValueError(f"experiment {name} names no placement: write {{{next(iter(arms))!r}: {{'pdp': {{…}}}}}}")
    names = [given, *(one for one in arms if one != given)] if given is not None else list(arms)
    # The first has the whole range, and the others an empty one: forcing a request still finds them.
    variants = tuple(
        Variant(
            one,
            0 if index == 0 else BASIS_POINTS,
            BASIS_POINTS,
            {place: _json(f"{name}/{one}", parameters) for place, parameters in arms[one].items()},
        )
        for index, one in enumerate(names)
    )
    steps = (Step(0, 0 if given is None else BASIS_POINTS),)
    return Experiment(name, name, "", "running", used, variants, next(iter(arms)), steps=steps)


def _check(placements: Mapping[str, GivenParameters], variants: Mapping[str, GivenVariants]) -> None:
    taken: dict[tuple[str, str], str] = {}  # (placement, parameter) → the experiment that sets it
    for name, arms in variants.items():
        if not arms:
            raise ValueError(f"experiment {name} has no variant")
        for variant, by_placement in arms.items():
            for place, parameters in by_placement.items():
                one_of(place, placements, f"placement for {name}/{variant}, called")
                for parameter in _names(parameters, placements[place], f"{name}/{variant} at {place}"):
                    other = taken.setdefault((place, parameter), name)
                    if other != name:
                        raise ValueError(f"{name} and {other} both set {parameter} at {place}: only one would count")


def _names(parameters: GivenParameters, base: GivenParameters, where: str) -> Iterator[str]:
    """Yield the parameters that are set, as dotted names. Raises ValueError for one that the placement lacks."""
    for name, value in parameters.items():
        one_of(name, base, f"parameter for {where}, called")
        below = base[name]
        if isinstance(below, Mapping) and below and isinstance(value, Mapping):
            yield from (f"{name}.{one}" for one in _names(value, below, f"{where}.{name}"))
        else:
            yield name


def _json(where: str, parameters: GivenParameters) -> dict[str, Any]:
    """Return parameters as JSON has them. Raises ValueError."""
    try:
        copied: dict[str, Any] = orjson.loads(orjson.dumps(dict(parameters)))
    except (TypeError, ValueError) as exc:
        raise ValueError(f"{where}: parameters are JSON values by name: {exc}") from exc
    return copied
