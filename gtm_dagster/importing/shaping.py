"""Rows of a file into unjudged events: the landing columns of an event, and its time as the file wrote it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.admission.batch_columns import TIME_REASON, WRITTEN_TIME, each_distinct, one_array, present_ids
from gtm_dagster.importing.mapping import FIELDS, EventRule, Mapping, TimeColumn, template_parts, used_columns
from gtm_dagster.importing.reading import ImportFailed, Rows
from gtm_dagster.importing.texts import as_text, json_object, json_text, row_ids
from gtm_dagster.importing.time_columns import to_us, within_years
from gtm_dagster.taxonomy.envelope import UTM_FIELDS

NATIVE_FIELDS = (*FIELDS, *UTM_FIELDS)
"""Columns of a file in native columns that are texts of an event."""


def native_mapping(path: Path, names: list[str]) -> Mapping:
    """The mapping of a file in native columns. Raises ImportFailed when a required one is missing."""
    lacking = [name for name in ("event_name", "timestamp") if name not in names]
    if not {"user_id", "anonymous_id"} & set(names):
        lacking.append("user_id or anonymous_id")
    if lacking:
        raise ImportFailed(
            f"{path}: has no column {', '.join(lacking)}; it has {', '.join(names[:20])}. "
            "Rename its columns, or map them with --mapping"
        )
    return Mapping(
        columns={field: field for field in NATIVE_FIELDS if field in names},
        timestamp=TimeColumn("timestamp"),
        received_at=TimeColumn("received_at") if "received_at" in names else None,
    )


def shape(
    path: Path, rows: Rows, mapping: Mapping | None, write_key: str, received_us: int
) -> tuple[pa.Table, tuple[str, ...]]:
    """(unjudged events, columns of the file that are ignored). Raises ImportFailed when a column is missing."""
    names = rows.table.column_names
    native = mapping is None
    rules = mapping or native_mapping(path, names)
    used = used_columns(rules) | ({"properties", "consent"} & set(names) if native else set())
    missing = sorted(used - set(names))
    if missing:
        raise ImportFailed(
            f"{path}: the mapping reads column {', '.join(missing)}; the file has {', '.join(names[:20])}. "
            "Check the mapping's names and its delimiter"
        )
    file = _File(rows.table)
    tables = []
    numbers = pa.array(np.asarray(rows.numbers, dtype=np.int64))
    for event_no, rule in enumerate(rules.event_rules()):
        table = _events(file, rule, native, event_no, write_key, numbers)
        received = pa.nulls(len(numbers), pa.int64())
        if rules.received_at is not None:
            received = to_us(rows.table.column(rules.received_at.column), rules.received_at).us
        received = pc.min_element_wise(within_years(received, received_us), pa.scalar(received_us, pa.int64()))
        table = table.append_column("received_us", received)
        if rule.when is not None:
            column = file.text(rule.when.column)
            equals = rule.when.equals
            table = table.filter(pc.is_in(column, pa.array(equals)) if equals else column.is_valid())
        tables.append(table)
    return pa.concat_tables(tables), tuple(name for name in names if name not in used)


class _File:
    """The columns of a file as text, each converted once, and its rows as canonical JSON."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._texts: dict[str, pa.Array] = {}
        self._rows: pa.Array | None = None

    def text(self, name: str) -> pa.Array:
        if name not in self._texts:
            self._texts[name] = as_text(self.table.column(name))
        return self._texts[name]

    def rows(self) -> pa.Array:
        if self._rows is None:
            parts = [(name, json_text(self.text(name))) for name in self.table.column_names]
            self._rows = json_object(parts, self.table.num_rows)
        return self._rows


def _events(file: _File, rule: EventRule, native: bool, event_no: int, write_key: str, numbers: pa.Array) -> pa.Table:
    length = len(numbers)
    columns: dict[str, pa.Array] = {}
    for field in NATIVE_FIELDS if native else FIELDS:
        array = _field(file, rule, field, length)
        if field in rule.values:
            known = rule.values[field]
            array = each_distinct(array, lambda text, known=known: known.get(text, text) or None)  # type: ignore[misc]
        columns[field] = array
    columns["event_id"] = present_ids(columns["event_id"])
    unnamed = columns["event_id"].is_null()
    if pc.any(unnamed).as_py():
        columns["event_id"] = pc.coalesce(columns["event_id"], row_ids(write_key, file.rows(), event_no, unnamed))
    if rule.timestamp is None:
        raise ImportFailed("timestamp: no column is named for it; add [timestamp] to the mapping")
    written = one_array(file.table.column(rule.timestamp.column))
    times = to_us(written, rule.timestamp)
    columns["event_us"], columns[TIME_REASON] = times.us, times.reason
    columns[WRITTEN_TIME] = as_text(written)
    names = file.table.column_names
    columns["consent"] = file.text("consent") if native and "consent" in names else pa.nulls(length, pa.string())
    if native:
        columns["properties"] = file.text("properties") if "properties" in names else pa.nulls(length, pa.string())
    else:
        columns["properties"] = _properties(file, rule, length)
    columns["row_no"] = numbers
    return pa.table(columns)


def _field(file: _File, rule: EventRule, field: str, length: int) -> pa.Array:
    if field in rule.columns:
        return file.text(rule.columns[field])
    if field in rule.constants:
        return pa.repeat(pa.scalar(rule.constants[field], pa.string()), length)
    if field in rule.templates:
        parts = template_parts(rule.templates[field])
        if len(parts) == 1:
            return pa.repeat(pa.scalar(parts[0], pa.string()), length)
        return pc.binary_join_element_wise(*[file.text(part) if i % 2 else part for i, part in enumerate(parts)], "")
    return pa.nulls(length, pa.string())


def _properties(file: _File, rule: EventRule, length: int) -> pa.Array:
    parts = []
    for name, prop in rule.properties.items():
        if prop.column is not None:
            parts.append((name, json_text(file.text(prop.column), prop.type)))
        else:
            parts.append((name, pa.repeat(pa.scalar(_constant(prop.value), pa.string()), length)))
    return json_object(parts, length)


def _constant(value: object) -> str:
    return msgspec.json.encode(value).decode()
