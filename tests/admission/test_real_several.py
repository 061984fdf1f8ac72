"""Several ConfigMaps of documents on a real API server: what would take another team's experiment out is refused."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from tests.admission.installed import NAMESPACE, install
from tests.admission.test_admission_several import CLASHES, GOOD, GROUND, OURS

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from tests.admission.conftest import Data, Webhook
    from tests.admission.installed import Installed

    from real_api import RealApi

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NAMES = ["abside-experiments", "team-search", "team-cart"]  # as in the README
MORE = f"""\
  - target: {{kind: ValidatingWebhookConfiguration}}
    patch: |-
      - op: replace
        path: /webhooks/0/matchConditions/0/expression
        value: 'request.name in {json.dumps(NAMES)}'
  - target: {{kind: ClusterRole, name: experiment-admission-reader}}
    patch: '[{{"op": "replace", "path": "/rules/0/resourceNames", "value": {json.dumps(NAMES)}}}]'
"""


@pytest.fixture(scope="module")
def installed(
    real_api: RealApi, tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Webhook]
) -> Iterator[Installed]:
    named = [word for name in NAMES for word in ("--configmap", name)]
    patience = ("--check-seconds", "9", "--check-cpu-seconds", "9", "--pause-seconds", "0.9")
    with install(real_api, tmp_path_factory.mktemp("several"), start, *named, *patience, more=MORE) as installed:
        real_api.kubectl("delete", "configmap", NAMES[0], namespace=NAMESPACE)
        apply(real_api, NAMES[0], GROUND, check=True)
        yield installed
        real_api.kubectl("delete", "configmap", *NAMES, "--ignore-not-found", namespace=NAMESPACE)


def apply(api: RealApi, name: str, data: Data, *, check: bool = False) -> subprocess.CompletedProcess[str]:
    """Apply a whole ConfigMap, as a pipeline of its team does."""
    one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    words = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    return api.kubectl(*words, namespace=NAMESPACE, stdin=json.dumps(one), check=check)


@pytest.mark.parametrize(("mine", "other"), [("team-cart", "team-search"), ("team-search", "team-cart")])
@pytest.mark.parametrize("code", CLASHES)
def test_what_excludes_another_teams_experiment_is_refused_in_either_order(
    real_api: RealApi, installed: Installed, code: str, mine: str, other: str
) -> None:
    for name in (mine, other):
        real_api.kubectl("delete", "configmap", name, "--ignore-not-found", namespace=NAMESPACE)
    apply(real_api, other, OURS, check=True)
    done = apply(real_api, mine, {"y.yaml": GOOD})
    assert (done.returncode, done.stderr) == (0, "")
    done = apply(real_api, mine, {"y.yaml": CLASHES[code]})
    print(code, done.stderr)
    assert done.returncode == 1
    _, told, why = done.stderr.partition(f'The ConfigMap "{mine}" is invalid: ')
    assert told
    assert set(re.findall(r"(?:^|^\* )(team-\w+)/", why, re.MULTILINE)) == {"team-cart"}, "the later one would lose"
    assert installed.held(mine) == {"y.yaml": GOOD}
    assert installed.held(other) == OURS


def test_a_pause_names_an_experiment_of_any_of_them_or_is_told(real_api: RealApi, installed: Installed) -> None:
    apply(real_api, "team-cart", {}, check=True)
    apply(real_api, "team-search", OURS, check=True)

    def pause(key: str) -> str:
        patch = json.dumps({"data": {key: "broken"}})
        words = ("patch", "configmap", "abside-paused", "--type", "merge", "-p", patch)
        return real_api.kubectl(*words, namespace=NAMESPACE).stderr

    pause("x")  # the first may find the server cold: then it is told that its id was not checked
    assert "NOTHING IS PAUSED" not in pause("x")
    for _ in range(20):
        if "NOTHING IS PAUSED by xx: no experiment has this id" in pause("xx"):
            break
    else:
        pytest.fail("nobody was told")
    assert set(installed.held("abside-paused")) == {"x", "xx"}
