"""Picture: credit by channel of the last 30 days, by the first computed result, one kind of conversion a picture."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.figures.credit_sample import UNATTRIBUTED, Credit, Kind, computed_results, credit_of, kinds
from gtm_dagster.warehouse.figures.figure import Bar, Bars, Figure
from gtm_dagster.warehouse.figures.period import Period

DAYS = 30
MOST_KINDS = 3
"""Kinds of conversion that have a picture of their own, the most frequent ones."""
_REPLICATES = 400
"""Enough for a line in a picture, which every refresh with news draws."""


def newest_days(con: duckdb.DuckDBPyConnection) -> Period | None:
    """The 30 days up to the newest conversion; None without any."""
    newest = con.execute("SELECT max(day) FROM core.conversions").fetchall()[0][0]
    return None if newest is None else Period(newest - timedelta(days=DAYS - 1), newest)


def pictured_kinds(con: duckdb.DuckDBPyConnection, period: Period) -> tuple[Kind, ...]:
    """The kinds that have a picture; further ones are in the tables and in `gtm report attribution`."""
    return kinds(con, period)[:MOST_KINDS]


def picture_name(subject: str, kind: Kind) -> str:
    """The key of a picture, such as chart_credit_payment_completed_EUR."""
    return "_".join(filter(None, ("chart", subject, kind.conversion_type, kind.currency)))


def credit_figure(credit: Credit, result: int, period: Period) -> Bars:
    """Conversions credited by one result, with intervals, the most first, (unattributed) last."""
    found = credit.intervals
    order = sorted(
        range(len(credit.labels)), key=lambda i: (credit.labels[i] == UNATTRIBUTED, -found.estimate[i, result])
    )
    bars = [
        Bar(
            credit.labels[i], float(found.estimate[i, result]), float(found.bounds[0, i, result]),
            float(found.bounds[1, i, result]), always=credit.labels[i] == UNATTRIBUTED,
        )
        for i in order
    ]  # fmt: skip
    drawn = credit.results[result]
    rule = "" if drawn.rule == drawn.model else f" by {drawn.rule}"
    title = f"Conversions credited by channel: {credit.kind} · {drawn}{rule} · {period} · lines: 95 % intervals"
    return Bars(title, tuple(bars), picture_name("credit", credit.kind), additive=True)


def credit_by_channel(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> Sequence[Figure]:
    """A figure for each of the most frequent kinds; none before something converted."""
    period, results = newest_days(con), computed_results(con, ctx.settings)[:1]
    if period is None or not results:
        return ()
    return [
        credit_figure(credit_of(con, kind, period, results, replicates=_REPLICATES), 0, period)
        for kind in pictured_kinds(con, period)
    ]
