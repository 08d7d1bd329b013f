"""Credit by channel from whole paths (`a > b > c` and how many conversions it brought), vectorised."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.attribution import models
from gtm_dagster.attribution.declaration import HALF_LIFE_HOURS, PAID_CHANNELS, Model, Options, PathTouches
from gtm_dagster.attribution.pathfile import PathsError, PathsUsage, read_paths

DEFAULT_VALUE_COLUMN = "total_conversion_value"


def attribute(
    paths: pd.DataFrame | str | Path,
    model: str,
    *,
    separator: str = " > ",
    path_column: str = "path",
    conversions_column: str = "total_conversions",
    value_column: str | None = DEFAULT_VALUE_COLUMN,
    ages_column: str | None = None,
    half_life_hours: float = HALF_LIFE_HOURS,
    direct: str | Sequence[str] = "Direct",
) -> pd.DataFrame:
    """Credit by channel: DataFrame[channel, conversions, value], a row a channel that occurs, sorted by name.

    `paths` is a DataFrame, or a CSV or Parquet file: touches oldest first, repeats kept as they are. Conversions and
    value of each path are split by `model`; both columns of the result add up to those of the input.
    `value` is NaN when the file has no value column. `ages_column` holds the age of each touch in hours, in the same
    order and separator as the path; time_decay (half-life `half_life_hours`) and inverse_age need it.
    `direct` names the channel or channels that last_non_direct passes over.
    Raises PathsError naming the file, the row (first data row is 1) and the column; PathsUsage (a PathsError) for an
    unknown model, a wrong option or a column that is not there.
    """
    declared = _model(model, ages_column, half_life_hours)
    if not separator:
        raise PathsUsage("separator: an empty text cannot separate channels")
    where = "paths"
    if not isinstance(paths, pd.DataFrame):
        where = str(paths)
        text_columns = (path_column,) if ages_column is None else (path_column, ages_column)
        paths = read_paths(paths, text_columns=text_columns)
    for column in filter(None, (path_column, conversions_column, ages_column)):
        _require(paths, column, where)
    has_value = value_column is not None and (value_column != DEFAULT_VALUE_COLUMN or value_column in paths.columns)
    if has_value:
        _require(paths, str(value_column), where)

    channels, code, position, length = _split(paths, path_column, separator, where)
    ages = _ages(paths, ages_column, separator, length, where) if declared.needs_ages and ages_column else None
    names = {direct} if isinstance(direct, str) else set(direct)
    touches = PathTouches(
        lengths=length,
        position=position,
        channel=code,
        ages_hours=np.zeros(len(code)) if ages is None else ages,
        is_direct=np.array([name in names for name in channels], dtype=bool)[code],
        is_paid=np.array([name in PAID_CHANNELS for name in channels], dtype=bool)[code],
        stages=np.zeros(len(code), dtype=np.int64),
        options=Options(half_life_hours=half_life_hours),
    )
    if declared.vectorised is None:
        raise PathsUsage(f"{model} reads all paths together")
    share = declared.vectorised(touches)

    def credit(column: str) -> np.ndarray:
        amount = _numbers(paths, column, where)
        return np.bincount(code, weights=share * np.repeat(amount, length), minlength=len(channels))

    result = pd.DataFrame(
        {
            "channel": channels,
            "conversions": credit(conversions_column),
            "value": credit(str(value_column)) if has_value else np.full(len(channels), np.nan),
        }
    )
    return result.sort_values("channel", ignore_index=True)


def _model(name: str, ages_column: str | None, half_life_hours: float) -> Model:
    """The model, once everything it needs is there."""
    try:
        declared = models.model(name)
    except ValueError as error:
        raise PathsUsage(str(error)) from None
    if declared.needs_ages and ages_column is None:
        raise PathsUsage(
            f"{name} needs to know how old each touch is, and a file of paths does not say; name the column of ages "
            f"in hours with ages_column, or import the events and let `gtm refresh` attribute them"
        )
    if declared.needs_half_life and not (half_life_hours > 0 and np.isfinite(half_life_hours)):
        raise PathsUsage(f"half_life_hours: {half_life_hours!r} is not a number of hours above 0")
    return declared


def _require(frame: pd.DataFrame, column: str, where: str) -> None:
    if column not in frame.columns:
        there = ", ".join(map(str, frame.columns)) or "none"
        raise PathsUsage(f"{where}: no column {column!r} (columns: {there}); rename it or say which column to use")


def _text(frame: pd.DataFrame, column: str) -> pa.Array:
    text = pa.Array.from_pandas(frame[column].astype("string"))
    return text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text


def _split(
    frame: pd.DataFrame, column: str, separator: str, where: str
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Channel names, and for each touch in file order its channel code and its place; and the touches of each path."""
    text = _text(frame, column).cast(pa.large_string())
    if text.null_count:
        row = int(np.flatnonzero(text.is_null().to_numpy(zero_copy_only=False))[0]) + 1
        raise PathsError(f"{where}: row {row}, column {column!r}: there is no path")
    parts = pc.split_pattern(text, separator)
    length = pc.list_value_length(parts).to_numpy(zero_copy_only=False).astype(np.int64)
    touches = pc.utf8_trim_whitespace(pc.list_flatten(parts)).dictionary_encode()
    channels = touches.dictionary.to_pylist()
    code = touches.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    start = np.cumsum(length) - length
    if "" in channels:
        empty = int(np.flatnonzero(code == channels.index(""))[0])
        row = int(np.searchsorted(start, empty, side="right"))
        value = text[row - 1].as_py()
        raise PathsError(f"{where}: row {row}, column {column!r}: {value!r} has a channel without a name")
    position = np.arange(len(code)) - np.repeat(start, length)
    return channels, code, position, length


def _numbers(frame: pd.DataFrame, column: str, where: str) -> np.ndarray:
    raw = frame[column]
    numbers = np.asarray(pd.to_numeric(raw, errors="coerce"), dtype=np.float64)
    bad = ~(np.isfinite(numbers) & (numbers >= 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise PathsError(f"{where}: row {row + 1}, column {column!r}: {raw.iloc[row]!r} is not a number of 0 or more")
    return numbers


def _ages(frame: pd.DataFrame, column: str, separator: str, length: np.ndarray, where: str) -> np.ndarray:
    parts = frame[column].astype("string").fillna("").str.split(separator, regex=False)
    for row, (cell, n) in enumerate(zip(parts, length, strict=True), start=1):
        if len(cell) != n:
            raise PathsError(f"{where}: row {row}, column {column!r}: {len(cell)} ages for {n} touches")
    flat = pd.Series([age for cell in parts for age in cell])
    ages = np.asarray(pd.to_numeric(flat, errors="coerce"), dtype=np.float64)
    bad = ~(np.isfinite(ages) & (ages >= 0))
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        row = int(np.searchsorted(np.cumsum(length), at, side="right")) + 1
        raise PathsError(f"{where}: row {row}, column {column!r}: {flat.iloc[at]!r} is not a number of hours")
    return ages
