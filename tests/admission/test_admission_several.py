"""Several ConfigMaps of documents at the webhook: it reads the others and refuses what excludes another team's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fake_api import FakeApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.admission.conftest import Data, Json, Webhook

TEAMS = ("ground", "team-a", "team-b")
GROUND = {"g.yaml": "placements:\n  pdp: {parameters: {model: v1, count: 1}}\nlayers:\n  ranking: {}\n"}


def experiment(name: str, setting: str = "model: v2", more: str = "") -> str:
    arms = f"{{control: {{weight: 50%}}, b: {{weight: 50%, parameters: {{pdp: {{{setting}}}}}}}}}"
    about = "name: A test, hypothesis: It lifts, status: running, placements: [pdp]"
    return f"experiments:\n  {name}: {{{about}, variants: {arms}{more}}}\n"


OURS = {"ours.yaml": experiment("x", more=", layer: ranking, slots: 0%-60%")}
GOOD = experiment("y", "count: 2")
CLASHES = {
    "RETIRED": "retired: [x]\n" + GOOD,
    "DUPLICATE_ID": experiment("x", "count: 2"),
    "SLOTS_OVERLAP": experiment("y", "count: 2", ", layer: ranking, slots: 40%-100%"),
    "PARAMETER_CONFLICT": experiment("y"),
}


@pytest.fixture(scope="module")
def api() -> Iterator[FakeApi]:
    server = FakeApi(names=TEAMS).start()
    yield server
    server.end()


@pytest.fixture(scope="module")
def several(api: FakeApi, start: Callable[..., Webhook], tmp_path_factory: pytest.TempPathFactory) -> Webhook:
    folder = api.credentials(tmp_path_factory.mktemp("account"))
    named = [word for name in TEAMS for word in ("--configmap", name)]
    patience = ("--check-seconds", "25", "--check-cpu-seconds", "25")
    return start(*named, *patience, "--cluster-api", api.url, "--cluster-credentials", str(folder))


@pytest.fixture
def holding(api: FakeApi) -> Callable[..., None]:
    """Put the ConfigMaps of the teams in force."""

    def put(**more: Data) -> None:
        for name in TEAMS:
            api.set(name, {"ground": GROUND, **more}.get(name.replace("-", "_")))

    return put


def causes(response: Json) -> list[tuple[str, str]]:
    return [(one["reason"], one["field"]) for one in response["status"]["details"]["causes"]]


@pytest.mark.parametrize("code", CLASHES)
@pytest.mark.parametrize(("mine", "other"), [("team-b", "team_a"), ("team-a", "team_b")])
def test_what_excludes_another_teams_experiment_is_refused_in_either_order(
    several: Webhook, holding: Callable[..., None], code: str, mine: str, other: str
) -> None:
    holding(**{other: OURS})
    assert several.review({"y.yaml": GOOD}, {}, name=mine) == {"allowed": True}
    response = several.review({"y.yaml": CLASHES[code]}, {"y.yaml": GOOD}, name=mine)
    assert response["allowed"] is False
    assert [reason for reason, _ in causes(response)] == [code]
    assert all(field.startswith("team-b/") for _, field in causes(response))  # the later one would lose


def test_a_placement_of_another_config_map_is_known_and_a_missing_one_is_refused(
    several: Webhook, holding: Callable[..., None]
) -> None:
    holding()
    assert several.review({"y.yaml": GOOD}, name="team-a") == {"allowed": True}
    missing = GOOD.replace("[pdp]", "[pdq]").replace("{pdp:", "{pdq:")
    assert several.review({"y.yaml": missing}, name="team-a")["allowed"] is False


def test_a_clash_that_stood_before_blocks_no_change_of_the_team_that_wins(
    several: Webhook, holding: Callable[..., None]
) -> None:
    holding(team_b={"y.yaml": CLASHES["PARAMETER_CONFLICT"]})
    ramp = {"ours.yaml": OURS["ours.yaml"].replace("status: running", "status: running, traffic: 5%")}
    response = several.review(ramp, OURS, name="team-a")
    assert response["allowed"] is True
    assert any("stood here before" in one for one in response["warnings"])


def test_without_the_others_it_checks_the_one_and_says_so(
    several: Webhook, api: FakeApi, holding: Callable[..., None]
) -> None:
    holding(team_a=OURS)
    api.fails = 403
    try:
        response = several.review({"y.yaml": CLASHES["DUPLICATE_ID"]}, {}, name="team-b")
    finally:
        api.fails = 0
    assert response["allowed"] is True
    assert any("conflicts with the other ConfigMaps are not looked for" in one for one in response["warnings"])


def test_an_emptied_one_is_as_loud_as_an_only_one(several: Webhook, holding: Callable[..., None]) -> None:
    holding(team_a=OURS)
    response = several.review({}, OURS, name="team-a")
    assert response["allowed"] is True
    assert "NO DOCUMENT IS LEFT" in response["warnings"][0]
