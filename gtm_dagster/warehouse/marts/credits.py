"""`marts.attribution_credits`: credit by touch for each conversion, model and window."""

from __future__ import annotations

import json

import duckdb

from gtm_dagster.warehouse.affected import (
    affected_conversions,
    delete_affected,
    drop_tables,
    drop_views,
    longest_window_us,
    nothing_new,
    rebuild,
    take_affected,
)
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.core.stages import find_stages
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.marts.window_rules import BY_CHANNEL, BY_STAGE, Rules, rules_of
from gtm_dagster.warehouse.results import StepResult, count, unchanged
from gtm_dagster.warehouse.state import get_state, set_state
from gtm_dagster.warehouse.statements import fragment, statement


def build_credits(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """Credit by touch for each conversion and window that the history gate lets through and whose model is one of touches."""
    windows = con.execute(
        "SELECT model, window_hours FROM marts.attribution_status WHERE computed ORDER BY rowid"
    ).fetchall()
    as_before = get_state(con, "credited_windows") == json.dumps(windows)
    if as_before and nothing_new(con, "attribution_credits"):
        return unchanged(con, "marts.attribution_credits")
    found = con.execute("SELECT DISTINCT channel FROM core.sources").fetchall()
    rules = rules_of(ctx.settings, windows, (channel for (channel,) in found))
    with transaction(con):
        for relation in rules.relations:
            con.execute(f"CREATE OR REPLACE TEMP TABLE {relation.name} AS {relation.query}")
        if not as_before:
            rebuild(con, "attribution_credits", "channel_attribution", "campaign_performance")
        whole = take_affected(con, "attribution_credits")
        delete_affected(con, "marts.attribution_credits", "conversion_us", whole, longest_window_us(ctx.settings))
        _number_conversions(con, ctx, whole)
        find_paths(con, rules)
        if BY_STAGE in rules.methods:
            find_stages(con, ctx)
        credits = " UNION ALL ".join(f"({statement(name)})" for name in credit_statements(rules))
        written = con.execute(
            f"INSERT INTO marts.attribution_credits {fragment('credits_table', credits=credits)}"
        ).fetchall()[0][0]
        set_state(con, "credited_windows", json.dumps(windows))
        result = StepResult(count(con, "marts.attribution_credits"), written, count(con, "affected"), whole)
    drop_views(con, "conversion_moments", "conversion_touches")
    drop_tables(con, "affected", "conversion_numbers", "path_touches", "conversion_stages", "touch_sources")
    drop_tables(con, *(relation.name for relation in rules.relations))
    return result


def credit_statements(rules: Rules) -> tuple[str, ...]:
    """The statements whose rows together are the credits: the first one for every window, others for models that ask more."""
    return (
        "credits",
        *(["credits_by_channel"] if BY_CHANNEL in rules.methods else []),
        *(["credits_by_stage"] if BY_STAGE in rules.methods else []),
    )


def _number_conversions(con: duckdb.DuckDBPyConnection, ctx: BuildContext, whole: bool) -> None:
    """`conversion_moments` and `conversion_touches` for the statements of credits, conversions and touches as numbers.

    Windows and joins over the ids themselves cost ten times as much; `conversion_numbers` leads back to them.
    """
    affected_conversions(
        con, ctx.settings, whole, "c.conversion_id, c.person_id, c.person_no, c.conversion_us, c.value, c.net_value"
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE conversion_numbers AS
        SELECT row_number() OVER () AS conversion_no, conversion_id, person_id, person_no, conversion_us, value, net_value FROM conversion_moments"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP VIEW conversion_moments AS
        SELECT conversion_no AS conversion_id, person_no AS person_id, conversion_us FROM conversion_numbers"""
    )
    find_sources(con)
    con.execute(
        """CREATE OR REPLACE TEMP VIEW conversion_touches AS
        SELECT n.conversion_no AS conversion_id, t.rowid AS session_key, t.touch_us, t.tie_no, t.age_us, t.source_key,
          s.channel_no, s.is_direct, s.is_paid
        FROM core.touchpoints t
        JOIN conversion_numbers n ON n.conversion_id = t.conversion_id
        JOIN touch_sources s ON s.source_key = t.source_key"""
    )


def find_sources(con: duckdb.DuckDBPyConnection) -> None:
    """The temporary table `touch_sources`: what the rules know of the channel of each source."""
    con.execute(
        """CREATE OR REPLACE TEMP TABLE touch_sources AS
        SELECT s.source_key, c.channel_no, c.is_direct, c.is_paid FROM core.sources s JOIN channels c ON c.channel = s.channel"""
    )


def find_paths(con: duckdb.DuckDBPyConnection, rules: Rules) -> None:
    """The temporary table `path_touches`: the touches that count under each rule of counting, after its transforms."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE path_touches AS {statement('path_touches')}")
    if rules.path_channels.rows:
        con.execute(f"INSERT INTO path_touches {statement('path_touches_by_channel')}")
    for step_no in range(1, rules.n_steps + 1):
        transformed = statement("transformed_touches", step_no=step_no)
        con.execute(f"CREATE OR REPLACE TEMP TABLE transformed AS {transformed}")
        con.execute("DROP TABLE temp.path_touches")
        con.execute("ALTER TABLE temp.transformed RENAME TO path_touches")
