"""Credit of data-driven models in a period: they are solved by whole months, so whole months are what there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np

from gtm_dagster.attribution.declaration import Options
from gtm_dagster.attribution.intervals import Floats, Intervals
from gtm_dagster.attribution.models import model
from gtm_dagster.attribution.path_intervals import REPLICATES, data_driven_intervals
from gtm_dagster.settings import Settings, Window
from gtm_dagster.warehouse.figures.credit_sample import ComputedResult, Kind, computed_windows
from gtm_dagster.warehouse.figures.period import Period
from gtm_dagster.warehouse.marts.data_driven import path_counts


@dataclass(frozen=True)
class SolvedCredit:
    """Credit by one data-driven result over whole months: by label conversions and value, with the ends of intervals.

    `conversions`, `value`: (labels, 3) of estimate, low, high; low and high are NaN where the paths are too many to be
    solved again on every draw, and for (unattributed). `value` is None where the kind has none.
    """

    result: ComputedResult
    first_month: date
    last_month: date
    labels: tuple[str, ...]
    conversions: Floats
    value: Floats | None


def solved_credit(
    con: duckdb.DuckDBPyConnection, settings: Settings, kind: Kind, period: Period
) -> tuple[SolvedCredit, ...]:
    """What each computed data-driven result says of the months that the period touches; by channel."""
    months = (period.since.replace(day=1), period.until.replace(day=1))
    found = []
    for window in computed_windows(con, settings):
        if model(window.model).data_driven:
            found += _of_window(con, window, kind, months)
    return tuple(found)


def _of_window(
    con: duckdb.DuckDBPyConnection, window: Window, kind: Kind, months: tuple[date, date]
) -> list[SolvedCredit]:
    asked = [*months, kind.conversion_type, kind.currency, window.label, float(window.lookback_hours)]
    rows = con.execute(
        """SELECT channel, sum(conversions), sum(value) FROM marts.data_driven_attribution
        WHERE month BETWEEN ? AND ? AND conversion_type = ? AND currency IS NOT DISTINCT FROM ? AND model = ? AND window_hours = ?
        GROUP BY 1 ORDER BY starts_with(channel, '('), 2 DESC, 1""",
        asked,
    ).fetchall()
    if not rows:
        return []
    labels = tuple(row[0] for row in rows)
    drawn = _drawn(con, window, asked, labels)
    return [
        SolvedCredit(
            ComputedResult(window.label, float(window.lookback_hours), window.model), *months, labels,
            _with_ends([row[1] for row in rows], drawn, 0),
            None if kind.currency is None else _with_ends([row[2] or 0.0 for row in rows], drawn, 1),
        )
    ]  # fmt: skip


def _drawn(
    con: duckdb.DuckDBPyConnection, window: Window, asked: Sequence[object], labels: tuple[str, ...]
) -> Floats | None:
    """Replicates of all months together, (labels, replicates, statistics); None where a month has too many paths."""
    rows = con.execute(
        """SELECT month, path, conversions, value, nulls FROM core.paths
        WHERE month BETWEEN ? AND ? AND conversion_type = ? AND (currency IS NOT DISTINCT FROM ? OR conversions = 0)
          AND model = ? AND window_hours = ? AND path IS NOT NULL ORDER BY ALL""",
        asked,
    ).fetchall()
    options = Options(order=window.order, nulls=window.nulls, removal=window.removal, game=window.game)
    total = np.zeros((len(labels), REPLICATES, 2))
    for seed, month in enumerate(sorted({row[0] for row in rows})):
        of_month = [row[1:] for row in rows if row[0] == month]
        counts = path_counts(of_month, any(row[2] is not None for row in of_month))
        if not counts.conversions.any():
            continue
        found: Intervals | None = data_driven_intervals(counts, model(window.model), options, seed=seed)
        if found is None:
            return None
        for number, channel in enumerate(counts.channels):
            if channel in labels:
                total[labels.index(channel), :, : found.replicates.shape[2]] += found.replicates[number]
    return total


def _with_ends(estimates: Sequence[float], drawn: Floats | None, statistic: int) -> Floats:
    ends = np.full((len(estimates), 3), np.nan)
    ends[:, 0] = estimates
    if drawn is not None:
        ends[:, 1:] = np.quantile(drawn[:, :, statistic], [0.025, 0.975], axis=1).T
        ends[~drawn.any(axis=(1, 2)), 1:] = np.nan
    return ends
