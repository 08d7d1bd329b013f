"""`core.paths`: the paths persons took, to a conversion or to none, each distinct one once.

The path of each conversion and of each person without one is kept by person (`meta.person_paths`): a batch changes those
of the persons it names, and the table is counted from there.
"""

from __future__ import annotations

import duckdb
import msgspec

from gtm_dagster.attribution.models import model
from gtm_dagster.settings import Settings, Window
from gtm_dagster.warehouse.affected import HOUR_US, drop_tables, drop_views, nothing_new, take_affected, within
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.core.touchpoints import drop_touches, find_touches
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.literals import composed, literals
from gtm_dagster.warehouse.marts.credits import find_paths
from gtm_dagster.warehouse.marts.window_rules import Rules, lookbacks, rules_of
from gtm_dagster.warehouse.results import TableResult, count
from gtm_dagster.warehouse.statements import fragment, statement

ALL_TOUCHES = "(all touches)"
"""The paths that no window is asked for: every touch within the longest lookback."""
SEPARATOR = " > "
MOST_TOUCHES = 100
"""Newest touches of a path that are kept: the paths of one person do not grow with the square of what it did."""


def path_windows(settings: Settings) -> tuple[Window, ...]:
    """The windows whose paths are kept, as windows of a model of touches: ALL_TOUCHES, and each data-driven one."""
    longest = max((window.longest_hours for window in settings.attribution.windows), default=0.0)
    plain = {"model": "linear", "order": 1, "nulls": True, "removal": "null", "game": "volume"}
    kept = [
        msgspec.structs.replace(window, name=window.label, **plain)
        for window in settings.attribution.windows
        if model(window.model).data_driven
    ]
    return (*([Window("linear", longest, name=ALL_TOUCHES)] if longest > 0 else []), *kept)


def build_paths(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """Paths to each conversion, and those of the persons of a month who did not convert in it, by type and window."""
    if nothing_new(con, "paths"):
        return TableResult(count(con, "core.paths"), changed=False)
    windows = path_windows(ctx.settings)
    attribution = msgspec.structs.replace(ctx.settings.attribution, windows=windows)
    settings = msgspec.structs.replace(ctx.settings, attribution=attribution)
    longest_us = max((round(window.longest_hours * HOUR_US) for window in windows), default=0)
    found = con.execute("SELECT DISTINCT channel FROM core.sources").fetchall()
    labels = {(window.label, float(window.lookback_hours)) for window in windows}
    rules = rules_of(settings, labels, (channel for (channel,) in found))
    with transaction(con):
        whole = take_affected(con, "paths")
        for relation in (*rules.relations, lookbacks(settings)):
            con.execute(f"CREATE OR REPLACE TEMP TABLE {relation.name} AS {relation.query}")
        _forget(con, whole, longest_us)
        _moments(con, ctx, whole, longest_us)
        _walk(con, ctx, rules, whole)
        rows = fragment("person_paths", most_touches=str(MOST_TOUCHES))
        con.execute(f"INSERT INTO meta.person_paths {rows}")
        con.execute("DELETE FROM core.paths")
        written = con.execute(f"INSERT INTO core.paths {fragment('paths_table')}").fetchall()[0][0]
    drop_views(con, "conversion_moments", "conversion_touches", "converted")
    drop_tables(con, *(relation.name for relation in rules.relations), "lookbacks", "affected")
    drop_tables(con, "path_visits", "path_types", "path_nulls", "path_keys", "moment_touches", "path_touches")
    return TableResult(written)


def _forget(con: duckdb.DuckDBPyConnection, whole: bool, longest_us: int) -> None:
    """Of the affected persons go the paths to conversions that a change can reach, and all that did not convert."""
    if whole:
        con.execute("DELETE FROM meta.person_paths")
        return
    reached = within("meta.person_paths", "moment_us", longest_us)
    con.execute(
        composed("DELETE FROM meta.person_paths USING affected r WHERE conversions = 1 AND $reached", reached=reached)
    )
    con.execute("DELETE FROM meta.person_paths WHERE nulls = 1 AND person_no IN (SELECT person_no FROM affected)")


def _moments(con: duckdb.DuckDBPyConnection, ctx: BuildContext, whole: bool, longest_us: int) -> None:
    """`converted`: the conversions to walk back from; `path_nulls`: the persons who did not convert; `path_keys`: the
    moments of both, each once, and where a path begins at the earliest."""
    among = "true" if whole else "person_no IN (SELECT person_no FROM affected)"
    reached = "" if whole else f"JOIN affected r ON {within('c', 'conversion_us', longest_us)}"
    con.execute(
        composed(
            """CREATE OR REPLACE TEMP VIEW converted AS
            SELECT c.person_no, c.conversion_us, c.day, c.conversion_type, c.currency, c.value FROM core.conversions c $reached""",
            reached=reached,
        )
    )
    types = literals(dict.fromkeys(kind.event for kind in ctx.settings.conversions))
    con.execute(
        composed("CREATE OR REPLACE TEMP TABLE path_types AS SELECT unnest([$types]) AS conversion_type", types=types)
    )
    zone = ctx.settings.report_timezone
    local = "s.session_start" if zone == "UTC" else f"timezone('{zone}', timezone('UTC', s.session_start))"
    visits = fragment("path_visits", local=local, among=among)
    con.execute(f"CREATE OR REPLACE TEMP TABLE path_visits AS {visits}")
    con.execute(f"CREATE OR REPLACE TEMP TABLE path_nulls AS {fragment('path_nulls')}")
    con.execute(
        """CREATE OR REPLACE TEMP TABLE path_keys AS
        SELECT row_number() OVER () AS key_no, dense_rank() OVER (ORDER BY person_no, moment_us) AS moment_no, *
        FROM (SELECT person_no, conversion_us AS moment_us, NULL::BIGINT AS cut_us FROM converted
          UNION SELECT person_no, moment_us, cut_us FROM path_nulls)"""
    )


def _walk(con: duckdb.DuckDBPyConnection, ctx: BuildContext, rules: Rules, whole: bool) -> None:
    """`path_touches`: the touches of each path under each rule of counting."""
    con.execute(
        """CREATE OR REPLACE TEMP VIEW conversion_moments AS
        SELECT DISTINCT moment_no AS conversion_id, person_no AS person_id, moment_us AS conversion_us FROM path_keys"""
    )
    find_touches(con, ctx, whole)
    pairs = statement("touchpoints", max_touches=ctx.settings.attribution.max_touches)
    con.execute(composed("CREATE OR REPLACE TEMP TABLE moment_touches AS SELECT * FROM ($pairs)", pairs=pairs))
    drop_touches(con, ctx)
    con.execute(
        """CREATE OR REPLACE TEMP VIEW conversion_touches AS
        SELECT k.key_no AS conversion_id, t.session_key, t.touch_us, t.tie_no, t.age_us, t.touch_key AS source_key,
          c.channel_no, c.is_direct, c.is_paid
        FROM moment_touches t
        JOIN path_keys k ON k.moment_no = t.conversion_id AND (k.cut_us IS NULL OR t.touch_us > k.cut_us)
        JOIN core.sources s ON s.source_key = t.touch_key
        JOIN channels c ON c.channel = s.channel"""
    )
    find_paths(con, rules)
