"""Credit by the warehouse against `attribute()` on a frame of paths: the same conversions and sessions, two ways to credit.

The paths are joined here from core.conversions and core.sessions by the plain definition of a touch, not by the statements
of the warehouse: a person's sessions at or before a conversion within the lookback, each by the source known at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pandas as pd

from gtm_dagster.attribution import attribute
from gtm_dagster.attribution.paths import UNATTRIBUTED
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.engine import opened

TOLERANCE = 1e-9
_PATHS = """SELECT c.conversion_type, c.currency, c.conversion_id, any_value(c.value) AS value,
  string_agg(k.channel, ' > ' ORDER BY s.start_us, s.tie_no) AS path,
  string_agg(CAST((c.conversion_us - s.start_us) / 3.6e9 AS VARCHAR), ' > ' ORDER BY s.start_us, s.tie_no) AS ages
FROM core.conversions c
LEFT JOIN core.sessions s ON s.person_id = c.person_id AND s.start_us <= c.conversion_us AND s.start_us >= c.conversion_us - $1
LEFT JOIN core.sources k ON k.source_key = CASE WHEN s.source_us <= c.conversion_us THEN s.source_key ELSE 0 END AND s.start_us IS NOT NULL
GROUP BY ALL"""
_CREDITED = """SELECT c.conversion_type, c.currency, a.model, a.channel, sum(a.credit) AS conversions, sum(a.value) AS value
FROM marts.attribution_credits a
JOIN core.conversions c ON c.conversion_id = a.conversion_id
GROUP BY ALL"""
_KEY = ["conversion_type", "currency", "model", "channel"]


@dataclass(frozen=True)
class Compared:
    """How many conversions and sums were compared, and the largest difference of a sum, relative to it above 1."""

    conversions: int
    sums: int
    difference: float

    @property
    def agrees(self) -> bool:
        """Whether no sum differs by more than TOLERANCE."""
        return self.difference <= TOLERANCE


def compare_credit(settings: Settings) -> Compared:
    """Sums of credit and value by type, currency, model and channel, of both ways.

    The windows of the settings are models of touches over one lookback, without names, filters and transforms.
    """
    attribution = settings.attribution
    (hours,) = {window.lookback_hours for window in attribution.windows}
    models = [window.model for window in attribution.windows]
    with opened(settings.warehouse_path, settings, read_only=True) as con:
        paths = _frame(con, _PATHS, [round(hours * 3_600_000_000)])
        credited = _frame(con, _CREDITED, [])
    found = []
    for (kind, currency), rows in paths.groupby(["conversion_type", "currency"], dropna=False):
        reached = rows[rows["path"].notna()].assign(conversions=1)
        table = attribute(
            reached, models, conversions_column="conversions", value_column="value" if reached["value"].notna().all() else None,
            ages_column="ages", max_touches=attribution.max_touches, half_life_hours=attribution.half_life_hours,
        )  # fmt: skip
        alone = rows[rows["path"].isna()]
        if len(alone):
            lost = {"channel": UNATTRIBUTED, "conversions": float(len(alone)), "value": alone["value"].sum(min_count=1)}
            table = pd.concat([table, pd.DataFrame([{"model": model, **lost} for model in models])])
        found.append(table.assign(conversion_type=kind, currency=currency))
    both = _keyed(pd.concat(found)).join(_keyed(credited), how="outer", lsuffix="_frame").fillna(0.0)
    apart = [
        (both[f"{name}_frame"] - both[name]).abs() / both[name].abs().clip(lower=1.0)
        for name in ("conversions", "value")
    ]
    return Compared(len(paths), 2 * len(both), float(max(each.max() for each in apart)))


def _frame(con: duckdb.DuckDBPyConnection, query: str, values: list[int]) -> pd.DataFrame:
    return con.execute(query, values).df()


def _keyed(table: pd.DataFrame) -> pd.DataFrame:
    keys = {name: table[name].fillna("").astype(str) for name in _KEY}
    return table.assign(**keys).set_index(_KEY)[["conversions", "value"]]
