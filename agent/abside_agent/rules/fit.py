"""Whether an experiment fits its ground: its placements' parameters, its layer, the attributes of its conditions.

The same for an experiment as written and for one in force, because either side may have changed. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice
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

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,14})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")


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

    def fit(self, values: Parameters, declared: Parameters, path: Path = ()) -> Parameters:
        """Fit a mapping that is laid over a declared one: it names what differs."""
        fitted: Parameters = {}
        for name, value in values.items():
            if name not in declared:
                self.undeclared((*path, name), declared)
            elif value is None or declared[name] is None:
                fitted[name] = value  # noted at its place
            else:
                fitted[name] = self.over(value, declared[name], (*path, name))
        return fitted

    def over(self, value: Any, declared: Any, path: Path) -> Any:
        if not isinstance(value, dict) or not isinstance(declared, dict):
            return self.value(value, declared, path)
        if declared and not value:
            message = f"an empty mapping changes nothing: what it does not name stays as {self.on[1]} declares it"
            remedy = f"name what differs, for example {short(_example(_first(declared)))}, or delete the key"
            self.wrong(path, "EMPTY_MAPPING", message, remedy, at_key=True)
        return self.fit(value, declared, path)

    def undeclared(self, path: Path, declared: Parameters) -> None:
        """Note a key that is not declared at its place; `declared`: the mapping it is laid over."""
        name, place = str(path[-1]), ".".join(map(str, (*self.on, "parameters", *path[:-1])))
        remedy = did_you_mean(name, declared) or f"declare it in {place}"
        inner = _inside(name, declared)
        if inner:
            remedy = f"write the keys one inside the other: {inner}"
        code = "UNDECLARED_PARAMETER" if len(path) == 1 else "PARAMETER_KEYS"
        self.wrong(path, code, f"{self.on[1]} declares no such parameter", remedy, at_key=True)

    def value(self, value: Any, declared: Any, path: Path) -> Any:
        """Return a value that is replaced whole in the declared type: a whole number for a float becomes one."""
        if value is UNSET or declared is UNSET:
            return value  # noted at its place already
        if type(declared) is float and type(value) is int:
            return float(value)
        if type(value) is not type(declared):
            message = f"must be {_KINDS[type(declared)]} as {self.on[1]} declares it, this is {_KINDS[type(value)]}"
            self.wrong(path, "PARAMETER_TYPE", message, self._as_declared(value, declared, path))
            return value
        if isinstance(declared, dict):
            return self.whole(value, declared, path)
        if isinstance(declared, list):
            return self.sequence(value, declared, path)
        return value

    def _as_declared(self, value: Any, declared: Any, path: Path) -> str:
        """Return the remedy for a value of another type than declared."""
        if type(declared) is int and type(value) is float:
            place = ".".join(map(str, (*self.on, "parameters", *(part for part in path if isinstance(part, str)))))
            return f"for fractions, declare {float(declared)} in {place}, or write a whole number"
        if isinstance(value, str) and _is_quoted(value, declared):
            return f"write {value} without quotes"
        in_list = any(isinstance(part, int) for part in path)
        example = _first(declared) if isinstance(declared, dict) and not in_list else declared
        return f"write for example {short(_example(example))}"

    def whole(self, value: dict[str, Any], declared: dict[str, Any], path: Path) -> dict[str, Any]:
        """Fit a mapping in a list, which is replaced whole: it has every declared key."""
        for name in declared:
            if name not in value:
                message, remedy = f"{name} is missing: an entry of a list is replaced whole", f"add {name}: …"
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


def _is_quoted(value: str, declared: Any) -> bool:
    """Whether a text is a value of the declared type once its quotes are away."""
    if isinstance(declared, bool):
        return value in {"true", "false"}
    form = {int: _INTEGER, float: _DECIMAL}.get(type(declared))
    return form is not None and form.fullmatch(value) is not None


def _first(declared: dict[str, Any]) -> dict[str, Any]:
    """Return the first key of a mapping and what is behind it, likewise."""
    return {name: _first(inner) if isinstance(inner, dict) else inner for name, inner in islice(declared.items(), 1)}


def _inside(name: str, declared: Parameters) -> str:
    """Return `a.b` as it is written inside a mapping, `a: {b: …}`, where that is declared; else an empty text."""
    value: Any = declared
    keys = name.split(".")
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return ""
        value = value[key]
    return ": {".join(keys) + ": …" + "}" * (len(keys) - 1) if len(keys) > 1 else ""


def _example(declared: Any) -> str:
    if isinstance(declared, bool):
        return "true" if declared else "false"
    if isinstance(declared, dict):
        return "{" + ", ".join(f"{name}: {_example(item)}" for name, item in declared.items()) + "}"
    if isinstance(declared, list):
        return "[" + ", ".join(_example(item) for item in declared) + "]"
    return "null" if declared is None else str(declared)
