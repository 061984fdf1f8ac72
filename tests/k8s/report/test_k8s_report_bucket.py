"""The report's CronJob that reads a bucket: no volume of the collector's, a way out, and an identity."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from abside.collector.store.place import open_place
from shop import Shop
from shop_store import store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import ConfigMapVolume
    from tests.k8s.conftest import Rendered


@pytest.fixture
def report(overlay: Callable[..., Rendered]) -> Rendered:
    return overlay([], "report-bucket", resources=["report", "experiments"])


def test_it_mounts_nothing_of_the_collector_and_runs_on_any_node(report: Rendered) -> None:
    (role,) = report.roles
    assert role.workload.volumes.keys() == {"abside-experiments", "report", "work"}
    assert "affinity" not in role.workload.pod
    room = role.workload.volumes["work"]["emptyDir"]["sizeLimit"]
    assert role.container["resources"]["requests"]["ephemeral-storage"] == room
    assert role.workload.pod["serviceAccountName"] in report.of("ServiceAccount")


def test_nothing_reaches_it_and_it_reaches_names_buckets_and_the_clouds_identity(report: Rendered) -> None:
    policy = report.of("NetworkPolicy")["experiment-report"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    anywhere = {port["port"] for rule in policy["egress"] if "to" not in rule for port in rule["ports"]}
    assert anywhere == {53, 443}
    near = [one["ipBlock"]["cidr"] for rule in policy["egress"] for one in rule.get("to", [])]
    assert near
    assert all(cidr.startswith("169.254.") and cidr.endswith("/32") for cidr in near)


def test_what_it_runs_makes_the_page_from_a_bucket_with_the_keys_of_its_secret(
    report: Rendered, configmap_volume: Callable[[str], ConfigMapVolume], s3_server: Any, tmp_path: Path, s3: Any
) -> None:
    (role,) = report.roles
    (secret,) = (one["secretRef"] for one in role.container["envFrom"])
    assert secret["optional"] is True
    documents = configmap_volume("abside-experiments")
    documents.swap(report.of("ConfigMap")["abside-experiments"]["data"])
    shop = Shop(seed=1, shoppers=300, weights={"control": 50, "treatment": 50})
    bucket = f"s3://{s3.bucket()}/raw"
    for path in sorted(store(tmp_path / "store", shop, experiment="pdp-reranker").rglob("*.parquet")):
        open_place(bucket).create(f"store=a/{path.relative_to(tmp_path / 'store').as_posix()}", path)
    variables = {"ABSIDE_EVENTS": bucket} | s3_server.environment
    for name, value in role.variables.items():
        if name != "ABSIDE_EVENTS":
            mount = role.mount_of(value)
            (tmp_path / mount["name"]).mkdir(exist_ok=True)
            variables[name] = value.replace(mount["mountPath"], str(tmp_path / mount["name"]), 1)
    assert role.variables["ABSIDE_EVENTS"].startswith("s3://")
    variables |= {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path / "work"), "HOME": "/nonexistent"}  # noqa: TID251 the path only
    command = [sys.executable, "-m", "abside", *role.container["args"]]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=400, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [page["experiment"] for page in found["experiments"]] == ["pdp-reranker"]
    assert found["events"]["files"] > 0
    assert list((tmp_path / "work").iterdir()) == []
