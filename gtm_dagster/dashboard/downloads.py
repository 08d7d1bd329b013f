"""The rows of a chart as CSV (RFC 4180, cells that no spreadsheet runs) and as JSON."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any

from gtm_dagster.dashboard.snapshots import Rows

_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(found: Rows) -> str:
    """Rows with a header line; NULL is an empty cell, and a text that a spreadsheet would run begins with an apostrophe."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([_inert(column) for column in found.columns])
    for row in found.rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue()


def as_json(found: Rows) -> str:
    """Rows as objects by column name; times RFC 3339 in UTC with Z, no NaN."""
    return json.dumps([{name: _plain(value) for name, value in row.items()} for row in found.records()], indent=1)


def _cell(value: Any) -> str | int | float | Decimal:
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return value
    return _inert(str(_plain(value)))


def _inert(text: str) -> str:
    """A text that stays one: spreadsheets also look behind leading blanks and line breaks."""
    return f"'{text}" if text.lstrip(" \n").startswith(_BEGINS_A_FORMULA) else text


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return value if isinstance(value, bool | int | str | None) else str(value)
