"""The books balance only when the writer of the landing files counted as many rows as were read."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from warehouse_cases import DAY, START, event, land, refresh, settings_for

from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.staging.books import BookRow

BALANCED = {"log_rows": 10, "raw": 10, "clean": 6, "duplicates": 1, "quarantined": 2, "suppressed": 1}


@pytest.mark.parametrize(
    ("counts", "balanced"),
    [
        pytest.param({}, True, id="all three counts agree"),
        pytest.param({"log_rows": 11}, False, id="the writer counted a row that was not read"),
        pytest.param({"log_rows": 9}, False, id="a row was read that the writer did not count"),
        pytest.param({"raw": 11}, False, id="a row was read and is nowhere"),
        pytest.param({"clean": 5}, False, id="a clean row is gone"),
        pytest.param({"clean": 7, "raw": 11}, False, id="read and placed agree, the writer does not"),
        pytest.param({"log_rows": 0, "raw": 0, "clean": 0, "duplicates": 0, "quarantined": 0, "suppressed": 0}, True, id="an empty day"),
    ],
)  # fmt: skip
def test_a_day_balances_with_the_count_of_its_writer(counts: dict[str, int], balanced: bool) -> None:
    assert BookRow(ingest_date=date(2026, 1, 31), **{**BALANCED, **counts}).balanced is balanced


def test_the_check_fails_when_only_the_count_of_the_writer_differs(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    rows = [event(f"e{n}", START + n, anonymous_id="x", received_us=START + (1 + n % 2) * DAY) for n in range(6)]
    land(settings, rows, "import-all")
    refresh(settings)
    for log_rows in (4, 2):
        with opened(settings.warehouse_path, settings) as con:
            con.execute(f"UPDATE staging.books SET log_rows = {log_rows} WHERE ingest_date = DATE '2026-01-02'")
        with pytest.raises(AssertionError, match="books_balance"):
            refresh(settings)
