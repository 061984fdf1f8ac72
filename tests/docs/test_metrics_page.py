"""The page of metrics is the code's, and every metric that a page or a manifest names is on it.

`python tests/docs/test_metrics_page.py` writes docs/metrics.md anew.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from metrics_page import PAGE, families, page, samples_of

ROOT = Path(__file__).parents[2]
# Words of ours that look like one: modules, fixtures, pods' names.
NO_METRICS = re.compile(r"abside_(agent|sidecar|client|local|upstream|spool|test\w*)$")


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page(), "write it anew: python tests/docs/test_metrics_page.py"


def test_every_metric_that_is_named_anywhere_exists() -> None:
    known = {name for found in asyncio.run(families()).values() for name in samples_of(found)}
    pages = [
        *{*ROOT.glob("docs/*.md")} - {PAGE},
        ROOT / "README.md",
        *(path for path in ROOT.glob("k8s/**/*") if path.is_file()),
    ]
    named = {(path.name, name) for path in pages for name in re.findall(r"\babside_\w+", path.read_text())}
    strange = sorted((page, name) for page, name in named if name not in known and not NO_METRICS.match(name))
    assert not strange


if __name__ == "__main__":
    PAGE.write_text(page())
