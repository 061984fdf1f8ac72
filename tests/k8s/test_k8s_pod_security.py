"""The restricted Pod Security Standard, container by container, and what goes beyond it.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.k8s.conftest import Object, Rendered, Workload

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
API_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 a path, where Kubernetes mounts it


def breaches(workload: Workload) -> Iterator[str]:
    """Yield what the restricted profile would refuse."""
    pod = workload.pod
    at_pod = pod.get("securityContext", {})
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield name
    for name, volume in workload.volumes.items():
        if not VOLUMES & volume.keys():
            yield f"volume {name}"
    for container in workload.containers:
        name, at = container["name"], container.get("securityContext", {})
        for problem in container_breaches(at_pod, at):
            yield f"{name}: {problem}"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{name}: hostPort"


def container_breaches(at_pod: Object, at: Object) -> Iterator[str]:
    both = {**at_pod, **at}
    if both.get("runAsNonRoot") is not True:
        yield "runAsNonRoot"
    if both.get("runAsUser", 1) == 0:
        yield "runAsUser 0"
    if both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "seccompProfile"
    if at.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if at.get("privileged"):
        yield "privileged"
    capabilities = at.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities"


def test_every_pod_we_ship_passes_the_restricted_profile(rendered: Rendered) -> None:
    for workload in rendered.workloads:
        assert list(breaches(workload)) == [], workload.name


def test_our_containers_pass_by_themselves_whatever_the_apps_pod_says(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    root: dict[str, Any] = {"securityContext": {"runAsUser": 0}}
    (recs,) = overlay([existing("recs", labels={"abside.dev/sidecar": "enabled"}, **root)], "sidecar").workloads
    assert {problem.partition(":")[0] for problem in breaches(recs)} == {"fetch-models", "recs"}


@pytest.mark.parametrize(
    ("where", "value", "breach"),
    [
        ("runAsNonRoot", False, "runAsNonRoot"),
        ("runAsUser", 0, "runAsUser 0"),
        ("allowPrivilegeEscalation", True, "allowPrivilegeEscalation"),
        ("capabilities", {"drop": ["NET_RAW"]}, "capabilities"),
        ("seccompProfile", {"type": "Unconfined"}, "seccompProfile"),
        ("privileged", True, "privileged"),
    ],
)
def test_the_check_sees_each_breach(render: Callable[[str], Rendered], where: str, value: object, breach: str) -> None:
    recs = copy.deepcopy(render("overlays/example").workload("rec-service"))
    recs.container("abside-agent")["securityContext"][where] = value
    assert list(breaches(recs)) == [f"abside-agent: {breach}"]


def test_our_containers_run_as_a_number_on_a_read_only_root(rendered: Rendered) -> None:
    for workload in rendered.workloads:
        for container in workload.ours:
            at = {**workload.pod.get("securityContext", {}), **container["securityContext"]}
            assert (at["runAsUser"], at["runAsGroup"], at["readOnlyRootFilesystem"]) == (10001, 10001, True)


def test_no_container_of_ours_is_given_the_api_token_but_the_agent_that_watches(rendered: Rendered) -> None:
    for workload in rendered.workloads:
        if workload.pod.get("automountServiceAccountToken") is False and "initContainers" not in workload.pod:
            continue
        for container in workload.ours:
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            watches = any(one["name"].startswith("ABSIDE_FAST_WATCH") for one in container["env"])
            kind = "projected" if watches else "emptyDir"
            assert kind in workload.volumes[mounts[API_TOKEN]], container["name"]
            assert not watches or container["name"] == "abside-agent"


def test_only_the_snapshots_writer_may_write_it_and_configuration_is_read_only(rendered: Rendered) -> None:
    for workload in rendered.workloads:
        for container in workload.ours:
            for mount in container["volumeMounts"]:
                kind = next(iter(VOLUMES & workload.volumes[mount["name"]].keys()))
                is_writable = not mount.get("readOnly", False)
                owns = (container["name"], mount["name"])
                assert "subPath" not in mount
                assert is_writable == (kind in {"emptyDir", "persistentVolumeClaim"} and owns in OWNED), owns


OWNED = {
    ("abside-agent", "abside-snapshot"),
    ("abside-sidecar", "abside-spool"),
    ("abside-sidecar", "abside-open"),
    ("abside-collector", "store"),
    ("abside-report", "report"),
    ("abside-report", "work"),
}


def test_secrets_reach_a_container_only_by_named_keys_and_never_a_sidecar_with_the_key(rendered: Rendered) -> None:
    for workload in rendered.workloads:
        for container in workload.ours:
            for mount in container["volumeMounts"]:
                secret = workload.volumes[mount["name"]].get("secret", {})
                keys = {item["key"] for item in secret.get("items", [])}
                assert "tls.key" not in keys or container["name"] in {"abside-collector", "abside-admission"}
                assert keys or secret.get("secretName") in {None, "abside-upstream-token"}
