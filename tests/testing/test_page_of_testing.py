"""docs/testing.md is true: its blocks run, each file of it under pytest in a project of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "testing.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FILES = {found[1]: block for block in BLOCKS if (found := re.match(r"# (test_\w+\.py)\n", block))}
NEEDED = {
    "test_with_fastapi.py": ("fastapi", "httpx"),
    "test_with_flask.py": ("flask",),
    "test_with_django.py": ("django",),
}


def test_the_page_has_a_file_for_each_framework_and_one_of_documents() -> None:
    assert {*NEEDED, "test_documents.py"} == FILES.keys()
    assert len(BLOCKS) == len(FILES) + 1


def test_the_first_block_runs_as_it_stands() -> None:
    names: dict[str, object] = {}
    exec(BLOCKS[0], names)  # noqa: S102 our own page
    assert "client" in names


def test_the_files_pass_in_a_project_of_their_own(tmp_path: Path) -> None:
    missing = {name for names in NEEDED.values() for name in names if find_spec(name) is None}
    files = {name: text for name, text in FILES.items() if missing.isdisjoint(NEEDED.get(name, ()))}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    # A run of its own, without this project's plugins and settings; the entry point is as `-p` has it.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "abside.testing.plugin", "-p", "no:cacheprovider"]
    ended = subprocess.run([*command, *files], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{len(files)} passed" in ended.stdout
    if missing:
        pytest.skip(f"the other files of the page need {', '.join(sorted(missing))}: install the dev extra")
