"""What only a Spark of its own shows: it is killed in the middle of a report, and its zone is another."""

import re
import threading
from pathlib import Path
from typing import Any

import pytest

from abside.report.command import main
from abside.report.settings import ReportSettings

pytestmark = pytest.mark.spark
JOBS = 5  # that have begun when it is killed: the store is being looked at


def test_a_spark_that_is_killed_in_the_middle_of_a_report_is_exit_code_3(
    world: Path, spark: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    over = threading.Event()

    def kill() -> None:
        while len(re.findall("DAGScheduler: Got job ", spark.log)) < JOBS:
            if over.wait(0.05):
                return
        spark.process.kill()

    killing = threading.Thread(target=kill)
    killing.start()
    try:
        code = main(ReportSettings(events=world / "store", config=(world / "snapshot",), engine=spark.url))
    finally:
        over.set()
        killing.join()
    printed = capsys.readouterr()
    assert code == 3
    assert printed.out == ""
    place = spark.url.removeprefix("sc://")
    assert re.fullmatch(rf"abside report: --engine {place}: went away meanwhile \(.+\); ask again: .+\n", printed.err)
