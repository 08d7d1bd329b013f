"""Native NDJSON: lines that are plainly of the native shape become columns for the batch judge, the others records.

A line is plainly native when msgspec takes it as flat columns or as the shape of the collector, never as a mixture. What
the batch judge does not find plainly good is judged from its line, so a line has the verdict that it has alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.admission.batch import Judge, to_table
from gtm_dagster.admission.batch_columns import present_ids
from gtm_dagster.importing.file_bytes import SourceFile
from gtm_dagster.importing.ndjson import LineIds, decoded_line, line_parts, line_record
from gtm_dagster.importing.time_columns import times_us, within_years
from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS, ID_LIMITS, NOT_KEPT, STAMPED, UTM_FIELDS

Line = tuple[int, bytes]
"""Number from 1, and text."""

_TOP = (*ID_LIMITS, "event_name", "timestamp", "received_at")
_CONTEXT = (*CONTEXT_LIMITS, *UTM_FIELDS, "device_type", "user_agent")
_JSON = ("properties", "consent")
_NAMES = (*_TOP, "properties", *_CONTEXT, "consent")
_BLOCK = 8 << 20
_GROUP = 500
"""Lines decoded at once; one that is not plainly native sends them all through one by one."""
_LINE_ENDS = (b"}", b"}\r")
_NOT_NATIVE = (msgspec.DecodeError, ValueError, RecursionError)


def _shape(name: str, texts: Iterable[str], *more: tuple[str, Any, Any]) -> type[msgspec.Struct]:
    fields = [(text, str | None, None) for text in texts]
    return msgspec.defstruct(name, [*fields, *more], forbid_unknown_fields=True, gc=False)


_RAW = msgspec.Raw(b"")
_CONTEXT_FIELDS = [*((text, str | None, None) for text in _CONTEXT), ("consent", msgspec.Raw, _RAW)]
_FLAT = str | int | float | bool | None
"""The type of what is not kept: how deep a line nests is for the single form to say."""
_STAMPED = [(name, _FLAT, None) for name in STAMPED if name not in _TOP]
_Flat = _shape("_Flat", _TOP, ("properties", msgspec.Raw, _RAW), *_CONTEXT_FIELDS, *_STAMPED)
_Context = _shape("_Context", (), *_CONTEXT_FIELDS, *[(name, _FLAT, None) for name in NOT_KEPT if name not in _CONTEXT])
_Nested = _shape("_Nested", _TOP, ("properties", msgspec.Raw, _RAW), ("context", _Context | None, None), *_STAMPED)
_astuple = msgspec.structs.astuple
_NO_CONTEXT = _astuple(_Context())


@dataclass(frozen=True)
class NativePart:
    """Lines of a part of a file: the plainly native as unjudged `events`, row by row those of `lines`; and the `others`.

    `row_ids`: by line number the ids of lines that carry none.
    """

    events: pa.Table
    lines: list[Line]
    others: list[Line]
    row_ids: dict[int, str | None]


def native_parts(source: SourceFile, write_key: str, received_us: int, encoding: str = "utf-8") -> Iterator[NativePart]:
    """The lines of native NDJSON, a part of the file at a time. Raises ImportFailed."""
    ids = LineIds(write_key)
    for lines in line_parts(source, encoding, _BLOCK):
        yield native_part(lines, ids, received_us)


def native_part(lines: Sequence[Line], ids: LineIds, received_us: int) -> NativePart:
    """Further lines of the file whose rows without an id `ids` counts; `received_us`: receipt of lines that carry none."""
    decoder = _NativeDecoder()
    rows: list[tuple[Any, ...]] = []
    kept: list[Line] = []
    others: list[Line] = []
    for start in range(0, len(lines), _GROUP):
        group = lines[start : start + _GROUP]
        found: Sequence[tuple[Any, ...] | None] | None = decoder.all_of(group)
        for line, values in zip(group, found or [decoder.one(text) for _, text in group], strict=True):
            if values is None:
                others.append(line)
            else:
                rows.append(values)
                kept.append(line)
    columns = _columns(rows)
    columns["event_id"] = present_ids(columns["event_id"])
    unnamed = np.flatnonzero(columns["event_id"].is_null().to_numpy(zero_copy_only=False)).tolist()
    row_ids = {
        number: ids.of(decoded_line(text)) for number, text in sorted([*others, *(kept[index] for index in unnamed)])
    }
    if unnamed:
        named = pa.array([row_ids.get(number) for number, _ in kept], pa.string())
        columns["event_id"] = pc.coalesce(columns["event_id"], named)
    columns["row_no"] = pa.array([number for number, _ in kept], pa.int64())
    return NativePart(_events(columns, received_us), kept, others, row_ids)


def judge_part(part: NativePart, judge: Judge, received_us: int) -> pa.Table:
    """The landing rows of the lines."""
    table, is_plain = judge.plain(part.events)
    doubtful = [part.lines[index] for index in np.flatnonzero(~is_plain).tolist()]
    rest = sorted([*doubtful, *part.others])
    if not rest:
        return table
    records = [line_record(number, text, part.row_ids.get(number), judge, received_us) for number, text in rest]
    return pa.concat_tables([table, to_table(records)])


class _NativeDecoder:
    """Lines as their values by _NAMES, None where one is not plainly native; the shape of the last line is tried first."""

    def __init__(self) -> None:
        self._decoders = [msgspec.json.Decoder(_Flat), msgspec.json.Decoder(_Nested)]

    def all_of(self, lines: Sequence[Line]) -> list[tuple[Any, ...]] | None:
        """The values of every line; None when one of them may not be plainly native.

        No JSON value has `}` and `{` side by side outside of a text, and no text has a line end: where every line begins
        and ends with a brace, a line holds whole values, and as many values as lines is one a line.
        """
        if not all(text[:1] == b"{" and text.endswith(_LINE_ENDS) for _, text in lines):
            return None
        try:
            found = self._decoders[0].decode_lines(b"\n".join([text for _, text in lines]))
            return list(map(_values, found)) if len(found) == len(lines) else None
        except _NOT_NATIVE:
            return None

    def one(self, text: bytes) -> tuple[Any, ...] | None:
        """The values of one line."""
        for decoder in self._decoders:
            try:
                values = _values(decoder.decode(text))
            except _NOT_NATIVE:
                continue
            if decoder is not self._decoders[0]:
                self._decoders.reverse()
            return values
        return None


def _values(line: Any) -> tuple[Any, ...]:
    values = _astuple(line)
    if type(line) is _Flat:
        return values
    context = _NO_CONTEXT if line.context is None else _astuple(line.context)
    return (*values[: len(_TOP) + 1], *context[: len(_NAMES) - len(_TOP) - 1])


def _columns(rows: list[tuple[Any, ...]]) -> dict[str, pa.Array]:
    arrays: dict[str, pa.Array] = {}
    for name, values in zip(_NAMES, zip(*rows, strict=False), strict=False):
        texts = [_text_of(str(raw, "utf-8")) for raw in values] if name in _JSON else list(values)
        arrays[name] = pa.nulls(len(rows)) if texts.count(None) == len(rows) else pa.array(texts, pa.string())
    return {name: arrays.get(name, pa.nulls(len(rows))).cast(pa.string()) for name in _NAMES}


def _text_of(text: str) -> str | None:
    """The JSON of a value, of a text its content; None where there is none."""
    if not text or text == "null":
        return None
    return msgspec.json.decode(text) if text[0] == '"' else text


def _events(columns: dict[str, pa.Array], received_us: int) -> pa.Table:
    written, carried = columns.pop("timestamp"), columns.pop("received_at")
    receipt = within_years(times_us(carried), received_us)
    columns["event_us"] = times_us(written)
    columns["received_us"] = pc.min_element_wise(receipt, pa.scalar(received_us, pa.int64()))
    return pa.table(columns)
