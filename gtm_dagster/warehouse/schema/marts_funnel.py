"""`marts.funnel` and what is counted beside it: rates and times, models, accounts."""

from __future__ import annotations

from itertools import pairwise

import duckdb

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.figures.funnel_by_stage import accounts_by_stage, persons_by_stage, rates_and_times
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.marts.funnel import build_funnel
from gtm_dagster.warehouse.marts.funnel_accounts import build_funnel_accounts
from gtm_dagster.warehouse.marts.funnel_by_model import build_funnel_by_model
from gtm_dagster.warehouse.marts.funnel_rates import build_funnel_rates
from gtm_dagster.warehouse.results import CheckResult
from gtm_dagster.warehouse.schema.shared_columns import CAMPAIGN, MODEL, SOURCE_COLUMNS
from gtm_dagster.warehouse.schema.table import Check, CheckRun, Column, Table, none_of

_STAGE = (
    Column("stage", "VARCHAR", "Name of the stage in funnel.steps"),
    Column("stage_no", "INTEGER", "Position in funnel.steps, from 1"),
)
_COHORT_DAY = "Day of the person's first session, report time zone; NULL without a session"


def _is_monotonic(table: str, who: str) -> CheckRun:
    def run(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
        counted = composed("SELECT stage_no, sum($who) FROM $table GROUP BY 1 ORDER BY 1", table=table, who=who)
        stages = con.execute(counted).fetchall()
        widening = sum(1 for before, after in pairwise(stages) if after[1] > before[1])
        return CheckResult(
            widening == 0,
            f"{who} by stage: " + ", ".join(str(int(stage[1])) for stage in stages),
            {"stages": len(stages), "widening": widening},
        )

    return run


FUNNEL = Table(
    name="marts.funnel",
    meaning="Persons by stage, source and day of their first session; ordered, each stage another event than those before, at or after the one before. Persons add up over sources and days.",
    columns=(
        *SOURCE_COLUMNS,
        Column("cohort_day", "DATE", _COHORT_DAY),
        *_STAGE,
        Column("persons", "BIGINT", "Distinct persons"),
    ),
    reads=("staging.events", "core.sessions"),
    step=build_funnel,
    checks=(
        Check(
            "funnel_is_monotonic",
            "No stage holds more persons than the one before.",
            _is_monotonic("marts.funnel", "persons"),
        ),
    ),
    charts=(persons_by_stage,),
)
RATES = Table(
    name="marts.funnel_rates",
    meaning="The funnel by day of the first session and channel, over all days (cohort_day NULL) and all channels ((all)): persons, rates, and how long a stage took. Every stage is a row, 0 where nobody came so far.",
    columns=(
        Column("cohort_day", "DATE", "Day of the person's first session, report time zone; NULL: all days, and persons without a session"),
        Column("channel", "VARCHAR", "Channel of the first session, (none) without one; (all): all channels"),
        *_STAGE,
        Column("persons", "BIGINT", "Distinct persons who reached the stage"),
        Column("rate_from_before", "DOUBLE", "Share of the persons of the stage before, 0 to 1; NULL for the first stage, and where nobody reached the one before"),
        Column("rate_from_first", "DOUBLE", "Share of the persons of the first stage, 0 to 1"),
        Column("median_hours", "DOUBLE", "Hours after the stage before by which half of the persons were here (the least such time of a person); NULL for the first stage and without persons"),
        Column("p90_hours", "DOUBLE", "The same for 90 % of the persons"),
    ),
    reads=("marts.funnel",),
    step=build_funnel_rates,
    built_with="marts.funnel",
    charts=(rates_and_times,),
    checks=(
        Check(
            "rates_match_funnel",
            "The rows of all days and channels hold the persons of the funnel, and no rate is above 1.",
            none_of(
                """SELECT (SELECT count(*) FROM marts.funnel_rates WHERE rate_from_before > 1 OR rate_from_first > 1)
                + (SELECT count(*) FROM (SELECT stage_no, persons FROM marts.funnel_rates WHERE cohort_day IS NULL AND channel = '(all)' AND persons > 0
                    EXCEPT SELECT stage_no, sum(persons) FROM marts.funnel GROUP BY 1))""",
                "stages that differ from the funnel",
            ),
        ),
    ),
)  # fmt: skip
BY_MODEL = Table(
    name="marts.funnel_by_model",
    meaning="Who brought the persons of each stage: each person shared among the sessions that began at or before the stage, with the source known by then and no lookback.",
    columns=(
        Column("cohort_day", "DATE", _COHORT_DAY),
        MODEL,
        *_STAGE,
        Column("channel", "VARCHAR", "Channel of the sessions; (unattributed): persons without a session at or before the stage"),
        CAMPAIGN,
        Column("persons", "DOUBLE", "Persons of the stage, shared by the model: first_touch, last_touch, last_non_direct or linear", digits=6),
    ),
    reads=("marts.funnel", "core.sessions"),
    step=build_funnel_by_model,
    built_with="marts.funnel",
    checks=(
        Check(
            "shares_conserve_persons",
            "Under each model the shares of a stage add up to its persons.",
            none_of(
                """SELECT count(*) FROM (SELECT model, stage_no, sum(persons) AS n FROM marts.funnel_by_model GROUP BY ALL) s
                JOIN (SELECT stage_no, sum(persons) AS n FROM marts.funnel GROUP BY 1) f USING (stage_no) WHERE abs(s.n - f.n) > 1e-6 * f.n""",
                "stages whose shares do not add up",
            ),
        ),
    ),
)  # fmt: skip
ACCOUNTS = Table(
    name="marts.funnel_accounts",
    meaning="Accounts by stage: reached when a person does who belongs to the account at that moment, and with it the stages before. Accounts add up over sources and days.",
    columns=(
        *SOURCE_COLUMNS,
        Column(
            "cohort_day",
            "DATE",
            "Day of the first session of the account's persons, report time zone; NULL without one",
        ),
        *_STAGE,
        Column("accounts", "BIGINT", "Distinct accounts"),
    ),
    reads=("marts.funnel", "core.accounts"),
    step=build_funnel_accounts,
    built_with="marts.funnel",
    charts=(accounts_by_stage,),
    checks=(
        Check(
            "account_funnel_is_monotonic",
            "No stage holds more accounts than the one before.",
            _is_monotonic("marts.funnel_accounts", "accounts"),
        ),
    ),
)
TABLES = (FUNNEL, RATES, BY_MODEL, ACCOUNTS)
