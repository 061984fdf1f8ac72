"""`python bench/local_workers.py [SECONDS]`: workers that decide in process, killed and forked anew under load.

Needs gunicorn. The application is loaded before the fork. Every answer's exposure id is kept, and looked for in what
the collector stored: accepted, stored, lost, doubled.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow.dataset as ds

from stage import Stage, free_port, publish, ready, snapshot_of

WORKERS, THREADS = 20, 8
APP = """
import json
from abside.client import Local
client = Local(places["SNAPSHOT"], places["SPOOL"])
client.assign("pdp", user_id="preloaded")
def app(environ, start_response):
    answer = client.assign("pdp", user_id=environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([answer.exposure_id, answer.fallback]).encode()]
"""


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def load(port: int, until: float, accepted: list[str], fallbacks: list[int]) -> None:
    number = 0
    while time.monotonic() < until:
        number += 1
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", f"/?{threading.get_ident()}-{number}")
            exposure, fallback = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            continue  # its worker was killed before it answered
        finally:
            connection.close()
        fallbacks.append(1) if fallback else accepted.append(exposure)


def main(seconds: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        stage, folder = Stage(Path(place)), Path(place)
        try:
            snapshot = folder / "snapshot"
            publish(snapshot_of(3, 3), snapshot)
            collector = stage.collector()
            _, port, _ = stage.sidecar(snapshot, "--upstream", f"http://127.0.0.1:{collector}")
            spool = folder / f"spool-{port}"
            listen = free_port()
            places = {"SNAPSHOT": str(snapshot), "SPOOL": str(spool)}
            command = [sys.executable, "-m", "gunicorn", "--preload", "-w", str(WORKERS), "-b", f"127.0.0.1:{listen}"]
            (folder / "app.py").write_text(f"places = {places!r}\n{APP}")
            server = subprocess.Popen([*command, "app:app"], cwd=folder, stderr=subprocess.DEVNULL)
            stage.running.append(server)
            ready(f"http://127.0.0.1:{listen}/?first", time.monotonic())
            accepted: list[str] = []
            fallbacks: list[int] = []
            until = time.monotonic() + seconds
            threads = [threading.Thread(target=load, args=(listen, until, accepted, fallbacks)) for _ in range(THREADS)]
            for one in threads:
                one.start()
            chance, kills = random.Random(1), 0
            while time.monotonic() < until:
                time.sleep(0.15)
                living = children(server.pid)
                if living:
                    os.kill(chance.choice(living), signal.SIGKILL)
                    kills += 1
            for one in threads:
                one.join()
            server.terminate()
            server.wait()
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and any(path.is_dir() for path in (spool / "local").iterdir()):
                time.sleep(0.2)
            stored: Counter[str] = Counter()
            while time.monotonic() < deadline:
                table = ds.dataset(folder / "store", format="parquet", exclude_invalid_files=True).to_table()
                rows = table.filter(ds.field("type") == "exposure").select(["event_id", "experiment"]).to_pylist()
                stored = Counter((row["event_id"], row["experiment"]) for row in rows)
                if {one for one, _ in stored} >= set(accepted):
                    break
                time.sleep(1)
            ids = {one for one, _ in stored}
            print(f"workers killed: {kills}; answers: {len(accepted):,}; fallbacks: {len(fallbacks)}")
            lost, doubled = len(set(accepted) - ids), sum(count - 1 for count in stored.values())
            print(
                f"accepted {len(accepted):,}, stored {len(ids):,} (some had no answer), lost {lost}, doubled {doubled}"
            )
        finally:
            stage.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
