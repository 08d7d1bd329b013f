"""The demo's table of retention marks what still grows: a period that is not over looks like a loss."""

from __future__ import annotations

import pytest

from gtm_dagster.demo import report
from gtm_dagster.settings import Settings

WEEKS = {
    ("2026-11-16", 0): (10.0, 10.0), ("2026-11-16", 1): (10.0, 3.0), ("2026-11-16", 2): (10.0, 1.0),
    ("2026-11-23", 0): (8.0, 8.0), ("2026-11-23", 1): (8.0, 0.0),
    ("2026-11-09", 0): (5.0, 5.0),  # nobody of it came back, so its last period is long over
}  # fmt: skip


def test_the_newest_period_of_a_cohort_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "retention_found", lambda _: WEEKS)
    table = report._retention(Settings())
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert rows == [
        ("2026-11-09", "5", "100%", "", ""),
        ("2026-11-16", "10", "100%", "30%", "10%*"),
        ("2026-11-23", "8", "100%", "0%*", ""),
    ]
