"""The pytest plugin: `abside_sidecar` puts documents in force in a real sidecar, which all tests of a run share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from abside.testing.running import GivenDocuments, SidecarProcess, TestSidecar

# Nothing of ours is imported before the fixture is used: pytest loads this file in every run beside this package.


@pytest.fixture(scope="session")
def _abside_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    from abside.testing.running import SidecarProcess  # noqa: PLC0415 see above

    process = SidecarProcess(tmp_path_factory.mktemp("abside"))
    yield process
    process.stop()


@pytest.fixture
def abside_sidecar(_abside_process: SidecarProcess) -> Iterator[Callable[[GivenDocuments], TestSidecar]]:
    """Return the function from documents (YAML text, a file or folder, texts by name) to a sidecar that has them."""
    from abside.testing.running import TestSidecar  # noqa: PLC0415 see above

    made: list[TestSidecar] = []

    def start(documents: GivenDocuments) -> TestSidecar:
        _abside_process.apply(documents)
        made.append(TestSidecar(_abside_process))
        return made[-1]

    yield start
    for one in made:
        one.close()
