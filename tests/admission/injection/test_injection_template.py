"""Where the template comes from: read when it is needed, kept when the API is away, and refused when it is none."""

from __future__ import annotations

import asyncio
import copy
import socket
from typing import TYPE_CHECKING, Any

import pytest
from tests.admission.injection.conftest import injected
from tests.admission.injection.workloads import pod_of, workload

from abside_agent.admission.injection.source import TemplateSource, TemplateUnreadError
from abside_agent.admission.injection.template import SidecarTemplate, TemplateUnusableError, template_of
from abside_agent.settings import AdmissionSettings
from abside_agent.watch.api import Access

if TYPE_CHECKING:
    from pathlib import Path

    from tests.admission.conftest import Webhook
    from tests.admission.injection.conftest import DeploymentApi, Json

NAME = "experiment-sidecar"


def source(api: DeploymentApi, folder: Path, **settings: Any) -> TemplateSource:
    settings = {"inject_seconds": 20.0, **settings}
    return TemplateSource(
        AdmissionSettings(tls_cert="", tls_key="", **settings), Access(api.url, api.credentials(folder))
    )


async def test_pods_that_come_together_read_the_template_once(api: DeploymentApi, tmp_path: Path) -> None:
    found = source(api, tmp_path, template_seconds=3600.0)
    templates = await asyncio.gather(*(found.current() for _ in range(50)))
    assert api.asked == 1
    assert {one.image for one in templates} == {"abside:0.1.0"}


async def test_a_failure_is_shared_too_and_the_next_pod_tries_again(api: DeploymentApi, tmp_path: Path) -> None:
    found = source(api, tmp_path, template_seconds=3600.0)
    api.fails = 403
    failed = await asyncio.gather(*(found.current() for _ in range(50)), return_exceptions=True)
    assert api.asked == 1
    assert {type(one) for one in failed} == {TemplateUnreadError}
    why = "the Deployment experiment-sidecar cannot be used: the API answered 403: deployments.apps is forbidden"
    assert {str(one) for one in failed} == {why}
    api.fails = 0
    assert isinstance(await found.current(), SidecarTemplate)


async def test_a_changed_template_is_used_and_a_failure_keeps_the_last_good(api: DeploymentApi, tmp_path: Path) -> None:
    found = source(api, tmp_path, template_seconds=1e-9)
    first = await found.current()
    changed = copy.deepcopy(api.deployments[NAME])
    changed["spec"]["template"]["spec"]["initContainers"][1]["image"] = "abside:0.2.0"
    api.deployments = {NAME: changed}
    second = await found.current()
    assert (first.image, second.image) == ("abside:0.1.0", "abside:0.2.0")
    api.fails = 500
    assert await found.current() == second
    api.fails, api.deployments = 0, {}
    assert await found.current() == second
    assert api.asked == 4


async def test_an_api_that_is_silent_holds_a_pod_up_no_longer_than_the_setting(tmp_path: Path) -> None:
    for name in ("token", "namespace", "ca.crt"):
        (tmp_path / name).write_text("x")
    settings = AdmissionSettings(tls_cert="", tls_key="", inject_seconds=0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = TemplateSource(settings, Access(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path))
        with pytest.raises(TemplateUnreadError, match=r"the API did not answer within 0\.05 s"):
            await found.current()


def test_without_a_template_a_pod_is_created_as_it_is_and_told_so(injecting: Webhook, api: DeploymentApi) -> None:
    api.deployments = {}
    pod = pod_of(workload("Pod"))
    why = "the Deployment experiment-sidecar cannot be used: it does not exist"
    remedy = "see the log of experiment-admission, then create the pod anew"
    assert injected(injecting, pod) == (pod, [f"pod recs: NO SIDECAR IS INJECTED: {why} — {remedy}"])
    assert injecting.is_logged(f"template_unread name={NAME} ")
    assert injecting.is_logged(f'why="{why}"')


def without(deployment: Json, *path: str) -> Json:
    changed = copy.deepcopy(deployment)
    here = changed
    for name in path[:-1]:
        here = here[name]
    del here[path[-1]]
    return changed


@pytest.mark.parametrize(
    "path", [("spec",), ("spec", "template"), ("spec", "template", "spec", "initContainers")], ids=".".join
)
def test_a_deployment_that_the_component_did_not_fill_in_is_no_template(
    deployment: Json, path: tuple[str, ...]
) -> None:
    with pytest.raises(TemplateUnusableError, match="do not begin with abside-agent and abside-sidecar"):
        template_of(without(deployment, *path))


def test_the_ports_are_those_that_are_declared_and_those_of_the_addresses(deployment: Json) -> None:
    assert template_of(deployment).ports == {7600, 7601}
    changed = copy.deepcopy(deployment)
    for variable in changed["spec"]["template"]["spec"]["initContainers"][1]["env"]:
        if variable["name"] == "ABSIDE_LISTEN":
            variable["value"] = "127.0.0.1:8600 unix:/run/abside/http.sock [::1]:8601"
    assert template_of(changed).ports == {8600, 8601, 7601}
