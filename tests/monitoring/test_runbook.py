"""The runbook has an entry for each alert and each code and for nothing else, and what it has a person type exists."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, get_args

import click
import yaml  # noqa: TID251 Kubernetes' YAML, not a PM's
from reference_codes import found
from reference_page import by_code
from tests.monitoring.alerting import ROOT, rules
from tests.monitoring.logged import logged

from abside.assignment.assign import Reason
from abside.cli import COMMANDS, main

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

PAGE = (ROOT / "docs" / "runbook.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
LINES = [line for block in BLOCKS for line in block.splitlines()]
PARTS = ("- **Means:**", "- **Shoppers:**", "- **Do:**")
PLACES = {"POD", "NAME", "NODE", "INC", "WARNING", "ERROR"}  # what a person puts in, and words of a pause and of a log
PASS_ON = {  # functions that log the event of their caller, whom `logged` knows
    "src/abside/collector/consume/steps.py",
    "src/abside/spool/write/complaint.py",
    "agent/abside_agent/run/problem_log.py",
}


def section(title: str) -> str:
    """Return what is below a heading, to the next one of its level or above."""
    level = re.search(rf"^(#+) {re.escape(title)}$", PAGE, re.MULTILINE)
    assert level, title
    rest = PAGE[level.end() :]
    end = re.search(rf"^#{{1,{len(level[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def coded(text: str) -> list[str]:
    """Return the codes of the first column of its tables."""
    cells = re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)
    return [code for cell in cells for code in re.findall(r"`([^`]+)`", cell)]


def exactly(section_: str, wanted: Iterable[str]) -> None:
    """Assert that a section has each of these, once, and no other."""
    entries, wanted = coded(section(section_)), set(wanted)
    assert sorted(wanted - set(entries)) == [], f"docs/runbook.md, {section_}: no entry"
    assert sorted(set(entries) - wanted) == [], f"docs/runbook.md, {section_}: no such code"
    assert len(entries) == len(set(entries)), f"docs/runbook.md, {section_}: twice"


def test_every_alert_has_its_place_with_what_it_means_what_shoppers_notice_and_what_to_type() -> None:
    headings = re.findall(r"^### (Abside\w+)$", PAGE, re.MULTILINE)
    assert sorted(headings) == sorted(rule.alert for rule in rules())
    for name in headings:
        text = section(name)
        assert [text.count(part) for part in PARTS] == [1, 1, 1], name
        assert "```sh" in text, f"{name}: nothing to type"


def test_every_code_has_an_entry_and_no_entry_is_without_a_code() -> None:
    codes = by_code(found().sites)
    exactly("Codes of documents", codes["documents"])
    exactly("Codes of decisions", get_args(Reason))
    exactly("Codes of HTTP answers", {*codes["http"], *codes["client"]})


def test_every_line_that_is_logged_as_trouble_has_an_entry() -> None:
    events, hidden = logged()
    assert len(events) > 70
    assert {place.partition(":")[0] for place in hidden} == PASS_ON, "write the event out where it is logged"
    exactly("Log lines", events)


def test_every_entry_says_what_it_means_what_shoppers_notice_and_what_to_do() -> None:
    for title in ("Codes of documents", "Codes of decisions", "Codes of HTTP answers", "Log lines"):
        header, _, *rows = re.findall(r"^\|(.+)\|$", section(title), re.MULTILINE)
        assert [cell.strip() for cell in header.split("|")][1:] == ["means", "shoppers", "do"], title
        for row in rows:
            cells = [cell.strip() for cell in re.sub(r"`[^`]*`", "code", row).split("|")]
            assert len(cells) == 4, row
            assert all(cells), row


def test_every_background_task_has_an_entry() -> None:
    source = "".join(path.read_text() for folder in ("src", "agent") for path in (ROOT / folder).rglob("*.py"))
    names = set(re.findall(r'supervisor\.start\(\s*"([\w-]+)"', source))
    assert "ship" in names
    exactly("Background tasks", names)


async def test_every_error_of_a_collector_has_an_entry() -> None:
    from metrics_page import families  # noqa: PLC0415 it starts a sidecar

    (problems,) = (one for one in (await families())["collector"] if one.name == "abside_collector_problem")
    known = {sample.labels["what"] for sample in problems.samples}
    source = (ROOT / "src" / "abside" / "collector" / "consume" / "status.py").read_text()
    names = re.findall(r'(?:found\[|found = \{|errors = \{)"(\w+)"', source)
    exactly("A collector's errors", known | set(names))


def test_every_field_of_degraded_is_one_of_the_status() -> None:
    source = (ROOT / "src" / "abside" / "sidecar" / "observe" / "status.py").read_text()
    shown = section("degraded at /v1/status").partition("### ")[0]
    assert len(coded(shown)) == 6
    for name in coded(shown):
        last = name.split(".")[-1].split()[0]
        assert f'"{last}"' in source or f"stats.{last}" in source, name


def test_every_link_leads_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
    anchors |= set(re.findall(r'<a id="(\w+)">', PAGE))
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors


def test_every_link_to_another_page_leads_to_a_heading_of_it() -> None:
    links = set(re.findall(r"\]\(([^)#:]+\.md)#([^)]+)\)", PAGE))
    assert len(links) > 5
    for path, anchor in links:
        headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / path).read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}, anchor


def test_every_variable_it_names_is_a_setting() -> None:
    settings = (ROOT / "docs" / "settings.md").read_text()
    for name in set(re.findall(r"\bABSIDE_[A-Z_]+", PAGE)):
        assert f"`{name}`" in settings, name


def typed(command: str) -> Iterator[list[str]]:
    """Yield the words of each use of a command, within pipes and within pods too."""
    for line in LINES:
        for piece in re.split(r"\s\|\s|in \$\(| -- |; ", line):
            if piece.strip().startswith(f"{command} "):
                yield shlex.split(piece.strip().rstrip(")"))[1:]


def test_every_line_begins_with_a_command_that_is_known() -> None:
    known = {"kubectl", "abside", "curl", "ask", "ask()"}
    assert {line.split()[0] for line in LINES if line[0] != " "} == known


def test_every_abside_command_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABSIDE_SPOOL", "/var/spool/abside")  # as in the pod
    commands = list(typed("abside"))
    assert len(commands) > 5
    for words in commands:
        name = " ".join(words[:2]) if words[0] == "spool" else words[0]
        assert name in COMMANDS
        command = main.get_command(click.Context(main), words[0])
        if isinstance(command, click.Group):
            command = command.commands[words[1]]
        assert command is not None
        command.make_context(name, words[len(name.split()) :])  # it parses, and runs nothing


def objects() -> dict[str, set[str]]:
    """Return the names of our own objects by kind, lower case."""
    found_: dict[str, set[str]] = {}
    for path in (ROOT / "k8s").rglob("*.yaml"):
        if path.name == "kustomization.yaml" or path.parent.name == "rules" or path.name == "scrape.yaml":
            continue
        for one in yaml.safe_load_all(path.read_text()):
            if one and "kind" in one and "metadata" in one:
                found_.setdefault(one["kind"].lower(), set()).add(one["metadata"]["name"])
    return found_


def test_logs_are_those_of_every_pod_where_there_are_several() -> None:
    read = [words for words in typed("kubectl") if words[0] == "logs"]
    assert len(read) > 20
    for words in read:
        assert not any(word.startswith("deployment/") for word in words), f"{words}: kubectl takes one of its pods"
        assert ("-l" in words) == ("--tail=-1" in words), f"{words}: by a label, kubectl shows the last ten lines"


def test_every_kubectl_line_names_what_is_ours() -> None:
    known = objects()
    text = "\n".join(path.read_text() for path in (ROOT / "k8s").rglob("*.yaml"))
    commands = list(typed("kubectl"))
    assert len(commands) > 50
    for words in commands:
        for word, after in zip(words, [*words[1:], ""], strict=True):
            kind, _, name = word.partition("/")
            if kind in {"deployment", "statefulset"} and name:
                assert name in known[kind], words
            elif word in {"configmap", "networkpolicy"}:
                assert after in {*known[word], "abside-experiments"}, words
            elif word.startswith(("experiment-", "abside-")) and "secret" in words:
                assert f"secretName: {word}" in text, words
            elif word == "-c":
                assert f"name: {after}\n" in text, words
            elif word == "-l" and not after.startswith("kubernetes.io/"):
                assert after.partition("=")[0] in text, words
                assert after.partition("=")[2] in text, words
        assert set(re.findall(r"\b[A-Z]{3,}\b(?!_)", " ".join(words))) <= {
            "POD",
            "NAME",
            "NODE",
            "INC",
            "WARNING",
            "ERROR",
        }
