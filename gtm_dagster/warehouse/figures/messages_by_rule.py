"""Pictures of triggers: messages by rule and reasons for none in 30 days, and the effect of rules that have a holdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.figures.figure import Bar, Bars, Figure

_SINCE = "decided_wall_at > (SELECT max(decided_wall_at) - INTERVAL 30 DAY FROM marts.trigger_decisions)"
_SENT = f"""SELECT rule, count(*), count(*) FILTER (delivery = 'delivered') FROM marts.trigger_decisions
WHERE outcome = 'sent' AND {_SINCE} GROUP BY 1 ORDER BY 2 DESC, 1"""  # noqa: S608
_NOT_SENT = f"""SELECT reason, count(*) FROM marts.trigger_decisions WHERE outcome = 'not_sent' AND {_SINCE}
GROUP BY 1 ORDER BY 2 DESC, 1"""  # noqa: S608
_TRENDS = """SELECT count(*) FILTER (outcome = 'sent'), count(*) FILTER (delivery = 'dead'),
  quantile_cont(decision_seconds, 0.99) FILTER (outcome = 'sent'), quantile_cont(delivery_seconds, 0.99)
FROM marts.trigger_decisions WHERE decided_wall_at > (SELECT max(decided_wall_at) - INTERVAL 1 DAY FROM marts.trigger_decisions)"""


def messages_by_rule(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> Sequence[Figure]:
    """Messages by rule, and reasons for none; nothing before a rule decided anything."""
    sent = con.execute(_SENT).fetchall()
    reasons = con.execute(_NOT_SENT).fetchall()
    figures: list[Figure] = []
    if sent:
        bars = tuple(Bar(rule, float(n), note=f"{delivered:,} delivered") for rule, n, delivered in sent)
        figures.append(Bars("Messages by rule, newest 30 days", bars, additive=True))
    if reasons:
        bars = tuple(Bar(reason, float(n)) for reason, n in reasons)
        figures.append(Bars("Starts without a message by reason, newest 30 days", bars, "chart_reasons", additive=True))
    return figures


def message_trends(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> Mapping[str, int | float]:
    """Of the newest day: messages, given-up ones, and seconds from event to decision and to delivery (99 %)."""
    names = ("messages_in_a_day", "given_up_in_a_day", "decision_seconds_p99", "delivery_seconds_p99")
    values = con.execute(_TRENDS).fetchall()[0]
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}
