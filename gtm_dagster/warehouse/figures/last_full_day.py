"""Numbers of the day before the newest one in `marts.daily`: the newest is not over. The web UI plots them over time."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from gtm_dagster.warehouse.build_context import BuildContext

MOST_KINDS = 5
"""Types and currencies of conversion that have numbers of their own, the most frequent ones."""
_KINDS = """WITH latest AS (SELECT max(day) AS day FROM marts.daily),
most AS (
  SELECT conversion_type, currency, sum(conversions) AS total FROM marts.daily WHERE conversion_type IS NOT NULL
  GROUP BY ALL ORDER BY total DESC, conversion_type, currency NULLS FIRST LIMIT ?
)
SELECT m.conversion_type, m.currency, coalesce(d.conversions, 0), coalesce(d.unattributed, 0)
FROM most m CROSS JOIN latest l LEFT JOIN marts.daily d
  ON d.day = l.day - 1 AND d.conversion_type = m.conversion_type AND d.currency IS NOT DISTINCT FROM m.currency
ORDER BY m.total DESC, m.conversion_type, m.currency NULLS FIRST"""


def last_full_day(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> Mapping[str, int | float]:
    """Visitors, sign-ups and their share of visitors, conversions by type and currency, the share without a touch.

    Nothing where that day had no visitor: no data is not zero.
    """
    seen = con.execute(
        """SELECT visitors, sign_ups FROM marts.daily
        WHERE conversion_type IS NULL AND day = (SELECT max(day) - 1 FROM marts.daily)"""
    ).fetchall()
    if not seen or not seen[0][0]:
        return {}
    visitors, sign_ups = seen[0]
    numbers: dict[str, int | float] = {
        "full_day_visitors": int(visitors),
        "full_day_sign_ups": int(sign_ups),
        "full_day_sign_up_rate": round(sign_ups / visitors, 4),
    }
    kinds = con.execute(_KINDS, [MOST_KINDS]).fetchall()
    for conversion_type, currency, conversions, _ in kinds:
        numbers["_".join(filter(None, ("full_day", conversion_type, currency)))] = int(conversions)
    if total := sum(row[2] for row in kinds):
        numbers["full_day_unattributed_share"] = round(sum(row[3] for row in kinds) / total, 4)
    return numbers
