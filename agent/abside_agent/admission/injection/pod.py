"""Reads the AdmissionReview of a pod that is created, or of a workload whose pods will be. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside_agent.admission.injection.template import ENABLED, LABEL
from abside_agent.admission.review import ReviewUnreadable, mapping, request_of, text, user_of

if TYPE_CHECKING:
    from abside_agent.admission.injection.template import PodPart

WHERE = "request.object"
POD = "Pod"
TEMPLATE = ("spec", "template")  # of a workload
TEMPLATES = {
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "Job", "Rollout"), TEMPLATE),
    "CronJob": ("spec", "jobTemplate", *TEMPLATE),
    POD: (),
}


@dataclass(frozen=True, slots=True)
class NewPod:
    """A pod before it exists, or the template of one. `name` may be only how it begins; a bare pod has no `owner`."""

    uid: str
    kind: str  # Pod, or that of the workload
    namespace: str
    name: str
    owner: str
    user: str
    is_dry_run: bool
    is_asked: bool  # created, or of a workload that is written, and with the label
    labels: dict[str, str]
    annotations: dict[str, str]
    spec: PodPart
    init_containers: tuple[PodPart, ...]
    containers: tuple[PodPart, ...]
    volumes: tuple[PodPart, ...]
    mounts: tuple[PodPart, ...]  # of the first container
    security: PodPart


def read_pod(body: bytes) -> NewPod:
    """Read a request. Raises ReviewUnreadable."""
    request = request_of(body)
    kind = text(mapping(request, "kind", "request.kind"), "kind")
    written = mapping(request, "object", WHERE)
    path, pod = _template(kind, written)
    metadata, spec = (mapping(pod, name, f"{path}.{name}") for name in ("metadata", "spec"))
    named = mapping(written, "metadata", f"{WHERE}.metadata")
    labels, annotations = (_texts(metadata, name, f"{path}.metadata") for name in ("labels", "annotations"))
    init, containers, volumes = (
        _parts(spec, name, f"{path}.spec") for name in ("initContainers", "containers", "volumes")
    )
    first = containers[0] if containers else {}
    return NewPod(
        text(request, "uid"),
        kind,
        text(request, "namespace"),
        text(named, "name") or text(named, "generateName"),
        _owner(named),
        user_of(request),
        request.get("dryRun") is True,
        _is_written(request, kind) and labels.get(LABEL) == ENABLED,
        labels,
        annotations,
        spec,
        init,
        containers,
        volumes,
        _parts(first, "volumeMounts", f"{path}.spec.containers.0"),
        mapping(spec, "securityContext", f"{path}.spec.securityContext"),
    )


def _template(kind: str, written: PodPart) -> tuple[str, PodPart]:
    """Return where the pod is in an object of this kind, and the pod."""
    path, pod = WHERE, written
    for name in TEMPLATES.get(kind, ()):
        path = f"{path}.{name}"
        pod = mapping(pod, name, path)
    return path, pod


def _is_written(request: PodPart, kind: str) -> bool:
    """Return whether a pod is created, or a workload written: as a whole, not its status or scale."""
    operations = {"CREATE"} if kind == POD else {"CREATE", "UPDATE"}
    return kind in TEMPLATES and text(request, "operation") in operations and not text(request, "subResource")


def _owner(metadata: PodPart) -> str:
    """Return kind and name of what made the pod: its controller, else its first owner."""
    owners = _parts(metadata, "ownerReferences", f"{WHERE}.metadata")
    ordered = sorted(owners, key=lambda one: one.get("controller") is not True)
    return next((f"{text(one, 'kind')}/{text(one, 'name')}" for one in ordered), "")


def _texts(parent: PodPart, name: str, path: str) -> dict[str, str]:
    path = f"{path}.{name}"
    found = mapping(parent, name, path)
    if not all(isinstance(value, str) for value in found.values()):
        raise ReviewUnreadable(path, "its values must be text")
    return found


def _parts(parent: PodPart, name: str, path: str) -> tuple[PodPart, ...]:
    found = parent.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ReviewUnreadable(f"{path}.{name}", "it must be a list of objects")
    return tuple(found)
