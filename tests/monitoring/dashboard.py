"""The Grafana dashboard, made from panels.yaml: its JSON, and its expressions as a test can evaluate them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # noqa: TID251 a list of panels, not a PM's

PANELS = Path(__file__).with_name("panels.yaml")
NAMESPACES = 'namespace=~"$namespace"'
COLUMNS, HEIGHT, WIDTH = 24, 8, 8  # of Grafana's grid
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
VARIABLES = [
    {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
    {
        "name": "namespace",
        "label": "Namespace",
        "type": "query",
        "datasource": SOURCE,
        "query": "label_values(abside_info, namespace)",
        "definition": "",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "sort": 1,
    },
]


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel, as panels.yaml has it."""

    title: str
    help: str
    queries: list[dict[str, Any]]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = WIDTH

    @property
    def expressions(self) -> list[str]:
        """Its expressions, with what Grafana puts in."""
        return [filled(one["expr"]) for one in self.queries]


def rows() -> dict[str, list[Panel]]:
    """Read the panels by row."""
    return {one["row"]: [Panel(**panel) for panel in one["panels"]] for one in yaml.safe_load(PANELS.read_text())}


def filled(expression: str) -> str:
    """Put in what Grafana does: every namespace, and an interval."""
    text = expression.replace("$ns", NAMESPACES).replace("$namespace", ".*")
    return text.replace("$__rate_interval", "5m")


def made() -> str:
    """Return the file that Grafana imports."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, several in rows().items():
        panels.append(_placed({"type": "row", "title": title, "collapsed": False, "panels": []}, 0, y, COLUMNS, 1))
        x, y = 0, y + 1
        for panel in several:
            if x + panel.width > COLUMNS:
                x, y = 0, y + HEIGHT
            panels.append(_placed(_panel(panel), x, y, panel.width, HEIGHT))
            x += panel.width
        y += HEIGHT
    for number, one in enumerate(panels, 1):
        one["id"] = number
    board = {
        "title": "abside",
        "uid": "abside",
        "tags": ["abside"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": VARIABLES},
        "panels": panels,
    }
    return json.dumps(board, indent=1) + "\n"


def _placed(panel: dict[str, Any], x: int, y: int, width: int, height: int) -> dict[str, Any]:
    return {**panel, "gridPos": {"x": x, "y": y, "w": width, "h": height}}


def _panel(panel: Panel) -> dict[str, Any]:
    is_table = panel.kind == "table"
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [_target(one, chr(ord("A") + index)) for index, one in enumerate(panel.queries)],
        **({"transformations": _columns(panel.queries[0]["columns"])} if is_table else {}),
    }


def _target(query: dict[str, Any], name: str) -> dict[str, Any]:
    how = {"format": "table", "instant": True} if "columns" in query else {"legendFormat": query["legend"]}
    return {"refId": name, "datasource": SOURCE, "expr": query["expr"].replace("$ns", NAMESPACES), **how}


def _columns(names: list[str]) -> list[dict[str, Any]]:
    return [{"id": "filterFieldsByName", "options": {"include": {"names": names}}}]
