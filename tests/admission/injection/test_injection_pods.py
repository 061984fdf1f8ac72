"""Seven kinds of workload through the webhook's server: what their pods get, and that they get it once."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from tests.admission.injection.conftest import injected
from tests.admission.injection.workloads import KINDS, pod_of, review_of, workload

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.admission.conftest import Webhook
    from tests.admission.injection.conftest import DeploymentApi, Json
    from tests.k8s.conftest import Object, Rendered

SIDECARS = ["abside-agent", "abside-sidecar"]
EVERY = ["sidecar", "local", "fast-watch", "fast-watch-experiments", "upstream-token", "upstream-tls"]
EVERY += ["guaranteed", "istio", "linkerd", "openshift"]


def names(parts: list[Json]) -> list[str]:
    return [one["name"] for one in parts]


@pytest.mark.parametrize("kind", KINDS)
def test_agent_and_sidecar_come_first_and_all_of_the_pod_stays(asking: Webhook, deployment: Json, kind: str) -> None:
    pod = pod_of(workload(kind))
    after, warnings = injected(asking, pod)
    assert warnings == []
    spec, ours = after["spec"], deployment["spec"]["template"]["spec"]
    assert spec["initContainers"] == [*ours["initContainers"], *pod["spec"]["initContainers"]]
    assert names(spec["initContainers"]) == [*SIDECARS, "fetch-models", "warm-up"]
    assert spec["containers"] == pod["spec"]["containers"]
    assert spec["volumes"] == [*ours["volumes"], *pod["spec"]["volumes"]]
    assert spec["terminationGracePeriodSeconds"] == 60
    assert spec.get("restartPolicy") == pod["spec"].get("restartPolicy")
    assert after["metadata"].pop("annotations", {}) == ours_of(deployment)
    assert after["metadata"] == pod["metadata"]
    assert injected(asking, after) == (after, []), "never twice"
    owner = pod["metadata"].get("ownerReferences", [{}])[0]
    made_by = f"{owner['kind']}/recs-5d9f" if owner else '""'
    assert asking.is_logged(f" injected namespace=recs pod=recs{'-' if owner else ''} owner={made_by} user=system:")


def ours_of(deployment: Json) -> Json:
    annotations: Json = deployment["spec"]["template"]["metadata"].get("annotations", {})
    return annotations


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_a_job_ends_when_its_own_containers_have_ended(asking: Webhook, kind: str) -> None:
    after, _ = injected(asking, pod_of(workload(kind)))
    # Kubernetes waits for containers, and for init containers that may end; a native sidecar is neither.
    assert [one.get("restartPolicy") for one in after["spec"]["initContainers"]] == ["Always", "Always", None, None]
    assert names(after["spec"]["containers"]) == ["recs", "logs"]


def test_a_pod_starts_in_a_namespace_that_has_no_config_map_of_ours(asking: Webhook) -> None:
    after, _ = injected(asking, pod_of(workload("Pod")))
    text = json.dumps([one for one in after["spec"]["volumes"] if one["name"].startswith("abside-")])
    sources = re.findall(r'"configMap": (\{.+?\})', text)
    assert len(sources) == 2
    assert all(json.loads(one)["optional"] is True for one in sources)


@pytest.mark.parametrize(("has", "gets"), [({}, 60), ({"terminationGracePeriodSeconds": 59}, 60)])
@pytest.mark.parametrize("longer", [60, 61, 3600])
def test_the_time_to_end_is_raised_and_never_lowered(asking: Webhook, has: Json, gets: int, longer: int) -> None:
    for spec, expected in ((has, gets), ({"terminationGracePeriodSeconds": longer}, longer)):
        after, _ = injected(asking, pod_of(workload("Pod", **spec)))
        assert after["spec"]["terminationGracePeriodSeconds"] == expected


def test_a_pod_with_nothing_of_its_own_gets_all_of_it(asking: Webhook) -> None:
    pod = pod_of(workload("Pod"))
    del pod["spec"]["initContainers"], pod["spec"]["volumes"]
    pod["spec"]["containers"] = [{"name": "one", "image": "one:1"}]
    after, warnings = injected(asking, pod)
    assert warnings == []
    assert names(after["spec"]["initContainers"]) == SIDECARS
    assert after["spec"]["containers"] == pod["spec"]["containers"]


@pytest.mark.parametrize("components", [EVERY[:1], EVERY], ids=["the sidecar", "every component"])
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_what_is_injected_equals_what_the_component_renders(
    injecting: Webhook,
    api: DeploymentApi,
    overlay: Callable[..., Rendered],
    existing: Callable[..., Object],
    components: list[str],
    kind: str,
) -> None:
    label = {"abside.dev/sidecar": "enabled"}
    app = existing("recs", kind=kind, labels=label)
    rendered = overlay([app], *components, resources=["admission"], images=[{"name": "abside", "newName": "r.test/a"}])
    api.deployments["experiment-sidecar"] = rendered.workload("experiment-sidecar").object
    expected = rendered.workload("recs").template
    assert names(expected["spec"]["initContainers"]) == [*SIDECARS, "fetch-models"]
    assert {one["image"] for one in expected["spec"]["initContainers"][:2]} == {"r.test/a:0.1.0"}
    bare = pod_of(app)
    bare["metadata"]["labels"] |= label
    after, warnings = injected(injecting, bare)
    assert warnings == []
    # An empty one, which `openshift` leaves behind, is what the API server writes where there is none.
    assert {"securityContext": {}, **after["spec"]} == {"securityContext": {}, **expected["spec"]}
    assert after["metadata"]["labels"] == expected["metadata"]["labels"]
    assert after["metadata"].get("annotations") == expected["metadata"].get("annotations")


@pytest.mark.parametrize(
    "request_",
    [
        {"operation": "UPDATE"},
        {"operation": "DELETE", "object": None},
        {"subResource": "ephemeralcontainers"},
        {"kind": {"group": "apps", "version": "v1", "kind": "ReplicaSet"}},
        {"namespace": "kube-system"},
    ],
    ids=str,
)
def test_nothing_else_is_touched(asking: Webhook, request_: Json) -> None:
    pod = pod_of(workload("Pod"))
    assert injected(asking, pod, **request_) == (pod, [])


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"abside.dev/sidecar": "gateway"},
        {"abside.dev/sidecar": "disabled"},
        {"abside.dev/sidecar": "enabled", "app.kubernetes.io/part-of": "abside"},
    ],
    ids=str,
)
def test_nobody_who_did_not_ask_gets_a_sidecar_and_no_pod_of_ours_does(asking: Webhook, labels: Json) -> None:
    pod = pod_of(workload("Deployment"))
    pod["metadata"]["labels"] = labels
    assert injected(asking, pod) == (pod, [])


@pytest.mark.parametrize(
    ("pod", "path"),
    [
        ({"metadata": [], "spec": {}}, "request.object.metadata"),
        ({"metadata": {"labels": {"a": 1}}, "spec": {}}, "request.object.metadata.labels"),
        ({"metadata": {}, "spec": {"containers": ["x"]}}, "request.object.spec.containers"),
        ({"metadata": {"ownerReferences": 7}, "spec": {}}, "request.object.metadata.ownerReferences"),
        ({"spec": {"securityContext": ["x"]}}, "request.object.spec.securityContext"),
        ({"spec": {"containers": [{"volumeMounts": "x"}]}}, "request.object.spec.containers.0.volumeMounts"),
    ],
)
def test_a_pod_of_another_shape_is_refused_and_says_where(asking: Webhook, pod: Json, path: str) -> None:
    status, document = asking.ask("/inject", json.dumps(review_of(pod)).encode())
    assert (status, document["path"]) == (400, path)
