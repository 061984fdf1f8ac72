"""What a PM does about a second experiment on one parameter, from the shell: nobody changes variant.

`python -m tests.agent.commands.edit.test_second_experiment` counts over 200,000 units and prints each step.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from abside.assignment.plan import build_plans
from abside.assignment.unit import Subject
from abside_agent.document.reading import Reading
from abside_agent.settle.settle import settle
from abside_agent.sources.documents import documents

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = 1_795_000_000_000_000
UNITS = 5_000
GROUND = "placements: {pdp: {parameters: {model: v1}}}\nattributes: {country: {type: string}}\n"
EXPERIMENT = """\
experiments:
  NAME:
    name: A
    hypothesis: B
    status: STATUS
    placements: [pdp]
    traffic: 20%
    variants:
      control: {weight: 50%}
      treatment: {weight: 50%, parameters: {pdp: {model: NAME}}}
"""
Variants = dict[str, dict[int, str]]  # experiment → number of a unit → its variant


@dataclass
class Shop:
    """A directory of documents, and the commands run on it."""

    config: Path
    said: list[str] = field(default_factory=list)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.config / f"{name}.yaml").write_text(text)

    def run(self, *words: str) -> int:
        command = [sys.executable, "-m", "abside", *words, "--config", str(self.config), "--yes"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.said += [f"$ abside {' '.join(words)}", done.stdout + done.stderr]
        return done.returncode

    def variants(self, units: int, country: str = "DE") -> Variants:
        """Assign units as a sidecar would that has these documents."""
        snapshot = settle(Reading(documents(str(self.config)).files), None, NOW).snapshot
        assert snapshot is not None
        plan = build_plans(snapshot, NOW).placements["pdp"]
        found: Variants = {name: {} for name in snapshot.experiments}
        for number in range(units):
            for one in plan.assign(Subject(f"u{number}", None, {"country": country}, "pdp")).assignments:
                found[one.experiment][number] = one.variant
        return found


def moves(before: Variants, after: Variants) -> Iterable[tuple[str, int, int, int, int]]:
    """Yield for each experiment how many units stay, leave, join and switch their variant."""
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name, {}), after.get(name, {})
        both = was.keys() & now.keys()
        switched = sum(was[number] != now[number] for number in both)
        yield name, len(both), len(was) - len(both), len(now) - len(both), switched


def second(shop: Shop, units: int) -> list[tuple[str, int, int, int, int]]:
    """Start a second experiment on the parameter of one that runs without a layer, as the messages have it."""
    first = EXPERIMENT.replace("NAME", "pdp-reranker").replace("STATUS", "running")
    shop.write(ground=GROUND, first=first, second=EXPERIMENT.replace("NAME", "pdp-more").replace("STATUS", "draft"))
    before = shop.variants(units)
    assert shop.run("set", "pdp-more", "status=running") == 1
    assert shop.variants(units) == before
    advice = re.findall(r"in (\S+) layer: (\S+) and slots: ([0-9.%-]+)", shop.said[-1])[:2]
    assert "declare layers: {pdp: {}}" in shop.said[-1]
    shop.write(ground=f"{GROUND}layers: {{pdp: {{}}}}\n")
    words = [[name, f"layer={layer}", f"slots={slots}"] for name, layer, slots in advice]
    assert shop.run("set", *words[0], "--", *words[1], "--", "pdp-more", "status=running") == 0, shop.said[-1]
    return list(moves(before, shop.variants(units)))


def test_the_second_experiment_on_a_parameter_starts_and_nobody_changes_variant(tmp_path: Path) -> None:
    (more, *its), (reranker, stay, leave, join, switched) = second(Shop(tmp_path), UNITS)
    assert (more, its[0], its[1], its[3]) == ("pdp-more", 0, 0, 0)
    assert (reranker, join, switched) == ("pdp-reranker", 0, 0)
    assert abs(stay - leave) < 150  # half of 1,000: five standard errors are 158
    assert abs(its[2] - UNITS * 0.1) < 110


def ship(shop: Shop, units: int) -> list[tuple[str, int, int, int, int]]:
    """Ship what was tested on a part of the shoppers, beside another experiment."""
    first = EXPERIMENT.replace("NAME", "pdp-reranker").replace("STATUS", "running").replace("20%", "12%")
    tested = first.replace("    variants:", "    eligibility: [{attribute: country, op: eq, value: DE}]\n    variants:")
    other = EXPERIMENT.replace("NAME", "pdp-more").replace("STATUS", "running").replace("model: pdp-more", "rows: 9")
    shop.write(ground=GROUND.replace("model: v1", "model: v1, rows: 4"), first=tested, second=other)
    before = shop.variants(units)
    assert shop.run("ship", "pdp-reranker", "treatment") == 0, shop.said[-1]
    return list(moves(before, shop.variants(units)))


def test_what_was_tested_on_a_part_ships_with_a_warning_and_nobody_changes_variant(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    more, (reranker, stay, leave, _, _) = ship(shop, UNITS)
    said = "treatment of pdp-reranker was tested on 12 % of shoppers: country DE; now everybody gets it"
    assert f"{said} [WIDER_THAN_TESTED]" in shop.said[-1]
    assert more == ("pdp-more", more[1], 0, 0, 0)
    assert (reranker, stay) == ("pdp-reranker", 0)
    assert leave > 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder))
        for scenario in (second, ship):
            rows = scenario(shop, 200_000)
            print("\n".join(shop.said).replace(folder, "config"))
            for row in rows:
                print("{}: {:,} stay, {:,} leave, {:,} join, {:,} switch variant".format(*row))
            shop.said.clear()
