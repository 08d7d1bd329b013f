"""Compares two results row by row: measures to 1e-9, everything else exactly; differences are told by key."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

TOLERANCE = 1e-9
SETTINGS = {"window_hours"}
"""Doubles that are keys: whole settings and not computed. Every other double is a sum or a quotient of doubles."""
KEYS = {
    "sessions": ("person_id", "start_us", "session_id"),
    "touchpoints": ("conversion_id", "touch_us", "tie_no"),
    "credits": ("conversion_id", "model", "window_hours", "session_key"),
    "attribution_credits": ("conversion_id", "model", "window_hours", "session_key"),
    "channel_attribution": ("day", "conversion_type", "currency", "model", "window_hours", "channel"),
    "person_origin": ("person_id",),
    "funnel_step": ("person_id", "stage_no"),
    "funnel_touches": ("person_id", "stage_no", "source_key"),
    "retention": ("cohort", "channel", "period"),
    "retention_accounts": ("cohort", "channel", "period"),
    "retention_account": ("person_id", "later_no"),
    "accounts": ("person_id", "named_us"),
    "funnel_rates": ("cohort_day", "channel", "stage_no"),
    "funnel_by_model": ("cohort_day", "model", "stage_no", "channel", "campaign"),
    "events": ("write_key", "event_id"),
    "identities": ("anonymous_id",),
    "conversions": ("conversion_id",),
}
"""What names a row of a result; a result without an entry is named by every exact column."""


def read(path: Path) -> pa.Table:
    """A Parquet file, or the files of a folder as Spark leaves them."""
    return ds.dataset(str(path), format="parquet").to_table()


def measures_of(table: pa.Table) -> set[str]:
    """The columns that are compared to TOLERANCE."""
    return {field.name for field in table.schema if pa.types.is_floating(field.type)} - SETTINGS


def same(left: object, right: object, measure: bool) -> bool:
    """Equal; a measure may differ by TOLERANCE relative to its size, and by TOLERANCE below 1."""
    if not measure or left is None or right is None:
        return left == right
    return math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE)  # type: ignore[arg-type]


def differences(what: str, expected: pa.Table, found: pa.Table) -> list[str]:
    """A line for each row that is missing, extra or different in `found`; none when the results agree.

    Columns are matched by name; one that `found` lacks or has beside them is a difference too. Rows that share their
    key are paired in the order of their other columns.
    """
    if set(expected.column_names) != set(found.column_names):
        return [f"{what}: columns {sorted(expected.column_names)} expected, {sorted(found.column_names)} found"]
    names = expected.column_names
    measures = measures_of(expected) | measures_of(found)
    key = KEYS.get("sessions" if what.startswith("sessions_") else what) or tuple(
        name for name in names if name not in measures
    )
    rest = [name for name in names if name not in key]
    grouped = [_by_key(table, key, rest) for table in (expected, found)]
    lines = []
    for one in sorted(grouped[0].keys() | grouped[1].keys(), key=repr):
        left, right = grouped[0].get(one, []), grouped[1].get(one, [])
        label = f"{what} " + ", ".join(f"{name}={value!r}" for name, value in zip(key, one, strict=True))
        if len(left) != len(right):
            lines.append(f"{label}: {len(left)} rows expected, {len(right)} found")
            continue
        for a, b in zip(left, right, strict=True):
            wrong = [
                f"{name} {x!r} expected, {y!r} found"
                for name, x, y in zip(rest, a, b, strict=True)
                if not same(x, y, name in measures)
            ]
            if wrong:
                lines.append(f"{label}: " + "; ".join(wrong))
    return lines


def _by_key(table: pa.Table, key: tuple[str, ...], rest: list[str]) -> dict[tuple, list[tuple]]:
    rows: dict[tuple, list[tuple]] = defaultdict(list)
    for row in table.select([*key, *rest]).to_pylist():
        rows[tuple(row[name] for name in key)].append(tuple(row[name] for name in rest))
    for group in rows.values():
        group.sort(key=repr)
    return rows


def told(lines: list[str], shown: int = 12) -> str:
    """The differences as text for an assertion: how many, and the first of them."""
    return "\n".join([f"{len(lines)} differences", *lines[:shown]])
