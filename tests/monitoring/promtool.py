"""Prometheus and promtool as scripts/install-prometheus leaves them, and the files they are tested with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OPS = ROOT / "ops" / "prometheus"
RULES = OPS / "gtm.rules.yml"
RULE_TESTS = sorted(OPS.glob("gtm.rules.*test.yml"))
DASHBOARD = ROOT / "ops" / "grafana" / "gtm.json"


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`; skips when they are not installed."""
    path = ROOT / ".cache" / "prometheus" / "usr" / "bin" / name
    if not path.exists():
        pytest.skip("Prometheus is not installed: run scripts/install-prometheus (make test-real does)")
    return str(path)


def rules() -> dict[str, dict[str, Any]]:
    """The alert rules by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def panel_expressions() -> list[tuple[str, str]]:
    """(panel, expression) of every query of the Grafana dashboard."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", ())]


def metric_names(expression: str) -> set[str]:
    """The metrics of this product that an expression reads."""
    return set(re.findall(r"\bgtm_\w+", expression))
