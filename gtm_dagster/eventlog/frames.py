"""A frame: the records of one commit, column by column in Arrow's own memory layout, deflated.

Format 2 is the byte 2 and then the deflated columns by name; a column that is NULL in all rows is left out. Format 1 has
no prefix (zlib begins with 0x78) and its columns have no names: they stand in the order of FORMAT_1_COLUMNS. The collector
writes frames without pyarrow; the loader hands the buffers to Arrow as they are, so reading costs a copy.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from functools import cache, partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import astuple

from gtm_dagster.admission.record import DEFAULTS, LANDING_COLUMNS, Record
from gtm_dagster.eventlog.log import EventLogError
from gtm_dagster.storage.migrations import NEWER, NewerFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import pyarrow as pa

FORMAT = 2
FORMAT_1_COLUMNS = (
    "write_key", "event_id", "event_name", "event_us", "received_us", "user_id", "anonymous_id", "session_id",
    "properties", "source", "medium", "campaign", "term", "content", "device_type", "locale", "page_url", "referrer",
    "click_id", "country", "region", "consent", "plan_version", "verdict", "reason_codes", "errors", "raw", "sealed",
    "origin", "row_no",
)  # fmt: skip
"""The columns of a frame without names, in their order; frozen."""
_ZLIB = 0x78
"""The first byte of zlib's header, and so of a frame of format 1."""
_MOST_BYTES = 2**31 - 1
"""What the offsets of an Arrow array of text reach."""


class _Column(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`same`: the one value of all rows; else `data` with `offsets` (text, bytes) and a `valid` bitmap when NULLs occur."""

    same: Any = None
    data: bytes | None = None
    offsets: bytes | None = None
    valid: bytes | None = None


_encode = msgspec.msgpack.Encoder().encode
_by_name = msgspec.msgpack.Decoder(dict[str, _Column]).decode
_by_position = msgspec.msgpack.Decoder(list[_Column]).decode
_PREFIX = bytes([FORMAT])
_COLUMNS = [(name, kind, DEFAULTS.get(name) is None) for name, kind in LANDING_COLUMNS]
"""Name, kind, and whether a reader fills NULL in where the column is left out."""
_ELSEWHERE = ("row_no", "sealed")
"""Columns that a frame leaves out: the frame's bounds say the offset, `sealed_tables` has what ends before the frame."""


def _little(values: array[int]) -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _bitmap(values: Sequence[Any]) -> bytes | None:
    if all(values) or None not in values:
        return None
    bits = int("".join(["0" if value is None else "1" for value in reversed(values)]), 2)
    return bits.to_bytes((len(values) + 7) // 8, "little")


def _packed(values: Sequence[Any], kind: str) -> tuple[Any, ...]:
    """The fields of a _Column of different values, those at the end left out that are None."""
    valid = _bitmap(values)
    if kind == "int64":
        data = _little(array("q", values if valid is None else [value or 0 for value in values]))
        return (None, data) if valid is None else (None, data, None, valid)
    if kind == "str":
        data, lengths = _joined(values if valid is None else [value or "" for value in values])
    else:
        parts = [value or b"" for value in values]
        data, lengths = b"".join(parts), list(map(len, parts))
    offsets = _little(array("i", [0, *accumulate(lengths)]))
    return (None, data, offsets) if valid is None else (None, data, offsets, valid)


def _joined(texts: Sequence[str]) -> tuple[bytes, Iterable[int]]:
    """The UTF-8 of the texts one after the other, and the length of each in bytes."""
    text = "".join(texts)
    if text.isascii():  # most columns; encoding each text costs three times as much
        return text.encode(), map(len, texts)
    parts = [text.encode() for text in texts]
    return b"".join(parts), map(len, parts)


def pack(records: list[Record]) -> bytes:
    """The frame of at least one record, without its sealed original."""
    columns: dict[str, tuple[Any, ...]] = {}
    n = len(records)
    for (name, kind, nullable), values in zip(_COLUMNS, zip(*map(astuple, records), strict=True), strict=True):
        first = values[0]
        if values.count(first) != n:
            columns[name] = _packed(values, kind)
        elif not (first is None and nullable):
            columns[name] = (first,)
    for name in _ELSEWHERE:
        columns.pop(name, None)
    return _PREFIX + zlib.compress(_encode(columns), 1)


def without_sealed(first_seq: int, payload: bytes) -> bytes | None:
    """The frame at `first_seq` without the sealed originals that older versions put into it, None when it has none."""
    columns = _opened(first_seq, payload)
    sealed = columns.pop("sealed", _Column())
    if sealed.data is None and sealed.same is None:
        return None
    return _PREFIX + zlib.compress(_encode(columns), 1)


def _opened(first_seq: int, payload: bytes) -> dict[str, _Column]:
    """The columns of the frame at `first_seq` by name.

    Raises NewerFormatError for a later format, EventLogError for bytes that are no frame.
    """
    format_byte = payload[0] if payload else 0
    if format_byte != _ZLIB and format_byte > FORMAT:
        raise NewerFormatError(
            f"event log, offset {first_seq}: its frame has format {format_byte}; {NEWER} or a later one"
        )
    try:
        if format_byte == FORMAT:
            return _by_name(zlib.decompress(memoryview(payload)[1:]))
        columns = _by_position(zlib.decompress(payload))
        return dict(zip(FORMAT_1_COLUMNS, columns, strict=True))
    except (zlib.error, msgspec.DecodeError, ValueError) as error:
        raise EventLogError(
            f"event log, offset {first_seq}: its frame is damaged ({error}); restore the log from a backup"
        ) from error


def to_arrow(frames: list[tuple[int, int, bytes]]) -> pa.Table:
    """Frames (first_seq, last_seq, payload) of any format as one table of the landing columns; `row_no` is the offset.

    Column by column over all frames: a frame holds a request, often some ten rows, and one array for each column of
    each frame would cost more than the rows. A column that a frame lacks has the Record's default, NULL for most.
    Raises NewerFormatError when a frame is of a later format or names a column that is not known here.
    """
    import numpy as np
    import pyarrow as pa

    types = {"str": pa.string(), "int64": pa.int64(), "bytes": pa.binary()}
    schema = pa.schema([(name, types[kind]) for name, kind in LANDING_COLUMNS])
    if not frames:
        return schema.empty_table()
    sizes = np.array([last - first + 1 for first, last, _ in frames])
    opened = [_opened(first, payload) for first, _, payload in frames]
    present = set().union(*opened)
    if not present <= {name for name, _ in LANDING_COLUMNS}:
        raise _unknown(frames, opened)
    rows = int(sizes.sum())
    columns: list[Any] = []
    for name, kind in LANDING_COLUMNS:
        if name == "row_no":
            columns.append(_running(np.array([first for first, _, _ in frames]), sizes))
            continue
        absent = _Column(same=DEFAULTS.get(name))
        if name not in present:
            columns.append(pa.repeat(pa.scalar(absent.same, types[kind]), rows))
            continue
        parts = [frame.get(name, absent) for frame in opened]
        columns.append(pa.chunked_array(_arrays(parts, sizes, types[kind]), types[kind]))
    return pa.Table.from_arrays(columns, schema=schema)


def to_rows(frames: list[tuple[int, int, bytes]], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """The columns `names` of frames of any format, a tuple a record: for a few records at a time, without pyarrow.

    Raises NewerFormatError as `to_arrow`.
    """
    kinds = dict(LANDING_COLUMNS)
    rows: list[tuple[Any, ...]] = []
    for first, last, payload in frames:
        columns = _opened(first, payload)
        if not columns.keys() <= kinds.keys():
            raise _unknown([(first, last, payload)], [columns])
        lists: list[Iterable[Any]] = []
        for name in names:
            if name == "row_no":
                lists.append(range(first, last + 1))
            else:
                column = columns.get(name) or _Column(same=DEFAULTS.get(name))
                lists.append(_listed(column, kinds[name], last - first + 1))
        rows += zip(*lists, strict=True)
    return rows


def _listed(column: _Column, kind: str, n: int) -> list[Any]:
    """The `n` values of a column."""
    if column.data is None:
        return [column.same] * n
    values: list[Any]
    if kind == "int64":
        values = _numbers("q", column.data).tolist()
    else:
        ends = _numbers("i", column.offsets or b"")
        data: Any = column.data.decode() if kind == "str" and column.data.isascii() else column.data
        values = [data[start:end] for start, end in pairwise(ends)]
        if kind == "str" and isinstance(data, bytes):
            values = [value.decode() for value in values]
    if column.valid is not None:
        bits = int.from_bytes(column.valid, "little")
        values = [value if bits >> place & 1 else None for place, value in enumerate(values)]
    return values


def _numbers(code: str, data: bytes) -> array[int]:
    numbers = array(code)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _unknown(frames: list[tuple[int, int, bytes]], opened: list[dict[str, _Column]]) -> NewerFormatError:
    known = {name for name, _ in LANDING_COLUMNS}
    first, names = next((f[0], o.keys() - known) for f, o in zip(frames, opened, strict=True) if o.keys() - known)
    return NewerFormatError(
        f"event log, offset {first}: its frame has the column {', '.join(sorted(names))}; {NEWER} or a later one"
    )


def _running(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """`start, start + 1, ...` of each frame, one after the other."""
    import numpy as np

    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))


def _arrays(parts: list[_Column], sizes: np.ndarray, kind: pa.DataType) -> list[pa.Array]:
    """One column over all frames: one array, or several when its text is more than one array can point into."""
    import numpy as np
    import pyarrow as pa

    first = parts[0]
    if all(part.data is None and part.same == first.same for part in parts):
        return [pa.repeat(pa.scalar(first.same, kind), int(sizes.sum()))]
    spread = cache(partial(_spread, kind))  # many frames have the same value
    parts = [
        spread(part.same, rows) if part.data is None else part for part, rows in zip(parts, sizes.tolist(), strict=True)
    ]
    data = [part.data or b"" for part in parts]
    lengths = np.array([len(each) for each in data])
    if lengths.sum() > _MOST_BYTES and len(parts) > 1:
        half = len(parts) // 2
        return _arrays(parts[:half], sizes[:half], kind) + _arrays(parts[half:], sizes[half:], kind)
    buffers = [_validity([part.valid for part in parts], sizes), pa.py_buffer(b"".join(data))]
    if parts[0].offsets is not None:
        ends = np.cumsum(lengths)
        inner = np.frombuffer(b"".join([part.offsets or b"" for part in parts]), np.int32)
        # Each frame's offsets end where the next frame's begin.
        inner = np.delete(inner, np.cumsum(sizes + 1) - 1) + np.repeat(ends - lengths, sizes)
        buffers.insert(1, pa.py_buffer(np.append(inner, ends[-1]).astype(np.int32)))
    return [pa.Array.from_buffers(kind, int(sizes.sum()), buffers)]


def _spread(kind: pa.DataType, value: Any, rows: int) -> _Column:
    """The column of `rows` rows that all have one value."""
    import numpy as np
    import pyarrow as pa

    valid = None if value is not None else bytes((rows + 7) // 8)
    if kind == pa.int64():
        return _Column(data=np.full(rows, value or 0, np.int64).tobytes(), valid=valid)
    one = value.encode() if isinstance(value, str) else value or b""
    offsets = np.arange(rows + 1, dtype=np.int32) * len(one)
    return _Column(data=one * rows, offsets=offsets.tobytes(), valid=valid)


def _validity(bitmaps: list[bytes | None], sizes: np.ndarray) -> pa.Buffer | None:
    """The bitmaps of all frames, each of which begins with a new byte, as one."""
    import numpy as np
    import pyarrow as pa

    if not any(bitmaps):
        return None
    widths = (sizes + 7) // 8
    whole = b"".join([bits or b"\xff" * width for bits, width in zip(bitmaps, widths.tolist(), strict=True)])
    bits = np.unpackbits(np.frombuffer(whole, np.uint8), bitorder="little")
    kept = bits[_running((np.cumsum(widths) - widths) * 8, sizes)]
    return pa.py_buffer(np.packbits(kept, bitorder="little"))
