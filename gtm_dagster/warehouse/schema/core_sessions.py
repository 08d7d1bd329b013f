"""`core.sessions`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import duckdb

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.core.sessions import build_sessions
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.results import CheckResult, number
from gtm_dagster.warehouse.schema.shared_columns import PERSON_ID, PERSON_NO, SESSION_KEY, SOURCE_COLUMNS, SOURCE_KEY
from gtm_dagster.warehouse.schema.table import AMONG_CHANGED, ByPersonAndTime, Check, Column, Table, none_of


def _settings(settings: Settings) -> Mapping[str, object]:
    return {
        "sessions.definition": settings.sessions.definition,
        "sessions.timeout_minutes": settings.sessions.timeout_minutes,
    }


def _sessions_cover_events(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    covered = int(number(con, "SELECT coalesce(sum(n_events), 0) FROM core.sessions"))
    tracker = ctx.settings.sessions.definition == "tracker"
    condition = "browsing AND session_id IS NOT NULL" if tracker else "browsing"
    browsing = int(number(con, composed("SELECT count(*) FROM meta.events WHERE $condition", condition=condition)))
    return CheckResult(
        covered == browsing,
        f"sessions hold {covered} of {browsing} browsing events",
        {"in_sessions": covered, "browsing_events": browsing},
    )


def _sessions_cover_changed(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    """By person: a session too many of one does not make up for one of another."""
    tracker = ctx.settings.sessions.definition == "tracker"
    condition = "browsing AND session_id IS NOT NULL" if tracker else "browsing"
    persons, off = con.execute(
        composed(
            """WITH in_sessions AS (
          SELECT person_no, sum(n_events) AS n FROM core.sessions WHERE $among_changed GROUP BY 1),
        browsed AS (
          SELECT person_no, count(*) AS n FROM meta.events WHERE $condition AND $among_changed GROUP BY 1)
        SELECT count(*), count(*) FILTER (h.n IS DISTINCT FROM b.n)
        FROM in_sessions h FULL JOIN browsed b ON b.person_no = h.person_no""",
            among_changed=AMONG_CHANGED,
            condition=condition,
        )
    ).fetchall()[0]
    return CheckResult(
        off == 0,
        f"sessions of {off} of {persons} changed persons do not hold their browsing events",
        {"persons": int(persons), "persons_off": int(off)},
    )


def _sessions_do_not_overlap(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    return _overlapping(con, ctx, "true")


def _changed_do_not_overlap(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    return _overlapping(con, ctx, AMONG_CHANGED)


def _overlapping(con: duckdb.DuckDBPyConnection, ctx: BuildContext, among: str) -> CheckResult:
    if ctx.settings.sessions.definition == "tracker":
        return CheckResult(True, "given sessions may overlap", {})
    overlapping = composed(
        """SELECT count(*) FROM (
        SELECT start_us, lag(end_us) OVER (PARTITION BY person_no ORDER BY start_us) AS before
        FROM core.sessions WHERE $among) WHERE before >= start_us""",
        among=among,
    )
    return none_of(overlapping, "overlapping sessions")(con, ctx)


TABLE = Table(
    name="core.sessions",
    meaning="Sessions by the definition of the settings (ga4, ua, tracker); a late event may merge or split them.",
    columns=(
        replace(SESSION_KEY, random=True),
        replace(PERSON_ID, random=True),
        Column("session_start", "TIMESTAMP", "UTC; also the time of the touch"),
        Column("session_end", "TIMESTAMP", "UTC, moment of the last event"),
        Column("n_events", "BIGINT", "Browsing events in the session"),
        *SOURCE_COLUMNS,
        Column("rule", "VARCHAR", "What decided source and channel (docs/channels.md); no source: direct"),
        Column("start_us", "BIGINT", "session_start in microseconds UTC"),
        Column("end_us", "BIGINT", "session_end in microseconds UTC"),
        Column("visit_start_us", "BIGINT", "Start of the visit, which only a gap ends; microseconds UTC"),
        Column("visit_end_us", "BIGINT", "End of the visit, microseconds UTC"),
        SOURCE_KEY,
        Column(
            "source_us",
            "BIGINT",
            "When the source became known, microseconds UTC: start_us where the first event tells it, later where a later one names it; NULL: direct",
        ),
        Column("session_id", "VARCHAR", "Pseudonym of the id sent, under the definition `tracker`; else NULL"),
        Column(
            "tie_no",
            "BIGINT",
            "Place among the person's sessions of the same start_us, by their first event's id; above 1 under `tracker` alone",
        ),
        PERSON_NO,
    ),
    reads=("staging.events", "core.identities"),
    step=build_sessions,
    settings=_settings,
    changes=ByPersonAndTime("start_us"),
    checks=(
        Check(
            "sessions_cover_events",
            "Sessions hold every browsing event exactly once.",
            _sessions_cover_events,
            changed=_sessions_cover_changed,
        ),
        Check(
            "sessions_do_not_overlap",
            "A person's sessions do not overlap (definition `tracker` excepted).",
            _sessions_do_not_overlap,
            changed=_changed_do_not_overlap,
        ),
    ),
)
