"""A real API server calls the real webhook, installed by the lines of the README: what kubectl prints, what waits."""

from __future__ import annotations

import re
import signal
import time
from typing import TYPE_CHECKING

import pytest
from tests.admission.installed import README, install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.admission.conftest import Data, Webhook
    from tests.admission.installed import Installed

    from real_api import RealApi

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
PAUSE, RESUME = re.findall(r"^kubectl patch configmap abside-paused .+$", README, re.MULTILINE)
NO_PAUSES = """kubectl patch configmap abside-paused --type json -p '[{"op": "add", "path": "/data", "value": {}}]'"""
WEIGHTS = ("pdp.yaml", "control:   {weight: 80%}", "control:   {weight: 90%}")
MARGIN = ("pdp.yaml", "margin: 0.3", "margin: 0.4")


@pytest.fixture(scope="module")
def installed(
    real_api: RealApi, tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Webhook]
) -> Iterator[Installed]:
    with install(real_api, tmp_path_factory.mktemp("install"), start, "--pause-seconds", "0.9") as installed:
        yield installed


@pytest.fixture
def samples(installed: Installed, documents: Callable[..., Data]) -> Data:
    """Put the samples in force, and no pause, whatever a test before has left."""
    data = documents()
    installed.write(data)
    installed.admin("kubectl apply --server-side --force-conflicts -k .")
    installed.admin(NO_PAUSES)
    assert installed.held() == data
    assert installed.held("abside-paused") == {}
    return data


def test_applying_the_install_again_would_change_nothing_and_keeps_the_certificate(
    installed: Installed, samples: Data
) -> None:
    assert installed.admin("kubectl diff --server-side -k .") == ""  # it exits with 1 where anything differs
    hooks = "validatingwebhookconfiguration,mutatingwebhookconfiguration"
    bundles = f"kubectl get {hooks} -o jsonpath={{.items[*].webhooks[*].clientConfig}}"
    assert installed.admin(bundles).count('"caBundle"') == 4


def test_mistakes_are_refused_as_the_readme_shows(
    installed: Installed, samples: Data, documents: Callable[..., Data]
) -> None:
    done = installed.apply(documents(WEIGHTS, ("cart.yaml", "status: paused ", "status: pausd ")))
    print(done.stderr)
    assert done.returncode == 1
    assert "\n".join(line.rstrip() for line in done.stderr.strip().splitlines()) in README
    assert installed.held() == samples


def test_a_forbidden_transition_is_refused_with_what_would_be_right(
    installed: Installed, samples: Data, documents: Callable[..., Data]
) -> None:
    changed = documents(WEIGHTS, ("pdp.yaml", "weight: 20%", "weight: 10%"))
    for act in (installed.preview, installed.apply):
        done = act(changed)
        print(done.stderr)
        assert done.returncode == 1
        assert done.stderr.startswith('The ConfigMap "abside-experiments" is invalid: pdp.yaml:16: ')
        assert "the weights change from 80/20 to 90/10 under an experiment that ran" in done.stderr
        assert "write phase: 2" in done.stderr
    assert installed.held() == samples


def test_a_doubt_is_said_and_a_preview_changes_nothing(
    installed: Installed, samples: Data, documents: Callable[..., Data]
) -> None:
    changed = documents(MARGIN)
    for act, word, holds in (
        (installed.preview, "serverside-applied (server dry run)", samples),
        (installed.apply, "serverside-applied", changed),
    ):
        done = act(changed)
        print(done.stderr)
        assert done.stderr.startswith("Warning: pdp.yaml:20: what treatment gives changes in mid-experiment")
        assert done.stdout == f"configmap/abside-experiments {word}\n"
        assert installed.held() == holds


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kubectl delete configmap abside-experiments", "abside-experiments: WITHOUT THIS CONFIGMAP a new pod starts"),
        ("kubectl delete configmap abside-paused", "abside-paused: WITHOUT THIS CONFIGMAP NOTHING IS PAUSED"),
        (
            """kubectl patch configmap abside-experiments --type merge -p '{"data": null}'""",
            "documents: NO DOCUMENT IS LEFT",
        ),
        (
            """kubectl patch configmap abside-paused --type merge -p '{"data": {"all": "night"}}'""",
            "abside-paused: the key all pauses EVERY experiment",
        ),
    ],
)
def test_what_is_drastic_is_allowed_with_a_loud_warning(
    installed: Installed, samples: Data, line: str, said: str
) -> None:
    printed = installed.admin(line)
    print(printed)
    assert f"Warning: {said}" in printed
    assert re.search(r"deleted|patched", printed)


def test_a_pause_is_taken_without_a_word_and_no_other_config_map_is_ever_sent(
    installed: Installed, samples: Data
) -> None:
    assert installed.pm(PAUSE).stderr == ""
    assert installed.held("abside-paused") == {"pdp-reranker": "carts broken"}
    assert installed.pm(RESUME).stderr == ""
    assert installed.held("abside-paused") == {}
    installed.admin("kubectl create configmap other --from-literal=a=b && kubectl delete configmap other")
    assert installed.webhook is not None
    assert installed.webhook.is_logged("name=abside-paused")
    assert not installed.webhook.is_logged("name=other")


def test_a_pause_that_names_no_experiment_is_told_at_once_by_the_right_of_the_role_and_no_other(
    installed: Installed, samples: Data
) -> None:
    mistaken = PAUSE.replace("pdp-reranker", "pdp-rerankr")
    said = ""
    for _ in range(20):  # on a busy machine the first answer may come late; it is known to the next patch
        said = installed.pm(mistaken).stderr
        if "NOT CHECKED" not in said:
            break
    assert "no experiment has this id — did you mean pdp-reranker?" in said
    assert installed.held("abside-paused") == {"pdp-rerankr": "carts broken"}
    may = "kubectl auth can-i {} configmap/{} --as=system:serviceaccount:recs:experiment-admission || true"
    assert installed.admin(may.format("list", "abside-experiments")).strip() == "yes"
    for verb, name in (("list", "abside-paused"), ("list", "other"), ("update", "abside-experiments")):
        assert installed.admin(may.format(verb, name)).strip().startswith("no"), (verb, name)


def test_a_megabyte_is_checked_in_time(installed: Installed, samples: Data) -> None:
    changed = {**samples, "newsfeed.yaml": samples["newsfeed.yaml"] + f"# {'x' * 100}\n" * 9500}
    begun = time.monotonic()
    done = installed.apply(changed)
    print(f"{sum(map(len, changed.values()))} bytes: {time.monotonic() - begun:.2f} s\n{done.stderr}")
    assert done.returncode == 0
    assert "KiB of documents: a ConfigMap holds 1024 KiB" in done.stderr
    assert "NOT CHECKED" not in done.stderr


def test_a_webhook_that_hangs_or_is_gone_holds_nothing_up_for_long(
    installed: Installed, samples: Data, documents: Callable[..., Data]
) -> None:
    assert installed.webhook is not None
    process = installed.webhook.process
    took = {}
    for state, line in (("hangs", PAUSE), ("is gone", RESUME)):
        process.send_signal(signal.SIGSTOP if state == "hangs" else signal.SIGKILL)
        begun = time.monotonic()
        assert installed.pm(line).returncode == 0
        took[f"a pause when it {state}"] = time.monotonic() - begun
        begun = time.monotonic()
        assert installed.apply(documents(WEIGHTS) if state == "hangs" else samples).returncode == 0
        took[f"a change when it {state}"] = time.monotonic() - begun
    process.wait()
    print({what: f"{seconds:.1f} s" for what, seconds in took.items()})
    assert took["a pause when it hangs"] < 5.0  # 1 s by its own timeout, where the documents' 10 s would be too long
    assert installed.held("abside-paused") == {}
