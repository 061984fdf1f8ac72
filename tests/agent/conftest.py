"""Worlds of the agent's tests: a document to change, and an agent without processes, files or clocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from abside.snapshot import Problem, Snapshot, decode, encode
from abside_agent.document.reading import File, Lost, Reading
from abside_agent.settle.check import check
from abside_agent.settle.settle import Settled, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Doc:
    """Writes documents."""

    GROUND = """\
attributes:
  country: {type: string, log: true}
placements:
  pdp: {parameters: {model: v1, weights: {margin: 0.0, fresh: 1.0}, count: 12, tags: [a], steps: [0, 0.5], on: true}}
  home: {parameters: {model: h1}}
layers:
  ranking: {}
"""
    BAD_WEIGHTS = "{control: {weight: 50%}, b: {weight: 49%}}"

    @staticmethod
    def experiment(name: str, **changes: Any) -> str:
        """Write one experiment as a line of YAML; a change to None leaves its field out."""
        fields = {
            "name": "A test",
            "hypothesis": "It lifts",
            "status": "running",
            "placements": "[pdp]",
            "variants": Doc.setting("model", "v2"),
            **changes,
        }
        written = ", ".join(f"{key}: {value}" for key, value in fields.items() if value is not None)
        return f"  {name}: {{{written}}}\n"

    @staticmethod
    def experiments(*lines: str) -> str:
        """Write the section of experiments."""
        return "experiments:\n" + "".join(lines)

    @staticmethod
    def one(name: str, **changes: Any) -> str:
        """Write a file of one experiment."""
        return Doc.experiments(Doc.experiment(name, **changes))

    @staticmethod
    def setting(parameter: str, value: str = "9", placement: str = "pdp") -> str:
        """Write variants of which one sets a parameter."""
        return (
            f"{{control: {{weight: 50%}}, b: {{weight: 50%, parameters: {{{placement}: {{{parameter}: {value}}}}}}}}}"
        )


@dataclass
class Pod:
    """An agent's memory: the snapshot in force, as bytes, and nothing else."""

    published: bytes = b""
    last: Settled = field(default_factory=lambda: Settled(None, ()))

    def sees(
        self, files: Mapping[str, str | bytes], pauses: Mapping[str, str] | None = None, **more: Any
    ) -> Snapshot | None:
        """Settle what the directories contain now, and publish it."""
        known = tuple(File(name, text if isinstance(text, bytes) else text.encode()) for name, text in files.items())
        reading = Reading(known, paused={"paused": dict(pauses or {})}, **more)
        force = decode(self.published) if self.published else None
        self.last = settle(Reading.unpack(reading.pack()), force, 1_795_000_000_000_000)
        if self.last.snapshot is not None:
            self.published = encode(self.last.snapshot)
            return decode(self.published)
        return None

    def publishes(self, files: Mapping[str, str | bytes], *arguments: Any, **more: Any) -> Snapshot:
        """Settle as `sees` does, where something must be published."""
        snapshot = self.sees(files, *arguments, **more)
        assert snapshot is not None
        return snapshot

    @property
    def codes(self) -> set[str]:
        """The codes of the last problems."""
        return {problem.code for problem in self.last.problems}


@pytest.fixture
def doc() -> type[Doc]:
    return Doc


@pytest.fixture
def pod() -> Pod:
    return Pod()


@pytest.fixture
def make_pod() -> type[Pod]:
    return Pod


@pytest.fixture
def lost() -> type[Lost]:
    return Lost


@pytest.fixture
def problems_of() -> Callable[..., list[Problem]]:
    """Check files, or one called `f.yaml`, as an agent that starts now."""

    def problems(files: Mapping[str, str] | str) -> list[Problem]:
        named = {"f.yaml": files} if isinstance(files, str) else files
        checked = check([File(name, text.encode()) for name, text in named.items()])
        return [flaw.problem for flaw in checked.flaws()]

    return problems
