"""The funnel as bars: persons or accounts by stage, the share of the stage before, and how long half of them took."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.figures.figure import Bar, Bars, Figure
from gtm_dagster.warehouse.literals import composed

_DAY, _MINUTE = 24.0, 1 / 60


def persons_by_stage(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> Sequence[Figure]:
    """Persons of all channels and days, with the rate of each stage."""
    return _by_stage(con, ctx, "marts.funnel", "persons")


def accounts_by_stage(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> Sequence[Figure]:
    """Accounts of all channels and days; no figure where there are none."""
    return _by_stage(con, ctx, "marts.funnel_accounts", "accounts")


def rates_and_times(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> Sequence[Figure]:
    """Persons of all channels and days, with the rate of each stage and the time it took."""
    stages = con.execute(
        """SELECT stage, persons, rate_from_before, median_hours FROM marts.funnel_rates
        WHERE cohort_day IS NULL AND channel = '(all)' ORDER BY stage_no"""
    ).fetchall()
    bars = tuple(Bar(stage, persons, note=_note(rate, hours)) for stage, persons, rate, hours in stages)
    title = (
        f"Persons by stage: % of the stage before, time that half of them took · {_period(con, ctx, 'marts.funnel')}"
    )
    return (Bars(title, bars),)


def _by_stage(con: duckdb.DuckDBPyConnection, ctx: BuildContext, table: str, who: str) -> Sequence[Figure]:
    stages = con.execute(
        composed(
            "SELECT stage, sum($who)::BIGINT FROM $table GROUP BY stage, stage_no ORDER BY stage_no",
            who=who,
            table=table,
        )
    ).fetchall()
    if not stages:
        return ()
    befores = [None, *(count for _, count in stages)]
    bars = tuple(
        Bar(stage, count, note=_note(count / before if before else None, None))
        for (stage, count), before in zip(stages, befores, strict=False)
    )
    return (Bars(f"{who.capitalize()} by stage: % of the stage before · {_period(con, ctx, table)}", bars),)


def _note(rate: float | None, hours: float | None) -> str:
    parts = ([f"{rate:.0%}"] if rate is not None else []) + ([in_words(hours)] if hours is not None else [])
    return f"({', '.join(parts)})" if parts else ""


def in_words(hours: float) -> str:
    """Hours as people say them: 40 s, 12 min, 3.5 h, 2.1 days."""
    if hours >= 2 * _DAY:
        return f"{hours / _DAY:.1f} days"
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.0f} min" if hours >= _MINUTE else f"{hours * 3600:.0f} s"


def _period(con: duckdb.DuckDBPyConnection, ctx: BuildContext, table: str) -> str:
    first, last = con.execute(composed("SELECT min(cohort_day), max(cohort_day) FROM $table", table=table)).fetchall()[
        0
    ]
    return f"first sessions {first} to {last} ({ctx.settings.report_timezone})" if first else "no sessions"
