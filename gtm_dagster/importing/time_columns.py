"""Columns of times as microseconds UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.importing.mapping import TimeColumn
from gtm_dagster.taxonomy.envelope import MAX_US, MIN_US

_UTC = pa.timestamp("us", tz="UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZONED = Annotated[datetime, msgspec.Meta(tz=True)]
_UNIX = {"unix_s": 1_000_000.0, "unix_ms": 1_000.0, "unix_us": 1.0}


def to_us(array: pa.Array, rule: TimeColumn) -> pa.Array:
    """int64 microseconds since the epoch; null where the value is no time of the format.

    A time without an offset is in `rule.timezone`, and null when that is None. A local time that occurs twice (clocks go
    back) is the first of both; one that clocks skip is the first moment after the gap.
    """
    if pa.types.is_timestamp(array.type):
        return _typed(array, rule)
    if pa.types.is_date(array.type):
        return _typed(array.cast(pa.timestamp("us")), rule)
    if rule.format in _UNIX:
        return _numbers(array, _UNIX[rule.format])
    text = array.cast(pa.string())
    if rule.format == "iso":
        try:
            return text.cast(_UTC).cast(pa.int64())
        except pa.ArrowInvalid:
            return _iso(text, rule)
    parsed = pd.to_datetime(pd.Series(text, dtype="str"), format=rule.format, errors="coerce", utc="%z" in rule.format)
    return _from_pandas(parsed, rule)


def _typed(array: pa.Array, rule: TimeColumn) -> pa.Array:
    if array.type.tz is not None:
        return array.cast(_UTC, safe=False).cast(pa.int64())
    if rule.timezone is None:
        return pa.nulls(len(array), pa.int64())
    naive = pc.floor_temporal(array, unit="microsecond") if array.type.unit == "ns" else array
    return _from_pandas(pd.Series(naive.cast(pa.timestamp("us"), safe=False).to_pandas()), rule)


def _numbers(array: pa.Array, factor: float) -> pa.Array:
    values = pd.to_numeric(pd.Series(array.to_pandas()), errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
    scaled = values * factor
    fine = np.isfinite(scaled) & (np.abs(scaled) < 9e18)
    return pa.array(np.where(fine, np.rint(np.where(fine, scaled, 0)), 0).astype(np.int64), mask=~fine)


def _iso(text: pa.Array, rule: TimeColumn) -> pa.Array:
    has_offset = pc.match_substring_regex(text, r"\d([Zz]|[+-]\d\d:?\d\d)$")
    texts = pd.Series(text, dtype="str")
    offset = pc.fill_null(has_offset, False).to_numpy(zero_copy_only=False)
    result = np.zeros(len(texts), dtype=np.int64)
    valid = np.zeros(len(texts), dtype=bool)
    for mask, zoned in ((offset, True), (~offset, False)):
        if not mask.any() or (not zoned and rule.timezone is None):
            continue
        parsed = pd.to_datetime(texts[mask], format="ISO8601", errors="coerce", utc=zoned)
        us = _from_pandas(parsed, rule)
        valid[mask] = us.is_valid().to_numpy(zero_copy_only=False)
        result[mask] = us.fill_null(0).to_numpy()
    for index in np.flatnonzero(offset & ~valid):  # RFC 3339 allows more than pandas parses
        us_or_none = rfc3339_us(texts.iloc[index])
        if us_or_none is not None:
            result[index], valid[index] = us_or_none, True
    return pa.array(result, mask=~valid)


def rfc3339_us(text: str) -> int | None:
    """Microseconds since the epoch of one text; None when it is not RFC 3339."""
    try:
        time = msgspec.convert(text, _ZONED)
        return (time - _EPOCH) // timedelta(microseconds=1)
    except (msgspec.ValidationError, OverflowError, ValueError):
        return None


def _from_pandas(series: pd.Series, rule: TimeColumn) -> pa.Array:
    if series.dtype == object or not len(series):
        return pa.nulls(len(series), pa.int64())
    if series.dt.tz is None:
        if rule.timezone is None:
            return pa.nulls(len(series), pa.int64())
        series = series.dt.tz_localize(
            rule.timezone, ambiguous=np.ones(len(series), dtype=bool), nonexistent="shift_forward"
        )
    array = pa.array(series.dt.tz_convert("UTC"), from_pandas=True)
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return array.cast(_UTC, safe=False).cast(pa.int64())


def within_years(us: pa.Array, otherwise: int) -> pa.Array:
    """`us`, with `otherwise` for nulls and for times outside the years that an event may have."""
    fine = pc.and_(pc.greater_equal(us, MIN_US), pc.less(us, MAX_US))
    return pc.if_else(pc.fill_null(fine, False), us, pa.scalar(otherwise, pa.int64()))
