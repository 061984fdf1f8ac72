"""`abside types`: modules that the checkers of their languages take, and that say what the documents say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result

from abside.cli import main
from abside_agent.commands.typed.names import TypeNames, field_names
from abside_agent.commands.typed.python import python_module
from abside_agent.commands.typed.typescript import typescript_module

DOCUMENT = r"""
placements:
  pdp:
    parameters:
      model: ranker-v1
      item_count: 12
      weights: {margin: 0.0, fresh-ness: 1.0, deep: {depth: 1}}
      tags: [a, b]
      mixed: [1, "a"]
      numbers: [0, 0.5]
      empty: []
      nested: [[1, 2], [3]]
      slots: [{name: a, size: 1}, {name: b, size: 2}]
      odd: [{name: a}, {size: 2}]
      class: x
      top-n: 3
      top_n: 4
      str: text
      "3d": true
      "über": "😀 \"quoted\" \\"
      from_config: 1
      __x: 2
  product-page.v2: {parameters: {rows: 5}}
  Product-Page-v2: {parameters: {rows: 5, more: {rows: 1}}}
  "007": {parameters: {rows: 5}}
  any: {parameters: {only: {top-n: 2}}}
"""
HERE = Path(__file__).parent
Load = Callable[[str], dict[str, Any]]
TSC = Path(sys.prefix) / "openfeature" / "js" / "node_modules" / ".bin" / "tsc"
IN_CI = os.environ.get("CI") == "true"  # noqa: TID251 CI sets it


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "a.yaml").write_text(DOCUMENT)
    return folder


def types(*words: object) -> Result:
    return CliRunner().invoke(main, ["types", *map(str, words)])


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Return what runs a module and returns its names."""

    def run(text: str) -> dict[str, Any]:
        module = ModuleType("made")
        monkeypatch.setitem(sys.modules, "made", module)  # dataclasses look there
        exec(text, module.__dict__)  # noqa: S102 what we made
        return module.__dict__

    return run


def test_a_configuration_becomes_a_frozen_record_and_what_it_lacks_is_the_placements(config: Path, load: Load) -> None:
    made = load(types("--config", config).output)
    base = made["PDP_BASE"]
    pdp = made["Pdp"].from_config({**base, "model": "ranker-v2", "weights": {"margin": 0.5}, "newer": 1})
    assert (pdp.model, pdp.item_count, pdp.weights.margin, pdp.weights.fresh_ness) == ("ranker-v2", 12, 0.5, 1.0)
    assert (pdp.weights.deep.depth, pdp.tags, pdp.nested) == (1, ("a", "b"), ((1, 2), (3,)))
    assert [one.size for one in pdp.slots] == [1, 2]
    assert pdp.odd == ({"name": "a"}, {"size": 2})
    assert (pdp.class_, pdp.top_n, pdp.top_n2, pdp.str_, pdp.n3d, pdp.ber) == (
        "x",
        4,
        3,
        "text",
        True,
        '😀 "quoted" \\',
    )
    assert made["Pdp"].from_config({}) == made["Pdp"].from_config(base)
    with pytest.raises(AttributeError):
        pdp.model = "another"
    assert made["ProductPageV2"].from_config({}).more.rows == 1
    assert made["ProductPageV22"].from_config({}).rows == 5


def test_the_module_that_mypy_checks_beside_its_uses_is_what_is_printed_now(config: Path) -> None:
    assert types("--config", config, "--check", HERE / "made_placements.py").output == ""


def test_tsc_takes_the_module_and_finds_what_is_misused(config: Path, tmp_path: Path) -> None:
    if not TSC.exists():
        say = pytest.fail if IN_CI and shutil.which("npm") else pytest.skip
        say("TypeScript's compiler needs npm: make openfeature")
    (tmp_path / "placements.ts").write_text(types("--config", config, "--language", "typescript").output)
    use = """\
import { PDP_BASE, type Placements } from "./placements";
const pdp: Placements["pdp"] = PDP_BASE;
const sizes: readonly number[] = pdp.slots.map((one) => one.size + pdp.weights["fresh-ness"]);
const page: Placements["product-page.v2"] = { rows: 2 };
pdp.modle; // wrong
pdp.item_count = 3; // wrong
const text: string = pdp.item_count; // wrong
pdp.tags.push("c"); // wrong
"""
    (tmp_path / "use.ts").write_text(use)
    command = [str(TSC), "--noEmit", "--strict", "--pretty", "false", "--lib", "es5", "use.ts"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    found = {int(line.split("(")[1].split(",")[0]) for line in ended.stdout.splitlines() if line.startswith("use.ts(")}
    assert found == {number for number, line in enumerate(use.splitlines(), 1) if line.endswith("// wrong")}, (
        ended.stdout
    )
    assert "placements.ts(" not in ended.stdout


@pytest.mark.parametrize(("name", "words"), [("made.py", ()), ("made.ts", ()), ("made", ("--language", "typescript"))])
def test_a_file_that_is_out_of_date_fails_a_pipeline(
    config: Path, tmp_path: Path, name: str, words: tuple[str, ...]
) -> None:
    file = tmp_path / name
    language = words or (("--language", "typescript") if name.endswith(".ts") else ())
    file.write_text(types("--config", config, *language).output)
    assert types("--config", config, *words, "--check", file).exit_code == 0
    (config / "a.yaml").write_text(DOCUMENT.replace("item_count: 12", "item_count: 12.5"))
    late = types("--config", config, *words, "--check", file)
    assert late.exit_code == 1
    assert "12.5" in late.output
    assert "run abside types" in late.output


def test_a_wrong_call_and_documents_with_errors_print_no_module(config: Path, tmp_path: Path) -> None:
    (tmp_path / "made.txt").write_text("")
    assert "add --language" in types("--config", config, "--check", tmp_path / "made.txt").output
    assert types("--config", config, "--check", tmp_path / "none.py").exit_code == 2
    (config / "b.yaml").write_text("placements: {home: {parameters: {rows: ~}}}")
    wrong = types("--config", config)
    assert wrong.exit_code == 1
    assert "class" not in wrong.stdout


def test_the_output_depends_on_the_documents_only(config: Path, load: Load) -> None:
    assert types("--config", config).output == types("--config", config).output
    parameters: dict[str, Any] = {"b": {"rows": 1, "x": None}, "a": {"list": [{}, {"k": [True]}]}}
    for module in (python_module, typescript_module):
        assert module(parameters) == module(json.loads(json.dumps(parameters)))
    assert "x: null" in typescript_module(parameters)
    assert load(python_module(parameters))["B"].from_config({}).x is None


def test_names_are_identifiers_and_none_is_there_twice() -> None:
    names = TypeNames()
    taken = [names.take("a-b"), names.take("A.B"), names.take("a", "b-config"), names.take("any"), names.take("9")]
    assert taken == ["AB", "AB2", "ABConfig2", "Any2", "P9"]
    fields = field_names(("a-b", "a_b", "a b", "", "--", "1", "lambda", "_x"))
    assert fields == {
        "a-b": "a_b2", "a_b": "a_b", "a b": "a_b3", "": "field", "--": "field2", "1": "n1",
        "lambda": "lambda_", "_x": "x",
    }  # fmt: skip
