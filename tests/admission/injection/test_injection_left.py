"""Pods that cannot have a sidecar: left exactly as they are, with a warning and a line in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.admission.injection.conftest import injected
from tests.admission.injection.workloads import KINDS, container, pod_of, template_in, workload

if TYPE_CHECKING:
    from tests.admission.conftest import Webhook
    from tests.admission.injection.conftest import DeploymentApi, Json

POD = "pod recs: NO SIDECAR IS INJECTED: "
PORT = {"containerPort": 7601}
TAKEN: dict[str, tuple[dict[str, Any], str]] = {
    "hostNetwork": (
        {"hostNetwork": True},
        "it has hostNetwork, where 7600 and 7601 are the node's, for one pod only — ask a gateway's Service instead",
    ),
    "a container on the decisions' port": (
        {"containers": [container("web", ports=[{"containerPort": 7600, "protocol": "TCP"}])]},
        "its container web has the port 7600, which is ours — use another port there",
    ),
    "an init container on the admin port": (
        {"initContainers": [container("proxy", restartPolicy="Always", ports=[PORT])]},
        "its container proxy has the port 7601, which is ours — use another port there",
    ),
    "a container of our name": (
        {"containers": [container("abside-sidecar")]},
        "it has a container abside-sidecar already — rename that one, or take it out",
    ),
    "the agent alone": (
        {"initContainers": [container("abside-agent")]},
        "it has a container abside-agent already — rename that one, or take it out",
    ),
    "a volume of our name": (
        {"volumes": [{"name": "models", "emptyDir": {}}, {"name": "abside-spool", "emptyDir": {}}]},
        "it has a volume abside-spool already — rename that one, or take it out",
    ),
    "Windows": (
        {"os": {"name": "windows"}},
        "it is for Windows, and agent and sidecar are for Linux — remove the label",
    ),
    "a node of Windows": (
        {"nodeSelector": {"kubernetes.io/os": "windows"}},
        "it is for Windows, and agent and sidecar are for Linux — remove the label",
    ),
    "resources of the pod": (
        {"resources": {"limits": {"memory": "128Mi"}}},
        "it has resources for the pod as a whole, and ours are not in them — render it with components/sidecar",
    ),
}


@pytest.mark.parametrize("what", TAKEN)
def test_a_pod_that_would_break_is_left_as_it_is_and_told_why(asking: Webhook, what: str) -> None:
    spec, why = TAKEN[what]
    pod = pod_of(workload("Pod", **spec))
    assert injected(asking, pod) == (pod, [POD + why])
    assert asking.is_logged(f'why="{why.partition(" — ")[0]}"')


def test_what_a_kubelet_already_runs_is_left(asking: Webhook) -> None:
    pod = pod_of(workload("Pod"))
    pod["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "a-digest"}
    after, warnings = injected(asking, pod)
    assert after == pod
    assert warnings == [
        f"{POD}a kubelet runs it from a file and only shows it here — write both containers into that file"
    ]


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Pod"])
def test_who_applies_a_workload_is_told_too_and_nothing_is_changed(asking: Webhook, kind: str, operation: str) -> None:
    request = {"kind": {"kind": kind}, "operation": operation}
    fine = workload(kind)
    assert injected(asking, fine, **request) == (fine, [])
    bad = workload(kind, hostNetwork=True)
    after, (warning,) = injected(asking, bad, **request)
    assert after == bad
    assert warning.startswith(f"{kind} recs: NO SIDECAR IS INJECTED: it has hostNetwork, where 7600 and 7601 are")
    del template_in(bad)["metadata"]["labels"]["abside.dev/sidecar"]
    assert injected(asking, bad, **request) == (bad, [])


def test_a_workload_that_the_component_rendered_is_told_nothing(asking: Webhook, deployment: Json) -> None:
    rendered = workload("Deployment", hostNetwork=True)
    ours = deployment["spec"]["template"]["spec"]["initContainers"]
    template_in(rendered)["spec"]["initContainers"] = ours
    assert injected(asking, rendered, kind={"kind": "Deployment"}) == (rendered, [])


def test_every_reason_is_told_at_once(asking: Webhook) -> None:
    ports = [PORT, {"containerPort": 7600}]
    _, warnings = injected(
        asking, pod_of(workload("Pod", hostNetwork=True, containers=[container("web", ports=ports)]))
    )
    assert len(warnings) == 3


@pytest.mark.parametrize("protocol", ["UDP", "SCTP"])
def test_a_port_of_another_protocol_is_no_obstacle(asking: Webhook, protocol: str) -> None:
    ports = [{"containerPort": 7601, "protocol": protocol}]
    after, warnings = injected(asking, pod_of(workload("Pod", containers=[container("web", ports=ports)])))
    assert warnings == []
    assert after["spec"]["initContainers"][0]["name"] == "abside-agent"


LISTS = [
    "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes",
    "traffic.sidecar.istio.io/excludeInboundPorts",
    "config.linkerd.io/skip-outbound-ports",
]


@pytest.mark.parametrize(
    ("has", "after"), [(None, "b,c"), ("", "b,c"), ("a", "a,b,c"), ("c, a", "c, a,b"), ("b,c", "b,c")]
)
@pytest.mark.parametrize("name", LISTS)
def test_annotations_that_are_lists_keep_the_pods_own_entries(
    injecting: Webhook, api: DeploymentApi, name: str, has: str | None, after: str
) -> None:
    give(api, {name: "b,c"})
    pod = pod_of(workload("Pod"))
    if has is not None:
        pod["metadata"]["annotations"] = {name: has}
    assert injected(injecting, pod)[0]["metadata"]["annotations"][name] == after


def test_any_other_annotation_of_the_pod_stays_as_it_is(injecting: Webhook, api: DeploymentApi) -> None:
    give(api, {"example.org/a": "ours", "example.org/b": "ours", "kubectl.kubernetes.io/restartedAt": "now"})
    pod = pod_of(workload("Pod"))
    pod["metadata"]["annotations"] = {"example.org/a": "theirs", "example.org/c/~": "theirs"}
    annotations = injected(injecting, pod)[0]["metadata"]["annotations"]
    assert annotations == {"example.org/a": "theirs", "example.org/b": "ours", "example.org/c/~": "theirs"}


def give(api: DeploymentApi, annotations: Json) -> None:
    deployment = api.deployments["experiment-sidecar"]
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "annotations": annotations}
    api.deployments = {
        "experiment-sidecar": {
            **deployment,
            "spec": {**deployment["spec"], "template": {**template, "metadata": metadata}},
        }
    }
