"""Columns and checks that tables of what was earned and spent have in common."""

from __future__ import annotations

from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.schema.table import Check, CheckRun, Column, none_of

EARNED_COLUMNS = (
    Column("conversions", "DOUBLE", "Sum of credits; 0 where there is spend alone", digits=6),
    Column("value", "DOUBLE", "Sum of credited values in `currency`, gross; NULL without any", digits=4),
    Column("refunded", "DOUBLE", "Given back of `value` so far, in the day of the conversion", digits=4),
    Column("net_value", "DOUBLE", "`value` less `refunded`", digits=4),
)
SPENT_COLUMNS = (
    Column(
        "spend",
        "DOUBLE",
        "What ads cost on the day, in `spend_currency`, the same for every model; NULL: no spend is known, not 0",
        digits=4,
    ),
    Column(
        "spend_currency",
        "VARCHAR",
        "`currency`; of a type without one the currency of all spend, and where that has several there is no spend",
    ),
    Column("cpa", "DOUBLE", "`spend` / `conversions`; NULL without spend, and without conversions", digits=6),
    Column("roas", "DOUBLE", "Gross `value` / `spend`; NULL without spend, and without value", digits=6),
)
_OFF = "abs(coalesce($left, 0) - coalesce($right, 0)) > 1e-6 * greatest(1, abs(coalesce($right, 0)))"


def _off(left: str, right: str) -> str:
    return composed(_OFF, left=left, right=right)


def _credit_reaches(table: str) -> CheckRun:
    """Sums of credit and value by type, currency, model and window are those of the credits."""
    differs = " OR ".join(_off(f"m.{name}", f"c.{name}") for name in ("n", "value", "net"))
    return none_of(
        composed(
            """WITH m AS (
          SELECT conversion_type, currency, model, window_hours, sum(conversions) AS n, sum(value) AS value, sum(net_value) AS net
          FROM $table GROUP BY ALL),
        c AS (
          SELECT c.conversion_type, c.currency, a.model, a.window_hours, sum(a.credit) AS n, sum(a.value) AS value, sum(a.net_value) AS net
          FROM marts.attribution_credits a LEFT JOIN core.conversions c USING (conversion_id) GROUP BY ALL)
        SELECT count(*) FROM m FULL JOIN c ON m.conversion_type = c.conversion_type AND m.currency IS NOT DISTINCT FROM c.currency
          AND m.model = c.model AND m.window_hours = c.window_hours WHERE $differs""",
            table=table,
            differs=differs,
        ),
        "sums of credit, value or net value that are not those of marts.attribution_credits",
    )


def _spend_adds_up(table: str) -> CheckRun:
    """Each type, currency, model and window has all of core.spend in that currency, and a type without values of the only one."""
    return none_of(
        composed(
            """WITH m AS (
          SELECT conversion_type, currency, model, window_hours, spend_currency, sum(spend) AS spend
          FROM $table WHERE spend IS NOT NULL OR spend_currency IS NOT NULL GROUP BY ALL),
        s AS (SELECT currency AS spend_currency, sum(cost) AS cost FROM core.spend GROUP BY 1),
        types AS (SELECT conversion_type, count(currency) AS n_priced FROM core.conversions GROUP BY 1),
        e AS (
          SELECT t.conversion_type, CASE WHEN t.n_priced > 0 THEN s.spend_currency END AS currency, r.model, r.window_hours,
            s.spend_currency, s.cost
          FROM s CROSS JOIN types t CROSS JOIN (SELECT DISTINCT model, window_hours FROM marts.attribution_credits) r
          WHERE t.n_priced > 0 OR (SELECT count(*) FROM s) = 1)
        SELECT count(*) FROM m FULL JOIN e ON m.conversion_type = e.conversion_type AND m.currency IS NOT DISTINCT FROM e.currency
          AND m.model = e.model AND m.window_hours = e.window_hours AND m.spend_currency = e.spend_currency
        WHERE m.model IS NULL OR e.model IS NULL OR $differs""",
            table=table,
            differs=_off("m.spend", "e.cost"),
        ),
        "types, models and windows whose spend is not that of core.spend in their currency",
    )


def money_checks(table: str, prefix: str = "") -> tuple[Check, ...]:
    """The checks of a mart that holds credit beside spend; `prefix` is put before the names of those two."""
    return (
        Check(
            f"{prefix}credit_reaches_the_days",
            "Of each type, currency, model and window the days hold all credit once, with its gross and net value.",
            _credit_reaches(table),
        ),
        Check(
            f"{prefix}spend_adds_up",
            "Of each type, currency, model and window the days hold all spend in that currency once, and none of another.",
            _spend_adds_up(table),
        ),
    )
