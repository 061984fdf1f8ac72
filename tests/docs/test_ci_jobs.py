"""The jobs of docs/ci, run as a runner would: in a clone with a base branch, each step by a shell of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # noqa: TID251 a runner's YAML, not ours

ROOT = Path(__file__).resolve().parents[2]
CI = ROOT / "docs" / "ci"
GOOD = """\
placements:
  pdp: {parameters: {model: a}}
experiments:
  rerank:
    name: Re-ranker
    hypothesis: More carts
    status: running
    traffic: 20%
    placements: [pdp]
    variants: {control: {weight: 50%}, treatment: {weight: 50%, parameters: {pdp: {model: b}}}}
"""
# A runner's own tools, which note what they were called with.
GH = '#!/bin/sh\necho "$@" > "$STAND_IN_LOG"\n'


class Clone:
    """A clone whose base branch has the good documents, and whose work tree has others."""

    def __init__(self, folder: Path, documents: str, base: str | None = GOOD) -> None:
        self.folder, self.origin, self.log = folder / "clone", folder / "origin", folder / "called"
        self.origin.mkdir()
        self.git(self.origin, "init", "-q", "-b", "main")
        (self.origin / "README").write_text("documents\n")
        if base is not None:
            (self.origin / "experiments").mkdir()
            (self.origin / "experiments" / "pdp.yaml").write_text(base)
        self.git(self.origin, "add", ".")
        self.git(self.origin, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "documents")
        self.git(folder, "clone", "-q", str(self.origin), str(self.folder))
        (self.folder / "experiments").mkdir(exist_ok=True)
        (self.folder / "experiments" / "pdp.yaml").write_text(documents)
        tools = folder / "tools"
        tools.mkdir()
        for name in ("gh", "curl"):
            (tools / name).write_text(GH)
            (tools / name).chmod(0o755)
        (tools / "abside").symlink_to(Path(sys.prefix) / "bin" / "abside")
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"  # noqa: TID251 a child's own, made from ours
        self.environment = {"PATH": path, "HOME": str(folder), "STAND_IN_LOG": str(self.log)}

    @staticmethod
    def git(folder: Path, *words: str) -> None:
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)

    def run(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a step as both runners do: the first command that fails ends it."""
        command = ["bash", "-e", "-o", "pipefail", "-c", script]
        return subprocess.run(
            command, cwd=self.folder, env={**self.environment, **variables}, capture_output=True, text=True, check=False
        )


CASES = pytest.mark.parametrize(
    ("documents", "base", "code", "words"),
    [
        (
            GOOD.replace("20%", "60%"),
            GOOD,
            0,
            ["0 errors", "rerank is ramped up from 20 % to 60 %", "40 % join"],
        ),
        (GOOD.replace("running", "runing"), GOOD, 1, ["1 error", "did you mean running?", "`pdp.yaml:7:13`"]),
        (GOOD.replace("{weight: 50%}, t", "{weight: 40%}, t"), GOOD, 1, ["weights must sum to exactly 100 %"]),
        (GOOD, None, 0, ["0 errors"]),
    ],
    ids=["ramp", "typo", "weights", "first documents"],
)


@CASES
def test_the_github_job(tmp_path: Path, documents: str, base: str | None, code: int, words: list[str]) -> None:
    clone = Clone(tmp_path, documents, base)
    job = yaml.safe_load((CI / "github.yaml").read_text())["jobs"]["check"]
    steps: dict[str, Any] = {step["name"]: step for step in job["steps"] if "run" in step}
    summary, output = tmp_path / "summary", tmp_path / "output"
    told = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(output), "GITHUB_BASE_REF": "main"}
    checked = clone.run(steps["check"]["run"], **told)
    assert checked.returncode == 0, checked.stderr  # the comment comes first
    comment = (clone.folder / "comment.md").read_text()
    assert summary.read_text() == comment
    for one in words:
        assert one.replace("pdp.yaml", "experiments/pdp.yaml") in comment
    assert clone.run(steps["comment"]["run"], PULL_REQUEST="7").returncode == 0
    assert clone.log.read_text() == "pr comment 7 --edit-last --create-if-none --body-file comment.md\n"
    found = re.fullmatch(r"code=(\d)\n", output.read_text())
    assert found
    assert clone.run(steps["verdict"]["run"], CODE=found[1]).returncode == code


@CASES
def test_the_gitlab_job(tmp_path: Path, documents: str, base: str | None, code: int, words: list[str]) -> None:
    clone = Clone(tmp_path, documents, base)
    job = yaml.safe_load((CI / "gitlab.yaml").read_text())["experiments"]
    about = {"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "CI_API_V4_URL": "https://gitlab.example/api/v4"}
    about |= {"CI_PROJECT_ID": "3", "CI_MERGE_REQUEST_IID": "9", "NOTES_TOKEN": "secret"}
    done = clone.run("\n".join(job["script"]), **about)
    assert done.returncode == code, done.stderr
    for one in words:
        assert one.replace("pdp.yaml", "experiments/pdp.yaml") in done.stdout
    assert clone.log.read_text().endswith("https://gitlab.example/api/v4/projects/3/merge_requests/9/notes\n")


def test_what_both_install_is_the_commands_own_extra() -> None:
    for name in ("github.yaml", "gitlab.yaml"):
        assert "abside[agent] @ git+https://example.com/" in (CI / name).read_text()


def test_a_document_can_neither_end_a_cell_nor_call_a_person(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD.replace("status: running", 'status: "a | @bob <script> `x` *b*"'))
    done = subprocess.run(
        [Path(sys.prefix) / "bin" / "abside", "check", str(tmp_path), "--format", "markdown"],
        capture_output=True,
        text=True,
        check=False,
    )
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| **error**")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    outside = re.sub(r"`[^`]*`", "", row)
    assert not re.search(r"[@<>]", outside)


def test_two_forms_at_once_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    command = [f"{sys.prefix}/bin/abside", "check", str(tmp_path), "--format", "markdown", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "give one of them" in done.stderr
