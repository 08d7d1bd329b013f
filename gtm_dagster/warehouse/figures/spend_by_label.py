"""What ads cost by channel, source or campaign in a period, in the currency that a kind of conversion is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from gtm_dagster.warehouse.figures.credit_sample import By, ComputedResult, Kind
from gtm_dagster.warehouse.figures.period import Period
from gtm_dagster.warehouse.literals import composed

COARSER = "(spend not by {by})"
"""Label of spend that was imported at a coarser grain than the report's."""
_CHANNEL = """SELECT channel, sum(spend), max(spend_currency) FROM marts.channel_attribution
WHERE day BETWEEN ? AND ? AND conversion_type = ? AND currency IS NOT DISTINCT FROM ? AND model = ? AND window_hours = ?
  AND spend IS NOT NULL GROUP BY 1"""
_FINER = """SELECT $by, sum(spend), max(spend_currency) FROM marts.campaign_performance
WHERE day BETWEEN ? AND ? AND conversion_type = ? AND currency IS NOT DISTINCT FROM ? AND model = ? AND window_hours = ?
  AND spend IS NOT NULL GROUP BY 1"""


@dataclass(frozen=True)
class Spend:
    """Cost by label; a label that is not there has no known spend. `currency` is None without any."""

    by_label: Mapping[str, float]
    currency: str | None


def spend_of(con: duckdb.DuckDBPyConnection, kind: Kind, period: Period, result: ComputedResult, by: By) -> Spend:
    """Spend of the period beside the kind; every result repeats the same spend, so one of them is read."""
    query = _CHANNEL if by == "channel" else composed(_FINER, by=by)
    rows = con.execute(
        query,
        [period.since, period.until, kind.conversion_type, kind.currency, result.model, result.window_hours],
    ).fetchall()
    coarser = COARSER.format(by=by)
    return Spend({label or coarser: cost for label, cost, _ in rows}, max((each[2] for each in rows), default=None))
