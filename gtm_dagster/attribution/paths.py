"""Credit by channel from whole paths (`a > b > c` and how many conversions it brought), over distinct paths at once."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from gtm_dagster.attribution import models
from gtm_dagster.attribution.declaration import (
    PAID_CHANNELS,
    Model,
    Options,
    PathCounts,
    PathCredit,
    PathTouches,
)
from gtm_dagster.attribution.intervals import FEWEST
from gtm_dagster.attribution.path_intervals import REPLICATES
from gtm_dagster.attribution.path_result_intervals import add_intervals
from gtm_dagster.attribution.path_rows import PathColumns, path_table
from gtm_dagster.attribution.path_table import PathTable
from gtm_dagster.attribution.pathfile import PathsUsage, read_paths
from gtm_dagster.attribution.touch_filters import TouchFilter, unknown_channels

DEFAULT_VALUE_COLUMN = "total_conversion_value"
DEFAULT_NULLS_COLUMN = "total_null"

UNATTRIBUTED = "(unattributed)"
"""The last row of a result: what no channel earned; it is there only where that is more than nothing."""

_ROUNDING = 1e-9
_SEPARATES = re.compile(r"[>|;,\t→»]")
"""What usually stands between two touches, and seldom in a channel's name."""


class PathsWarning(UserWarning):
    """Something about a file of paths that is probably not meant."""


def attribute(
    paths: pd.DataFrame | str | Path,
    model: str | Sequence[str],
    *,
    separator: str = " > ",
    path_column: str = "path",
    conversions_column: str = "total_conversions",
    value_column: str | None = DEFAULT_VALUE_COLUMN,
    nulls_column: str | None = DEFAULT_NULLS_COLUMN,
    ages_column: str | None = None,
    stages_column: str | None = None,
    person_column: str | None = None,
    count: Literal["all", "first"] = "all",
    direct: str | Sequence[str] = "Direct",
    paid: Sequence[str] = tuple(sorted(PAID_CHANNELS)),
    lookback_hours: float | None = None,
    channel_hours: Mapping[str, float] | None = None,
    max_touches: int | None = None,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    transforms: Sequence[str] = (),
    skip_bad_rows: bool = False,
    intervals: bool | int = False,
    **options: Any,
) -> pd.DataFrame:
    """Credit by channel: DataFrame[channel, conversions, value], a row a channel that counts, sorted by name.

    `paths` is a DataFrame, or a CSV or Parquet file: touches oldest first, repeats kept as they are. Conversions and
    value of each path are split by `model`; what no channel earned is the last row, `(unattributed)`, so that both
    columns add up to those of the input (participation excepted). `value` is NaN when the file has no value column.
    A list of models gives a first column `model`. A data-driven model may add columns, such as `removal_effect`, and
    reads how often each path did not convert from `nulls_column`.
    `ages_column`: age of each touch in hours, in the order and separator of the path (time_decay, inverse_age and every
    lookback need it). `stages_column`: the place in the path, from 1, of the touch of each stage, empty where there is
    none (w_shaped, full_path). `direct`, `paid`: the channels that last_non_direct passes over, and that first_paid and
    last_paid look for. `count` first: only the first converting row of each person (`person_column`) counts.
    `intervals` (True, or a number of replicates of 40 or more; True is 200) adds conversions_low, conversions_high,
    value_low, value_high and too_few, by a bootstrap in which every conversion is a person and those of a path are worth
    the same; `attrs` then hold `differences` between models and `no_intervals` (see `add_intervals`).
    Which touches count: see `TouchFilter` and `TRANSFORMS`; `options`: see `Options`, such as weights, half_life_hours,
    order, nulls, removal and game. `attrs` of the result: `truncated_paths` (by max_touches or newest:N) and
    `skipped_rows`, as counts of rows, `unknown_channels` (named here, and in no path), and what a data-driven model knows
    of the whole (of several, under their names).
    Raises PathsError naming the file, the row (first data row is 1) and the column; PathsUsage (a PathsError) for an
    unknown model, a wrong option or a column that is not there. Warns (PathsWarning) where another separator seems to be meant.
    """
    names = [model] if isinstance(model, str) else list(model)
    wanted = TouchFilter(
        lookback_hours, dict(channel_hours or {}), max_touches, tuple(only), tuple(without), tuple(transforms)
    )
    declared, known = _checked(names, options, wanted, ages_column is not None)
    if not separator:
        raise PathsUsage("separator: an empty text cannot separate channels")
    if count not in ("all", "first"):
        raise PathsUsage(f"count: {count!r} is neither all nor first")
    if count == "first" and person_column is None:
        raise PathsUsage("count: the first conversion of a person needs the column of persons; name person_column")
    where = "paths"
    if not isinstance(paths, pd.DataFrame):
        where = str(paths)
        paths = read_paths(paths, text_columns=tuple(filter(None, (path_column, ages_column, stages_column))))
    columns = PathColumns(
        path=path_column,
        conversions=conversions_column,
        value=_there(paths, value_column, DEFAULT_VALUE_COLUMN),
        nulls=_there(paths, nulls_column, DEFAULT_NULLS_COLUMN),
        ages=ages_column if wanted.needs_ages or any(one.needs_ages for one in declared) else None,
        stages=stages_column if any(one.needs_stages for one in declared) else None,
        separator=separator,
    )
    if count == "first":
        paths = _first_of_person(paths, str(person_column), conversions_column, where)
    table, skipped = path_table(paths, columns, where, skip_bad_rows)
    if len(table.lengths) and table.lengths.max() == 1 and any(map(_SEPARATES.search, table.channels)):
        words = f"{where}: no path has two touches; is {separator!r} what stands between them?"
        warnings.warn(words, PathsWarning, stacklevel=2)
    filtered, truncated = wanted(table)
    left = filtered.paths(filtered.lengths > 0)
    touches = _touches(left, {direct} if isinstance(direct, str) else set(direct), set(paid), known)
    results = [_result(one, left, touches, filtered, known) for one in declared]
    sure = add_intervals(results, declared, left, touches, known, _replicates(intervals)) if intervals else {}
    if isinstance(model, str):
        result, attrs = results[0], results[0].attrs
    else:
        attrs = {name: each.attrs for name, each in zip(names, results, strict=True) if each.attrs}
        for name, each in zip(names, results, strict=True):
            each.insert(0, "model", name)
            each.attrs = {}
        result = pd.concat(results, ignore_index=True)
    result.attrs = {**attrs, **sure, "truncated_paths": truncated, "skipped_rows": skipped}
    named = [*only, *without, *(channel_hours or {}), *({direct} if isinstance(direct, str) else direct)]
    if unknown := unknown_channels(named, table.channels):
        result.attrs["unknown_channels"] = unknown
    return result


def _checked(
    names: Sequence[str], given: Mapping[str, Any], wanted: TouchFilter, has_ages: bool
) -> tuple[list[Model], Options]:
    """The models and their options, once everything they need is there."""
    known = {field.name for field in fields(Options)}
    try:
        declared = [models.model(name) for name in names]
        wanted.check()
        for name in given:
            if name not in known:
                raise ValueError(f"{name} is not an option; those of models are {', '.join(sorted(known))}")
        options = Options(**given)
        for one in declared:
            models.check_options(one, options)
    except ValueError as error:
        raise PathsUsage(str(error)) from None
    if not names:
        raise PathsUsage("model: name at least one")
    readers = {name for one in declared for name in one.options}
    for name in given:
        if name not in readers and getattr(options, name) != getattr(Options(), name) and name != "half_life_hours":
            of = ", ".join(one for one in models.MODELS if name in models.model(one).options)
            raise PathsUsage(f"{name}: {', '.join(names)} does not read it; it is an option of {of}")
    needy = [one.name for one in declared if one.needs_ages] or (["a lookback"] if wanted.needs_ages else [])
    if needy and not has_ages:
        raise PathsUsage(
            f"{needy[0]} needs to know how old each touch is, and a file of paths does not say; name the column of "
            f"ages in hours with ages_column, or import the events and let `gtm refresh` attribute them"
        )
    return declared, options


def _replicates(intervals: bool | int) -> int:
    if intervals is True:
        return REPLICATES
    if intervals < FEWEST:
        raise PathsUsage(f"intervals: {intervals} replicates are too few for a 95 % interval; give {FEWEST} or more")
    return intervals


def _there(frame: pd.DataFrame, column: str | None, default: str) -> str | None:
    """The column, or None where it is a default that the file does not have."""
    return None if column == default and column not in frame.columns else column


def _first_of_person(frame: pd.DataFrame, person: str, conversions: str, where: str) -> pd.DataFrame:
    for column in (person, conversions):
        if column not in frame.columns:
            raise PathsUsage(f"{where}: no column {column!r}; rename it or say which column to use")
    converts = pd.to_numeric(frame[conversions], errors="coerce").fillna(0) > 0
    again = converts & frame[person].where(converts).duplicated()
    return frame[~again]


def _touches(table: PathTable, direct: set[str], paid: set[str], options: Options) -> PathTouches:
    return PathTouches(
        lengths=table.lengths,
        position=table.position,
        channel=table.channel,
        ages_hours=np.zeros(len(table.channel)) if table.ages_hours is None else table.ages_hours,
        is_direct=table.is_channel(direct),
        is_paid=table.is_channel(paid),
        stages=table.stages,
        options=options,
    )


def _result(model: Model, left: PathTable, touches: PathTouches, whole: PathTable, options: Options) -> pd.DataFrame:
    """The rows of one model: `left` holds the paths that have a touch, `whole` those without one too."""
    if model.credit_of_paths is not None:
        counts = PathCounts(left.channels, left.channel, left.lengths, left.conversions, left.value, left.nulls)
        try:
            credit = model.credit_of_paths(counts, options)
        except ValueError as error:
            raise PathsUsage(str(error)) from None
    else:
        assert model.vectorised is not None  # noqa: S101 - a model has one or the other
        share = model.vectorised(touches)
        credit = PathCredit(
            conversions=_by_channel(left, share, left.conversions),
            value=None if left.value is None else _by_channel(left, share, left.value),
        )
    occurs = np.bincount(left.channel, minlength=len(left.channels)) > 0
    nothing = np.full(len(left.channels), np.nan)
    rows = pd.DataFrame(
        {
            "channel": pd.Series(left.channels, dtype="str"),
            "conversions": credit.conversions,
            "value": nothing if credit.value is None else credit.value,
            **credit.columns,
        }
    )[occurs].sort_values("channel", ignore_index=True)
    lost = _lost(model, whole, whole.conversions, credit.conversions)
    lost_value = np.nan
    if whole.value is not None and credit.value is not None:
        lost_value = _lost(model, whole, whole.value, credit.value)
    if lost or lost_value > 0:
        last = pd.DataFrame({"channel": [UNATTRIBUTED], "conversions": [lost], "value": [lost_value]})
        rows = pd.concat([rows, last], ignore_index=True) if len(rows) else last.reindex(columns=rows.columns)
    rows.attrs = dict(credit.attrs)
    return rows


def _by_channel(table: PathTable, share: np.ndarray, amount: np.ndarray) -> np.ndarray:
    return np.bincount(table.channel, weights=share * amount.repeat(table.lengths), minlength=len(table.channels))


def _lost(model: Model, whole: PathTable, amount: np.ndarray, credited: np.ndarray) -> float:
    """What no channel earned: that of paths without a touch, and what a data-driven model gives to nobody."""
    without = float(amount[whole.lengths == 0].sum())
    if not (model.data_driven and model.conserves):
        return without
    total = float(amount.sum())
    lost = total - float(credited.sum())
    return lost if abs(lost) > _ROUNDING * total else 0.0
