"""The folder for the operator, the plain files for everybody else: one source, one set of jobs.

`python -m tests.monitoring.test_manifests` writes k8s/monitoring/prometheusrule.yaml anew.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import yaml  # noqa: TID251 what Prometheus and its operator read, not a PM's
from tests.k8s.conftest import kustomize, render  # noqa: F401 fixtures
from tests.monitoring.alerting import MONITORING, ROOT, rules
from tests.monitoring.test_promtool import promtool  # noqa: F401 fixture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.k8s.conftest import Rendered

FILE = MONITORING / "prometheusrule.yaml"
HEAD = """\
# Made of rules/*.yaml by `python -m tests.monitoring.test_manifests`: change those.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: abside
  labels:
    app.kubernetes.io/part-of: abside
spec:
  groups:
"""


def made() -> str:
    """Return the rules as the operator takes them."""
    text = HEAD
    for path in sorted((MONITORING / "rules").glob("*.yaml")):
        _, _, groups = path.read_text().partition("groups:\n")
        text += "".join(f"  {line}\n" if line else "\n" for line in groups.splitlines())
    return text


def test_the_operators_rules_are_those_of_the_plain_files() -> None:
    assert FILE.read_text() == made(), "write it anew: python -m tests.monitoring.test_manifests"
    plain = [yaml.safe_load(path.read_text()) for path in sorted((MONITORING / "rules").glob("*.yaml"))]
    assert yaml.safe_load(made())["spec"]["groups"] == [group for file in plain for group in file["groups"]]


def test_the_folder_is_the_rules_and_the_dashboard_where_grafana_looks(
    render: Callable[[str], Rendered],  # noqa: F811 fixture
) -> None:
    rendered = render("monitoring")
    assert [one["kind"] for one in rendered.objects] == ["ConfigMap", "PrometheusRule"]
    board = rendered.of("ConfigMap")["abside-dashboard"]
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(board["data"]["abside.json"])["uid"] == "abside"


def test_the_line_of_the_readme_makes_an_address_of_each_link(
    render: Callable[[str], Rendered],  # noqa: F811 fixture
) -> None:
    readme = (ROOT / "k8s" / "README.md").read_text()
    (command,) = re.findall(r"^kubectl kustomize k8s/monitoring \| (sed .+?) \| kubectl apply", readme, re.MULTILINE)
    given = render("monitoring").text
    done = subprocess.run(["bash", "-c", command], input=given, capture_output=True, text=True, check=True)
    links = re.findall(r"runbook_url: (\S+)", done.stdout)
    assert len(links) == len(rules())
    assert all(re.fullmatch(r"https://git\.example/abside/docs/runbook\.md#[a-z]+", link) for link in links)


def monitors() -> dict[str, dict[str, Any]]:
    """Return the monitors by the name of their job."""
    path = ROOT / "k8s" / "components" / "podmonitor" / "podmonitor.yaml"
    found = {}
    for one in yaml.safe_load_all(path.read_text()):
        (endpoint,) = one["spec"]["podMetricsEndpoints"]
        ((rename,),) = ([rule for rule in endpoint["relabelings"] if rule["targetLabel"] == "job"],)
        found[rename["replacement"]] = {**endpoint, **one["spec"]["selector"]["matchLabels"]}
    return found


def test_operator_and_plain_file_scrape_the_same_pods_under_the_same_jobs() -> None:
    plain = {one["job_name"]: one for one in yaml.safe_load((MONITORING / "scrape.yaml").read_text())["scrape_configs"]}
    assert plain.keys() == monitors().keys()
    for job, monitor in monitors().items():
        pod, port, *_ = plain[job]["relabel_configs"]
        (label,) = (name for name in ("abside.dev/sidecar", "app.kubernetes.io/name") if name in monitor)
        word = "".join(sign if sign.isalnum() else "_" for sign in label)
        assert pod["source_labels"] == [f"__meta_kubernetes_pod_label_{word}"]
        assert (pod["regex"], port["regex"]) == (monitor[label], monitor["port"])
        assert plain[job].get("scheme", "http") == monitor.get("scheme", "http")


def test_every_job_that_a_rule_names_is_scraped() -> None:
    named = [one for rule in rules() for selector in rule.selectors for one in selector.matchers if one.label == "job"]
    for one in named:
        assert any(one.holds(job) for job in monitors()), one
        assert one.sign != "!=" or one.text in monitors(), one


def test_prometheus_reads_the_plain_files(promtool: str, tmp_path: Path) -> None:  # noqa: F811 fixture
    config = {"rule_files": [str(MONITORING / "rules" / "*.yaml")]}
    path = tmp_path / "prometheus.yaml"
    scrape = (MONITORING / "scrape.yaml").read_text()
    # Debian's promtool is built without the discovery of pods.
    path.write_text(
        yaml.safe_dump(config) + scrape.replace("kubernetes_sd_configs: [{role: pod}]", "static_configs: []")
    )
    done = subprocess.run([promtool, "check", "config", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    FILE.write_text(made())
