"""Groups of the quarantine: rows of one event that were refused for the same reasons at the same fields."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import duckdb
import msgspec

from gtm_dagster.warehouse.literals import composed

SHAPE = """coalesce(nullif(array_to_string(list_sort(list_distinct([
    error.code || rtrim(' ' || coalesce(error.path, ''))
    FOR error IN CASE WHEN json_valid(errors) THEN from_json(errors, '[{"path": "VARCHAR", "code": "VARCHAR"}]') END
  ])), ', '), ''), reason_codes)"""
"""SQL over the columns of staging.quarantine: every reason of a row with its field, sorted: `type properties.amount`.

Without readable errors the reason codes alone.
"""
WEEK_US = round(timedelta(days=7) / timedelta(microseconds=1))
LOOKED_BACK_US = 90 * WEEK_US // 7
"""Rows received longer before the newest one are not looked up among the accepted: originals end long before."""
_MOST_VALUES = 1_000


def group_id(event_name: str | None, shape: str) -> str:
    """The fingerprint of a group: 8 hex characters of its event name and `SHAPE`."""
    return hashlib.sha256(f"{event_name or ''}\x00{shape}".encode()).hexdigest()[:8]


@dataclass(frozen=True)
class QuarantineGroup:
    """One group. `shape`: its reasons, as SHAPE has them; `accepted_since`: rows of the last 90 days of the quarantine whose id is accepted from
    another copy by now (0 where nobody looked); `last_7_days` and `week_before`: rows received in the 7 days up to now, and in the
    7 before those; `example_id`: id of the newest row that has a readable one; times in microseconds UTC.
    """

    event_name: str | None
    shape: str
    rows: int
    accepted_since: int
    last_7_days: int
    week_before: int
    first_us: int
    newest_us: int
    example_id: str | None
    write_keys: tuple[str, ...]
    plan_versions: tuple[str, ...]

    @property
    def id(self) -> str:
        return group_id(self.event_name, self.shape)

    @property
    def reasons(self) -> tuple[tuple[str, str], ...]:
        """(code, field) of each reason; the field is empty where the whole event is meant."""
        parts = (each.partition(" ") for each in self.shape.split(", "))
        return tuple((code, path) for code, _, path in parts)


@dataclass(frozen=True)
class Selection:
    """Rows of the quarantine: of a group (its id), with a reason code, of an event name, of a stored event id; all that
    are given must hold, without any it is every row.
    """

    group: str | None = None
    reason: str | None = None
    event_name: str | None = None
    event_id: str | None = None

    def __str__(self) -> str:
        """As it is recorded: `group a1b2c3d4, reason type`, or `every row`."""
        given = ((name.replace("_", " "), getattr(self, name)) for name in self.__dataclass_fields__)
        return ", ".join(f"{name} {value}" for name, value in given if value) or "every row"


def add_shapes(con: duckdb.DuckDBPyConnection) -> None:
    """Give `quarantine` its column `shape`. Errors are read once for all rows that have the same."""
    con.execute(
        composed(
            """CREATE TEMP TABLE shapes AS SELECT errors, reason_codes, $shape AS shape
        FROM (SELECT DISTINCT errors, reason_codes FROM quarantine)""",
            shape=SHAPE,
        )
    )
    con.execute("ALTER TABLE quarantine ADD COLUMN shape VARCHAR")
    con.execute(
        """UPDATE quarantine SET shape = shapes.shape FROM shapes
        WHERE quarantine.errors IS NOT DISTINCT FROM shapes.errors
          AND quarantine.reason_codes IS NOT DISTINCT FROM shapes.reason_codes"""
    )
    con.execute("DROP TABLE shapes")


def groups(con: duckdb.DuckDBPyConnection, now_us: int, reason: str | None = None) -> list[QuarantineGroup]:
    """Every group of `quarantine_now`, that with most rows of its last 90 days still to accept first; with `reason` those that have this code."""
    rows = con.execute(
        """SELECT event_name, shape, count(*) AS n_rows,
          count(*) FILTER (
            received_us > (SELECT max(received_us) FROM quarantine) - $4
            AND (write_key, event_id) IN (SELECT (write_key, event_id) FROM accepted_since)
          ) AS n_accepted,
          count(*) FILTER (received_us > $1 - $2 AND received_us <= $1),
          count(*) FILTER (received_us > $1 - 2 * $2 AND received_us <= $1 - $2),
          min(received_us), max(received_us), arg_max(event_id, received_us),
          list_slice(list_sort(list(DISTINCT write_key)), 1, 5), list_slice(list_sort(list(DISTINCT plan_version)), 1, 5)
        FROM quarantine
        WHERE $3 IS NULL OR list_contains(string_split(reason_codes, ','), $3)
        GROUP BY 1, 2
        ORDER BY count(*) FILTER (received_us > (SELECT max(received_us) FROM quarantine) - $4) - n_accepted DESC,
          n_rows DESC, 1, 2""",
        [now_us, WEEK_US, reason, LOOKED_BACK_US],
    ).fetchall()
    return [
        QuarantineGroup(*row[:9], *(tuple(each for each in texts or () if each) for texts in row[9:])) for row in rows
    ]


def group_of(con: duckdb.DuckDBPyConnection, identifier: str, now_us: int) -> QuarantineGroup | None:
    """The group of this id, None when there is none."""
    return next((group for group in groups(con, now_us) if group.id == identifier), None)


def condition(con: duckdb.DuckDBPyConnection, selection: Selection) -> tuple[str, list[Any]]:
    """The selection as a condition on rows of `quarantine`, with its parameters $1, $2, ...; a group that does not exist
    selects nothing.
    """
    parts, values = ["true"], []

    def add(text: str, *given: Any) -> None:
        for value in given:
            values.append(value)
            text = text.replace("?", f"${len(values)}", 1)
        parts.append(text)

    if selection.group is not None:
        group = group_of(con, selection.group, 0)
        if group is None:
            return "false", []
        add("event_name IS NOT DISTINCT FROM ? AND shape = ?", group.event_name, group.shape)
    if selection.reason is not None:
        add("list_contains(string_split(reason_codes, ','), ?)", selection.reason)
    if selection.event_name is not None:
        add("event_name = ?", selection.event_name)
    if selection.event_id is not None:
        add("event_id = ?", selection.event_id)
    return " AND ".join(parts), values


def masked_values(con: duckdb.DuckDBPyConnection, group: QuarantineGroup, path: str) -> list[Any] | None:
    """The distinct values of a group at a field (`properties.amount`) as they are shown: plain ones as they are, others as
    their type. None for a field without values, or with more than can be looked at.
    """
    pointer = "/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in path.split(".", 1))
    rows = con.execute(
        """SELECT DISTINCT json_extract(raw, $3)::VARCHAR FROM quarantine
        WHERE event_name IS NOT DISTINCT FROM $1 AND shape = $2 AND json_valid(raw) LIMIT $4""",
        [group.event_name, group.shape, pointer, _MOST_VALUES + 1],
    ).fetchall()
    if not rows or len(rows) > _MOST_VALUES or any(text is None for (text,) in rows):
        return None
    return [msgspec.json.decode(text) for (text,) in rows]
