"""The manifests against Kubernetes' own schemas, oldest and newest, and against checkov's rules."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.k8s.conftest import Rendered

OLDEST, NEWEST = "1.29", "1.37"

# What checkov finds and we mean: its check → (the objects it may report, why).
STAND_IN = r"Deployment\.(abside-dev\.rec-service|default\.experiment-sidecar)"
MEANT = {
    "CKV_K8S_11": (r".*", "no CPU limit: throttling is what a p99 is made of"),
    "CKV_K8S_43": (r".*", "the image's digest is known to who pushes it; the overlay's `images:` is its place"),
    "CKV_K8S_15": (
        r".*",
        "a tag that is not moved needs no pull at every start, and a registry's outage no part in it",
    ),
    "CKV_K8S_21": (
        r"[A-Za-z]+\.default\.experiment-(admission(-reader|-template)?|report|sidecar)",
        "an overlay gives the namespace; here is none",
    ),
    "CKV_K8S_8": (STAND_IN, "the stand-in for an app has no listener, or never runs"),
    "CKV_K8S_9": (STAND_IN, "the stand-in for an app has no listener, or never runs"),
    "CKV_DOCKER_7": (r"/?Dockerfile\.FROM", "it does not look into the build argument, which names a tag"),
    "CKV_DOCKER_2": (r"/?Dockerfile\.", "the kubelet probes; one image is several roles"),
}


def validated(tool: Callable[[str], str], rendered: Rendered, version: str, folder: Path) -> tuple[int, str]:
    """Check against one version's schemas, strictly: an unknown field is an error. Gives exit code and words."""
    documents = rendered.text.split("\n---\n")
    built_in = [text for text in documents if text.strip() and "apiVersion: monitoring.coreos.com/v1" not in text]
    if not built_in:
        return 0, ""  # a component by itself
    path = folder / "rendered.yaml"
    path.write_text("\n---\n".join(built_in))
    command = [tool("kubernetes-validate"), "--strict", "--kubernetes-version", version, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.count(" for resource ") == len(built_in), done.stdout + done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_what_is_rendered_is_valid_from_the_oldest_kubernetes_to_the_newest(
    tool: Callable[[str], str], rendered: Rendered, tmp_path: Path, version: str
) -> None:
    code, content = validated(tool, rendered, version, tmp_path)
    assert code == 0, content


def test_kubernetes_1_27_refuses_native_sidecars(
    tool: Callable[[str], str], render: Callable[[str], Rendered], tmp_path: Path
) -> None:
    code, content = validated(tool, render("overlays/example"), "1.27", tmp_path)
    assert code != 0
    assert re.search(r"initContainers\.0: .*'restartPolicy' was unexpected", content), content


def test_checkov_finds_nothing_but_what_we_mean(
    tool: Callable[[str], str], render: Callable[[str], Rendered], root: Path, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_bytes((root / "Dockerfile").read_bytes())
    for folder in ("overlays/example", "overlays/dev", "admission", "report"):
        (tmp_path / f"{folder.replace('/', '-')}.yaml").write_text(render(folder).text)
    command = [tool("checkov"), "--directory", str(tmp_path), "--framework", "kubernetes", "dockerfile"]
    done = subprocess.run(
        [*command, "--skip-download", "--quiet", "--output", "json"], capture_output=True, text=True, check=False
    )
    reports = json.loads(done.stdout)
    passed = sum(report["summary"]["passed"] for report in reports)
    assert passed > 300, done.stderr  # it did look
    found = {(one["check_id"], one["resource"]) for report in reports for one in report["results"]["failed_checks"]}
    meant = {(check, resource) for check, resource in found if re.fullmatch(MEANT.get(check, ("(?!)",))[0], resource)}
    assert found - meant == set()
    assert {check for check, _ in meant} == MEANT.keys(), "an exception nobody needs any more"
