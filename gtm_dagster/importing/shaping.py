"""Rows of a file into unjudged events: the landing columns of an event, and its time as the file wrote it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.admission.batch_columns import TIME_REASON, WRITTEN_TIME, each_distinct, one_array, present_ids
from gtm_dagster.importing.file_bytes import ImportFailed
from gtm_dagster.importing.file_rows import Rows
from gtm_dagster.importing.mapping import FIELDS, EventRule, Mapping, Property, TimeColumn, template_parts, used_columns
from gtm_dagster.importing.numbers import Notation, number_format
from gtm_dagster.importing.texts import Ordinals, as_text, json_object, json_text, row_ids
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
        signs = [sign for sign in ";\t|" if len(names) == 1 and sign in names[0]]
        one_line = (
            f"If its delimiter is {signs[0]!r}, a mapping needs one line: delimiter = {json.dumps(signs[0])}. "
            if signs
            else ""
        )
        raise ImportFailed(
            f"{path}: has no column {', '.join(lacking)}; it has {', '.join(names[:20])}. "
            f"{one_line}Rename its columns, or map them with --mapping"
        )
    return Mapping(
        columns={field: field for field in NATIVE_FIELDS if field in names},
        timestamp=TimeColumn("timestamp"),
        received_at=TimeColumn("received_at") if "received_at" in names else None,
    )


class Shaper:
    """Shapes the rows of one file, part after part, into unjudged events.

    `names`: the columns of the file so far. `ignored`: those of them that no event uses. `hints`: what to look at in the
    mapping, one line each.
    """

    def __init__(self, path: Path, mapping: Mapping | None, write_key: str, received_us: int) -> None:
        self._path = path
        self._mapping = mapping
        self._is_native = mapping is None or mapping.keeps_columns
        self._write_key = write_key
        self._received_us = received_us
        self._ordinals = Ordinals()
        self._notations: dict[tuple[str, str | None, str], Notation] = {}
        self._used: set[str] = set()
        self.names: dict[str, None] = {}

    @property
    def ignored(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in self._used)

    @property
    def hints(self) -> tuple[str, ...]:
        near = [name for name in self.ignored if name.lower() in (*NATIVE_FIELDS, "timestamp", "properties", "consent")]
        misspelt = [f"column {name} is ignored: the field is {name.lower()}" for name in near if self._is_native]
        return (*misspelt, *(hint for notation in self._notations.values() for hint in notation.hints()))

    def shape(self, rows: Rows) -> pa.Table:
        """The unjudged events of further rows. Raises ImportFailed when a column is missing."""
        names = rows.table.column_names
        self.names |= dict.fromkeys(names)
        rules = native_mapping(self._path, names) if self._is_native else self._mapping or Mapping()
        self._used = used_columns(rules) | ({"properties", "consent"} & set(names) if self._is_native else set())
        table = rows.table
        if rows.may_lack_columns:
            for name in sorted(self._used - set(names)):
                table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
        else:
            self.check()
        file = _File(table, self._ordinals, rows.numeric)
        numbers = pa.array(np.asarray(rows.numbers, dtype=np.int64))
        tables = [
            self._event(file, rule, rules, numbers, event_no) for event_no, rule in enumerate(rules.event_rules())
        ]
        return pa.concat_tables(tables)

    def check(self) -> None:
        """Raises ImportFailed when the rows so far lack a column that the mapping names."""
        missing = sorted(self._used - set(self.names))
        if missing:
            raise ImportFailed(
                f"{self._path}: the mapping reads column {', '.join(missing)}; "
                f"the file has {', '.join(list(self.names)[:20])}. {self._way_out(missing)}"
            )

    def _way_out(self, missing: list[str]) -> str:
        whole = next((name for name in self.names for each in missing if each.startswith(f"{name}.")), None)
        if whole is not None:
            return f"Of {whole} a cell is one text: a name with dots reads objects, such as those of NDJSON"
        return "Check the mapping's names and its delimiter"

    def _event(self, file: _File, rule: EventRule, rules: Mapping, numbers: pa.Array, event_no: int) -> pa.Table:
        table = _events(file, rule, self._is_native, event_no, self._write_key, numbers)
        if not self._is_native:
            table = table.append_column("properties", self._properties(file, rule, len(numbers)))
        received = pa.nulls(len(numbers), pa.int64())
        if rules.received_at is not None:
            received = to_us(file.table.column(rules.received_at.column), rules.received_at).us
        received = pc.min_element_wise(
            within_years(received, self._received_us), pa.scalar(self._received_us, pa.int64())
        )
        table = table.append_column("received_us", received)
        if rule.when is None:
            return table
        column, equals = file.text(rule.when.column), rule.when.equals
        return table.filter(pc.is_in(column, pa.array(equals)) if equals else column.is_valid())

    def _properties(self, file: _File, rule: EventRule, length: int) -> pa.Array:
        parts = []
        for name, prop in rule.properties.items():
            if prop.column is None:
                parts.append((name, pa.repeat(pa.scalar(_constant(prop.value), pa.string()), length)))
                continue
            texts = file.text(prop.column)
            values = (rule.values.get(name, {}) if name not in FIELDS else {}) | prop.values
            if values:
                texts = _replaced(texts, values)
            if prop.type == "number":
                parts.append((name, self._numbers(file, prop, texts)))
            else:
                parts.append((name, json_text(texts, prop.type)))
        return json_object(parts, length)

    def _numbers(self, file: _File, prop: Property, texts: pa.Array) -> pa.Array:
        """The texts of a column of numbers as JSON; values that are numbers in the file already need no notation."""
        mapping, column = self._mapping or Mapping(), str(prop.column)
        if not file.has_texts(column):
            return json_text(texts, "number")
        decimal = prop.decimal or mapping.decimal
        thousands = mapping.thousands if prop.thousands is None else prop.thousands
        self._notations.setdefault((column, decimal, thousands), Notation(column, decimal, thousands)).look(texts)
        return json_text(texts, "number", number_format(decimal, thousands))


class _File:
    """The columns of a file as text, each converted once, and its rows as canonical JSON."""

    def __init__(self, table: pa.Table, ordinals: Ordinals, numeric: frozenset[str]) -> None:
        self.table = table
        self._numeric = numeric
        self._ordinals = ordinals
        self._texts: dict[str, pa.Array] = {}
        self._rows: tuple[pa.Array, np.ndarray] | None = None

    def text(self, name: str) -> pa.Array:
        if name not in self._texts:
            self._texts[name] = as_text(self.table.column(name))
        return self._texts[name]

    def has_texts(self, name: str) -> bool:
        """Whether the column holds texts, rather than values that were numbers in the file."""
        kind = self.table.schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return name not in self._numeric and (pa.types.is_string(kind) or pa.types.is_large_string(kind))

    def rows(self) -> tuple[pa.Array, np.ndarray]:
        """(the rows as JSON, the ordinal of each among equal rows of the file)."""
        if self._rows is None:
            parts = [(name, json_text(self.text(name))) for name in self.table.column_names]
            rows = json_object(parts, self.table.num_rows)
            self._rows = rows, self._ordinals.of(rows)
        return self._rows


def _events(file: _File, rule: EventRule, native: bool, event_no: int, write_key: str, numbers: pa.Array) -> pa.Table:
    length = len(numbers)
    columns: dict[str, pa.Array] = {}
    for field in NATIVE_FIELDS if native else FIELDS:
        array = _field(file, rule, field, length)
        if field in rule.values:
            array = _replaced(array, rule.values[field])
        columns[field] = array
    columns["event_id"] = present_ids(columns["event_id"])
    unnamed = columns["event_id"].is_null()
    if pc.any(unnamed).as_py():
        rows, ordinals = file.rows()
        columns["event_id"] = pc.coalesce(columns["event_id"], row_ids(write_key, rows, event_no, unnamed, ordinals))
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


def _replaced(texts: pa.Array, values: dict[str, str]) -> pa.Array:
    """The texts with those that `values` names replaced; "" is no text."""
    return each_distinct(texts, lambda text: values.get(text, text) or None)


def _constant(value: object) -> str:
    return msgspec.json.encode(value).decode()
