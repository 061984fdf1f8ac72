"""One noun for one thing: a type name is defined once, and the words of the map are those of the code."""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAP = (ROOT / "docs" / "architecture.md").read_text()


@cache
def type_names() -> dict[str, list[str]]:
    """List, for each name of a class or an alias of a type at the top of a module, the modules that define it."""
    found: dict[str, list[str]] = defaultdict(list)
    for folder in ("src", "agent"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                name = defined(node)
                if name:
                    found[name].append(str(path.relative_to(ROOT)))
    return found


def defined(node: ast.stmt) -> str:
    if isinstance(node, ast.ClassDef):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    if not isinstance(target, ast.Name):
        return ""
    is_camel = re.fullmatch(r"_?[A-Z][a-z]\w*", target.id) is not None
    return target.id if is_camel else ""


def test_a_type_name_is_defined_once() -> None:
    twice = {name: files for name, files in type_names().items() if len(files) > 1}
    assert not twice


def test_every_type_in_the_table_of_words_is_defined() -> None:
    table = MAP[MAP.index("## Words") :]
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", table))
    assert len(named) > 20
    assert named <= type_names().keys()


def test_every_path_of_the_map_exists() -> None:
    paths = re.findall(r"`((?:src|agent|tests|docs|bench|k8s)/[\w./-]+)`|\]\(\.\./([\w./-]+)\)", MAP)
    missing = [path for pair in paths for path in pair if path and not (ROOT / path).exists()]
    assert paths
    assert not missing
