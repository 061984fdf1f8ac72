"""The report's CronJob: its volumes are the collector's and its own, and what it runs makes the page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from shop import Shop
from shop_store import store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import ConfigMapVolume
    from tests.k8s.conftest import Rendered


def test_it_reads_the_collectors_volume_where_the_collector_runs_and_writes_one_of_its_own(
    render: Callable[[str], Rendered],
) -> None:
    report, collector = render("report"), render("collector")
    (role,), (writer,) = report.roles, collector.roles
    claims = {
        name: volume["persistentVolumeClaim"]["claimName"]
        for name, volume in role.workload.volumes.items()
        if "persistentVolumeClaim" in volume
    }
    owner = collector.workload("experiment-collector")
    (template,) = owner.object["spec"]["volumeClaimTemplates"]
    assert claims["store"] == f"{template['metadata']['name']}-{owner.object['metadata']['name']}-0"
    assert claims["report"] in report.of("PersistentVolumeClaim")
    assert role.variables["ABSIDE_EVENTS"] == writer.variables["ABSIDE_STORE"]
    assert role.mount_of(role.variables["ABSIDE_EVENTS"])["readOnly"] is True
    (term,) = role.workload.pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"].items() <= owner.template["metadata"]["labels"].items()
    config = role.workload.volumes[role.mount_of(role.variables["ABSIDE_CONFIG"])["name"]]["configMap"]["name"]
    assert config in render("experiments").of("ConfigMap")


def test_nothing_reaches_it_and_it_reaches_nothing(render: Callable[[str], Rendered]) -> None:
    policy = render("report").of("NetworkPolicy")["experiment-report"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert not policy.keys() & {"ingress", "egress"}


def test_what_it_runs_makes_the_page_from_a_store_and_documents_that_it_cannot_write(
    render: Callable[[str], Rendered], configmap_volume: Callable[[str], ConfigMapVolume], tmp_path: Path
) -> None:
    (role,) = render("report").roles
    documents = configmap_volume("abside-experiments")
    documents.swap(render("experiments").of("ConfigMap")["abside-experiments"]["data"])
    places = {name: tmp_path / name for name in ("store", "report", "work")} | {"abside-experiments": documents.path}
    shop = Shop(seed=1, shoppers=300, weights={"control": 50, "treatment": 50})
    store(places["store"] / "store", shop, experiment="pdp-reranker")
    for name in ("report", "work"):
        places[name].mkdir()
    before = {path: path.stat().st_mtime_ns for path in places["store"].rglob("*")}
    variables = {}
    for name, value in role.variables.items():
        mount = role.mount_of(value)
        variables[name] = value.replace(mount["mountPath"], str(places[mount["name"]]), 1)
    variables |= {"PATH": os.environ["PATH"], "TMPDIR": str(places["work"]), "HOME": "/nonexistent"}  # noqa: TID251 the path only
    command = [sys.executable, "-m", "abside", *role.container["args"]]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=400, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads((places["report"] / "report.json").read_text())
    assert [page["experiment"] for page in document["experiments"]] == ["pdp-reranker"]
    assert "pdp-reranker" in (places["report"] / "report.html").read_text()
    assert {path: path.stat().st_mtime_ns for path in places["store"].rglob("*")} == before
    assert list(places["work"].iterdir()) == []
