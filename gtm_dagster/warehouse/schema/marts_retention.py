"""`marts.retention`."""

from __future__ import annotations

from gtm_dagster.warehouse.figures.figure import BarChart
from gtm_dagster.warehouse.marts.retention import build_retention
from gtm_dagster.warehouse.schema.table import Check, Column, Table, none_of

TABLE = Table(
    name="marts.retention",
    meaning="Cohorts by first period of activity: how many persons came back 0, 1, 2 ... periods later.",
    columns=(
        Column("cohort", "DATE", "First day of the cohort's period, report time zone"),
        Column("channel", "VARCHAR", "Channel of the first session, (none) without one"),
        Column("period", "INTEGER", "Periods after the first, from 0"),
        Column("persons", "BIGINT", "Persons of the cohort"),
        Column("retained", "BIGINT", "Persons of the cohort who were active in that period"),
    ),
    reads=("staging.events", "core.sessions"),
    step=build_retention,
    checks=(
        Check(
            "retained_within_cohort",
            "No more persons return than the cohort holds; all are there in period 0.",
            none_of(
                "SELECT count(*) FROM marts.retention WHERE retained > persons OR (period = 0 AND retained <> persons)",
                "impossible cohort rows",
            ),
        ),
    ),
    charts=(
        BarChart(
            "persons retained by period, all cohorts",
            "SELECT 'period ' || period, sum(retained) FROM marts.retention GROUP BY period ORDER BY period LIMIT 12",
        ),
    ),
)
