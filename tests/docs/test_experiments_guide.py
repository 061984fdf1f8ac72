"""The guide is true: every YAML block passes check where it says it stands, every command's output is what it prints.

`python tests/docs/test_experiments_guide.py` runs the guide and writes the outputs anew.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from console import environment, typed

from abside_agent.settle.check import check
from abside_agent.sources.given import given

GUIDE = Path(__file__).parents[2] / "docs" / "experiments.md"
_BLOCK = re.compile(r"^## (?P<title>[^\n]+)$|^```(?P<kind>yaml|console)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)


def run(world: Path, text: str) -> str:
    """Walk through the guide in an empty folder: write its files, run its commands; give it with their real output.

    Each recipe begins with everything committed, as a PM's branch does.
    """
    git(world, "init", "--quiet")
    written, reached = [], 0
    for found in _BLOCK.finditer(text):
        written.append(text[reached : found.start()])
        reached = found.end()
        if found["title"]:
            git(world, "add", "--all")
            git(world, "commit", "--quiet", "--allow-empty", "--message", found["title"])
            written.append(found[0])
        elif found["kind"] == "yaml":
            place(world, found["body"])
            written.append(found[0])
        else:
            written.append(f"```console\n{session(world, found['body'])}```")
    return "".join([*written, text[reached:]])


def place(world: Path, body: str) -> None:
    """Write one block to the file its first line names, and hold the whole configuration to check."""
    name = re.match(r"# (config/[a-z-]+\.yaml)\n", body)
    assert name, f"a YAML block begins with the name of its file: {body[:60]!r}"
    path = world / name[1]
    path.parent.mkdir(exist_ok=True)
    path.write_text(body)
    errors = [str(one.problem) for one in check(given([str(world / "config")]).files).flaws() if one.is_error]
    assert not errors, errors


def session(world: Path, body: str) -> str:
    """Run the lines that begin with `$ `, and give them with what each prints."""
    said = ""
    for line in body.splitlines():
        if line.startswith("$ "):
            _, told = typed(line[2:], world)
            said += f"{line}\n{told}"
    return said if said.endswith("\n") else said + "\n"


def git(world: Path, *words: str) -> None:
    who = ("-c", "user.name=pm", "-c", "user.email=pm@example.com")
    subprocess.run(["git", *who, *words], cwd=world, env=environment(), check=True, capture_output=True)


def test_every_block_passes_check_and_every_output_is_real(tmp_path: Path) -> None:
    text = GUIDE.read_text()
    assert run(tmp_path, text) == text, "write it anew: python tests/docs/test_experiments_guide.py"


def test_it_has_the_recipes_people_ask_for() -> None:
    text = GUIDE.read_text()
    titles = " ".join(re.findall("^## (.+)$", text, re.MULTILINE)).lower()
    for recipe in ("a/a", "80/20", "ramp", "schedule", "pause and resume", "roll back", "ship", "exclusion"):
        assert recipe in titles, recipe
    for recipe in ("country", "version", "new phase", "qa", "feature weights"):
        assert recipe in titles, recipe
    assert not re.findall(
        r"^```(?!yaml$|console$|sh$|$)", text, re.MULTILINE
    )  # nothing stands in a block no test reads


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        GUIDE.write_text(run(Path(folder), GUIDE.read_text()))
