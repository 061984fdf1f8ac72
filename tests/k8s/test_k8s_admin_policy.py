"""The policy for :7601: it closes that port to strangers, and no port of the app beside the sidecar to anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.k8s.conftest import Object, Rendered

ADMIN_PORT = 7601
LABEL = {"abside.dev/sidecar": "enabled"}


def covers(port: Object, number: int, protocol: str) -> bool:
    last = int(port.get("endPort") or port["port"])
    return bool(port["protocol"] == protocol and port["port"] <= number <= last)


def rules_for(policy: Object, number: int, protocol: str = "TCP") -> Iterator[Object]:
    """Return the rules that open a port."""
    for rule in policy["spec"]["ingress"]:
        if any(covers(port, number, protocol) for port in rule["ports"]):
            yield rule


@pytest.fixture(params=["components/admin-policy", "overlays/example"])
def policy(request: pytest.FixtureRequest, render: Callable[[str], Rendered]) -> Object:
    return render(request.param).of("NetworkPolicy")["abside-admin"]


@pytest.mark.parametrize("protocol", ["TCP", "UDP", "SCTP"])
def test_every_other_port_stays_open_to_everybody(policy: Object, protocol: str) -> None:
    for number in range(1, 65_536):
        if (number, protocol) != (ADMIN_PORT, "TCP"):
            assert [rule.keys() for rule in rules_for(policy, number, protocol)] == [{"ports"}], number


def test_the_admin_port_is_open_to_scrapers_only(policy: Object) -> None:
    (rule,) = rules_for(policy, ADMIN_PORT)
    assert rule["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
        {"namespaceSelector": {"matchLabels": {"abside.dev/scraper": "enabled"}}},
    ]


def test_it_says_nothing_of_what_goes_out_and_selects_pods_with_a_sidecar_only(
    policy: Object, render: Callable[[str], Rendered]
) -> None:
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert policy["spec"].keys() == {"podSelector", "policyTypes", "ingress"}
    assert policy["spec"]["podSelector"] == {"matchLabels": LABEL}
    example = render("overlays/example")
    selected = [one.name for one in example.workloads if LABEL.items() <= one.template["metadata"]["labels"].items()]
    assert selected == ["Deployment/rec-service"]
    for role in example.roles:
        if role.workload.name in selected and role.container["args"] == ["sidecar"]:
            assert role.port("ABSIDE_ADMIN") == ADMIN_PORT


def test_the_sidecar_alone_brings_no_policy_since_policies_add_up(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    assert overlay([existing("recs", labels=LABEL)], "sidecar").of("NetworkPolicy") == {}
