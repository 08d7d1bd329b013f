"""The numbers that the web UI plots: of a day that is over, and none where nothing is known."""

import duckdb
import pytest

from gtm_dagster.warehouse.figures.last_full_day import last_full_day

A_DAY = [
    ("2026-11-28", None, None, 400, 24, None, None),
    ("2026-11-28", "signup_completed", None, None, None, 24, 3),
    ("2026-11-28", "payment_completed", "EUR", None, None, 6, 0),
]
TODAY = [("2026-11-29", None, None, 7, 1, None, None), ("2026-11-29", "payment_completed", "USD", None, None, 2, 2)]
NUMBERS = {
    "full_day_visitors": 400, "full_day_sign_ups": 24, "full_day_sign_up_rate": 0.06,
    "full_day_signup_completed": 24, "full_day_payment_completed_EUR": 6,
    "full_day_payment_completed_USD": 0, "full_day_unattributed_share": 0.1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([*A_DAY, *TODAY], NUMBERS, id="the day before the newest"),
        pytest.param(TODAY, {}, id="the only day is not over"),
        pytest.param([], {}, id="nothing yet"),
        pytest.param([*TODAY, ("2026-11-20", None, None, 5, 0, None, None)], {}, id="no data is not zero"),
    ],
)
def test_numbers_of_the_last_full_day(rows, expected):
    with duckdb.connect() as con:
        con.execute("CREATE SCHEMA marts")
        con.execute(
            """CREATE TABLE marts.daily (day DATE, conversion_type VARCHAR, currency VARCHAR, visitors BIGINT,
            sign_ups BIGINT, conversions BIGINT, unattributed BIGINT)"""
        )
        for row in rows:
            con.execute("INSERT INTO marts.daily VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        assert last_full_day(con, None) == expected
