"""Why a pod is left as it is: what would make it fail, or be refused, with the two containers in it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside_agent.admission.injection.template import AGENT, SIDECAR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside_agent.admission.injection.pod import NewPod
    from abside_agent.admission.injection.template import PodPart, SidecarTemplate

PART_OF, OURS = "app.kubernetes.io/part-of", "abside"  # our own pods, whatever label an overlay gave to all
SYSTEM = "kube-system"
MIRROR = "kubernetes.io/config.mirror"  # Kubernetes' mark of a pod that a kubelet already runs, from a file
OS = "kubernetes.io/os"

Obstacle = tuple[str, str]  # why, and what to do about it


def is_present(pod: NewPod) -> bool:
    """Return whether both containers are there: from the component, or from an earlier call for this pod."""
    return {AGENT, SIDECAR} <= {str(one.get("name")) for one in pod.init_containers}


def is_ours(pod: NewPod) -> bool:
    """Return whether this is a pod of abside itself, or of the cluster."""
    return pod.labels.get(PART_OF) == OURS or pod.namespace == SYSTEM


def obstacles(pod: NewPod, template: SidecarTemplate) -> Iterator[Obstacle]:
    """Yield every reason to leave a pod that has neither container as it is."""
    spec = pod.spec
    if MIRROR in pod.annotations:
        yield "a kubelet runs it from a file and only shows it here", "write both containers into that file"
    if _text(spec.get("os"), "name") == "windows" or _text(spec.get("nodeSelector"), OS) == "windows":
        yield "it is for Windows, and agent and sidecar are for Linux", "remove the label"
    if spec.get("hostNetwork") is True:
        ports = _and(sorted(template.ports))
        yield f"it has hostNetwork, where {ports} are the node's, for one pod only", "ask a gateway's Service instead"
    if spec.get("resources"):
        yield "it has resources for the pod as a whole, and ours are not in them", "render it with components/sidecar"
    yield from _taken(pod, template)


def _taken(pod: NewPod, template: SidecarTemplate) -> Iterator[Obstacle]:
    """Yield ports and names that the pod has already given to something else."""
    containers = (*pod.init_containers, *pod.containers)
    for one in containers:
        for port in sorted(template.ports & _ports(one)):
            yield f"its container {one.get('name')} has the port {port}, which is ours", "use another port there"
    for what, theirs, ours in (
        ("container", containers, template.containers),
        ("volume", pod.volumes, template.volumes),
    ):
        for name in sorted({one["name"] for one in ours} & {str(one.get("name")) for one in theirs}):
            yield f"it has a {what} {name} already", "rename that one, or take it out"


def _ports(container: PodPart) -> set[int]:
    ports = container.get("ports")
    listed = [one for one in ports if isinstance(one, dict)] if isinstance(ports, list) else []
    return {
        port
        for one in listed
        if one.get("protocol", "TCP") == "TCP" and isinstance(port := one.get("containerPort"), int)
    }


def _text(parent: object, name: str) -> str:
    found = parent.get(name) if isinstance(parent, dict) else None
    return found if isinstance(found, str) else ""


def _and(numbers: list[int]) -> str:
    return " and ".join(str(one) for one in numbers)
