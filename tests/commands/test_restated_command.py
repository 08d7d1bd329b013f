"""`gtm attribute restated` behind the commands a person runs: import, refresh, withdraw, rebuild."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gtm_dagster.cli import run
from gtm_dagster.commands.attribute_restated import step

pytestmark = pytest.mark.slow
WINDOWS = '[{"model": "linear", "lookback_hours": 168}]'


def line(event_id: str, at: str, event_name: str = "page_viewed", **more: Any) -> str:
    return json.dumps({"event_id": event_id, "event_name": event_name, "timestamp": at, "properties": {}} | more)


@pytest.fixture
def gtm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    for name, value in {
        "STATE_DIR": str(tmp_path / "state"),
        "ATTRIBUTION__WINDOWS": WINDOWS,
        "ATTRIBUTION__MIN_HISTORY_DAYS": "0",
    }.items():
        monkeypatch.setenv(f"GTM_{name}", value)

    def call(*arguments: str) -> Any:
        capsys.readouterr()
        code = run(list(arguments))
        out, err = capsys.readouterr()
        assert code == 0, (arguments, out, err)
        return json.loads(out) if "--json" in arguments else out

    return call


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        pytest.param(1.0, 0.5, "1 -> 0.5", id="a change"),
        pytest.param(1.0, 1.0, "1", id="it stayed"),
        pytest.param(0.0, 0.0, "0", id="it stayed nothing"),
        pytest.param(None, None, None, id="never known"),
        pytest.param(None, 12.5, "- -> 12.5", id="now known"),
        pytest.param(12.5, None, "12.5 -> -", id="not known any more"),
        pytest.param(1234.2, 1234.4, "1234.2 -> 1234.4", id="less than the digits shown"),
    ],
)
def test_a_step(before: float | None, after: float | None, shown: str | None) -> None:
    assert step(before, after) == shown


def restated(gtm: Any) -> list[tuple]:
    rows = gtm("attribute", "restated", "--json")
    return [
        (row["channel"], row["reason"], row["conversions_before"], row["conversions_after"], row["net_after"])
        for row in rows
    ]


def test_a_late_import_and_its_withdrawal_are_in_the_log_and_stay_there(gtm: Any, tmp_path: Path) -> None:
    ad = {"user_id": "u", "context": {"source": "google", "medium": "cpc"}}
    mail = {"user_id": "u", "context": {"source": "newsletter", "medium": "email"}}
    paid = {"user_id": "u", "properties": {"amount": 10.0, "currency": "EUR", "payment_id": "p"}}
    (tmp_path / "first.ndjson").write_text(
        "\n".join(
            [
                line("a", "2026-03-01T08:00:00Z", user_id="x"), line("b", "2026-03-02T08:00:00Z", **ad),
                line("c", "2026-03-02T12:00:00Z", "payment_completed", **paid), line("d", "2026-03-04T08:00:00Z", user_id="x"),
            ]
        )
    )  # fmt: skip
    (tmp_path / "late.ndjson").write_text(line("e", "2026-03-02T10:00:00Z", **mail))
    gtm("import", "first.ndjson")
    gtm("refresh")
    assert restated(gtm) == []
    gtm("import", "late.ndjson")
    checks = gtm("refresh", "--json")["checks"]
    assert {check["check"] for check in checks if not check["passed"] and check["severity"] == "ERROR"} == set()
    late = [("Paid Search", "late_event", 1.0, 0.5, 5.0), ("Email", "late_event", 0.0, 0.5, 5.0)]
    assert restated(gtm) == late
    (batch,) = [each for each in gtm("imports", "list", "--json") if "late" in json.dumps(each)]
    gtm("imports", "withdraw", batch.get("name") or batch["batch"], "--reason", "wrong file")
    gtm("refresh")
    back = [("Paid Search", "withdrawn_import", 0.5, 1.0, 10.0), ("Email", "withdrawn_import", 0.5, 0.0, 0.0)]
    assert restated(gtm) == back + late
    gtm("refresh", "--full")
    assert restated(gtm) == back + late
    assert "adds up to 1" in gtm("attribute", "explain", f"{_write_key(gtm)}:c")


def _write_key(gtm: Any) -> str:
    (row,) = gtm("query", "SELECT conversion_id FROM core.conversions", "--json")
    return row["conversion_id"].rpartition(":")[0]
