"""Reads the AdmissionReview of a pod that is created. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside_agent.admission.injection.template import ENABLED, LABEL
from abside_agent.admission.review import ReviewUnreadable, mapping, request_of, text, user_of

if TYPE_CHECKING:
    from abside_agent.admission.injection.template import PodPart

WHERE = "request.object"


@dataclass(frozen=True, slots=True)
class NewPod:
    """A pod before it exists. `name` may be only how it begins; `owner` is empty for a bare pod."""

    uid: str
    namespace: str
    name: str
    owner: str
    user: str
    is_dry_run: bool
    is_asked: bool  # a pod that is created, with the label
    labels: dict[str, str]
    annotations: dict[str, str]
    spec: PodPart
    init_containers: tuple[PodPart, ...]
    containers: tuple[PodPart, ...]
    volumes: tuple[PodPart, ...]


def read_pod(body: bytes) -> NewPod:
    """Read a request. Raises ReviewUnreadable."""
    request = request_of(body)
    kind = text(mapping(request, "kind", "request.kind"), "kind")
    pod = mapping(request, "object", WHERE)
    metadata, spec = (mapping(pod, name, f"{WHERE}.{name}") for name in ("metadata", "spec"))
    labels, annotations = (_texts(metadata, name) for name in ("labels", "annotations"))
    is_created = (kind, text(request, "operation"), text(request, "subResource")) == ("Pod", "CREATE", "")
    return NewPod(
        text(request, "uid"),
        text(request, "namespace"),
        text(metadata, "name") or text(metadata, "generateName"),
        _owner(metadata),
        user_of(request),
        request.get("dryRun") is True,
        is_created and labels.get(LABEL) == ENABLED,
        labels,
        annotations,
        spec,
        _parts(spec, "initContainers", f"{WHERE}.spec"),
        _parts(spec, "containers", f"{WHERE}.spec"),
        _parts(spec, "volumes", f"{WHERE}.spec"),
    )


def _owner(metadata: PodPart) -> str:
    """Return kind and name of what made the pod: its controller, else its first owner."""
    owners = _parts(metadata, "ownerReferences", f"{WHERE}.metadata")
    ordered = sorted(owners, key=lambda one: one.get("controller") is not True)
    return next((f"{text(one, 'kind')}/{text(one, 'name')}" for one in ordered), "")


def _texts(parent: PodPart, name: str) -> dict[str, str]:
    path = f"{WHERE}.metadata.{name}"
    found = mapping(parent, name, path)
    if not all(isinstance(value, str) for value in found.values()):
        raise ReviewUnreadable(path, "its values must be text")
    return found


def _parts(parent: PodPart, name: str, path: str) -> tuple[PodPart, ...]:
    found = parent.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ReviewUnreadable(f"{path}.{name}", "it must be a list of objects")
    return tuple(found)
