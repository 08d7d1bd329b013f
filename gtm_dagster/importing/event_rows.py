"""Event names and properties of a file, without any verdict: what a plan is drafted from."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec

from gtm_dagster.importing.reading import ImportFailed
from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS, ID_LIMITS, NOT_KEPT, STAMPED

_OF_EVENTS = {
    *ID_LIMITS, *CONTEXT_LIMITS, *STAMPED, *NOT_KEPT,
    "event", "event_name", "timestamp", "properties", "context", "device_type", "consent", "timezone",
    "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content",
}  # fmt: skip
"""Columns that are fields of an event and no properties."""
_BLOCK = 20_000


class EventRows:
    """Iterates over (event name, properties) of every row of a CSV, NDJSON (both also .gz) or Parquet file.

    The name stands in `event_column`, else in event_name or event. Properties are those of `properties`; a row without
    that column has its other columns as properties, and `loose` names them. Cells of a CSV are numbers and booleans
    where they look like it. Raises ImportFailed.
    """

    def __init__(self, path: Path, event_column: str | None = None) -> None:
        self._path = path
        self._columns = [event_column] if event_column else ["event_name", "event"]
        self.loose: dict[str, None] = {}

    def __iter__(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        try:
            yield from self._named(_rows(self._path))
        except (OSError, UnicodeDecodeError, EOFError, csv.Error) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise ImportFailed(f"{self._path}: cannot be read ({reason})") from error

    def _named(self, rows: Iterator[dict[str, Any]]) -> Iterator[tuple[Any, dict[str, Any]]]:
        names: dict[str, None] = {}
        found = False
        for row in rows:
            if not found:
                names |= dict.fromkeys(row)
            column = next((name for name in self._columns if row.get(name) is not None), None)
            found |= column is not None
            yield row.get(column or ""), self._properties(row, column)
        if not found:
            there = ", ".join(list(names)[:20]) or "none"
            raise ImportFailed(
                f"{self._path}: has no column {' or '.join(self._columns)} (its columns: {there}); name the one that says "
                "which event a row is with --event-column"
            )

    def _properties(self, row: dict[str, Any], column: str | None) -> dict[str, Any]:
        if "properties" not in row:
            loose = {name: value for name, value in row.items() if name not in _OF_EVENTS and name != column}
            self.loose |= dict.fromkeys(loose)
            return loose
        inner = row["properties"]
        if isinstance(inner, str):
            try:
                inner = msgspec.json.decode(inner)
            except (msgspec.DecodeError, ValueError, RecursionError):
                return {}
        return inner if isinstance(inner, dict) else {}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PAR1":
        return _parquet(path)
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    if kind in (".ndjson", ".jsonl", ".json"):
        return _json_lines(path, head)
    if kind in (".csv", ".tsv", ".txt"):
        return _csv(path, head)
    raise ImportFailed(
        f"{path}: its name does not show its format; rename it to .csv, .ndjson or .parquet (.gz is fine)"
    )


def _text(path: Path, head: bytes) -> io.TextIOWrapper:
    file: Any = gzip.open(path) if head[:2] == b"\x1f\x8b" else path.open("rb")  # noqa: SIM115 - its wrapper closes it
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")


def _json_lines(path: Path, head: bytes) -> Iterator[dict[str, Any]]:
    with _text(path, head) as file:
        first = file.read(1)
        file.seek(0)
        lines: Iterable[Any] = [file.read()] if first == "[" else file
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found = msgspec.json.decode(line)
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                raise ImportFailed(f"{path}: line {number} is not JSON ({error}); correct it or leave it out") from None
            yield from (row for row in (found if isinstance(found, list) else [found]) if isinstance(row, dict))


def _csv(path: Path, head: bytes) -> Iterator[dict[str, Any]]:
    with _text(path, head) as file:
        header = file.readline()
        file.seek(0)
        delimiter = max("\t;,", key=header.count)
        for row in csv.DictReader(file, delimiter=delimiter):
            cells = {
                name: cell for name, cell in row.items() if isinstance(name, str) and isinstance(cell, str) and cell
            }
            yield {name: cell if name in _OF_EVENTS else _value(cell) for name, cell in cells.items()}


def _value(cell: str) -> Any:
    """A cell of a CSV as the value it looks like."""
    text = cell.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return cell
    return found if isinstance(found, int | float) and not isinstance(found, bool) else cell


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(path).iter_batches(_BLOCK):
            for row in batch.to_pylist():
                yield {name: plain for name, cell in row.items() if (plain := _plain(cell)) is not None}
    except pa.ArrowException as error:
        raise ImportFailed(f"{path}: is not a whole Parquet file ({error}); fetch it again") from error


def _plain(cell: Any) -> Any:
    """A cell of a Parquet file as JSON has it; a struct has every field in every row, so nulls are absent."""
    if isinstance(cell, list) and cell and all(isinstance(pair, tuple) and len(pair) == 2 for pair in cell):
        cell = dict(cell)  # a map
    if isinstance(cell, dict):
        return {str(name): value for name, part in cell.items() if (value := _plain(part)) is not None}
    if isinstance(cell, float) and not isfinite(cell):
        return None
    if isinstance(cell, Decimal):
        return float(cell)
    return cell if isinstance(cell, bool | int | float | str | list | None) else str(cell)
