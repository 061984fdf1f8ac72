"""From a document to the records of the snapshot, as far as the file alone decides them. Pure.

What depends on other records (floats for integers, the types of conditions) is decided in fit.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from msgspec import UNSET

from abside.snapshot import BASIS_POINTS, Attribute, Experiment, Layer, Placement, Step, Variant
from abside_agent.document.records import known

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.snapshot import Json
    from abside_agent.document import records as document
    from abside_agent.document.tree import Path, Tree

R = TypeVar("R")
Section: TypeAlias = "str"  # attributes, placements, layers, experiments
SECTIONS: tuple[Section, ...] = ("attributes", "placements", "layers", "experiments")


@dataclass(frozen=True, slots=True)
class Candidate(Generic[R]):
    """What a file contains under one id. `sound`: it has no flaw of its own, so it may come into force.

    The record of one that is not sound contains what could be read, for the rules that need it. `claims`: whether that
    includes where, when and for whom it runs.
    """

    section: Section
    id: str
    record: R
    tree: Tree
    sound: bool
    claims: bool = True

    @property
    def path(self) -> Path:
        """Section and id."""
        return (self.section, self.id)


def candidates_of(tree: Tree, written: document.Document) -> Iterator[Candidate[Any]]:
    """Yield the candidates of one file. `tree` has every flaw of the file by itself."""
    flawed = {flaw.entity for flaw in tree.flaws if flaw.is_error}
    usable = tree.is_usable
    for section in SECTIONS:
        entries = getattr(written, section)
        for name, entry in entries.items() if known(entries) else ():
            sound = usable and (section, name) not in flawed
            record = _COMPILERS[section](name, entry, tree.file)
            claims = section != "experiments" or _claims(entry)
            yield Candidate(section, name, record, tree, sound, claims)


def retired_of(tree: Tree, written: document.Document) -> dict[str, str]:
    """Return the ids that one file retires, with the name of the file."""
    ids = written.retired if known(written.retired) else []
    return {name: tree.file for name in ids if known(name)}


def _attribute(_: str, entry: document.AttributeEntry, source: str) -> Attribute | None:
    if not known(entry) or not known(entry.type):
        return None
    return Attribute(entry.type, _or(entry.log, default=False), source)


def _placement(name: str, entry: document.PlacementEntry, source: str) -> Placement:
    values = entry.parameters if known(entry) else UNSET
    return Placement(name, _or(values, default={}), source)


def _layer(name: str, _: document.LayerEntry, source: str) -> Layer:
    return Layer(name, source)


def _experiment(name: str, entry: document.ExperimentEntry, source: str) -> Experiment | None:
    if not known(entry):
        return None
    variants = _or(entry.variants, default={})
    control = entry.control if known(entry.control) and entry.control else "control"
    return Experiment(
        id=name,
        name=_or(entry.name, default=""),
        hypothesis=_or(entry.hypothesis, default=""),
        status=_or(entry.status, default="draft"),
        placements=tuple(item for item in _or(entry.placements, default=[]) if known(item)),
        variants=tuple(_variants(variants)),
        control=control,
        owner=_or(entry.owner, default=""),
        unit=_or(entry.unit, default="user_or_session"),
        layer=_or(entry.layer, default=None),
        slots=_or(entry.slots, default=None),
        steps=_steps(entry),
        start_us=_or(entry.start, default=None),
        end_us=_or(entry.end, default=None),
        eligibility=tuple(_or(entry.eligibility, default=[])),
        force=_force(entry),
        phase=_or(entry.phase, default=1),
        analysis=_analysis(entry.analysis) if known(entry.analysis) else {},
        source=source,
    )


def _claims(entry: document.ExperimentEntry) -> bool:
    return known(entry) and known(entry.status, entry.unit, entry.layer, entry.slots, entry.start, entry.end)


def _variants(variants: dict[str, document.VariantEntry]) -> Iterator[Variant]:
    start = 0
    for name, arm in variants.items():
        weight = arm.weight if known(arm) and known(arm.weight) else 0
        written = arm.parameters if known(arm) and known(arm.parameters) else {}
        yield Variant(name, start, start + weight, {key: values for key, values in written.items() if known(values)})
        start += weight


def _steps(entry: document.ExperimentEntry) -> tuple[Step, ...]:
    if known(entry.steps) and entry.steps is not None:
        return tuple(Step(step.from_, step.traffic) for step in entry.steps if known(step))
    traffic = entry.traffic if known(entry.traffic) and entry.traffic is not None else BASIS_POINTS
    return (Step(0, traffic),)


def _force(entry: document.ExperimentEntry) -> dict[str, str]:
    groups = _or(entry.force, default={})
    pairs = [(unit, arm) for arm, units in groups.items() if known(units) for unit in units if known(unit)]
    return dict(sorted(pairs))


def _analysis(entry: document.Analysis) -> dict[str, Json]:
    plain: dict[str, Json] = {
        "primary": _or(entry.primary, default=""),
        "window_seconds": _or(entry.window, default=0),
    }
    if known(entry.secondary) and entry.secondary:
        plain["secondary"] = [name for name in entry.secondary if known(name)]
    if known(entry.planned_units) and entry.planned_units is not None:
        plain["planned_units"] = entry.planned_units
    margins: dict[str, Json] = {
        metric: {
            f"{bound}_bp": getattr(margin, bound)
            for bound in ("max_increase", "max_decrease")
            if getattr(margin, bound) is not None
        }
        for metric, margin in _or(entry.guardrails, default={}).items()
        if known(margin) and known(margin.max_increase, margin.max_decrease)
    }
    if margins:
        plain["guardrails"] = margins
    return plain


def _or(value: Any, *, default: Any) -> Any:
    return value if value is not UNSET else default


_COMPILERS: dict[Section, Any] = {
    "attributes": _attribute,
    "placements": _placement,
    "layers": _layer,
    "experiments": _experiment,
}
