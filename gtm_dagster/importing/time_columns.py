"""Columns of times as microseconds UTC. The verdict on a text is the same alone and among any others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.admission.batch_columns import one_array
from gtm_dagster.importing.fixed_width import read_fixed
from gtm_dagster.importing.local_times import local_to_utc
from gtm_dagster.importing.mapping import TimeColumn
from gtm_dagster.importing.texts import as_text
from gtm_dagster.importing.time_formats import UNIX, iso, time_format
from gtm_dagster.taxonomy.envelope import MAX_US, MIN_US
from gtm_dagster.taxonomy.times import BAD, WITHOUT_OFFSET, read_time

_UTC, _REFUSED, _LOCAL = 0, 1, 2
_REASONS = pa.array([None, BAD, WITHOUT_OFFSET], pa.string())
_MOST_US = 9 * 10**18
_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}


@dataclass(frozen=True)
class Times:
    """Of each value: `us` (int64 microseconds since the epoch; null where it is no time) and `reason`.

    `reason` is the code of a refused value (bad_timestamp, timestamp_without_offset); null beside a time and for an empty
    value.
    """

    us: pa.Array
    reason: pa.Array


def times_us(texts: pa.Array) -> pa.Array:
    """`taxonomy.times.read_time` of every text as int64 microseconds; null where it gives a reason."""
    found = read_fixed(texts, "iso")
    us, kind = found.us, np.where(found.is_utc, _UTC, _REFUSED)
    rest, codes, distinct = _distinct(texts, found.fits)
    single = [read_time(text) for text in distinct]
    us[rest] = np.array([u if isinstance(u, int) else 0 for u in single], np.int64)[codes]
    kind[rest] = np.array([_UTC if isinstance(u, int) else _REFUSED for u in single], np.int64)[codes]
    return pa.array(us, mask=(kind != _UTC) | _is_null(texts))


def to_us(column: pa.Array | pa.ChunkedArray, rule: TimeColumn) -> Times:
    """The times of a column in the formats of `rule`, the first that fits; Parquet's own times need no format.

    A time without an offset is in `rule.timezone`, and refused when that is None. A local time that occurs twice (clocks
    go back) is the first of both; one that clocks skip is the first moment after the gap. Raises nothing on data.
    """
    array = one_array(column)
    if pa.types.is_timestamp(array.type):
        us, kind = _typed(array)
    elif pa.types.is_date(array.type):
        days = array.cast(pa.date32()).cast(pa.int32())
        us = pc.fill_null(days, 0).to_numpy(zero_copy_only=False) * np.int64(86_400_000_000)
        kind = np.full(len(us), _REFUSED if rule.timezone is None else _LOCAL)
    else:
        us, kind = _texts(as_text(array), rule)
    if rule.timezone is not None:
        local = kind == _LOCAL
        us[local] = local_to_utc(us[local], rule.timezone)
        kind[local] = _UTC
    empty = _is_empty(array)
    return Times(pa.array(us, mask=(kind != _UTC) | empty), _REASONS.take(pa.array(np.where(empty, _UTC, kind))))


def _texts(texts: pa.Array, rule: TimeColumn) -> tuple[np.ndarray, np.ndarray]:
    """(microseconds, kind) of texts: the first format whole columns at once, the rest text by text.

    Where several units since the epoch are named, a number is of the first that puts it into a year an event may have.
    """
    first = rule.formats[0]
    zoned = rule.timezone is not None
    kind = np.full(len(texts), _UTC)
    several = sum(name in UNIX for name in rule.formats) > 1
    if first in UNIX:
        us, fits = _whole_numbers(texts, 10 ** UNIX[first])
        fits = fits & (us >= MIN_US) & (us < MAX_US) if several else fits
    else:
        found = read_fixed(texts, first)
        us, fits = found.us, found.fits if zoned else found.fits & found.is_utc
        kind = np.where(found.is_utc, _UTC, _LOCAL)
    rest, codes, distinct = _distinct(texts, fits)
    readers = [(name, time_format(name)) for name in rule.formats]
    values, kinds = np.zeros(len(distinct), np.int64), np.full(len(distinct), _REFUSED)
    for index, text in enumerate(distinct):
        for name, reader in readers:
            moment = reader(text)
            if several and name in UNIX and moment is not None and not MIN_US <= moment[0] < MAX_US:
                values[index], kinds[index] = moment[0], _UTC  # refused as out of range, unless another unit fits
                continue
            if moment is not None and (moment[1] or zoned):
                values[index], kinds[index] = moment[0], _UTC if moment[1] else _LOCAL
                break
            if moment is not None and not (reader is iso and len(text) < 11):  # a day alone, without a zone
                kinds[index] = _LOCAL
    us[rest], kind[rest] = values[codes], kinds[codes]
    return us, kind


def _whole_numbers(texts: pa.Array, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """(microseconds, whether it is one) of texts of digits alone, times `factor`."""
    fits = pc.fill_null(pc.match_substring_regex(texts, "^[0-9]{1,18}$"), False)
    numbers = pc.fill_null(pc.if_else(fits, texts, None).cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    fine = numbers < _MOST_US // factor
    return np.where(fine, numbers, 0) * factor, fits.to_numpy(zero_copy_only=False) & fine


def _distinct(texts: pa.Array, done: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(places, index into the distinct texts of each, distinct texts) of the texts that are not `done` and not null."""
    rest = np.flatnonzero(~done & ~_is_null(texts))
    coded = (texts.take(pa.array(rest)) if len(rest) < len(texts) else texts).dictionary_encode()
    return rest, coded.indices.to_numpy(zero_copy_only=False), coded.dictionary.to_pylist()


def _is_null(array: pa.Array) -> np.ndarray:
    return array.is_null().to_numpy(zero_copy_only=False)


def _is_empty(array: pa.Array) -> np.ndarray:
    """Rows without a value; an empty text is none, as in a CSV file."""
    if not pa.types.is_string(array.type):
        return _is_null(array)
    return pc.fill_null(pc.equal(array, ""), True).to_numpy(zero_copy_only=False)


def _typed(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Parquet's timestamps, cut to microseconds; those too far away for microseconds stay far away."""
    values = pc.fill_null(array.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    if array.type.unit == "ns":
        us = values // 1_000
    else:
        most = _MOST_US // _PER_UNIT[array.type.unit]
        us = np.clip(values, -most, most) * _PER_UNIT[array.type.unit]
    return us, np.full(len(us), _UTC if array.type.tz is not None else _LOCAL)


def within_years(us: pa.Array, otherwise: int) -> pa.Array:
    """`us`, with `otherwise` for nulls and for times outside the years that an event may have."""
    fine = pc.and_(pc.greater_equal(us, MIN_US), pc.less(us, MAX_US))
    return pc.if_else(pc.fill_null(fine, False), us, pa.scalar(otherwise, pa.int64()))
