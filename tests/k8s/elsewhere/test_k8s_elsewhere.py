"""Clusters that ask for something of their own: OpenShift, service meshes, an autoscaler, Guaranteed pods."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.k8s.test_k8s_schema import NEWEST
from tests.k8s.test_k8s_settings import quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.k8s.conftest import Object, Rendered, Workload

LABEL = {"abside.dev/sidecar": "enabled"}
EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
IDENTITY = ("runAsUser", "runAsGroup", "fsGroup")
MESHES = {
    "istio": ("traffic.sidecar.istio.io/excludeInboundPorts", "traffic.sidecar.istio.io/excludeOutboundPorts"),
    "linkerd": ("config.linkerd.io/skip-inbound-ports", "config.linkerd.io/skip-outbound-ports"),
}


def identities(workload: Workload) -> Iterator[tuple[str, str]]:
    """Yield who names a user or a group: our containers, and the pod."""
    for where, at in (("pod", workload.pod), *((one["name"], one) for one in workload.ours)):
        yield from ((where, name) for name in IDENTITY if name in at.get("securityContext", {}))


@pytest.mark.parametrize("component", [(), ("openshift",)])
@pytest.mark.parametrize("local", [(), ("local",)])
def test_openshift_takes_out_every_user_and_group_of_ours_and_keeps_the_rest(
    overlay: Callable[..., Rendered],
    existing: Callable[..., Object],
    local: tuple[str, ...],
    component: tuple[str, ...],
) -> None:
    recs = existing("recs", labels=LABEL)
    recs["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = []
    parts = ["collector", "collector-kafka", "gateway", "admission", "report"]
    found = overlay([recs], "sidecar", *local, *component, resources=parts)
    assert len(found.workloads) == 7
    assert {bool([*identities(workload)]) for workload in found.workloads} == {not component}
    assert "null" not in found.text
    for workload in found.workloads:
        for one in workload.ours:
            assert {**workload.pod.get("securityContext", {}), **one["securityContext"]}["runAsNonRoot"] is True


def test_on_openshift_an_app_keeps_its_own_user_and_group(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    own = {"runAsUser": 1_000_660_001, "fsGroup": 1_000_660_000}
    found = overlay([existing("recs", labels=LABEL, securityContext=own)], "sidecar", "openshift")
    assert found.workload("recs").pod["securityContext"] == own


def test_nothing_in_the_image_belongs_to_one_user(root: Path) -> None:
    text = (root / "Dockerfile").read_text()
    assert not re.search(r"--chown|--chmod|\bchown\b|\bchmod\b|\bumask\b|useradd|adduser", text)


def empty_dirs(workload: Workload) -> set[str]:
    """Return the emptyDirs that are ours."""
    return {name for name, one in workload.volumes.items() if "emptyDir" in one and name.startswith("abside-")}


def test_every_empty_dir_of_ours_is_named_for_the_autoscaler(rendered: Rendered) -> None:
    for workload in rendered.workloads:
        named = workload.template["metadata"].get("annotations", {}).get(EVICT, "")
        assert set(filter(None, named.split(","))) == empty_dirs(workload), workload.name


def test_a_list_for_the_autoscaler_of_ones_own_stays_by_a_label(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    own = existing("recs", labels={**LABEL, "abside.dev/safe-to-evict": "own"})
    other = existing("other", labels=LABEL)
    for one in (own, other):
        one["spec"]["template"]["metadata"]["annotations"] = {EVICT: "models"}
    found = overlay([own, other], "sidecar")
    assert found.workload("recs").template["metadata"]["annotations"][EVICT] == "models"
    assert "models" not in found.workload("other").template["metadata"]["annotations"][EVICT]  # as the README says


def qos_class(workload: Workload) -> str:
    """Return what Kubernetes makes of a pod (pkg/apis/core/v1/helper/qos): by CPU and memory of all its containers."""
    resources = [one.get("resources", {}) for one in workload.containers]
    requests, limits = ([one.get(kind, {}) for one in resources] for kind in ("requests", "limits"))
    if not any(requests) and not any(limits):
        return "BestEffort"
    for asked, most in zip(requests, limits, strict=True):
        if not {"cpu", "memory"} <= most.keys():
            return "Burstable"
        if any(quantity(asked.get(name, most[name])) != quantity(most[name]) for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


@pytest.mark.parametrize(
    ("components", "expected"),
    [
        ((), "Guaranteed"),
        (("sidecar",), "Burstable"),
        (("sidecar", "guaranteed"), "Guaranteed"),
        (("sidecar", "fast-watch", "fast-watch-experiments", "upstream-tls", "local", "guaranteed"), "Guaranteed"),
    ],
)
def test_a_guaranteed_pod_becomes_burstable_and_stays_guaranteed_with_the_component(
    overlay: Callable[..., Rendered], existing: Callable[..., Object], components: tuple[str, ...], expected: str
) -> None:
    recs = existing("recs", labels=LABEL)
    same = {"cpu": "2", "memory": "1Gi"}
    spec = recs["spec"]["template"]["spec"]
    for one in (*spec["initContainers"], *spec["containers"]):
        one["resources"] = {"requests": same, "limits": same}
    assert qos_class(overlay([recs], *components).workload("recs")) == expected


def test_guaranteed_changes_no_limit_of_memory(
    overlay: Callable[..., Rendered], existing: Callable[..., Object], render: Callable[[str], Rendered], root: Path
) -> None:
    usual = render("overlays/example").workload("rec-service").ours
    found = overlay([existing("recs", labels=LABEL)], "sidecar", "guaranteed").workload("recs").ours
    assert [one["resources"]["limits"]["memory"] for one in found] == [
        one["resources"]["limits"]["memory"] for one in usual
    ]
    total = {name: sum(quantity(one["resources"]["requests"][name]) for one in found) for name in ("cpu", "memory")}
    written = f"{total['cpu'] * 1000:.0f}m of CPU and {total['memory'] / 2**20:.0f}Mi"
    assert written in (root / "k8s" / "README.md").read_text()


@pytest.mark.parametrize("mesh", MESHES)
def test_a_mesh_leaves_out_the_ports_that_are_ours(
    overlay: Callable[..., Rendered], existing: Callable[..., Object], mesh: str
) -> None:
    parts = ["collector", "collector-kafka", "gateway", "admission"]
    objects = [existing("recs", labels=LABEL), existing("checkout", labels={})]
    found = overlay(objects, "sidecar", mesh, resources=parts)
    into, out = MESHES[mesh]
    (service,) = found.of("Service")["experiment-collector"]["spec"]["ports"]
    expected: dict[str, dict[str, str]] = {"checkout": {}}
    for role in found.roles:
        name = role.workload.object["metadata"]["name"]
        match role.container["args"][0]:
            case "sidecar":
                expected[name] = {into: str(role.port("ABSIDE_ADMIN")), out: str(service["port"])}
            case "collector" | "admission":
                expected[name] = {into: str(role.port("ABSIDE_LISTEN"))}
    assert len(expected) == 7
    assert expected == {
        workload.object["metadata"]["name"]: {
            name: value
            for name, value in workload.template["metadata"].get("annotations", {}).items()
            if name in (into, out)
        }
        for workload in found.workloads
    }


@pytest.mark.parametrize("mesh", MESHES)
def test_ports_of_ones_own_stay_by_a_label(
    overlay: Callable[..., Rendered], existing: Callable[..., Object], mesh: str
) -> None:
    own = existing("recs", labels={**LABEL, "abside.dev/mesh": "own"})
    own["spec"]["template"]["metadata"]["annotations"] = dict.fromkeys(MESHES[mesh], "9000,7601,7700")
    found = overlay([own], "sidecar", mesh)
    annotations: Any = found.workload("recs").template["metadata"]["annotations"]
    assert [annotations[name] for name in MESHES[mesh]] == ["9000,7601,7700"] * 2


def test_all_of_them_together_are_valid(
    overlay: Callable[..., Rendered], existing: Callable[..., Object], tool: Callable[[str], str], tmp_path: Path
) -> None:
    components = ["sidecar", "istio", "linkerd", "guaranteed", "openshift"]
    found = overlay([existing("recs", labels=LABEL)], *components, resources=["collector", "gateway"])
    path = tmp_path / "rendered.yaml"
    path.write_text(found.text)
    command = [tool("kubernetes-validate"), "--strict", "--kubernetes-version", NEWEST, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
