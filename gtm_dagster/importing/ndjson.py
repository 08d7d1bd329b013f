"""NDJSON files as lines: a native event is judged as by the collector (`native_lines`: many); with a mapping, lines become a table."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa

from gtm_dagster.admission.batch import Judge
from gtm_dagster.admission.record import Record
from gtm_dagster.importing.file_bytes import BLOCK, ImportFailed, SourceFile, text_blocks
from gtm_dagster.importing.file_rows import BrokenRow, Rows
from gtm_dagster.importing.texts import RowIds
from gtm_dagster.taxonomy import FieldError
from gtm_dagster.taxonomy.absent import present_id
from gtm_dagster.taxonomy.decoding import too_deep
from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS, MAX_US, MIN_US, UTM_FIELDS
from gtm_dagster.taxonomy.explain import decoded
from gtm_dagster.taxonomy.times import read_time

_FLAT = (*CONTEXT_LIMITS, *UTM_FIELDS, "device_type", "user_agent", "consent")
_LONGEST_LINE = 64 << 20
_MAPPED_BLOCK = 4 << 20
_encode = msgspec.json.Encoder(order="deterministic").encode


def line_parts(source: SourceFile, encoding: str, block: int = BLOCK) -> Iterator[list[tuple[int, bytes]]]:
    """(number from 1, line) of the lines that are not blank, a part of the file at a time; of a JSON list, its elements.

    Raises ImportFailed.
    """
    blocks = text_blocks(source, encoding, block)
    buffer, done = b"", 0
    for text in blocks:
        buffer += text
        if not done and buffer.lstrip()[:1] == b"[":
            yield _lines(b"".join([buffer, *blocks]))
            return
        if len(buffer) > _LONGEST_LINE and b"\n" not in buffer:
            raise ImportFailed(f"{source.path}: line {done + 1} is longer than 64 MiB; is it NDJSON?")
        whole = buffer.rfind(b"\n") + 1
        if whole:
            yield _numbered(buffer[: whole - 1], done)
            done += buffer.count(b"\n", 0, whole)
            buffer = buffer[whole:]
    yield _numbered(buffer, done)


def _lines(text: bytes) -> list[tuple[int, bytes]]:
    """The elements of a text that is one JSON list, else its lines."""
    try:
        return [(i, bytes(raw)) for i, raw in enumerate(msgspec.json.decode(text, type=list[msgspec.Raw]), 1)]
    except (msgspec.DecodeError, RecursionError):
        return _numbered(text, 0)


def _numbered(text: bytes, done: int) -> list[tuple[int, bytes]]:
    return [(i, line) for i, line in enumerate(text.split(b"\n"), done + 1) if line.strip()]


def decoded_line(line: bytes) -> dict[str, Any] | FieldError:
    """The object on a line, or why there is none."""
    if too_deep(line):
        return FieldError("", "too_deep", "nested too deeply")
    document, errors = decoded(line, "not JSON")
    return errors[0] if document is None else document


class LineIds:
    """Ids of the lines of one file that carry none; equal lines are numbered in their order."""

    def __init__(self, write_key: str) -> None:
        self._id_of = RowIds(write_key)
        self._seen: Counter[bytes] = Counter()

    def of(self, document: dict[str, Any] | FieldError) -> str | None:
        """The id of the next line; None where it carries one, or is no event."""
        if isinstance(document, FieldError):
            return None
        event_id = document.get("event_id")
        if event_id is not None and (not isinstance(event_id, str) or present_id(event_id) is not None):
            return None
        row = _encode(document)
        digest = hashlib.blake2b(row, digest_size=12).digest()  # the rows themselves would be the whole file
        self._seen[digest] += 1
        return self._id_of(row.decode(), self._seen[digest] - 1)


def line_record(number: int, line: bytes, row_id: str | None, judge: Judge, received_us: int) -> Record:
    """The landing record of a line of native NDJSON; `row_id`: of a line that carries no id."""
    document = decoded_line(line)
    if isinstance(document, FieldError):
        return judge.broken(number, line.decode("utf-8", "replace"), (document,), received_us)
    event = _native(document)
    event_received_us = _received_us(event.pop("received_at", None), received_us)
    if row_id is not None:
        event["event_id"] = row_id
    written = event.get("timestamp")
    moment = read_time(written) if isinstance(written, str) and written else None
    return judge.single(event, moment, event_received_us, number)


def _native(document: dict[str, Any]) -> dict[str, Any]:
    """A line as an event of the native shape; flat native columns move into `context`."""
    event = dict(document)
    context = {field: event.pop(field) for field in _FLAT if field in event}
    if context:
        inner = event.get("context")
        event["context"] = {**(inner if isinstance(inner, dict) else {}), **context}
    for parent, field in ((event, "properties"), (event.get("context"), "consent")):
        if isinstance(parent, dict) and isinstance(parent.get(field), str):
            try:
                parent[field] = msgspec.json.decode(parent[field])
            except (ValueError, RecursionError):
                pass
    return event


def _received_us(value: Any, received_us: int) -> int:
    if not isinstance(value, str):
        return received_us
    us = read_time(value)
    return min(us, received_us) if isinstance(us, int) and MIN_US <= us < MAX_US else received_us


def tables_of_lines(source: SourceFile, encoding: str) -> Iterator[Rows]:
    """Lines as tables of texts, nested objects under dotted names (`user.id`). Raises ImportFailed when no line is JSON."""
    found = False
    for lines in line_parts(source, encoding, _MAPPED_BLOCK):
        part = _table_of_lines(lines)
        found = found or part.table.num_columns > 0
        yield part
    if not found:
        raise ImportFailed(f"{source.path}: none of its lines is a JSON object; is it NDJSON?")


def _table_of_lines(lines: list[tuple[int, bytes]]) -> Rows:
    rows: list[dict[str, str | None]] = []
    numbers: list[int] = []
    broken: list[BrokenRow] = []
    texts: set[str] = set()
    for number, line in lines:
        document = decoded_line(line)
        if isinstance(document, FieldError):
            broken.append(BrokenRow(number, line.decode("utf-8", "replace"), document))
            continue
        flat: dict[str, str | None] = {}
        _flatten(document, "", flat, texts)
        rows.append(flat)
        numbers.append(number)
    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})
    return Rows(table, numbers, broken, frozenset(names.keys() - texts), may_lack_columns=True)


def _flatten(value: dict[str, Any], prefix: str, into: dict[str, str | None], texts: set[str]) -> None:
    """Add the values of an object to `into`, and the names of those that are texts to `texts`."""
    for key, item in value.items():
        if isinstance(item, dict):
            _flatten(item, f"{prefix}{key}.", into, texts)
        elif item is None or isinstance(item, str):
            into[f"{prefix}{key}"] = item or None
            if item:
                texts.add(f"{prefix}{key}")
        else:
            into[f"{prefix}{key}"] = _encode(item).decode()
