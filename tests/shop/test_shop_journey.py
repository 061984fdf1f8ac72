"""The shop through agent, sidecar and collector, to the report: what shoppers met is what the analyst reads."""

import asyncio
import json
import time
from collections import Counter
from pathlib import Path

import pytest

from abside.report.command import main
from abside.report.settings import ReportSettings
from shop import EXPERIMENT, Shop, crowd, document
from shop_http import Stand, Walked, open_stand, walk

SHOP = Shop(seed=3, shoppers=1_500, lifts={"treatment": 0.5}, cart_rate=0.2, bots=0.02, qa=0.01)


async def until(stand: Stand, status: str) -> None:
    deadline = time.monotonic() + 30
    while (await stand.status())["experiments"][EXPERIMENT]["status"] != status:
        assert time.monotonic() < deadline, f"not {status} within 30 s"
        await asyncio.sleep(0.02)


async def test_the_report_gives_what_the_shoppers_met_and_the_true_lift(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people, walked = crowd(SHOP), Walked()
    async with open_stand(tmp_path / "home", document(SHOP)) as stand:
        await walk(stand, SHOP, people, range(SHOP.shoppers // 2), walked)
        key = stand.home / "paused" / EXPERIMENT
        key.write_text("carts broken")
        await until(stand, "paused")
        key.unlink()
        await until(stand, "running")
        await walk(stand, SHOP, people, range(SHOP.shoppers // 2, SHOP.shoppers), walked)
        assert await stand.close() == 0
    settings = ReportSettings(stand.store, (stand.home / "config",), json=tmp_path / "report.json")
    assert main(settings) == 0
    print(capsys.readouterr().out)
    document_ = json.loads((tmp_path / "report.json").read_text())
    (page,) = document_["experiments"]

    arms = {arm["variant"]: arm for arm in page["arms"]}
    assert {name: arm["units"] for name, arm in arms.items()} == Counter(walked.first.values())
    crossed = Counter(walked.first[shopper] for shopper, met in walked.met.items() if len(met) > 1)
    assert {name: arm["crossed"] for name, arm in arms.items()} == crossed
    carted = Counter(walked.first[shopper] for shopper in walked.carted)
    assert {name: arm["sums"]["carted"] for name, arm in arms.items()} == carted
    (lift,) = (one for one in page["estimates"] if one["metric"] == "add_to_cart_rate")
    assert lift["lift_interval"][0] < SHOP.lifts["treatment"] < lift["lift_interval"][1]
    assert lift["p"] < 0.05

    assert page["exposures"]["arrived"] == walked.exposures
    assert page["exposures"]["left_out"]["bots"]["units"] == int((people.bot).sum())
    assert page["exposures"]["left_out"]["forced"]["units"] > 0
    accounts = page["exposures"]["accounts"]
    assert {name: arm["accepted"] for name, arm in accounts.items()} == walked.exposures
    assert sum(arm["lost"] for arm in accounts.values()) == 0
    assert document_["accounts"]["without_end"] == 0
    assert document_["events"]["duplicate_outcomes"] > 0
    rows = document_["events"]["rows_by_type"]
    assert sum(rows[kind] for kind in walked.sent) - walked.sent.total() >= document_["events"]["duplicate_outcomes"]
    assert [change["what"] for change in page["timeline"]] == [
        "started: 100 % of traffic, phase 1",
        "paused: carts broken",
        "resumed",
    ]
    assert not page["sample_ratio"]["is_mismatch"]
    assert (page["definitions"]["since"], page["definitions"]["unknown"], page["notes"]) == (None, 0, [])
