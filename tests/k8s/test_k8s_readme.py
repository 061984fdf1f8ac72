"""The README of k8s/, compared with what the manifests and the command do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from abside import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.k8s.conftest import Rendered


@pytest.fixture
def readme(root: Path) -> str:
    return (root / "k8s" / "README.md").read_text()


def test_it_opens_with_three_commands(readme: str) -> None:
    commands = re.findall(r"^```sh\n(.*?)```", readme, re.DOTALL | re.MULTILINE)[0].splitlines()
    assert [line.split()[0] for line in commands] == ["docker", "cp", "kubectl"]


def test_every_folder_and_file_it_names_is_there(readme: str, root: Path) -> None:
    bases = "experiments|monitoring|collector|collector-kafka|gateway|report|admission"
    named = set(re.findall(rf"`((?:components|overlays)/[a-z-]+|{bases})`", readme))
    for folder in named:
        assert (root / "k8s" / folder / "kustomization.yaml").exists(), folder
    for path in set(re.findall(r"\bk8s/[a-z/.-]+[a-z]", readme)) - {"k8s/overlays/mine"}:
        assert (root / path).exists(), path
    assert {f"components/{path.name}" for path in (root / "k8s" / "components").iterdir()} <= named
    for target in re.findall(r"\]\((\.\./[^)]+)\)", readme):
        assert (root / "k8s" / target).exists(), target


def test_it_speaks_of_this_version(readme: str) -> None:
    assert set(re.findall(r"abside:(\d+\.\d+\.\d+)", readme)) == {__version__}


def test_the_line_that_finds_sidecars_names_workload_and_containers(
    readme: str, render: Callable[[str], Rendered]
) -> None:
    (line,) = re.findall(r"kubectl kustomize k8s/overlays/mine \|\n +(awk .+)", readme)
    given = render("overlays/example").text
    done = subprocess.run(["bash", "-c", line], input=given, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "Deployment experiment-gateway abside-sidecar",
        "Deployment rec-service abside-agent",
        "Deployment rec-service abside-sidecar",
    ]


def test_a_pause_is_one_key_and_both_its_figures_stand_there(readme: str) -> None:
    patches = [json.loads(text) for text in re.findall(r"--type merge -p '(.+)'", readme)]
    assert patches == [{"data": {"pdp-reranker": "carts broken"}}, {"data": {"pdp-reranker": None}}]
    assert "60 to 90 s" in readme
    assert "below 1 s" in readme


def test_an_edit_has_both_its_figures_and_what_the_faster_one_costs(readme: str) -> None:
    section = readme.partition("## Change an experiment")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| the (.+?) \| (.+?) \|$", section, re.MULTILINE)
    assert [(way.split("(")[0].strip(), took[:12]) for way, took in rows] == [
        ("mounted volume", "60 to 90 s, "),
        ("API, watched by the agent", "below 1 s: 0"),
    ]
    assert "It is an option, and off" in section
    assert f"to 10,000 pods they are {200 * 2**10 * 10_000 / 1e9:.0f} GB" in section


def test_what_a_pm_types_runs(readme: str, root: Path) -> None:
    for line in re.findall(r"^abside (?!agent).+$", readme, re.MULTILINE):
        words = line.partition("#")[0].split()
        done = subprocess.run([sys.executable, "-m", *words], cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "-l abside.dev/documents=experiments" in readme


KUBECTL = """\
#!/bin/sh
case "$*" in
  "get configmap "*) cat "$0.$3" ;;
  "get pods "*) printf 'shop/pods/rec-1 shop/pods/rec-2 ' ;;
  *rec-1*) echo 'abside_info{revision="a"} 1.0' ;;
  *rec-2*) echo 'abside_info{revision="b"} 1.0' ;;
esac
"""


def test_whether_it_is_live_is_answered_by_the_block_as_it_stands(readme: str, root: Path, tmp_path: Path) -> None:
    block = readme.partition("## Is it live?")[2].partition("```sh\n")[2].partition("```")[0]
    tools = tmp_path / "bin"
    tools.mkdir()
    documents = {path.name: path.read_text() for path in (root / "k8s" / "experiments" / "config").glob("*.yaml")}
    for name, data in (("abside-experiments", documents), ("abside-paused", {"pdp-reranker": "broken\nsee INC=1\n"})):
        (tools / f"kubectl.{name}").write_text(json.dumps({"data": data}))
    for name, text in (("kubectl", KUBECTL), ("abside", f'#!/bin/sh\nexec {sys.executable} -m abside "$@"\n')):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    script = block.replace("/tmp/abside", str(tmp_path / "live"))  # noqa: S108 the text of the page
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}  # noqa: TID251 a child's own, made from ours
    for _ in range(2):  # and again
        done = subprocess.run(["bash", "-euc", script], env=environment, capture_output=True, text=True, check=True)
        assert re.search(r" published revision=\w+ .*problems=0$", done.stderr, re.MULTILINE), done.stderr
        assert done.stdout.splitlines() == [
            'abside_info{revision="a"} 1.0 shop/pods/rec-1',
            'abside_info{revision="b"} 1.0 shop/pods/rec-2',
        ]
    assert (tmp_path / "live" / "paused" / "pdp-reranker").read_text() == "broken\nsee INC=1\n"


RENEWED = """\
#!/bin/sh
case "$1" in
  get) [ ! -e secret ] || base64 < secret ;;
  patch) echo "$*" | sed -E 's/.*"value": "([^"]*)".*/\\1/' | base64 --decode | grep -c BEGIN >> seen ;;
  create) cat tls.crt ;;
  apply) cat > secret; echo shown >> seen ;;
esac
"""


def test_a_certificate_is_trusted_before_it_is_shown_and_the_one_before_it_is_trusted_still(
    readme: str, debian: Callable[..., None], tmp_path: Path
) -> None:
    debian({"openssl": "openssl"})
    (block,) = re.findall(r"^```sh\n(openssl req .+?)```", readme, re.DOTALL | re.MULTILINE)
    (tmp_path / "kubectl").write_text(RENEWED)
    (tmp_path / "kubectl").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}  # noqa: TID251 a child's own, made from ours
    for _ in range(2):  # the first one, and the next year's
        done = ["bash", "-euo", "pipefail", "-c", block]
        subprocess.run(done, env=environment, cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / "seen").read_text().split() == [*"1111", "shown", *"2222", "shown"]


def test_the_label_that_selects_the_documents_selects_them_alone(render: Callable[[str], Rendered]) -> None:
    selected = [
        (one["kind"], one["metadata"]["name"])
        for one in render("experiments").objects
        if one["metadata"].get("labels", {}).get("abside.dev/documents") == "experiments"
    ]
    assert selected == [("ConfigMap", "abside-experiments")]


def test_the_way_back_begins_with_all_but_the_receivers_and_the_way_forth_with_them(
    readme: str, render: Callable[[str], Rendered]
) -> None:
    section = readme.partition("## Upgrade and roll back")[2].partition("\n## ")[0]
    forth, *_, last = re.findall(r"-l '(.+)'$", section.partition("To take abside out")[0], re.MULTILINE)
    (back,) = (one for one in re.findall(r"^  -l '(.+)'$", section, re.MULTILINE))
    (receivers,) = re.findall(r"^app\.kubernetes\.io/name in (\(.+\))$", forth)
    assert back == f"{last},app.kubernetes.io/name notin {receivers}"
    workloads = {one.labels["app.kubernetes.io/name"] for one in render("overlays/injected").workloads}
    assert workloads - {"experiment-admission", "experiment-sidecar"} == set(receivers.strip("()").split(", "))


def test_what_a_component_leaves_behind_is_named(readme: str, root: Path) -> None:
    (text,) = re.findall(r"^\*\*A component that you take out(.+?)\n\n", readme, re.DOTALL | re.MULTILINE)
    found = set()
    for kustomization in (root / "k8s" / "components").glob("*/kustomization.yaml"):
        listed = kustomization.read_text().partition("\nresources:\n")[2]
        for name in re.findall(r"^  - (\S+\.yaml)", listed.partition("\npatches:")[0], re.MULTILINE):
            manifest = (kustomization.parent / name).read_text()
            kinds = dict(re.findall(r"^kind: (\w+)$.+?^  name: (\S+)$", manifest, re.DOTALL | re.MULTILINE))
            for kind in kinds.keys() - {"ServiceAccount"}:
                found.add(kustomization.parent.name)
                assert f"`{kustomization.parent.name}`" in text
                assert kind in text
                assert kind == "PodMonitor" or f"`{kinds[kind]}`" in text
    assert len(found) == 4


def test_taking_abside_out_of_one_namespace_leaves_the_webhooks_that_serve_the_others(
    readme: str, render: Callable[[str], Rendered]
) -> None:
    (line,) = re.findall(r"^kubectl delete (role,.+) -l '(.+)'$", readme, re.MULTILINE)
    kinds = line[0].split(",")
    same, other = (re.split("!?=", term) for term in line[1].split(","))

    def deleted(folder: str) -> set[str]:
        found = [one for one in render(folder).objects if one["kind"].lower() in kinds]
        assert found
        labels = {f"{one['kind']}/{one['metadata']['name']}": one["metadata"].get("labels", {}) for one in found}
        return {name for name, on in labels.items() if on.get(same[0]) == same[1] and on.get(other[0]) != other[1]}

    assert deleted("admission") == set()
    assert {"NetworkPolicy/experiment-collector", "Role/abside-experimenter"} <= deleted("overlays/injected")


def test_the_figures_it_gives_are_the_manifests(readme: str, render: Callable[[str], Rendered]) -> None:
    recs = render("overlays/example").workload("rec-service")
    agent, sidecar = (recs.container(name)["resources"] for name in ("abside-agent", "abside-sidecar"))
    cpu = sum(int(one["requests"]["cpu"].removesuffix("m")) for one in (agent, sidecar))
    memory = sum(int(one["requests"]["memory"].removesuffix("Mi")) for one in (agent, sidecar))
    assert f"{cpu}m CPU and {memory}Mi memory, {sidecar['requests']['ephemeral-storage']} of ephemeral" in readme
    assert f"{agent['limits']['memory']} memory for the agent, {sidecar['limits']['memory']} for the sidecar" in readme
    assert f"becomes {recs.pod['terminationGracePeriodSeconds']}:" in readme
    drain = recs.variables("abside-sidecar")["ABSIDE_DRAIN_SECONDS"]
    assert f"for up to {drain} s" in readme


def test_every_variable_and_metric_it_names_exists(readme: str, root: Path) -> None:
    settings = (root / "docs" / "settings.md").read_text()
    for variable in set(re.findall(r"\bABSIDE_[A-Z]+_?[A-Z_]+\b", readme)):
        assert f"`{variable}`" in settings, variable
    metrics = (root / "src" / "abside" / "sidecar" / "observe" / "metrics.py").read_text()
    for metric in set(re.findall(r"\babside_((?:snapshot|spool|events)_[a-z_]+)", readme)):
        assert f'"{metric.removesuffix("_total")}"' in metrics, metric
