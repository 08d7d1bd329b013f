"""Intervals beside the credit of a file of paths: columns for each channel, and how models differ."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from gtm_dagster.attribution.declaration import Model, Options, PathCounts, PathTouches
from gtm_dagster.attribution.intervals import Intervals
from gtm_dagster.attribution.path_intervals import data_driven_intervals, intervals_of_paths
from gtm_dagster.attribution.path_table import PathTable


def add_intervals(
    results: Sequence[pd.DataFrame], models: Sequence[Model], paths: PathTable, touches: PathTouches, options: Options,
    replicates: int,
) -> dict[str, Any]:  # fmt: skip
    """Add conversions_low, conversions_high, value_low, value_high and too_few to each model's rows; returns attrs.

    `differences`: for each channel and two models of touches the conversions of the one less those of the other, low,
    high and beyond (the interval leaves out 0). `no_intervals`: data-driven models whose paths are too many to be solved
    on every draw; their columns are NaN, as are those of (unattributed).
    """
    of_touches = [i for i, model in enumerate(models) if not model.data_driven]
    labels = len(paths.channels)
    together = None
    if of_touches and len(paths.lengths):
        together = intervals_of_paths(
            touches, labels, paths.conversions, paths.value, [models[i] for i in of_touches], replicates=replicates
        )
    absent: list[str] = []
    for i, (result, model) in enumerate(zip(results, models, strict=True)):
        found, place, behind = together, 0, len(of_touches)
        if model.data_driven:
            counts = PathCounts(
                paths.channels, paths.channel, paths.lengths, paths.conversions, paths.value, paths.nulls
            )
            found = data_driven_intervals(counts, model, options, replicates=replicates) if len(paths.lengths) else None
            behind = 1
            if found is None:
                absent.append(model.name)
        else:
            place = of_touches.index(i)
        _columns(result, paths, found, place, place + behind)
    return {"differences": _differences(paths, together, [models[i].name for i in of_touches]), "no_intervals": absent}


def _columns(result: pd.DataFrame, paths: PathTable, found: Intervals | None, conversions: int, value: int) -> None:
    """The ends of the intervals, by the place of the model's statistics."""
    code = {name: i for i, name in enumerate(paths.channels)}
    rows = [code.get(name) for name in result["channel"]]
    known = np.array([row is not None for row in rows], dtype=bool)
    places = [row for row in rows if row is not None]
    for name, statistic in (("conversions", conversions), ("value", value)):
        there = found is not None and statistic < found.estimate.shape[1]
        for end, column in enumerate((f"{name}_low", f"{name}_high")):
            ends = np.full(len(result), np.nan)
            if there and found is not None:
                ends[known] = found.bounds[end, places, statistic]
            result[column] = ends
    few = np.zeros(len(result), dtype=bool)
    if found is not None:
        few[known] = found.too_few[places, conversions]
    result["too_few"] = few


def _differences(paths: PathTable, found: Intervals | None, names: Sequence[str]) -> list[dict[str, Any]]:
    if found is None:
        return []
    occurs = np.unique(paths.channel)
    rows = []
    for (one, name), (other, other_name) in combinations(enumerate(names), 2):
        for label in sorted(occurs, key=lambda code: paths.channels[code]):
            difference = found.difference(int(label), one, other)
            rows.append(
                {
                    "channel": paths.channels[label], "model": name, "other": other_name, "difference": difference.estimate,
                    "low": difference.low, "high": difference.high, "beyond": difference.beyond,
                }
            )  # fmt: skip
    return rows
