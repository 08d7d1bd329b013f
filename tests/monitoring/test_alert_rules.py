"""The alert rules: they hold what their tests say, and no part of one can change without a test that fails."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from promtool import DASHBOARD, OPS, ROOT, RULE_TESTS, RULES, metric_names, panel_expressions, program, rules

COMPARISON = re.compile(r" (>|<|==|<=) ")
OPPOSITE = {">": "<=", "<": ">=", "==": "!=", "<=": ">"}


def test_each_alert_has_a_severity_and_words_and_stands_in_the_docs() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    for name, rule in rules().items():
        assert rule["labels"]["severity"] in ("page", "warning", "info"), name
        assert set(rule["annotations"]) == {"summary", "description"}, name
        assert f"`{name}`" in page, f"docs/monitoring.md says nothing of {name}"


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=["rules", "dashboard"])
def test_only_metrics_that_are_exported_are_read(file: Path) -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "gtm_dagster").rglob("*.py"))
    exported = set(re.findall(r'"(gtm_[a-z_]+)"', source)) | {"gtm_build"}
    expressions = [rule["expr"] for rule in rules().values()] if file == RULES else [e for _, e in panel_expressions()]
    for expression in expressions:
        for name in metric_names(expression):
            plain = re.sub(r"_(total|bucket|sum|count|info)$", "", name)
            assert {name, plain} & exported, f"{name} of {expression}"


@cache
def rule_tests() -> list[dict[str, Any]]:
    return [yaml.load(path.read_text(), yaml.CSafeLoader) for path in RULE_TESTS]


def cases_of(alert: str) -> list[tuple[str, dict[str, Any]]]:
    """(file's evaluation interval, test) of the tests of one alert."""
    return [
        (f["evaluation_interval"], test)
        for f in rule_tests()
        for test in f["tests"]
        if test["name"].startswith(f"{alert} ")
    ]


def test_each_alert_fires_stays_quiet_and_has_no_data() -> None:
    for alert in rules():
        names = [test["name"] for _, test in cases_of(alert)]
        assert any(name.startswith(f"{alert} fires") for name in names), alert
        assert any("no data" in name for name in names), alert
        assert len(names) >= 2, alert


def changed(rule: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The rule with one thing changed: without its `for`, and with each comparison turned around."""
    found = [("without for", {k: v for k, v in rule.items() if k != "for"})] if "for" in rule else []
    for match in COMPARISON.finditer(rule["expr"]):
        turned = f"{rule['expr'][: match.start()]} {OPPOSITE[match[1]]} {rule['expr'][match.end() :]}"
        found.append((turned, {**rule, "expr": turned}))
    return found


@pytest.mark.real
def test_promtool_holds_the_rules_to_their_tests() -> None:
    for command in (["check", "rules", str(RULES)], ["check", "config", str(OPS / "prometheus.yml")]):
        subprocess.run([program("promtool"), *command], check=True, capture_output=True)
    done = subprocess.run([program("promtool"), "test", "rules", *map(str, RULE_TESTS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.real
def test_a_changed_rule_fails_a_test_of_its_own(tmp_path: Path) -> None:
    """One run of promtool over a file a change, each with that rule alone and its own tests."""
    files: dict[Path, str] = {}
    for alert, rule in rules().items():
        assert changed(rule) or alert.endswith("Unknown"), alert
        for what, other in changed(rule):
            folder = tmp_path / str(len(files))
            folder.mkdir()
            alone = {"groups": [{"name": "one", "rules": [other]}]}
            (folder / "rules.yml").write_text(yaml.safe_dump(alone))
            intervals = {interval for interval, _ in cases_of(alert)}
            assert len(intervals) == 1, alert
            tests = {"rule_files": ["rules.yml"], "evaluation_interval": intervals.pop()}
            tests["tests"] = [test for _, test in cases_of(alert)]
            (folder / "test.yml").write_text(yaml.safe_dump(tests))
            files[folder / "test.yml"] = f"{alert}: {what}"
    command = [program("promtool"), "test", "rules", *map(str, files)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )  # what failed is in both
    parts = re.split(r"^Unit Testing:  (.+)$", done.stdout, flags=re.MULTILINE)[1:]
    outcomes = dict(zip(parts[::2], parts[1::2], strict=True))
    unseen = [what for file, what in files.items() if "FAILED" not in outcomes[str(file)]]
    assert len(outcomes) == len(files) and not unseen, unseen
