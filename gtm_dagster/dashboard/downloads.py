"""The rows of a chart as CSV and as JSON."""

from __future__ import annotations

from gtm_dagster.dashboard.snapshots import Rows
from gtm_dagster.reports.csv_text import csv_text
from gtm_dagster.reports.plain_values import json_text


def as_csv(found: Rows) -> str:
    """Rows with a header line, as `gtm query --format csv` writes them."""
    return csv_text(found.columns, found.rows, "\r\n")


def as_json(found: Rows) -> str:
    """Rows as objects by column name; times RFC 3339 in UTC with Z, no NaN."""
    return json_text(found.records(), indent=1)
