"""Documents of directories as texts: changed, checked by every rule, shown as a diff and written."""

from __future__ import annotations

import difflib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from abside.files import FileRefusedError, read_regular, write_beside
from abside_agent.commands.check import findings
from abside_agent.commands.edit.spans import EditError, change, removed
from abside_agent.document.reading import MAX_FILE_BYTES, Reading
from abside_agent.document.tree import Bad, plain
from abside_agent.document.wording import did_you_mean
from abside_agent.rules.transition import transitions
from abside_agent.settle.check import check
from abside_agent.settle.settle import settle
from abside_agent.sources.given import Given, given

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from abside.snapshot import Problem
    from abside_agent.document import tree


@dataclass(frozen=True, slots=True)
class Editing:
    """Files as they are (`before`) and as they will be (`texts`), each place → text."""

    read: Given
    before: dict[str, str]
    texts: dict[str, str]

    def source(self, section: str, name: str) -> tuple[str, tree.Tree]:
        """Return the file that contains an entity, and its tree. Raises EditError."""
        checked = check(self.read.files)
        known = {one.id: one for one in checked.candidates if one.section == section}
        if name in checked.retired and name not in known:
            raise EditError((section, name), "it is retired: its id may never be used again", "choose a new id")
        if name not in known:
            remedy = did_you_mean(name, known) or f"known are {', '.join(sorted(known)) or 'none'}"
            raise EditError((section, name), "it is not in these documents", remedy)
        return known[name].tree.file, known[name].tree

    def changed(self, path: tree.Path, value: str) -> Editing:
        """Return the files with one value changed. Raises EditError, also where anything else would change."""
        return self._edited(path, lambda text: change(text, path, value))

    def without(self, path: tree.Path) -> Editing:
        """Return the files with one key and its value taken away, or as they are where it is not there.

        Raises EditError, also where anything else would change.
        """
        return self._edited(path, lambda text: removed(text, path))

    def _edited(self, path: tree.Path, edit: Callable[[str], str]) -> Editing:
        name, old = self.source(str(path[0]), str(path[1]))
        if name not in self.texts:
            what = "a ConfigMap manifest" if self.read.shown.get(name, name) in self.texts else "no plain file"
            raise EditError(path, f"it is in {what}, which is not changed in place")
        texts = {**self.texts, name: edit(self.texts[name])}
        if texts == self.texts:
            return self
        edited = Editing(_with(self.read, texts), self.before, texts)
        _nothing_else(old, edited.source(str(path[0]), str(path[1]))[1], path)
        return edited

    def problems(self, at_us: int) -> list[Problem]:
        """Return the problems of `check`, and the forbidden changes of experiments that ran."""
        found = findings(self.read, at_us).problems
        if any(problem.severity == "error" for problem in found):
            return found
        in_force = _with(self.read, self.before)
        old = settle(Reading(in_force.files), None, at_us).snapshot
        new = settle(Reading(self.read.files), old, at_us).snapshot if old is not None else None
        if old is None or new is None:
            return found
        trees = check(self.read.files).trees
        return [*found, *(self.read.place(one) for one in transitions(old, new, at_us, trees))]

    def old_errors(self, at_us: int) -> set[tuple[str, str]]:
        """Return code and path of the errors that the files have as they are, without the change."""
        found = findings(_with(self.read, self.before), at_us).problems
        return {(one.code, one.path) for one in found if one.severity == "error"}

    def diff(self) -> Iterator[str]:
        """Yield the lines of a unified diff, each with its end."""
        for place, text in self.texts.items():
            old, new = self.before[place].splitlines(keepends=True), text.splitlines(keepends=True)
            for line in difflib.unified_diff(old, new, place, place):
                yield line if line.endswith("\n") else line + "\n"

    def put(self) -> None:
        """Replace every changed file, each as a whole. Raises OSError, EditError."""
        changed = {place: text for place, text in self.texts.items() if text != self.before[place]}
        for place in changed:
            if read_regular(Path(place), MAX_FILE_BYTES) != self.before[place].encode():
                raise EditError((), f"{place} changed meanwhile", "run the command again")
        written: list[tuple[Path, Path]] = []
        try:
            for place, text in changed.items():
                target = Path(place).resolve()
                mode = target.stat().st_mode & 0o777
                written.append((write_beside(target, text.encode(), mode=mode), target))
            for beside, target in written:
                beside.replace(target)
        finally:
            for beside, _ in written:
                with suppress(OSError):
                    beside.unlink()


def editing(paths: Iterable[str]) -> Editing:
    """Read the files to change. Raises DocumentsError, EditError."""
    read = given(paths)
    before = {}
    for place in dict.fromkeys(read.shown.values()):
        if Path(place).is_file():
            try:
                before[place] = read_regular(Path(place), MAX_FILE_BYTES).decode()
            except UnicodeDecodeError as exc:
                raise EditError((), f"{place} is not UTF-8", "save it as UTF-8") from exc
            except FileRefusedError as exc:
                raise EditError((), f"{place} cannot be changed: it {exc.strerror}", "move it away") from exc
    return Editing(read, before, dict(before))


def _with(read: Given, texts: dict[str, str]) -> Given:
    """Return the files with these texts in place of their data."""
    files = (replace(one, data=texts[one.name].encode()) if one.name in texts else one for one in read.files)
    return Given(tuple(files), read.shown, read.problems)


def _nothing_else(old: tree.Tree, new: tree.Tree, path: tree.Path) -> None:
    """Raise EditError where an edit changed a value outside its path."""
    for one in (old, new):
        if one.root is None or isinstance(one.root, Bad):
            raise EditError(path, "the file cannot be read", "run abside check")
    try:
        before, after = _without(old, path), _without(new, path)
    except ValueError as exc:
        raise EditError(path, f"{exc} as it is written", "run abside check") from exc
    if before != after:
        raise EditError(path, "the change would reach further than this value")


def _without(one: tree.Tree, path: tree.Path) -> object:
    whole = plain(one.root)  # type: ignore[arg-type]
    inner: object = whole
    for part in path[:-1]:
        inner = inner[part] if isinstance(inner, dict | list) else None  # type: ignore[index]
    if isinstance(inner, dict):
        inner.pop(path[-1], None)
    return whole
