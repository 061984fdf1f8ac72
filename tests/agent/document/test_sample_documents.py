from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from abside.snapshot import decode

SAMPLES = Path(__file__).parents[3] / "k8s" / "experiments" / "config"


def test_the_sample_documents_have_no_problem() -> None:
    done = subprocess.run([sys.executable, "-m", "abside", "check", str(SAMPLES)], capture_output=True, check=False)
    free = "free slots\n  pdp-ranking: 50%-100%\n  discovery: 90%-100%\n"
    assert done.stdout.decode() == f"{free}\n5 files, 5 experiments: 0 errors, 0 warnings\n"
    assert done.returncode == 0


def test_one_call_publishes_the_sample_documents(tmp_path: Path) -> None:
    snapshot = tmp_path / "new" / "snapshot"
    command = [sys.executable, "-m", "abside", "agent", "--config", str(SAMPLES), "--snapshot", str(snapshot)]
    done = subprocess.run([*command, "--once"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    published = decode(snapshot.read_bytes())
    assert list(published.placements) == ["cart", "home", "newsfeed", "pdp", "search"]
    assert published.experiments["pdp-reranker"].slots == (0, 5000)
    assert not published.head.degraded
