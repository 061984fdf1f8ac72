"""Where documents come from: files, directories, manifests with their lines, and git."""

from __future__ import annotations

import os
import shutil
import subprocess
from textwrap import indent
from typing import TYPE_CHECKING

import pytest

from abside_agent.settle.check import check
from abside_agent.sources.documents import LONE_FILE, DocumentsError, documents

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.conftest import Doc

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: experiments}\ndata:\n"


def test_two_lone_files_have_one_name_so_that_they_compare(tmp_path: Path, doc: type[Doc]) -> None:
    for name in ("old.yaml", "new"):
        (tmp_path / name).write_text(doc.GROUND)
        found = documents(str(tmp_path / name))
        assert [file.name for file in found.files] == [LONE_FILE]
        assert found.shown == {LONE_FILE: str(tmp_path / name)}


def test_a_directory_gives_its_yaml_files(tmp_path: Path, doc: type[Doc]) -> None:
    for name in ("b.yaml", "a.yaml", ".hidden.yaml", "notes.txt"):
        (tmp_path / name).write_text(doc.GROUND)
    assert [file.name for file in documents(str(tmp_path)).files] == ["a.yaml", "b.yaml"]


def test_a_manifest_gives_its_keys_with_the_lines_and_columns_of_the_manifest(tmp_path: Path, doc: type[Doc]) -> None:
    body = doc.GROUND + doc.one("x", status="runing")
    path = tmp_path / "map.yaml"
    text = HEAD + "  notes.txt: hello\n  a.yaml: |\n" + indent(body, "    ") + "  b.yaml: |-\n    layers: {}\n"
    path.write_text(text)
    found = documents(str(path))
    assert [file.name for file in found.files] == ["a.yaml", "b.yaml"]
    (problem,) = [flaw.problem for flaw in check(found.files).flaws()]
    shown = found.place(problem)
    assert (shown.code, shown.file) == ("UNKNOWN_VALUE", str(path))
    assert text.splitlines()[shown.line - 1][shown.column - 1 :].startswith("runing")


@pytest.mark.parametrize("form", ['"{text}"', "'{text}'", "{text}", "|\n      {text}\n"])
def test_a_key_of_any_style_is_read(form: str, tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(HEAD + "  a.yaml: " + form.replace("{text}", "layers 1") + "\n")
    (file,) = documents(str(path)).files
    assert file.data.decode().strip() == "layers 1"


def test_manifests_in_a_directory_stand_beside_plain_files_and_keys_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("layers: {}\n")
    (tmp_path / "one.yaml").write_text(HEAD + "  k.yaml: |\n    layers: {}\n")
    (tmp_path / "two.yaml").write_text(HEAD + "  k.yaml: |\n    layers: {}\n")
    assert [file.name for file in documents(str(tmp_path)).files] == ["a.yaml", "k.yaml", "two.yaml/k.yaml"]


def test_what_is_wrong_with_a_manifest_itself_is_said(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(HEAD + "  a.yaml: |\n    layers: {}\n  a.yaml: |\n    layers: {}\n")
    assert [(problem.file, problem.line) for problem in documents(str(path)).problems] == [(str(path), 7)]


@pytest.mark.parametrize("place", ["nowhere", "/nowhere/at/all.yaml"])
def test_a_place_that_is_not_there_is_an_error(place: str) -> None:
    with pytest.raises(DocumentsError, match="no such file or directory"):
        documents(place)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doc: type[Doc]) -> Path:
    """Make a repository of one commit, and change into it."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "a.yaml").write_text(doc.GROUND)
    (tmp_path / "config" / "notes.txt").write_text("no")
    for command in ("init -q", "add .", "-c user.name=n -c user.email=n@example.com commit -q -m first"):
        subprocess.run(["git", *command.split()], check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"})  # noqa: TID251 git needs its path
    (tmp_path / "config" / "a.yaml").write_text("layers: {}\n")
    return tmp_path


@pytest.mark.parametrize("place", ["HEAD:config", "HEAD:config/", "HEAD:./config"])
def test_a_directory_of_a_revision_gives_its_files_as_committed(place: str, repository: Path, doc: type[Doc]) -> None:
    found = documents(place)
    assert [(file.name, file.data.decode()) for file in found.files] == [("a.yaml", doc.GROUND)]
    assert found.shown == {"a.yaml": place.rstrip("/") + "/a.yaml"}


def test_a_file_of_a_revision_is_a_lone_file(repository: Path, doc: type[Doc]) -> None:
    (file,) = documents("HEAD:config/a.yaml").files
    assert (file.name, file.data.decode()) == (LONE_FILE, doc.GROUND)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("v9:config", "git knows no revision 'v9'"),
        (":config", "git knows no revision ''"),
        ("--all:config", "git knows no revision '--all'"),
        ("HEAD:elsewhere", "revision HEAD has no 'elsewhere'"),
    ],
)
def test_an_unknown_revision_or_path_is_an_error_that_says_which(place: str, why: str, repository: Path) -> None:
    with pytest.raises(DocumentsError, match=why):
        documents(place)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_outside_a_repository_git_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(DocumentsError, match="not a git repository"):
        documents("HEAD:config")


def test_without_git_a_revision_is_an_error_that_names_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DocumentsError, match="git, which could know a revision, is not installed"):
        documents("HEAD:config")
