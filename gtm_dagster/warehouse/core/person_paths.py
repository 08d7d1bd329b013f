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
from gtm_dagster.warehouse.marts.credits import find_paths, find_sources
from gtm_dagster.warehouse.marts.window_rules import Rules, rules_of
from gtm_dagster.warehouse.results import TableResult, count
from gtm_dagster.warehouse.statements import fragment

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
        for relation in rules.relations:
            con.execute(f"CREATE OR REPLACE TEMP TABLE {relation.name} AS {relation.query}")
        _forget(con, whole, longest_us)
        _moments(con, ctx, whole, longest_us)
        _walk(con, ctx, rules, whole, longest_us)
        rows = fragment("person_paths", most_touches=str(MOST_TOUCHES))
        con.execute(f"INSERT INTO meta.person_paths {rows}")
        con.execute("DELETE FROM core.paths")
        written = con.execute(f"INSERT INTO core.paths {fragment('paths_table')}").fetchall()[0][0]
    drop_tables(con, *(relation.name for relation in rules.relations), "affected")
    drop_tables(con, "path_visits", "path_types", "path_keys", "touch_sources", "path_touches")
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
    """`path_keys`: the conversions to walk back from, and the persons of a month who did not convert, by number."""
    among = "true" if whole else "person_no IN (SELECT person_no FROM affected)"
    reached = "" if whole else f"JOIN affected r ON {within('c', 'conversion_us', longest_us)}"
    types = literals(dict.fromkeys(kind.event for kind in ctx.settings.conversions))
    con.execute(
        composed("CREATE OR REPLACE TEMP TABLE path_types AS SELECT unnest([$types]) AS conversion_type", types=types)
    )
    zone = ctx.settings.report_timezone
    local = "s.session_start" if zone == "UTC" else f"timezone('{zone}', timezone('UTC', s.session_start))"
    visits = fragment("path_visits", local=local, among=among)
    con.execute(f"CREATE OR REPLACE TEMP TABLE path_visits AS {visits}")
    keys = fragment("path_keys", nulls=fragment("path_nulls"), reached=reached)
    con.execute(f"CREATE OR REPLACE TEMP TABLE path_keys AS {keys}")


def _walk(con: duckdb.DuckDBPyConnection, ctx: BuildContext, rules: Rules, whole: bool, longest_us: int) -> None:
    """`path_touches`: the touches of each path under each rule of counting."""
    con.execute("CREATE OR REPLACE TEMP VIEW conversion_moments AS SELECT person_no AS person_id FROM path_keys")
    find_touches(con, ctx, whole)
    find_sources(con)
    walks = fragment("path_walks", longest_us=str(longest_us))
    con.execute(f"CREATE OR REPLACE TEMP VIEW conversion_touches AS {walks}")
    find_paths(con, rules)
    drop_views(con, "conversion_touches", "conversion_moments")
    drop_touches(con, ctx)
