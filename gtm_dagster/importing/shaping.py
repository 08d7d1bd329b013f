"""Rows of a file into unjudged events: the landing columns an event has, plus what its time was written as."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.admission.columns import WRITTEN_TIME, each_distinct, one_array
from gtm_dagster.importing.mapping import FIELDS, Emission, Mapping, Moment, pieces, used_columns
from gtm_dagster.importing.moments import to_us, within_years
from gtm_dagster.importing.reading import ImportFailed, Rows
from gtm_dagster.importing.texts import as_text, json_object, json_text, row_ids

NATIVE = (*FIELDS, "timestamp", "properties", "consent", "received_at")
"""Columns of a file that needs no mapping."""


def native_emission(path: Path, names: list[str]) -> Mapping:
    """The mapping of a file in native columns. Raises ImportFailed when it has not got the needed ones."""
    lacking = [name for name in ("event_name", "timestamp") if name not in names]
    if not {"user_id", "anonymous_id"} & set(names):
        lacking.append("user_id or anonymous_id")
    if lacking:
        raise ImportFailed(
            f"{path}: has no column {', '.join(lacking)}; it has {', '.join(names[:20])}. "
            "Rename its columns, or say with --mapping what they are"
        )
    return Mapping(
        columns={field: field for field in FIELDS if field in names},
        timestamp=Moment("timestamp"),
        received_at=Moment("received_at") if "received_at" in names else None,
    )


def shape(
    path: Path, rows: Rows, mapping: Mapping | None, write_key: str, received_us: int
) -> tuple[pa.Table, tuple[str, ...]]:
    """(unjudged events, columns of the file nobody asked for). Raises ImportFailed when a column is missing."""
    names = rows.table.column_names
    native = mapping is None
    told = mapping or native_emission(path, names)
    used = used_columns(told) | ({"properties", "consent"} & set(names) if native else set())
    missing = sorted(used - set(names))
    if missing:
        raise ImportFailed(
            f"{path}: the mapping reads column {', '.join(missing)}; the file has {', '.join(names[:20])}. "
            "Check the mapping's names and its delimiter"
        )
    source = _Source(rows.table)
    tables = []
    whole = pa.array(np.asarray(rows.numbers, dtype=np.int64))
    for number, emission in enumerate(told.emissions()):
        table = _events(source, emission, native, number, write_key, whole)
        arrived = pa.nulls(len(whole), pa.int64())
        if told.received_at is not None:
            arrived = to_us(one_array(rows.table.column(told.received_at.column)), told.received_at)
        table = table.append_column("received_us", within_years(arrived, received_us))
        if emission.when is not None:
            column = source.text(emission.when.column)
            chosen = pc.is_in(column, pa.array(emission.when.equals)) if emission.when.equals else column.is_valid()
            table = table.filter(chosen)
        tables.append(table)
    return pa.concat_tables(tables), tuple(name for name in names if name not in used)


class _Source:
    """The file's columns as text, each turned once, and the canonical row."""

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


def _events(
    source: _Source, emission: Emission, native: bool, number: int, write_key: str, numbers: pa.Array
) -> pa.Table:
    length = len(numbers)
    columns: dict[str, pa.Array] = {}
    for field in FIELDS:
        array = _field(source, emission, field, length)
        if field in emission.values:
            known = emission.values[field]
            array = each_distinct(array, lambda text, known=known: known.get(text, text) or None)  # type: ignore[misc]
        columns[field] = array
    unnamed = columns["event_id"].is_null()
    if pc.any(unnamed).as_py():
        columns["event_id"] = pc.coalesce(columns["event_id"], row_ids(write_key, source.rows(), number, unnamed))
    if emission.timestamp is None:
        raise ImportFailed("timestamp: no column is named for it; add [timestamp] to the mapping")
    written = one_array(source.table.column(emission.timestamp.column))
    columns["event_us"] = to_us(written, emission.timestamp)
    columns[WRITTEN_TIME] = as_text(written)
    there = source.table.column_names
    columns["consent"] = source.text("consent") if native and "consent" in there else pa.nulls(length, pa.string())
    if native:
        columns["properties"] = source.text("properties") if "properties" in there else pa.nulls(length, pa.string())
    else:
        columns["properties"] = _properties(source, emission, length)
    columns["row_no"] = numbers
    return pa.table(columns)


def _field(source: _Source, emission: Emission, field: str, length: int) -> pa.Array:
    if field in emission.columns:
        return source.text(emission.columns[field])
    if field in emission.constants:
        return pa.repeat(pa.scalar(emission.constants[field], pa.string()), length)
    if field in emission.templates:
        parts = pieces(emission.templates[field])
        return pc.binary_join_element_wise(*[source.text(p) if i % 2 else p for i, p in enumerate(parts)], "") if len(parts) > 1 else pa.repeat(pa.scalar(parts[0], pa.string()), length)  # fmt: skip
    return pa.nulls(length, pa.string())


def _properties(source: _Source, emission: Emission, length: int) -> pa.Array:
    parts = []
    for name, rule in emission.properties.items():
        if rule.column is not None:
            parts.append((name, json_text(source.text(rule.column), rule.type)))
        else:
            parts.append((name, pa.repeat(pa.scalar(_constant(rule.value), pa.string()), length)))
    return json_object(parts, length)


def _constant(value: object) -> str:
    return msgspec.json.encode(value).decode()
