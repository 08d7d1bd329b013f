"""A frame: the records of one commit, column by column in Arrow's own memory layout, deflated.

The collector writes it without pyarrow; the loader hands the buffers to Arrow as they are, so reading costs a copy.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

from gtm_dagster.admission.record import LANDING_COLUMNS, Record

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class _Column(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`same`: the one value of all rows; else `data` with `offsets` (text, bytes) and a `valid` bitmap when NULLs occur."""

    same: Any = None
    data: bytes | None = None
    offsets: bytes | None = None
    valid: bytes | None = None


_MOST_BYTES = 2**31 - 1
"""What the offsets of an Arrow array of text reach."""

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
    schema = pa.schema([(name, types[kind]) for name, kind in LANDING_COLUMNS])
    if not frames:
        return schema.empty_table()
    sizes = np.array([last - first + 1 for first, last, _ in frames])
    opened = [_decode(zlib.decompress(payload)) for _, _, payload in frames]
    columns: list[Any] = []
    for (name, kind), parts in zip(LANDING_COLUMNS, zip(*opened, strict=True), strict=True):
        if name == "row_no":
            columns.append(_running(np.array([first for first, _, _ in frames]), sizes))
        else:
            columns.append(pa.chunked_array(_arrays(list(parts), sizes, types[kind]), types[kind]))
    return pa.Table.from_arrays(columns, schema=schema)


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
    spread = cache(_spread)  # many frames hold the same
    parts = [
        spread(part.same, rows, kind) if part.data is None else part
        for part, rows in zip(parts, sizes.tolist(), strict=True)
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


def _spread(value: Any, rows: int, kind: pa.DataType) -> _Column:
    """The column of a frame that says only once what all its rows hold."""
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
