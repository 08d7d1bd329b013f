"""NDJSON files: native events are judged line by line as by the collector; with a mapping, lines become a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from gtm_dagster.admission.batch import Judge
from gtm_dagster.admission.record import Record
from gtm_dagster.importing.reading import BrokenRow, ImportFailed, Rows
from gtm_dagster.importing.texts import RowIds
from gtm_dagster.taxonomy import FieldError
from gtm_dagster.taxonomy.absent import present_id
from gtm_dagster.taxonomy.decoding import too_deep
from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS, MAX_US, MIN_US, UTM_FIELDS
from gtm_dagster.taxonomy.times import read_time

_FLAT = (*CONTEXT_LIMITS, *UTM_FIELDS, "device_type", "consent")
_encode = msgspec.json.Encoder(order="deterministic").encode


def lines_of(text: bytes) -> list[tuple[int, bytes]]:
    """(number from 1, line) of every line that is not blank; of a file that is one JSON list, its elements."""
    if text.lstrip()[:1] == b"[":
        try:
            return [(i, bytes(raw)) for i, raw in enumerate(msgspec.json.decode(text, type=list[msgspec.Raw]), 1)]
        except (msgspec.DecodeError, RecursionError):
            pass
    return [(i, line) for i, line in enumerate(text.split(b"\n"), 1) if line.strip()]


def _decoded(line: bytes) -> dict[str, Any] | FieldError:
    if too_deep(line):
        return FieldError("", "too_deep", "nested too deeply")
    try:
        value = msgspec.json.decode(line)
    except (ValueError, RecursionError) as error:
        return FieldError("", "invalid_json", f"the line is not JSON ({error})")
    return value if isinstance(value, dict) else FieldError("", "type", "expected an object on every line")


def judge_lines(
    text: bytes, judge: Judge, received_us: int, progress: Callable[[int, int], None] | None = None
) -> list[Record]:
    """The landing records of native NDJSON."""
    id_of = RowIds(judge.write_key)
    seen: Counter[bytes] = Counter()
    records: list[Record] = []
    lines = lines_of(text)
    for done, (number, line) in enumerate(lines):
        if progress and not done % 20_000:
            progress(done, len(lines))
        document = _decoded(line)
        if isinstance(document, FieldError):
            shown = line.decode("utf-8", "replace")
            records.append(judge.broken(number, shown, (document,), received_us))
            continue
        event = _native(document)
        event_received_us = _received_us(event.pop("received_at", None), received_us)
        event_id = event.get("event_id")
        if event_id is None or (isinstance(event_id, str) and present_id(event_id) is None):
            row = _encode(document)
            event["event_id"] = id_of(row.decode(), seen[row])
            seen[row] += 1
        written = event.get("timestamp")
        moment = read_time(written) if isinstance(written, str) and written else None
        records.append(judge.single(event, moment, event_received_us, number))
    return records


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


def table_of_lines(path: Path, text: bytes) -> Rows:
    """Lines as a table of texts, nested objects under dotted names (`user.id`). Raises ImportFailed when no line is JSON."""
    rows: list[dict[str, str | None]] = []
    numbers: list[int] = []
    broken: list[BrokenRow] = []
    for number, line in lines_of(text):
        document = _decoded(line)
        if isinstance(document, FieldError):
            broken.append(BrokenRow(number, line.decode("utf-8", "replace"), document))
            continue
        flat: dict[str, str | None] = {}
        _flatten(document, "", flat)
        rows.append(flat)
        numbers.append(number)
    if not rows:
        raise ImportFailed(f"{path}: none of its lines is a JSON object; is it NDJSON?")
    names = dict.fromkeys(name for row in rows for name in row)
    return Rows(
        pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}), numbers, broken
    )


def _flatten(value: dict[str, Any], prefix: str, into: dict[str, str | None]) -> None:
    for key, item in value.items():
        if isinstance(item, dict):
            _flatten(item, f"{prefix}{key}.", into)
        elif item is None or isinstance(item, str):
            into[f"{prefix}{key}"] = item or None
        else:
            into[f"{prefix}{key}"] = _encode(item).decode()
