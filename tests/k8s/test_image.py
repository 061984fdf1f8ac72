"""What the image is made from: the Dockerfile, the build's context, and the locked requirements."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

from abside import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EXTRAS = {  # what the roles of a cluster need
    "image.txt": ("agent", "collector", "kafka", "objects"),
    "report.txt": ("agent", "objects", "report"),
}


def locked(path: Path) -> dict[str, str]:
    """Return the pinned version of every distribution, for this Python where a lock names several."""
    lines = re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)(?: ; (.+?))? \\$", path.read_text(), re.MULTILINE)
    return {name: version for name, version, marker in lines if not marker or Marker(marker).evaluate()}


def asked(root: Path, lock: str) -> list[Requirement]:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    optional, extras = project["optional-dependencies"], [*EXTRAS[lock]]
    if "report" in extras:
        extras.append("collector")  # which it names
    lines = [line for extra in extras for line in optional[extra] if not line.startswith("abside[")]
    return [Requirement(line) for line in [*project["dependencies"], *lines]]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_hadolint_finds_nothing(tool: Callable[[str], str], root: Path) -> None:
    done = subprocess.run([tool("hadolint"), str(root / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("lock", [*EXTRAS, "image-build.txt"])
def test_every_locked_line_is_one_version_with_hashes(root: Path, lock: str) -> None:
    text = (root / "requirements" / lock).read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) >= len(locked(root / "requirements" / lock)) > 10
    assert all(re.match(r"[a-z0-9._-]+==[0-9][^ ]* ", entry) for entry in entries)
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text  # an index is chosen by who installs


@pytest.mark.parametrize("lock", EXTRAS)
def test_the_lock_answers_what_the_project_asks_for(root: Path, lock: str) -> None:
    versions = locked(root / "requirements" / lock)
    for requirement in asked(root, lock):
        assert requirement.specifier.contains(versions[normal(requirement.name)]), requirement


@pytest.mark.parametrize("lock", EXTRAS)
def test_the_lock_holds_what_those_ask_for_in_turn(root: Path, lock: str) -> None:
    versions = locked(root / "requirements" / lock)
    needed = set(closure(asked(root, lock), versions))
    assert needed <= versions.keys()


def closure(wanted: list[Requirement], versions: dict[str, str]) -> Iterator[str]:
    """Yield every distribution that is needed, as this environment's own metadata names it.

    One that is here in another major version is not followed: it may need others.
    """
    seen: set[str] = set()
    wanted = [one for one in wanted if is_needed(one)]
    while wanted:
        requirement = wanted.pop()
        name = normal(requirement.name)
        if name in seen:
            continue
        seen.add(name)
        yield name
        if importlib.metadata.version(name).partition(".")[0] != versions[name].partition(".")[0]:
            continue
        inner = map(Requirement, importlib.metadata.requires(name) or [])
        wanted += [one for one in inner if is_needed(one, *requirement.extras)]


def is_needed(requirement: Requirement, *extras: str) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def test_the_base_is_a_tag_in_a_build_argument_and_no_digest_is_made_up(root: Path) -> None:
    text = (root / "Dockerfile").read_text()
    (base,) = re.findall(r"^ARG PYTHON=(\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", base)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${PYTHON}"}
    assert f"ARG VERSION={__version__}\n" in text


def test_the_user_is_a_number_and_the_command_stands_alone(root: Path) -> None:
    last_stage = (root / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)$", last_stage, re.MULTILINE) == ["10001:10001"]
    assert 'ENTRYPOINT ["abside"]' in last_stage  # no shell in front of it: signals reach the process


def test_the_context_holds_what_is_copied_and_nothing_else(root: Path) -> None:
    lines = (root / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (root / "Dockerfile").read_text(), re.MULTILINE)
    assert "*" in lines
    assert {source.partition("/")[0] for line in copied for source in line.split()} == allowed
