"""Documents that a person names: a file, a directory, a ConfigMap manifest, or a git revision.

Files of one document have the same names in every place, so that two states of it can be compared by file.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from abside_agent.document.parse import parse
from abside_agent.document.reading import MAX_FILE_BYTES, MAX_FILES, File, is_document
from abside_agent.document.tree import Mapping, Scalar, flaw
from abside_agent.sources.keys import odd_names
from abside_agent.sources.mounted import read_file, shown_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from abside.snapshot import Problem
    from abside_agent.document.tree import Node, Tree

LONE_FILE = "document.yaml"  # the name of a single file, so that it can be compared with another one
GIT_SECONDS = 30.0  # a partial clone may fetch objects; if it takes longer, git waits at a prompt that nobody answers
_CONFIG_MAP = re.compile(rb"""["']?kind["']?[ \t]*:[ \t]*["']?ConfigMap\b""")


@dataclass(frozen=True, slots=True)
class Documents:
    """The files of one state. `shown`: file name → its place for people; `problems`: those of manifests."""

    files: tuple[File, ...]
    shown: dict[str, str]
    problems: tuple[Problem, ...] = ()

    def place(self, problem: Problem) -> Problem:
        """Return the problem with the place of its file for people."""
        return replace(problem, file=shown_name(self.shown.get(problem.file, problem.file)))


class DocumentsError(Exception):
    """There are no documents in the named place."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(place, why)
        self.place = place
        self.why = why

    def __str__(self) -> str:
        return f"{self.place}: {self.why}"


def documents(place: str) -> Documents:
    """Read the *.yaml of a directory, a file, or `REV:path` in git. Raises DocumentsError."""
    path = Path(place)
    unread: list[Problem] = []
    if path.is_dir():
        names = sorted(one for one in path.iterdir() if is_document(one.name))
        found = [(shown_name(one.name), str(one), *_read(one)) for one in names[: MAX_FILES + 1]]
        unread = [_unread(path / name) for name in odd_names(sorted(one.name for one in path.iterdir()))]
    elif path.exists():
        found = [(LONE_FILE, place, *_read(path))]
    elif ":" in place:
        found = [(name, shown, data, "") for name, shown, data in _from_git(place)]
    else:
        raise DocumentsError(place, "no such file or directory; a git revision is written REV:path, as HEAD:k8s/config")
    if len(found) > MAX_FILES:
        raise DocumentsError(place, f"more than {MAX_FILES} files")
    gathered = _gathered(found)
    return replace(gathered, problems=(*gathered.problems, *unread))


def _unread(path: Path) -> Problem:
    """Warn of a file that its writer may take for a document, as the agent does."""
    remedy = f"rename it to {path.stem}.yaml"
    return flaw(str(path), "FILE_NAME", (), "only *.yaml is read", remedy, severity="warning").problem


def _read(path: Path) -> tuple[bytes, str]:
    data, refusal = read_file(path, MAX_FILE_BYTES + 1)
    return data or b"", refusal


def _gathered(found: Iterable[tuple[str, str, bytes, str]]) -> Documents:
    """Return the files, with each manifest replaced by its keys."""
    files: dict[str, File] = {}
    shown: dict[str, str] = {}
    problems: list[Problem] = []
    for name, where, data, refusal in found:
        manifest = _manifest(where, data)
        keys = [(name, where, data)] if manifest is None else list(_keys(manifest, where, data))
        problems += [] if manifest is None else [one.problem for one in manifest.flaws]
        for key, key_where, key_data in keys:
            unique = key if key not in files else f"{name}/{key}"
            files[unique] = File(unique, key_data, refusal=refusal)
            shown[unique] = key_where
    return Documents(tuple(files.values()), shown, tuple(problems))


def _manifest(where: str, data: bytes) -> Tree | None:
    """Return the tree of a ConfigMap manifest; None for every other file."""
    if not _CONFIG_MAP.search(data):
        return None
    tree = parse(where, data, is_document=False)
    kind = tree.node(("kind",))
    return tree if isinstance(kind, Scalar) and kind.value == "ConfigMap" else None


def _keys(manifest: Tree, where: str, data: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Yield (key, its place, its text) of the keys that the agent reads."""
    entries = manifest.node(("data",))
    for key in odd_names(sorted(entries.items)) if isinstance(entries, Mapping) else ():
        remedy = f"rename the key to {key.rpartition('.')[0]}.yaml"
        manifest.note(
            "FILE_NAME", ("data", key), "only keys *.yaml are read", remedy, severity="warning", at_key=True, value=""
        )
    lines = data.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    for key, node in entries.items.items() if isinstance(entries, Mapping) else ():
        if is_document(key):
            placed = _in_place(node, lines)
            text = _text(node) if placed is None else placed
            yield key, where if placed is not None else f"{where}#{key}", text.encode()


def _text(node: Node) -> str:
    return node.text if isinstance(node, Scalar) else ""


def _in_place(node: Node, lines: list[str]) -> str | None:
    """Return a literal block at the lines and columns it has in the manifest; None for any other value.

    Empty lines stand for those before it, and its own keep their indent, which YAML allows for a whole document.
    """
    if not isinstance(node, Scalar):
        return None
    content = node.text.rstrip("\n").split("\n")
    first = node.place[0]
    block = lines[first : first + len(content)]
    indent = next((len(line) - len(line.lstrip(" ")) for line in block if line.strip()), 0)
    is_literal = [line[indent:] for line in block] == content and all(not line[:indent].strip() for line in block)
    has_markers = any(line.startswith(("---", "...", "%")) for line in content)  # only in the first column
    return "\n" * first + "\n".join(block) + "\n" if is_literal and not has_markers else None


def _from_git(place: str) -> Iterator[tuple[str, str, bytes]]:
    """Yield (name, place, data) of a blob, or of the *.yaml of a tree."""
    revision, _, path = place.partition(":")
    if shutil.which("git") is None:
        raise DocumentsError(place, "there is no such file, and git, which could know a revision, is not installed")
    _git(
        place, f"git knows no revision {revision!r} here", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"
    )
    missing = f"revision {revision} has no {path!r}; a path counts from the top of the repository, or begins with ./"
    kind = _git(place, missing, "cat-file", "-t", place).strip()
    if kind == b"blob":
        yield LONE_FILE, place, _git(place, missing, "cat-file", "blob", place)
        return
    for entry in _git(place, missing, "ls-tree", "-z", place).split(b"\0"):
        about, _, raw = entry.partition(b"\t")
        name = raw.decode("utf-8", "replace")
        if is_document(name) and about.split()[1:2] == [b"blob"]:
            blob = about.split()[2].decode()
            yield name, f"{place.rstrip('/')}/{name}", _git(place, missing, "cat-file", "blob", blob)


def _git(place: str, why: str, *words: str) -> bytes:
    try:
        done = subprocess.run(["git", *words], capture_output=True, timeout=GIT_SECONDS, check=False)  # noqa: S603, S607 the git of the user's PATH
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise DocumentsError(place, f"git could not be asked: {exc}") from exc
    if done.returncode != 0:
        content = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise DocumentsError(place, f"{why} ({content[-1]})" if content else why)
    return done.stdout
