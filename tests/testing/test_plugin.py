"""The pytest plugin: a real sidecar by the documents of a test, shared by a run, and apart from test to test."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from abside.client import Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from abside.testing.running import GivenDocuments, TestSidecar

    Start = Callable[[GivenDocuments], TestSidecar]

pytest_plugins = ["abside.testing.plugin"]
DOCUMENT = """
placements:
  pdp: {parameters: {model: ranker-v1, item_count: 12}}
experiments:
  pdp-reranker:
    name: PDP re-ranker
    hypothesis: It lifts add-to-cart by 2 %
    status: running
    placements: [pdp]
    variants:
      control: {weight: 50%}
      treatment: {weight: 50%, parameters: {pdp: {model: ranker-v2}}}
"""


def test_a_test_asks_a_real_sidecar_and_sees_what_it_recorded(abside_sidecar: Start) -> None:
    sidecar = abside_sidecar(DOCUMENT)
    client = sidecar.client()
    answer = client.assign("pdp", user_id="u1", force={"pdp-reranker": "treatment"})
    assert answer.config == {"model": "ranker-v2", "item_count": 12}
    assert client.event("click", user_id="u1", item_id="i7", exposure_id=answer.exposure_id)
    assert [one["exposure_id"] for one in sidecar.exposures] == [answer.exposure_id]
    assert [one["item_id"] for one in sidecar.events] == ["i7"]
    with pytest.raises(Refused, match="did you mean item_id"):
        client.event("click", user_id="u1", itemid="i7")


def test_another_test_sees_nothing_of_it_and_is_ready_at_once(abside_sidecar: Start, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(DOCUMENT.replace("item_count: 12", "item_count: 20"))
    abside_sidecar(DOCUMENT)
    begun = time.monotonic()
    for _ in range(5):
        abside_sidecar(DOCUMENT)
        sidecar = abside_sidecar(tmp_path)
    assert time.monotonic() - begun < 10  # ten changes, each well under a second; a busy machine has its time too
    assert sidecar.exposures == sidecar.events == []
    assert sidecar.client().assign("pdp", user_id="u1").config["item_count"] == 20
    sidecar.apply({"a.yaml": DOCUMENT})
    assert sidecar.client().assign("pdp", user_id="u1").config["item_count"] == 12


def test_what_is_taken_and_is_probably_a_mistake_is_a_warning_of_its_test(abside_sidecar: Start) -> None:
    eligible = "    eligibility:\n      - {attribute: country, op: eq, value: D0}\n    variants:\n"
    document = "attributes:\n  country: {type: string}\n" + DOCUMENT.replace("    variants:\n", eligible)
    for number, twice in enumerate((True, False, False)):  # of each test anew, and each is about others
        document = document.replace(f"value: D{number}", f"value: D{number + 1}")
        sidecar = abside_sidecar(document)
        client = sidecar.client()
        client.assign("pdp", user_id="u1", attributes={"contry": "DE", "browser": "x"})
        client.assign("pdp", user_id="u1", attributes={"country": 49})
        client.event("add_to_card", user_id="u1")
        client.event("impression", user_id="u1", placement="pdpp", items=["i1"])
        client.event("impression", user_id="u1", placement="checkout", items=["i1"])
        if twice:  # a second one in a test loses nothing of the first, and repeats nothing
            abside_sidecar(document)
        with pytest.warns(UserWarning, match="^abside_sidecar: ") as told:
            sidecar.close()
        assert [str(one.message).removeprefix("abside_sidecar: ") for one in told] == [
            "the attribute contry is not declared; did you mean country?",
            "the event type add_to_card is one of your own; did you mean add_to_cart?",
            "the attribute country has a value of another type than is declared; pdp-reranker needs it",
            "an event names the placement pdpp, which is in no document; did you mean pdp?",
        ]
    sidecar.close()  # told once


def test_documents_with_a_mistake_are_no_world_to_test_in(abside_sidecar: Start, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"(?s)test\.yaml:8:.*running"):
        abside_sidecar(DOCUMENT.replace("status: running", "status: runing"))
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        abside_sidecar(tmp_path / "no.yaml")
    with pytest.raises(ValueError, match=r"ends in \.yaml"):
        abside_sidecar({"a.yml": DOCUMENT})


LACKING = """
import os, sys

class Lacking:
    def find_spec(self, name, *_):
        if name.split(".")[0] in {lacking!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Lacking())
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # other packages' may need what is lacking
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "abside.testing.plugin", "test_app.py"]))
"""
OURS = ("orjson", "msgpack", "mmh3", "click", "aiohttp", "uvloop", "prometheus_client", "msgspec", "yaml")


@pytest.mark.parametrize(
    ("lacking", "arguments", "told"),
    [
        pytest.param(OURS, "", "1 passed", id="installed alone, a test that has no fixture of ours"),
        pytest.param(("msgspec",), "abside_sidecar", "abside_sidecar needs msgspec.*abside\\[agent\\]", id="no agent"),
    ],
)
def test_a_run_without_the_agents_libraries_is_disturbed_only_where_it_asks_for_the_sidecar(
    lacking: tuple[str, ...], arguments: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "test_app.py").write_text(f"def test_app({arguments}):\n    from abside.client import Client\n")
    command = [sys.executable, "-c", LACKING.format(lacking=lacking)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert re.search(told, ran.stdout), ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
