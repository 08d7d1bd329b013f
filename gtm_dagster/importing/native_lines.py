"""Native NDJSON: lines that are plainly of the native shape become columns for the batch judge, the others records.

A line is plainly native when msgspec takes it as flat columns or as the shape of the collector, never as a mixture. What
the batch judge does not find plainly good is judged from its line, so a line has the verdict that it has alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.admission.batch import Judge, to_table
from gtm_dagster.importing.file_bytes import SourceFile
from gtm_dagster.importing.ndjson import LineIds, decoded_line, line_parts, line_record
from gtm_dagster.importing.time_columns import times_us, within_years
from gtm_dagster.taxonomy.absent import present_id
from gtm_dagster.taxonomy.decoding import too_deep
from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS, ID_LIMITS, NOT_KEPT, UTM_FIELDS

Line = tuple[int, bytes, str | None]
"""Number from 1, text, and the id of the row where the line has none."""

_TOP = (*ID_LIMITS, "event_name", "timestamp", "received_at")
_CONTEXT = (*CONTEXT_LIMITS, *UTM_FIELDS, "device_type")
_JSON = ("properties", "consent")
_NAMES = (*_TOP, "properties", *_CONTEXT, "consent")
_BLOCK = 8 << 20
_ABSENT = msgspec.Raw(b"")


def _shape(name: str, texts: Iterable[str], *more: tuple[str, Any, Any]) -> type[msgspec.Struct]:
    fields = [(text, str | None, None) for text in texts]
    return msgspec.defstruct(name, [*fields, *more], forbid_unknown_fields=True, gc=False)


_STAMPED = (("write_key", Any, None), ("plan_version", Any, None))
_Flat = _shape(
    "_Flat",
    _TOP,
    ("properties", msgspec.Raw, _ABSENT),
    *[(text, str | None, None) for text in _CONTEXT],
    ("consent", msgspec.Raw, _ABSENT),
    *_STAMPED,
)
_Context = _shape("_Context", _CONTEXT, ("consent", msgspec.Raw, _ABSENT), *[(name, Any, None) for name in NOT_KEPT])
_Nested = _shape("_Nested", _TOP, ("properties", msgspec.Raw, _ABSENT), ("context", _Context | None, None), *_STAMPED)
_SENT = len(_TOP) + 1
_NO_CONTEXT = msgspec.structs.astuple(_Context())


@dataclass(frozen=True)
class NativePart:
    """Lines of a part of a file: the plainly native as unjudged `events`, row by row those of `lines`; and the `others`."""

    events: pa.Table
    lines: list[Line]
    others: list[Line]


def native_parts(source: SourceFile, write_key: str, received_us: int) -> Iterator[NativePart]:
    """The lines of native NDJSON, a part of the file at a time. Raises ImportFailed."""
    ids = LineIds(write_key)
    for lines in line_parts(source, "utf-8", _BLOCK):
        yield native_part(lines, ids, received_us)


def native_part(lines: Iterable[tuple[int, bytes]], ids: LineIds, received_us: int) -> NativePart:
    """Further lines of the file whose rows without an id `ids` counts; `received_us`: receipt of lines that carry none."""
    native = _NativeDecoder()
    rows: list[tuple[Any, ...]] = []
    kept: list[Line] = []
    others: list[Line] = []
    for number, line in lines:
        row = native(line)
        row_id = ids.of(decoded_line(line)) if row is None or present_id(row[0]) is None else None
        if row is None:
            others.append((number, line, row_id))
        else:
            rows.append(row)
            kept.append((number, line, row_id))
    return NativePart(_events(rows, kept, received_us), kept, others)


def judge_part(part: NativePart, judge: Judge, received_us: int) -> pa.Table:
    """The landing rows of the lines."""
    table, is_plain = judge.plain(part.events)
    doubtful = [part.lines[index] for index in np.flatnonzero(~is_plain).tolist()]
    rest = sorted([*doubtful, *part.others])
    if not rest:
        return table
    records = [line_record(number, line, row_id, judge, received_us) for number, line, row_id in rest]
    return pa.concat_tables([table, to_table(records)])


class _NativeDecoder:
    """The values of a line by _NAMES, None where it is not plainly native; the shape of the last line is tried first."""

    def __init__(self) -> None:
        self._first, self._second = (msgspec.json.Decoder(shape).decode for shape in (_Flat, _Nested))

    def __call__(self, line: bytes) -> tuple[Any, ...] | None:
        if too_deep(line):
            return None
        try:
            return _values(self._first(line))
        except (msgspec.DecodeError, ValueError, RecursionError):
            pass
        try:
            values = _values(self._second(line))
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        self._first, self._second = self._second, self._first
        return values


def _values(line: msgspec.Struct) -> tuple[Any, ...]:
    values = msgspec.structs.astuple(line)
    if isinstance(line, _Nested):
        context = values[_SENT]
        values = (*values[:_SENT], *(_NO_CONTEXT if context is None else msgspec.structs.astuple(context)))
    return values


def _text_of(raw: msgspec.Raw) -> str | None:
    """The JSON of a value, of a text its content; None where there is none."""
    text = str(raw, "utf-8")  # type: ignore[arg-type]
    if not text or text == "null":
        return None
    return msgspec.json.decode(text) if text[0] == '"' else text


def _events(rows: list[tuple[Any, ...]], lines: list[Line], received_us: int) -> pa.Table:
    columns = dict(zip(_NAMES, zip(*rows, strict=True), strict=False)) if rows else dict.fromkeys(_NAMES, ())
    arrays: dict[str, pa.Array] = {}
    for name, values in columns.items():
        texts = map(_text_of, values) if name in _JSON else values
        arrays[name] = pa.array(texts, pa.string(), size=len(rows))
    arrays["event_us"] = times_us(arrays.pop("timestamp"))
    receipt = within_years(times_us(arrays.pop("received_at")), received_us)
    arrays["received_us"] = pc.min_element_wise(receipt, pa.scalar(received_us, pa.int64()))
    arrays["event_id"] = pc.coalesce(pa.array([row_id for _, _, row_id in lines], pa.string()), arrays["event_id"])
    arrays["row_no"] = pa.array([number for number, _, _ in lines], pa.int64())
    return pa.table(arrays)
