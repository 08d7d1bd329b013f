"""Which stages (settings presets) the data would support: how long it goes back, and how many conversions there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gtm_dagster.reports.number_text import counted
from gtm_dagster.settings.stage_presets import Stage

if TYPE_CHECKING:
    import duckdb

RECENT_DAYS = 30
FEW = 30
"""Fewer conversions say nothing about a channel; reports mark such rows, too."""
MANY = 300
"""About thirty for each of the channels and rules that a budget over several channels is split by."""
_MEASURED = f"""WITH days AS (SELECT min(day) AS first, max(day) AS last FROM marts.daily WHERE sessions > 0)
SELECT coalesce(any_value(last - first) + 1, 0), coalesce(max(n), 0), arg_max(conversion_type, n)
FROM days LEFT JOIN (
  SELECT conversion_type, count(*) AS n FROM core.conversions, days WHERE day > last - {RECENT_DAYS} GROUP BY ALL) ON true"""  # noqa: S608 - a number written above


@dataclass(frozen=True)
class Amount:
    """How much data there is: days from the first to the last session, and conversions of the most frequent type in the
    last thirty of them."""

    days: int
    conversions: int
    conversion_type: str | None

    def __str__(self) -> str:
        what = f"{self.conversions:,} {self.conversion_type}" if self.conversion_type else "no conversion"
        return f"{counted(self.days, 'day')} of sessions, {what} in the last {RECENT_DAYS}"


def measured(con: duckdb.DuckDBPyConnection) -> Amount:
    """The amount in the serving copy that `con` reads."""
    return Amount(*con.execute(_MEASURED).fetchall()[0])


def supported(amount: Amount) -> tuple[Stage, ...]:
    """The stages there is enough data for, the most demanding of one way to sell first.

    seed and plg need a month and 30 conversions, series_a a month and 300, sales_led 90 days (its history gate) and 30.
    """
    if amount.days < RECENT_DAYS or amount.conversions < FEW:
        return ("pre_seed",)
    stages: list[Stage] = ["series_a"] if amount.conversions >= MANY else []
    stages += ["seed", "plg"]
    if amount.days >= 90:
        stages.append("sales_led")
    return (*stages, "pre_seed")


def stage_line(stage: Stage | None, amount: Amount) -> str:
    """What `gtm doctor` says of the stage that is set beside those the data would support."""
    stages = supported(amount)
    best = stages[0]
    more = [each for each in ("plg", "sales_led") if each in stages]
    data = f"the data would support {best}" + (f" (or {' and '.join(more)}, by how you sell)" if more else "")
    if stage is None:
        return f"none is set; {data}: {amount}"
    if stage in stages:
        return (
            f"{stage}, which the data supports"
            + (f"; {data}" if stage != best and stage not in more else "")
            + f": {amount}"
        )
    return f"{stage}, for which there is not enough data yet; {data}: {amount}"
