"""A PM's edit and a pause reach the answer, through real files, a real agent and a real sidecar."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from tests.conftest import ConfigMapVolume
    from tests.journey.conftest import Stage

Until = Callable[[Callable[[], Awaitable[object]]], Awaitable[float]]
SWAPS = 20
SWAP_SECONDS = 0.3

PLACEMENTS = "placements:\n  pdp:\n    parameters: {model: ranker-v1, generation: 0}\n"
EXPERIMENT = """experiments:
  pdp-reranker:
    name: PDP re-ranker
    hypothesis: A newer ranker lifts add-to-cart.
    status: STATUS
    placements: [pdp]
    variants:
      control: {weight: 50%}
      treatment: {weight: 50%, parameters: {pdp: {model: ranker-v2}}}
"""


def documents(*, generation: int = 0, status: str = "running") -> dict[str, str]:
    return {
        "placements.yaml": PLACEMENTS.replace("generation: 0", f"generation: {generation}"),
        "pdp.yaml": EXPERIMENT.replace("STATUS", status),
    }


async def ask(http: aiohttp.ClientSession, stage: "Stage") -> Any:
    body = {"placement": "pdp", "user_id": "u1", "expose": False}
    async with http.post(f"{stage.url}/v1/assign", json=body) as answer:
        return await answer.json(content_type=None)


@pytest.fixture
async def running(
    stage: "Stage", configmap_volume: "Callable[[str], ConfigMapVolume]", until: Until
) -> "tuple[Stage, ConfigMapVolume]":
    volume = configmap_volume("config")
    volume.swap(documents())
    stage.agent(volume.path).start()
    stage.sidecar().start()

    async def answers() -> bool:
        async with aiohttp.ClientSession() as http:
            return bool((await ask(http, stage)).get("revision"))

    await until(answers)
    return stage, volume


async def test_of_twenty_swaps_the_last_is_in_force_at_once_and_none_is_stuck(
    running: "tuple[Stage, ConfigMapVolume]", until: Until, capsys: pytest.CaptureFixture[str]
) -> None:
    stage, volume = running
    async with aiohttp.ClientSession() as http:

        async def generation() -> int:
            return int((await ask(http, stage))["config"]["generation"])

        seen = set()
        for number in range(1, SWAPS + 1):
            volume.swap(documents(generation=number))
            swapped = time.monotonic()
            while time.monotonic() - swapped < SWAP_SECONDS and number < SWAPS:
                seen.add(await generation())
                await asyncio.sleep(0.02)

        async def last() -> bool:
            return await generation() == SWAPS

        seconds = await until(last)
    with capsys.disabled():
        print(f"\n  {SWAPS} swaps {SWAP_SECONDS * 1000:g} ms apart: {len(seen)} seen in force on the way,", end=" ")
        print(f"the last after {seconds:.2f} s")


async def test_a_pause_by_document_and_by_directory_reaches_the_answer_and_resume_gives_the_variant_back(
    running: "tuple[Stage, ConfigMapVolume]", until: Until, capsys: pytest.CaptureFixture[str]
) -> None:
    stage, volume = running
    async with aiohttp.ClientSession() as http:
        before = (await ask(http, stage))["assignments"]
        assert [one["experiment"] for one in before] == ["pdp-reranker"]

        async def paused() -> bool:
            return bool((await ask(http, stage))["assignments"] == [])

        async def resumed() -> bool:
            return bool((await ask(http, stage))["assignments"] == before)

        volume.swap(documents(status="paused"))
        by_document = await until(paused)
        assert (await ask(http, stage))["config"]["model"] == "ranker-v1"
        volume.swap(documents())
        await until(resumed)

        (stage.paused / "pdp-reranker").write_text("carts broken")
        by_directory = await until(paused)
        (stage.paused / "pdp-reranker").unlink()
        await until(resumed)

        (stage.paused / "all").write_text("the night is long")
        await until(paused)
        (stage.paused / "all").unlink()
        await until(resumed)
    with capsys.disabled():
        print(f"\n  a pause in force after {by_document:.2f} s by document, {by_directory:.2f} s by directory")


async def test_a_broken_file_blocks_neither_the_last_good_nor_another_files_pause(
    running: "tuple[Stage, ConfigMapVolume]", until: Until
) -> None:
    stage, volume = running
    async with aiohttp.ClientSession() as http:

        async def status() -> Any:
            async with http.get(f"{stage.url}/v1/status") as answer:
                return await answer.json()

        async def degraded() -> bool:
            return bool((await status())["degraded"])

        broken = documents() | {"placements.yaml": "placements:\n\tpdp: {"}
        volume.swap(broken)
        await until(degraded)
        assert (await ask(http, stage))["config"]["generation"] == 0
        assert [one["file"] for one in (await status())["problems"]] == ["placements.yaml"]
        volume.swap(broken | {"pdp.yaml": EXPERIMENT.replace("STATUS", "paused")})

        async def paused() -> bool:
            return bool((await ask(http, stage))["assignments"] == [])

        await until(paused)
        volume.swap(documents())

        async def healthy() -> bool:
            return not (await status())["degraded"]

        await until(healthy)
