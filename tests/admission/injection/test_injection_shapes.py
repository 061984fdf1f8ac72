"""Pods of any shape, in process: refused with the place, or given a patch that applies; what of them is counted."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.admission.injection.workloads import container, patched, pod_of, review_of, workload

from abside_agent.admission.injection.injector import Injector
from abside_agent.admission.injection.obstacles import obstacles
from abside_agent.admission.injection.patch import patch
from abside_agent.admission.injection.pod import read_pod
from abside_agent.admission.injection.template import AGENT, SIDECAR, SidecarTemplate
from abside_agent.admission.metrics import INJECTED, LEFT, PRESENT, ReviewCounts
from abside_agent.admission.review import ReviewUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from abside_agent.admission.injection.source import TemplateSource

TEMPLATE = SidecarTemplate(
    containers=({"name": AGENT}, {"name": SIDECAR, "image": "abside:1"}),
    volumes=({"name": "abside-spool", "emptyDir": {}},),
    mounts=({"name": "abside-spool", "mountPath": "/var/spool/abside"},),
    labels={"abside.dev/sidecar": "enabled"},
    annotations={"config.linkerd.io/skip-inbound-ports": "7601"},
    grace_seconds=60,
    fs_group=10001,
    ports=frozenset({7600, 7601}),
)
ODD: list[Any] = [None, {}, [], "x", "", 5, -1, 1e9, True, [None], [[]], [{}], [5], {"a": None}]
ODD += [
    [{one: {}}] for one in ("name", "mountPath", "containerPort", "protocol", "ports", "volumeMounts", "controller")
]


def full() -> dict[str, Any]:
    mount = {"name": "models", "mountPath": "/models"}
    ports = [{"containerPort": 80, "protocol": "TCP"}]
    pod = pod_of(
        workload(
            "Deployment",
            containers=[container("web", ports=ports, volumeMounts=[mount])],
            initContainers=[container("proxy", restartPolicy="Always", ports=ports)],
            volumes=[{"name": "models", "emptyDir": {}}],
            securityContext={"runAsUser": 1},
            terminationGracePeriodSeconds=30,
            os={"name": "linux"},
            nodeSelector={"a": "b"},
            hostNetwork=False,
        )
    )
    pod["metadata"]["annotations"] = {"a/b~c": "d"}
    return pod


def places(tree: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield (*way, key)
        yield from places(value, (*way, key))


@pytest.mark.parametrize("way", [way for way in places(full()) if way != ("spec",)], ids=str)
def test_whatever_is_in_a_place_the_pod_is_refused_by_name_or_its_patch_applies(way: tuple[Any, ...]) -> None:
    for odd in ODD:
        pod = full()
        here: Any = pod
        for one in way[:-1]:
            here = here[one]
        here[way[-1]] = copy.deepcopy(odd)
        try:
            read = read_pod(json.dumps(review_of(pod)).encode())
        except ReviewUnreadable:
            continue  # 400, with the place: test_injection_pods.py
        if read.is_asked and not [*obstacles(read, TEMPLATE)]:
            after = patched(pod, patch(read, TEMPLATE))
            assert [one["name"] for one in after["spec"]["initContainers"][:2]] == [AGENT, SIDECAR]


def test_a_pod_of_fifty_containers_keeps_them_in_their_order() -> None:
    own = [container(f"c{number}") for number in range(50)]
    pod = pod_of(workload("Pod", initContainers=own, containers=copy.deepcopy(own)))
    after = patched(pod, patch(read_pod(json.dumps(review_of(pod)).encode()), TEMPLATE))
    assert after["spec"]["initContainers"] == [*TEMPLATE.containers, *own]
    assert after["spec"]["containers"][1:] == own[1:]


class Source:
    async def current(self) -> SidecarTemplate:
        return TEMPLATE


async def test_a_preview_is_answered_as_a_creation_and_counts_nowhere() -> None:
    counts = ReviewCounts()
    injector = Injector(cast("TemplateSource", Source()), counts)
    both = workload("Pod", initContainers=list(TEMPLATE.containers))
    answers: dict[bool, list[bytes]] = {}
    for is_preview in (True, False):
        for made in (workload("Pod"), workload("Pod", hostNetwork=True), both):
            body = json.dumps(review_of(pod_of(made), dryRun=is_preview)).encode()
            answer = await injector.post(cast("web.BaseRequest", None), body)
            answers.setdefault(is_preview, []).append(answer.body)
        wanted = 0 if is_preview else 1
        assert counts.pods == dict.fromkeys((INJECTED, PRESENT, LEFT), wanted)
    assert answers[True] == answers[False]
