"""The JSON Patch that puts a template's containers into a pod. Pure.

Source: RFC 6902, and RFC 6901 for its paths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from abside_agent.admission.injection.template import DEFAULT_GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from abside_agent.admission.injection.pod import NewPod
    from abside_agent.admission.injection.template import PodPart, SidecarTemplate

PatchStep: TypeAlias = "dict[str, Any]"

# Annotations whose value is a list with commas: the pod's own entries stay, the template's are added.
LISTS = frozenset(
    {
        "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes",
        "config.linkerd.io/skip-inbound-ports",
        "config.linkerd.io/skip-outbound-ports",
        "traffic.sidecar.istio.io/excludeInboundPorts",
        "traffic.sidecar.istio.io/excludeOutboundPorts",
    }
)


def patch(pod: NewPod, template: SidecarTemplate) -> list[PatchStep]:
    """Return the steps: ours before the pod's own, which keep their order; nothing of the pod is taken away."""
    return [
        *_texts("/metadata/labels", pod.labels, template.labels),
        *_texts("/metadata/annotations", pod.annotations, template.annotations),
        *_before("/spec/initContainers", pod.init_containers, template.containers),
        *_before("/spec/volumes", pod.volumes, template.volumes),
        *_mounts(pod, template.mounts),
        *_spec(pod, template),
    ]


def _texts(path: str, has: dict[str, str], gets: dict[str, str]) -> Iterator[PatchStep]:
    added = {name: _joined(name, has.get(name), value) for name, value in gets.items()}
    changed = {name: value for name, value in added.items() if has.get(name) != value}
    if changed and not has:
        yield _add(path, changed)
    else:
        yield from (_add(f"{path}/{_escaped(name)}", value) for name, value in changed.items())


def _joined(name: str, has: str | None, gets: str) -> str:
    """Return the pod's own value where it has one, with the template's entries after it where it is a list."""
    if has is None or (name in LISTS and not has.strip()):
        return gets
    if name not in LISTS:
        return has
    entries = [one.strip() for one in has.split(",")]
    return ",".join([has, *(one for one in gets.split(",") if one.strip() not in entries)])


def _before(path: str, has: Sequence[PodPart], gets: Sequence[PodPart]) -> Iterator[PatchStep]:
    if not has:
        yield _add(path, list(gets))
    else:
        yield from (_add(f"{path}/{index}", one) for index, one in enumerate(gets))


def _mounts(pod: NewPod, gets: Sequence[PodPart]) -> Iterator[PatchStep]:
    """Yield the mounts of the app's first container, except where it mounts something at the same path."""
    if not pod.containers:
        return  # the API server has not looked yet, and is about to refuse it
    paths = [one.get("mountPath") for one in pod.mounts]
    wanted = [one for one in gets if one.get("mountPath") not in paths]
    path = "/spec/containers/0/volumeMounts"
    if wanted and not pod.mounts:
        yield _add(path, wanted)
    else:
        yield from (_add(f"{path}/-", one) for one in wanted)


def _spec(pod: NewPod, template: SidecarTemplate) -> Iterator[PatchStep]:
    grace = pod.spec.get("terminationGracePeriodSeconds")
    if (grace if isinstance(grace, int) else DEFAULT_GRACE_SECONDS) < template.grace_seconds:
        yield _add("/spec/terminationGracePeriodSeconds", template.grace_seconds)
    if template.fs_group is not None and "fsGroup" not in pod.security:
        yield _add("/spec/securityContext", {**pod.security, "fsGroup": template.fs_group})


def _add(path: str, value: object) -> PatchStep:
    return {"op": "add", "path": path, "value": value}  # of a member that is there, `add` replaces it


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
