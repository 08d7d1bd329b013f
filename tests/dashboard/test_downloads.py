"""CSV that any reader splits alike and no spreadsheet runs; JSON without what JSON does not have."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, datetime
from decimal import Decimal

import pytest

from gtm_dagster.dashboard.downloads import as_csv, as_json
from gtm_dagster.dashboard.snapshots import Rows


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "+1"),  # a number is no formula
        ("-1", "-1"),
        ("-1+2", "'-1+2"),
        ("@x", "'@x"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        (" =1", "' =1"),
        ("\n=1", "'\n=1"),
        ("a=1", "a=1"),
        ('say "hi", twice\r\n', 'say "hi", twice\r\n'),
        (-1.5, "-1.5"),
        (-2, "-2"),
        (Decimal("1.10"), "1.1"),
        (True, "true"),
        (None, ""),
        (float("inf"), ""),
        (date(2026, 11, 1), "2026-11-01"),
        (datetime(2026, 11, 1, 2, 3), "2026-11-01T02:03:00Z"),  # noqa: DTZ001 - as DuckDB gives UTC
    ],
)
def test_a_cell(value: object, cell: str) -> None:
    text = as_csv(Rows(("a", "b"), ((value, "end"),)))
    assert text.startswith("a,b\r\n") and text.endswith("\r\n")
    assert list(csv.reader(io.StringIO(text, newline="")))[1] == [cell, "end"]


def test_json_has_no_nan_and_times_in_utc() -> None:
    row = (float("nan"), datetime(2026, 11, 1), Decimal("1.5"), {"a": [date(2026, 1, 1)]})  # noqa: DTZ001
    assert json.loads(as_json(Rows(("n", "t", "d", "s"), (row,)))) == [
        {"n": None, "t": "2026-11-01T00:00:00Z", "d": 1.5, "s": {"a": ["2026-01-01"]}}
    ]
