"""`marts.retention` and `marts.retention_accounts`."""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.figures.figure import Chart
from gtm_dagster.warehouse.figures.retention_grid import retained_accounts, retained_persons
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.marts.retention import build_retention, build_retention_accounts
from gtm_dagster.warehouse.results import Result
from gtm_dagster.warehouse.schema.table import Check, Column, Table, none_of


def _of(
    who: str,
    table: str,
    meaning: str,
    reads: tuple[str, ...],
    step: Callable[[duckdb.DuckDBPyConnection, BuildContext], Result],
    check: str,
    chart: Chart,
) -> Table:
    return Table(
        name=table,
        meaning=meaning,
        columns=(
            Column("cohort", "DATE", "First day of the cohort's period, report time zone"),
            Column("channel", "VARCHAR", "Channel of the first session, (none) without one"),
            Column(
                "period", "INTEGER", "Periods after the first, from 0; rows go up to the newest period with activity"
            ),
            Column(who, "BIGINT", f"{who.capitalize()} of the cohort"),
            Column("retained", "BIGINT", f"{who.capitalize()} of the cohort that were active in that period"),
            Column("rate", "DOUBLE", "retained as a share of the cohort, 0 to 1"),
            Column(
                "is_open",
                "BOOLEAN",
                "The period is not over by the newest day of the data, so retained and rate may still grow",
            ),
        ),
        reads=reads,
        step=step,
        built_with=None if table == "marts.retention" else "marts.retention",
        checks=(
            Check(
                check,
                f"No more {who} return than the cohort holds; all are there in period 0.",
                none_of(
                    composed(
                        "SELECT count(*) FROM $table WHERE retained > $who OR (period = 0 AND retained <> $who)",
                        table=table,
                        who=who,
                    ),
                    "impossible cohort rows",
                ),
            ),
        ),
        charts=(chart,),
    )


TABLES = (
    _of(
        "persons",
        "marts.retention",
        "Cohorts by first period of activity: how many persons came back 0, 1, 2 ... periods later. A period more than 366 days from all others is a row only where somebody was active.",
        ("staging.events", "core.sessions"),
        build_retention,
        "retained_within_cohort",
        retained_persons,
    ),
    _of(
        "accounts",
        "marts.retention_accounts",
        "Retention of accounts: an account is active in a period when a person is who belongs to it at the period's end.",
        ("core.accounts", "marts.retention"),
        build_retention_accounts,
        "retained_accounts_within_cohort",
        retained_accounts,
    ),
)
