"""`--json`: every figure, for programs that take a number for a double."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from abside.report.command import main
from abside.report.settings import ReportSettings


def test_squares_of_load_times_are_beyond_64_bits_and_still_written(
    till: Any, config_file: Callable[..., Path], tmp_path: Path
) -> None:
    till.config(0)
    for number in range(20):
        user = f"u{number}"
        till.expose(number, "treatment" if number % 2 else "control", user_id=user)
        till.add("page_view", number + 1, user_id=user, page_type="pdp", page_load_ms=59_000.5 + number)
    out = tmp_path / "out.json"
    assert main(ReportSettings(events=till.close(), config=(config_file(),), json=out)) == 0
    control, _ = json.loads(out.read_text())["experiments"][0]["arms"]
    millionths = [int((59_000.5 + number) * 1e6) for number in range(0, 20, 2)]
    assert control["sums"]["load_ms"] == sum(millionths)
    squares = sum(one**2 for one in millionths)
    assert squares > 2**64
    assert control["products"]["load_ms*load_ms"] == float(squares)
