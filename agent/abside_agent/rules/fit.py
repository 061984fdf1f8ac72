"""Whether an experiment fits its ground: its placements' parameters, its layer, the attributes of its conditions.

The same for an experiment as written and for one in force, because either side may have changed. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from abside.assignment.condition import BUILT_IN, compile_eligibility
from abside_agent.document.tree import Path, short
from abside_agent.document.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from abside.snapshot import Attribute, Experiment, Json, Layer, Parameters, Placement

_KINDS: dict[type[Any], str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Ground:
    """What experiments refer to, by id."""

    placements: Mapping[str, Placement]
    layers: Mapping[str, Layer]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class Misfit:
    """A thing that does not fit. `path` begins inside the experiment; `on` is the placement, layer or attribute."""

    path: Path
    code: str
    message: str
    remedy: str
    on: Path
    value: str | None = None  # None: as written at the path
    at_key: bool = False


def fit(experiment: Experiment, ground: Ground, *, in_force: bool) -> tuple[Experiment, list[Misfit]]:
    """Return the experiment as it runs on this ground (numbers as declared, conditions compiled) and its misfits.

    `in_force`: its conditions are compiled already, and only their attributes are looked up.
    """
    misfits = [*_layer(experiment, ground), *_placements(experiment, ground)]
    variants = []
    for arm in experiment.variants:
        merged: dict[str, Parameters] = {}
        for name, values in arm.parameters.items():
            fitting = _Parameters(("variants", arm.id, "parameters", name), ("placements", name), misfits)
            declared = ground.placements.get(name)
            merged[name] = values if declared is None else fitting.fit(values, declared.parameters)
        variants.append(replace(arm, parameters=merged))
    if in_force:
        misfits += _compiled(experiment.eligibility, ground)
        conditions = experiment.eligibility
    else:
        conditions, found = _written(experiment, ground)
        misfits += found
    return replace(experiment, variants=tuple(variants), eligibility=conditions), misfits


def _layer(experiment: Experiment, ground: Ground) -> Iterator[Misfit]:
    name = experiment.layer
    if name is not None and name not in ground.layers:
        remedy = did_you_mean(name, ground.layers) or f"declare it: layers: {{{name}: {{}}}}"
        yield Misfit(("layer",), "UNKNOWN_LAYER", f"there is no layer {name}", remedy, ("layers", name), name)


def _placements(experiment: Experiment, ground: Ground) -> Iterator[Misfit]:
    for index, name in enumerate(experiment.placements):
        if name not in ground.placements:
            remedy = did_you_mean(name, ground.placements) or "declare it under placements"
            on = ("placements", name)
            yield Misfit(("placements", index), "UNKNOWN_PLACEMENT", f"there is no placement {name}", remedy, on, name)


def _written(experiment: Experiment, ground: Ground) -> tuple[tuple[Json, ...], list[Misfit]]:
    conditions, errors = compile_eligibility(list(experiment.eligibility), ground.attributes)
    return conditions, [
        Misfit(("eligibility", *error.path), error.code, error.message, error.remedy, ("attributes", ""), error.value)
        for error in errors
    ]


def _compiled(conditions: Any, ground: Ground) -> Iterator[Misfit]:
    for condition in conditions:
        for group in ("any", "all"):
            yield from _compiled(condition.get(group, ()), ground)
        name = condition.get("attribute")
        if name is None or name in BUILT_IN:
            continue
        declared = ground.attributes.get(name)
        if declared is None or declared.type != condition["type"]:
            message = f"a condition needs the attribute {name} as {condition['type']}"
            yield Misfit(("eligibility",), "ATTRIBUTE", message, "keep it declared so", ("attributes", name), name)


@dataclass(frozen=True, slots=True)
class _Parameters:
    """Fits one variant's values for one placement to what the placement declares."""

    path: Path
    on: Path
    misfits: list[Misfit]

    def fit(self, values: Parameters, declared: Parameters) -> Parameters:
        fitted: Parameters = {}
        for name, value in values.items():
            if name in declared:
                is_null = value is None or declared[name] is None  # noted at its place
                fitted[name] = value if is_null else self.value(value, declared[name], (name,))
                continue
            remedy = did_you_mean(name, declared) or f"declare it in {'.'.join(map(str, self.on))}.parameters"
            self.wrong((name,), "UNDECLARED_PARAMETER", f"{self.on[1]} declares no such parameter", remedy, at_key=True)
        return fitted

    def value(self, value: Any, declared: Any, path: Path) -> Any:
        """Return the value in the declared type: where a float is declared, a whole number becomes one."""
        if value is UNSET or declared is UNSET:
            return value  # noted at its place already
        if type(declared) is float and type(value) is int:
            return float(value)
        if type(value) is not type(declared):
            message = f"must be {_KINDS[type(declared)]} as {self.on[1]} declares it, this is {_KINDS[type(value)]}"
            remedy = f"write for example {short(_example(declared))}"
            self.wrong(path, "PARAMETER_TYPE", message, remedy)
            return value
        if isinstance(declared, dict):
            return self.mapping(value, declared, path)
        if isinstance(declared, list):
            return self.sequence(value, declared, path)
        return value

    def mapping(self, value: dict[str, Any], declared: dict[str, Any], path: Path) -> dict[str, Any]:
        for name in declared:
            if name not in value:
                message, remedy = f"{name} is missing: the whole mapping is replaced", f"add {name}: …"
                self.wrong((*path, name), "PARAMETER_KEYS", message, remedy, value="")
        for name in value:
            if name not in declared:
                remedy = did_you_mean(name, declared) or f"{self.on[1]} declares {', '.join(declared) or 'no keys'}"
                self.wrong((*path, name), "PARAMETER_KEYS", "there is no such key here", remedy, at_key=True)
        return {
            name: self.value(item, declared[name], (*path, name)) if name in declared else item
            for name, item in value.items()
        }

    def sequence(self, value: list[Any], declared: list[Any], path: Path) -> list[Any]:
        """Fit each entry to the first declared entry that it fits; a list declared empty accepts any."""
        return [self.entry(item, declared, (*path, index)) for index, item in enumerate(value)] if declared else value

    def entry(self, item: Any, declared: list[Any], path: Path) -> Any:
        # Floats first: in [0, 0.5, 1] the whole numbers are floats that happen to be whole.
        for shape in sorted(declared, key=lambda entry: type(entry) is not float):
            trial = _Parameters(self.path, self.on, [])
            fitted = trial.value(item, shape, path)
            if not trial.misfits:
                return fitted
        return self.value(item, declared[0], path)

    def wrong(
        self, path: Path, code: str, message: str, remedy: str, *, value: str | None = None, at_key: bool = False
    ) -> None:
        name = str(path[-1]) if at_key and value is None else value
        self.misfits.append(Misfit((*self.path, *path), code, message, remedy, self.on, name, at_key))


def _example(declared: Any) -> str:
    if isinstance(declared, bool):
        return "true" if declared else "false"
    if isinstance(declared, dict):
        return "{" + ", ".join(f"{name}: {_example(item)}" for name, item in declared.items()) + "}"
    if isinstance(declared, list):
        return "[" + ", ".join(_example(item) for item in declared) + "]"
    return "null" if declared is None else str(declared)
