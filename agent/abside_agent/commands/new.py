"""`abside new`: a commented experiment to fill in, a draft that reaches no shopper until its status is running."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import orjson

from abside.snapshot import BASIS_POINTS
from abside_agent.commands.exit_codes import ExitCode, refuse
from abside_agent.document.forms import FormError, identifier
from abside_agent.document.tree import NOWHERE, Scalar
from abside_agent.document.wording import did_you_mean, written_range
from abside_agent.rules.apart import WHOLE, LayersInUse, widest
from abside_agent.settle.check import check
from abside_agent.sources.documents import DocumentsError
from abside_agent.sources.given import given

if TYPE_CHECKING:
    from abside_agent.settings import NewSettings
    from abside_agent.settle.check import Checked


class NewError(Exception):
    """The experiment is not possible. `remedy`: what would be right."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}"


def main(settings: NewSettings) -> int:
    """Print the experiment. Return 0; 1 where the id or the placement is refused, 2 where --config is missing."""
    try:
        for name in (settings.id, settings.placement):
            _an_id(name)
        checked = check(given(settings.config).files) if settings.config else None
        parameters = {} if checked is None else _declared(settings, checked)
    except DocumentsError as exc:
        return refuse("new", exc)
    except NewError as exc:
        return refuse("new", exc, ExitCode.PROBLEMS)
    room = _NO_LAYER if checked is None or settings.aa else _room(checked, settings.placement)
    sys.stdout.write(draft(settings.id, settings.placement, parameters, room, aa=settings.aa))
    return ExitCode.DONE


def draft(name: str, placement: str, parameters: dict[str, Any], room: str, *, aa: bool) -> str:
    """Return a file of one experiment.

    `parameters`: those of the placement, {} where they are unknown; `room`: the lines of its layer and slots.
    """
    return _TEMPLATE.format(
        name=name,
        placement=placement,
        title=f"A/A on {placement}" if aa else "What it is, in a few words",
        hypothesis=_NO_DIFFERENCE if aa else "What changes for shoppers, and what that lifts",
        weight="50%",
        treatment="" if aa else _treatment(placement, parameters),
        why=_WHY_AA if aa else _WHY_AB,
        room=room,
    )


def _room(checked: Checked, placement: str) -> str:
    """Return the layer of the placement's experiments with its free slots, and their unit; else how to write them."""
    experiments = [one.record for one in checked.candidates if one.section == "experiments" and one.record is not None]
    layers = LayersInUse.of(experiments, _of(checked, "layers"))
    layer = layers.at(placement)
    if layer is None:
        return _NO_LAYER
    free = widest(layers.free(layer))
    if free is None:
        return f"    # layer: {layer}   # it has no free slots: end an experiment, or narrow the slots of one\n"
    slots = written_range((0, BASIS_POINTS // 2) if free == WHOLE else free)
    lines = {
        f"layer: {layer}": "with slots: experiments of one layer exclude each other",
        f"slots: {slots}": "free now" + ("; the other half is for the next experiment" if free == WHOLE else ""),
    }
    if (unit := layers.unit(layer)) not in {None, "user_or_session"}:
        lines[f"unit: {unit}"] = "that of all experiments in this layer"
    return "".join(f"    {line:<20} # {why}\n" for line, why in lines.items())


_NO_DIFFERENCE = "Nothing differs, so every interval should hold zero and the shares should be as the weights say"
_NO_LAYER = """\
    # layer: …           # with slots: experiments of one layer exclude each other; abside check lists the free slots
    # slots: 0%-50%
"""
_WHY_AA = "# Both variants get the placement's own parameters: what the report finds here is noise."
_WHY_AB = "# A variant without parameters gets the placement's own."
_TEMPLATE = """\
experiments:
  {name}:                # never used again once it ran: shoppers' variants hang on it
    name: {title}
    hypothesis: {hypothesis}
    owner: ""
    status: draft        # draft | running | paused | ended; running is what starts it
    placements: [{placement}]
    traffic: 1%          # the ramp: raise it step by step; nobody changes variant when you do
    # steps:             # or a ramp by the clock, instead of traffic
    #   - {{from: "2027-01-11T09:00:00Z", traffic: 5%}}
    #   - {{from: "2027-01-13T09:00:00Z", traffic: 20%}}
    # start: "2027-01-11T09:00:00Z"
    # end: "2027-01-25T09:00:00Z"
{room}    # eligibility:       # all lines must hold; a shopper of whom one is not known is not in
    #   - {{attribute: country, op: in, value: [DE, AT]}}
    {why}
    variants:            # weights sum to 100%; once it runs they change only with a new phase
      control: {{weight: {weight}}}
      treatment:
        weight: {weight}
{treatment}    # force: {{treatment: [your-user-id]}}   # see it yourself, in every status; left out of the analysis
    # phase: 1           # raise it to deal every shopper a new variant
    analysis:
      primary: add_to_cart_rate
      window: 7d
"""


def _treatment(placement: str, parameters: dict[str, Any]) -> str:
    """Return the first parameter as it is today, to be changed, and the others as comments."""
    if not parameters:
        written = f"# parameters: {{{placement}: {{model: …}}}}"
        return f"        {written}   # what differs; every name is declared by the placement\n"
    lines = ["        parameters:", f"          {placement}:       # leave only what differs; these are today's values"]
    for index, (parameter, value) in enumerate(parameters.items()):
        mark = "# " if index else ""
        lines.append(f"            {mark}{_plain(parameter)}: {orjson.dumps(value).decode()}")
    return "\n".join(lines) + "\n"


def _plain(name: str) -> str:
    return name if name.isidentifier() else orjson.dumps(name).decode()


def _an_id(name: str) -> None:
    try:
        identifier(Scalar(name, name, NOWHERE))
    except FormError as exc:
        raise NewError(f"{name!r}: {exc}", exc.remedy) from exc


def _declared(settings: NewSettings, checked: Checked) -> dict[str, Any]:
    """Return the placement's parameters. Raises NewError for a taken id or an unknown placement."""
    placements = _of(checked, "placements")
    taken = {**placements, **_of(checked, "experiments")}
    if settings.id in checked.retired or settings.id in taken:
        why = "is retired" if settings.id in checked.retired else "is taken"
        raise NewError(
            f"{settings.id} {why} in {checked.retired.get(settings.id) or taken[settings.id]}", "choose another"
        )
    if settings.placement not in placements:
        remedy = did_you_mean(settings.placement, placements) or f"declared are {', '.join(sorted(placements))}"
        raise NewError(f"there is no placement {settings.placement}", remedy)
    declared = next(c for c in checked.candidates if c.path == ("placements", settings.placement))
    if not declared.sound:
        raise NewError(f"the placement {settings.placement} cannot be taken as it is written", "run abside check")
    found: dict[str, Any] = declared.record.parameters
    return found


def _of(checked: Checked, section: str) -> dict[str, str]:
    return {one.id: one.tree.file for one in checked.candidates if one.section == section}
