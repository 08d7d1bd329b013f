"""Pictures: the most frequent paths to a conversion, and how long they take; of the last 30 days, whatever the model."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.figures.credit_by_channel import newest_days, picture_name, pictured_kinds
from gtm_dagster.warehouse.figures.credit_sample import Kind
from gtm_dagster.warehouse.figures.figure import Bar, Bars, Figure
from gtm_dagster.warehouse.figures.period import Period

_MOST_PATHS = 14
_SHOWN_TOUCHES = 8
_DAY_US = 86_400_000_000
_PATHS = """WITH wanted AS (
  SELECT conversion_id FROM core.conversions
  WHERE day BETWEEN $1 AND $2 AND conversion_type = $3 AND currency IS NOT DISTINCT FROM $4
), touches AS (
  SELECT t.conversion_id, t.channel, t.touch_us, t.tie_no,
    lag(t.channel) OVER (PARTITION BY t.conversion_id ORDER BY t.touch_us, t.tie_no) AS channel_before
  FROM core.touchpoints t JOIN wanted USING (conversion_id) WHERE t.conversion_us >= $5
), paths AS (
  SELECT conversion_id, list(channel ORDER BY touch_us, tie_no) AS channels
  FROM touches WHERE channel_before IS DISTINCT FROM channel GROUP BY 1
)
SELECT coalesce(array_to_string(
    CASE WHEN len(channels) > $6 THEN list_concat(['…'], channels[-$6:]) ELSE channels END, ' > '), '(no touch)') AS path,
  count(*) AS conversions
FROM wanted LEFT JOIN paths USING (conversion_id) GROUP BY 1 ORDER BY 2 DESC, 1"""
_TIMES = """WITH wanted AS (
  SELECT conversion_id FROM core.conversions
  WHERE day BETWEEN $1 AND $2 AND conversion_type = $3 AND currency IS NOT DISTINCT FROM $4
), oldest AS (
  SELECT conversion_id, max(age_us) / 3.6e9 AS hours FROM core.touchpoints JOIN wanted USING (conversion_id)
  WHERE conversion_us >= $5 GROUP BY 1
)
SELECT hours FROM wanted LEFT JOIN oldest USING (conversion_id)"""
_BINS = (
    (1.0, "under 1 hour"), (24.0, "1 to 24 hours"), (72.0, "1 to 3 days"), (168.0, "3 to 7 days"), (336.0, "7 to 14 days"),
    (720.0, "14 to 30 days"), (float("inf"), "over 30 days"),
)  # fmt: skip


def ways_to_convert(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> Sequence[Figure]:
    """Paths and times of each of the most frequent kinds; none before something converted."""
    period = newest_days(con)
    if period is None:
        return ()
    window = max((each.longest_hours for each in ctx.settings.attribution.windows), default=0.0)
    found: list[Figure] = []
    for kind in pictured_kinds(con, period):
        found += [top_paths(con, kind, period, window), time_to_convert(con, kind, period, window)]
    return found


def _asked(kind: Kind, period: Period) -> list[object]:
    first_us = (period.since.toordinal() - 719_163 - 1) * _DAY_US  # no local day begins more than a day before UTC's
    return [period.since, period.until, kind.conversion_type, kind.currency, first_us]


def top_paths(con: duckdb.DuckDBPyConnection, kind: Kind, period: Period, window_hours: float) -> Bars:
    """Conversions by path of channels, oldest touch first; touches of one channel in a row are one."""
    rows = con.execute(_PATHS, [*_asked(kind, period), _SHOWN_TOUCHES]).fetchall()
    title = f"Top paths, oldest touch first: {kind} · touches up to {window_hours:g} h before, any model · {period}"
    bars = [Bar(path, float(n)) for path, n in rows[:_MOST_PATHS]]
    if len(rows) > _MOST_PATHS:
        rest = sum(n for _, n in rows[_MOST_PATHS:])
        bars.append(Bar(f"{len(rows) - _MOST_PATHS:,} others", float(rest), stands_for=len(rows) - _MOST_PATHS))
    return Bars(title, tuple(bars), picture_name("paths", kind), additive=True)


def time_to_convert(con: duckdb.DuckDBPyConnection, kind: Kind, period: Period, window_hours: float) -> Bars:
    """Conversions by the time from the oldest touch in the window to the conversion; the median of those with a touch."""
    hours = sorted(row[0] for row in con.execute(_TIMES, _asked(kind, period)).fetchall() if row[0] is not None)
    edges = [
        (limit, label) for limit, label in _BINS if limit <= window_hours * 1.0001 or limit == _next_limit(window_hours)
    ]
    bars, below = [], 0
    for limit, label in edges:
        upto = sum(1 for each in hours if each < limit)
        bars.append(Bar(label, float(upto - below), note=_share(upto - below, kind.conversions)))
        below = upto
    if len(hours) > below:  # a touch at exactly the window's end
        last = bars[-1]
        n = last.value + len(hours) - below
        bars[-1] = Bar(last.label, n, note=_share(n, kind.conversions))
    without = kind.conversions - len(hours)
    bars.append(Bar("no touch", float(without), note=_share(without, kind.conversions)))
    median = f" · median {_duration(hours[len(hours) // 2])}" if hours else ""
    title = f"Time from first touch to conversion: {kind} · touches up to {window_hours:g} h before, any model · {period}{median}"
    return Bars(title, tuple(bars), picture_name("time_to_convert", kind))


def _next_limit(window_hours: float) -> float:
    return next(limit for limit, _ in _BINS if limit >= window_hours)


def _share(part: float, whole: int) -> str:
    return f"({part / whole:.0%})" if whole else ""


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{hours * 60:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"
