"""Seven kinds of workload with the label, and the pod that each one's controller would create."""

from __future__ import annotations

import copy
from typing import Any

Json = dict[str, Any]

LABEL = {"abside.dev/sidecar": "enabled"}
API_VERSIONS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "Rollout": "argoproj.io/v1alpha1",  # a kind of a CRD, whose pods belong to a ReplicaSet
    "Pod": "v1",  # as a Helm chart's test or hook is
}
KINDS = tuple(API_VERSIONS)
MADE_BY = {"Deployment": "ReplicaSet", "Rollout": "ReplicaSet", "CronJob": "Job", "Pod": ""}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 20000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def container(name: str, **more: Any) -> Json:
    mounts = [{"name": "models", "mountPath": "/models"}]
    return {"name": name, "image": "recs:1", "volumeMounts": mounts, "securityContext": RESTRICTED, **more}


def template(**spec: Any) -> Json:
    """Return a pod template with two init containers and two volumes of its own, and the label."""
    return {
        "metadata": {"labels": {"app": "recs", **LABEL}},
        "spec": {
            "initContainers": [container("fetch-models"), container("warm-up")],
            "containers": [container("recs", ports=[{"containerPort": 8080}]), container("logs")],
            "volumes": [{"name": "models", "emptyDir": {}}, {"name": "scratch", "emptyDir": {}}],
            **spec,
        },
    }


def workload(kind: str, **spec: Any) -> Json:
    """Return a workload called `recs`."""
    is_job = kind in {"Job", "CronJob"}
    pod = template(**({"restartPolicy": "Never"} if is_job else {}), **spec)
    metadata: Json = {"name": "recs"}
    selector = {"matchLabels": {"app": "recs"}}
    content: Json
    match kind:
        case "Pod":
            return {"apiVersion": "v1", "kind": kind, "metadata": {**metadata, **pod["metadata"]}, "spec": pod["spec"]}
        case "Job":
            content = {"template": pod}
        case "CronJob":
            content = {"schedule": "0 5 * * *", "jobTemplate": {"spec": {"template": pod}}}
        case "StatefulSet":
            content = {"selector": selector, "serviceName": "recs", "template": pod}
        case _:
            content = {"selector": selector, "template": pod}
    return {"apiVersion": API_VERSIONS[kind], "kind": kind, "metadata": metadata, "spec": content}


def template_in(made: Json) -> Json:
    """Return the pod template of a workload; of a pod, the pod."""
    if made["kind"] == "Pod":
        return made
    spec = made["spec"]["jobTemplate"]["spec"] if made["kind"] == "CronJob" else made["spec"]
    found: Json = spec["template"]
    return found


def pod_of(made: Json) -> Json:
    """Return the pod that a controller would create."""
    kind, name = made["kind"], made["metadata"]["name"]
    found = copy.deepcopy(template_in(made))
    metadata = {**found["metadata"], "namespace": "recs"}
    if owner := MADE_BY.get(kind, kind):
        group = "batch/v1" if owner == "Job" else "apps/v1"
        reference = {"apiVersion": group, "kind": owner, "name": f"{name}-5d9f", "uid": "c0ffee", "controller": True}
        metadata |= {"ownerReferences": [reference], "generateName": f"{name}-"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": found["spec"]}


def review_of(pod: Json, **request: Any) -> Json:
    """Return the AdmissionReview of a pod that is created."""
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "recs",
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": pod,
            "oldObject": None,
            "dryRun": False,
            **request,
        },
    }


def patched(pod: Json, steps: list[Json]) -> Json:
    """Apply a JSON Patch that only adds, as RFC 6902 has it."""
    result = copy.deepcopy(pod)
    for step in steps:
        assert step["op"] == "add"
        *way, last = [one.replace("~1", "/").replace("~0", "~") for one in step["path"].split("/")[1:]]
        here: Any = result
        for one in way:
            here = here[int(one)] if isinstance(here, list) else here[one]
        if isinstance(here, list):
            here.insert(len(here) if last == "-" else int(last), copy.deepcopy(step["value"]))
        else:
            here[last] = copy.deepcopy(step["value"])
    return result
