"""The dashboard is what panels.yaml says. `python -m tests.monitoring.test_dashboard` writes it anew."""

from __future__ import annotations

import json

from tests.monitoring.alerting import MONITORING
from tests.monitoring.dashboard import COLUMNS, made, rows

FILE = MONITORING / "dashboard.json"


def test_the_file_is_what_the_panels_say() -> None:
    assert FILE.read_text() == made(), "write it anew: python -m tests.monitoring.test_dashboard"


def test_no_panel_lies_on_another_and_each_has_words_and_an_id_of_its_own() -> None:
    panels = json.loads(made())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < COLUMNS, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in (panel for several in rows().values() for panel in several):
        assert panel.help.endswith("."), panel.title


if __name__ == "__main__":
    FILE.write_text(made())
