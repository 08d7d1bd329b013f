"""A frame: the records of one commit, column by column in Arrow's own memory layout, deflated.

The collector writes it without pyarrow; the loader hands the buffers to Arrow as they are, so reading costs a copy.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

from gtm_dagster.eventlog.records import LANDING_COLUMNS, Record

if TYPE_CHECKING:
    import pyarrow as pa


class _Column(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`same`: the one value of all rows; else `data` with `offsets` (text, bytes) and a `valid` bitmap when NULLs occur."""

    same: Any = None
    data: bytes | None = None
    offsets: bytes | None = None
    valid: bytes | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Column]).decode


def _little(values: array[int]) -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _bitmap(values: list[Any]) -> bytes | None:
    if None not in values:
        return None
    bits = int("".join("0" if value is None else "1" for value in reversed(values)), 2)
    return bits.to_bytes((len(values) + 7) // 8, "little")


def _packed(values: list[Any], kind: str) -> _Column:
    first = values[0]
    if values.count(first) == len(values):
        return _Column(same=first)
    valid = _bitmap(values)
    if kind == "int64":
        return _Column(data=_little(array("q", [value or 0 for value in values])), valid=valid)
    if kind == "str":
        parts = [b"" if value is None else value.encode() for value in values]
    else:
        parts = [value or b"" for value in values]
    offsets = array("i", accumulate(map(len, parts), initial=0))
    return _Column(data=b"".join(parts), offsets=_little(offsets), valid=valid)


def pack(records: list[Record]) -> bytes:
    """The frame of at least one record."""
    columns = [_packed([getattr(record, name) for record in records], kind) for name, kind in LANDING_COLUMNS]
    return zlib.compress(_encode(columns), 1)


def to_arrow(frames: list[tuple[int, int, bytes]]) -> pa.Table:
    """Frames (first_seq, last_seq, payload) as one table of the landing columns; `row_no` is the offset.

    Column by column over all frames: a frame holds a request, often some ten rows, and one array for each column of
    each frame would cost more than the rows.
    """
    import numpy as np
    import pyarrow as pa

    types = {"str": pa.string(), "int64": pa.int64(), "bytes": pa.binary()}
    sizes = [last - first + 1 for first, last, _ in frames]
    opened = [_decode(zlib.decompress(payload)) for _, _, payload in frames]
    columns = []
    for place, (name, kind) in enumerate(LANDING_COLUMNS):
        if name == "row_no":
            offsets = [np.arange(first, last + 1, dtype=np.int64) for first, last, _ in frames]
            columns.append(pa.chunked_array([np.concatenate(offsets)] if offsets else [], types[kind]))
            continue
        chunks = _chunks([(n, frame[place]) for n, frame in zip(sizes, opened, strict=True)], types[kind])
        columns.append(pa.chunked_array(chunks, types[kind]).combine_chunks())
    return pa.Table.from_arrays(columns, schema=pa.schema([(name, types[kind]) for name, kind in LANDING_COLUMNS]))


def _chunks(parts: list[tuple[int, _Column]], kind: pa.DataType) -> list[pa.Array]:
    """The arrays of one column: neighbours that hold the same one value are one array."""
    import pyarrow as pa

    chunks: list[pa.Array] = []
    same, rows = None, 0
    for n, column in parts:
        if column.data is None and rows and column.same == same:
            rows += n
            continue
        if rows:
            chunks.append(pa.repeat(pa.scalar(same, kind), rows))
        same, rows = column.same, n if column.data is None else 0
        if column.data is not None:
            buffers = [pa.py_buffer(column.valid) if column.valid else None, pa.py_buffer(column.data)]
            if column.offsets is not None:
                buffers.insert(1, pa.py_buffer(column.offsets))
            chunks.append(pa.Array.from_buffers(kind, n, buffers))
    if rows:
        chunks.append(pa.repeat(pa.scalar(same, kind), rows))
    return chunks
