"""The pytest plugin: `abside_sidecar` puts documents in force in a real sidecar, which all tests of a run share."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from abside.testing.running import GivenDocuments, SidecarProcess, TestSidecar

# Nothing of ours is imported before the fixture is used: pytest loads this file in every run beside this package.


@pytest.fixture(scope="session")
def _abside_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    process: SidecarProcess = _running().SidecarProcess(tmp_path_factory.mktemp("abside"))
    yield process
    process.stop()


@pytest.fixture
def abside_sidecar(_abside_process: SidecarProcess) -> Iterator[Callable[[GivenDocuments], TestSidecar]]:
    """Return the function from documents (YAML text, a file or folder, texts by name) to a sidecar that has them."""
    made: list[TestSidecar] = []

    def start(documents: GivenDocuments) -> TestSidecar:
        _abside_process.apply(documents)
        made.append(_running().TestSidecar(_abside_process))
        return made[-1]

    yield start
    for one in made:
        one.close()


def _running() -> Any:
    """Return the module of the sidecar, where all that it takes is installed; else fail the test with the remedy."""
    try:
        import_module("abside_agent.settle.settle")  # compiles documents
        import_module("abside_agent.sources.mounted")
        return import_module("abside.testing.running")
    except ModuleNotFoundError as exc:
        if (exc.name or "").startswith("abside"):
            raise
        pytest.fail(
            f"abside_sidecar needs {exc.name}, which the 'agent' extra brings: pip install 'abside[agent]'",
            pytrace=False,
        )
