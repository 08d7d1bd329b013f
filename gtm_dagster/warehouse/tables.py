"""The tables of the working file, and the record of the settings each layer was built with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import duckdb
import msgspec

from gtm_dagster.warehouse.engine import in_memory, transaction

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings
    from gtm_dagster.taxonomy import Plan

LAYOUT = "3"
"""Goes up when a table of the working file changes its columns; a file of another layout is rebuilt from landing."""

DDL = """
CREATE SCHEMA IF NOT EXISTS meta;
CREATE SCHEMA IF NOT EXISTS staging;
CREATE SCHEMA IF NOT EXISTS core;
CREATE SCHEMA IF NOT EXISTS marts;
CREATE SCHEMA IF NOT EXISTS ops;
CREATE TABLE IF NOT EXISTS meta.state (name VARCHAR PRIMARY KEY, content VARCHAR);
CREATE TABLE IF NOT EXISTS meta.landing_files (file_key VARCHAR PRIMARY KEY, ingest_date DATE, rows BIGINT, staged_at TIMESTAMP);
CREATE TABLE IF NOT EXISTS meta.duplicates (ingest_date DATE, n BIGINT);
CREATE TABLE IF NOT EXISTS meta.ids (id_no BIGINT, id VARCHAR);
CREATE TABLE IF NOT EXISTS meta.changed (person_no BIGINT, user_no BIGINT, anonymous_no BIGINT, event_us BIGINT);
CREATE TABLE IF NOT EXISTS meta.scope (step VARCHAR, person_no BIGINT, lo_us BIGINT, hi_us BIGINT);
CREATE TABLE IF NOT EXISTS meta.rebuild (step VARCHAR);
CREATE TABLE IF NOT EXISTS meta.person_origin (person_no BIGINT, source VARCHAR, medium VARCHAR, campaign VARCHAR, channel VARCHAR);
CREATE TABLE IF NOT EXISTS meta.funnel_persons (person_no BIGINT, last_stage INTEGER, source VARCHAR, medium VARCHAR, campaign VARCHAR, channel VARCHAR);
CREATE TABLE IF NOT EXISTS meta.retention_persons (person_no BIGINT, first_no INTEGER, later_no INTEGER, first_channel VARCHAR);
CREATE TABLE IF NOT EXISTS meta.source_inputs (source VARCHAR, medium VARCHAR, campaign VARCHAR, referrer_host VARCHAR, click_kind VARCHAR, source_key INTEGER);
CREATE TABLE IF NOT EXISTS core.sources (source_key INTEGER, touch_rank INTEGER, source VARCHAR, medium VARCHAR, campaign VARCHAR, channel VARCHAR);
CREATE TABLE IF NOT EXISTS meta.events (
  write_key VARCHAR, event_id VARCHAR, event_name VARCHAR, person_no BIGINT, user_no BIGINT, anonymous_no BIGINT, session_id VARCHAR, properties VARCHAR, source VARCHAR, medium VARCHAR, campaign VARCHAR,
  term VARCHAR, content VARCHAR, device_type VARCHAR, locale VARCHAR, page_url VARCHAR, referrer VARCHAR,
  click_id VARCHAR, country VARCHAR, region VARCHAR, consent VARCHAR, plan_version VARCHAR,
  event_us BIGINT, received_us BIGINT, browsing BOOLEAN, local_day DATE, source_key INTEGER, touch_rank INTEGER);
CREATE TABLE IF NOT EXISTS staging.quarantine (
  write_key VARCHAR, event_id VARCHAR, event_name VARCHAR, reason_codes VARCHAR, errors VARCHAR, raw VARCHAR,
  sealed BLOB, received_at TIMESTAMP, received_us BIGINT, plan_version VARCHAR, origin VARCHAR, file_key VARCHAR, row_no BIGINT);
CREATE TABLE IF NOT EXISTS staging.books (
  ingest_date DATE, log_rows BIGINT, raw BIGINT, clean BIGINT, duplicates BIGINT, quarantined BIGINT, suppressed BIGINT);
CREATE TABLE IF NOT EXISTS core.identities (
  anonymous_id VARCHAR, user_id VARCHAR, person_id VARCHAR, first_seen_at TIMESTAMP, anonymous_no BIGINT, person_no BIGINT);
CREATE TABLE IF NOT EXISTS core.sessions (
  session_key VARCHAR, person_id VARCHAR, session_start TIMESTAMP, session_end TIMESTAMP, n_events BIGINT,
  source VARCHAR, medium VARCHAR, campaign VARCHAR, channel VARCHAR, start_us BIGINT, end_us BIGINT,
  visit_start_us BIGINT, visit_end_us BIGINT, source_key INTEGER, session_id VARCHAR, person_no BIGINT);
CREATE TABLE IF NOT EXISTS core.conversions (
  conversion_id VARCHAR, person_id VARCHAR, conversion_time TIMESTAMP, conversion_type VARCHAR, value DOUBLE,
  currency VARCHAR, day DATE, conversion_us BIGINT, person_no BIGINT);
CREATE TABLE IF NOT EXISTS core.touchpoints (
  conversion_id VARCHAR, session_key VARCHAR, touch_time TIMESTAMP, age_hours DOUBLE, source VARCHAR, medium VARCHAR,
  campaign VARCHAR, channel VARCHAR, person_id VARCHAR, conversion_us BIGINT, touch_us BIGINT, age_us BIGINT,
  source_key INTEGER, person_no BIGINT);
CREATE TABLE IF NOT EXISTS marts.attribution_credits (
  conversion_id VARCHAR, model VARCHAR, window_hours DOUBLE, session_key VARCHAR, channel VARCHAR, source VARCHAR,
  medium VARCHAR, campaign VARCHAR, credit DOUBLE, value DOUBLE, person_id VARCHAR, conversion_us BIGINT,
  person_no BIGINT);
CREATE TABLE IF NOT EXISTS marts.attribution_status (
  model VARCHAR, window_hours DOUBLE, computed BOOLEAN, reason VARCHAR);
CREATE TABLE IF NOT EXISTS marts.channel_attribution (
  day DATE, conversion_type VARCHAR, currency VARCHAR, model VARCHAR, window_hours DOUBLE, channel VARCHAR,
  conversions DOUBLE, value DOUBLE, spend DOUBLE, cpa DOUBLE, roas DOUBLE);
CREATE TABLE IF NOT EXISTS marts.funnel (
  source VARCHAR, medium VARCHAR, campaign VARCHAR, channel VARCHAR, stage VARCHAR, stage_no INTEGER, persons BIGINT);
CREATE TABLE IF NOT EXISTS marts.retention (
  cohort DATE, channel VARCHAR, period INTEGER, persons BIGINT, retained BIGINT);
"""

EVENTS = """CREATE VIEW IF NOT EXISTS staging.events AS
SELECT e.write_key, e.event_id, e.event_name, make_timestamp(e.event_us) AS event_time, p.id AS person_id, u.id AS user_id,
  a.id AS anonymous_id, e.* EXCLUDE (write_key, event_id, event_name, person_no, user_no, anonymous_no, event_us, received_us, browsing, local_day, source_key, touch_rank),
  make_timestamp(e.received_us) AS received_at, e.event_us, e.received_us, e.browsing, e.local_day, e.source_key, e.touch_rank
FROM meta.events e
LEFT JOIN meta.ids p ON p.id_no = e.person_no
LEFT JOIN meta.ids u ON u.id_no = e.user_no
LEFT JOIN meta.ids a ON a.id_no = e.anonymous_no"""
"""What is written is `meta.events`, whose ids are the numbers of `meta.ids`: a pseudonym of 64 characters costs some ten
times as much to write, to join and to sort by. The numbers are good within one working file; a rebuild gives others."""

COLUMNS = {
    "anonymous_id": "Pseudonym of the browser or device",
    "user_id": "Pseudonym of the user, NULL when not logged in",
    "person_id": "The user's pseudonym, else the anonymous one",
    "person_no": "Number of the person, for joins within this file; a rebuild gives others",
    "anonymous_no": "Number of the anonymous id, for joins within this file; a rebuild gives others",
    "write_key": "Name of the source; event ids are unique within it",
    "event_time": "When it happened, UTC",
    "received_at": "When the collector or the import took it, UTC; decides the ingest day",
    "local_day": "Day of the event in the report time zone",
    "browsing": "False for server events and flag exposures, which never touch a session",
    "session_key": "Person and start of the session",
    "session_start": "UTC; also the time of the touch",
    "session_end": "UTC, moment of the last event",
    "source_key": "Row of core.sources",
    "n_events": "Browsing events in the session",
    "conversion_id": "Write key and event id of the converting event",
    "conversion_type": "Name of the converting event",
    "conversion_time": "UTC",
    "value": "In `currency`; NULL where there is none, never 0 for unknown",
    "currency": "ISO 4217, as sent",
    "touch_time": "Start of the session, UTC",
    "age_hours": "Hours from the touch to the conversion",
    "model": "Attribution model",
    "window_hours": "Lookback of this result in hours",
    "credit": "Share of 1 of the conversion",
    "computed": "False: absent, see reason",
    "spend": "NULL without a spend source",
    "cpa": "Spend per credited conversion; NULL without spend",
    "roas": "Credited value per spend; NULL without spend",
    "persons": "Distinct persons",
    "cohort": "First day of the cohort's period, report time zone",
    "period": "Periods after the first, from 0",
    "retained": "Persons active in that period",
    "stage_no": "Position in funnel.steps, from 1",
    "ingest_date": "UTC date of received_at",
    "log_rows": "Rows the writer of the landing files says it took",
    "reason_codes": "Every reason, comma separated",
    "errors": "Every reason as JSON: path, code, message",
    "raw": "The event with personal values masked",
    "sealed": "The original, encrypted, for replay; not in the serving copy",
    "channel": "Default channel group, or (unattributed)",
    "day": "Day of the conversion, report time zone",
}
"""What a column means, where its name does not say it all; shown in the UI."""

STEPS = ("identities", "sessions", "conversions", "touchpoints", "credits", "funnel", "retention")
PUBLISH = "publish"
"""Publishing is owed what the steps replace, as they are by each other; it comes after them all."""


class SettingsChangedError(Exception):
    """The warehouse was built with other settings; the message names key, old and new value and the way out."""


@dataclass(frozen=True)
class BuildContext:
    """What every build step needs: the settings, the tracking plan, and whether to start from the landing files."""

    settings: Settings
    plan: Plan
    full: bool = False


def create(con: duckdb.DuckDBPyConnection) -> None:
    """Make every table that is not there yet, and source 0 (direct)."""
    con.execute(DDL)
    if not con.execute(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = 'staging' AND table_name = 'events'"
    ).fetchall():  # there it is a table of an older layout, which is about to be rebuilt or refused
        con.execute(EVENTS)
    con.execute(
        "INSERT INTO core.sources SELECT 0, NULL, 'direct', '(none)', NULL, 'Direct' WHERE NOT EXISTS (SELECT 1 FROM core.sources)"
    )


@cache
def columns_of(schema: str, table: str) -> tuple[tuple[str, str], ...]:
    """Name and type of every column of a table or view."""
    with in_memory() as con:
        create(con)
        described = con.execute(f"DESCRIBE {schema}.{table}").fetchall()
    return tuple((name, kind) for name, kind, *_ in described)


def reset(con: duckdb.DuckDBPyConnection) -> None:
    """Drop everything: the next `stage` reads all landing files again."""
    with transaction(con):
        for schema in ("meta", "staging", "core", "marts"):
            con.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        create(con)
        mark_rebuild(con, STEPS)


def mark_rebuild(con: duckdb.DuckDBPyConnection, steps: tuple[str, ...]) -> None:
    """The named steps build their table whole the next time they run."""
    for step in steps:
        con.execute("DELETE FROM meta.rebuild WHERE step = ?", [step])
        con.execute("INSERT INTO meta.rebuild VALUES (?)", [step])


def take_rebuild(con: duckdb.DuckDBPyConnection, step: str) -> bool:
    """Whether `step` has to build its table whole; asking settles the debt (inside the step's transaction).

    Readers are owed a whole copy then.
    """
    due = bool(con.execute("SELECT count(*) FROM meta.rebuild WHERE step = ?", [step]).fetchall()[0][0])
    if due:
        con.execute("DELETE FROM meta.rebuild WHERE step = ?", [step])
        mark_rebuild(con, (PUBLISH,))
    return due


def settle_publishing(con: duckdb.DuckDBPyConnection) -> None:
    """What changed is with the readers now; what a step has yet to replace stays owed to them."""
    con.execute("DELETE FROM meta.rebuild WHERE step = ?", [PUBLISH])
    con.execute("DELETE FROM meta.scope WHERE step = ?", [PUBLISH])
    con.execute(
        """INSERT INTO meta.scope SELECT DISTINCT $1, person_no, lo_us, hi_us FROM meta.scope
        WHERE step IN ('conversions', 'touchpoints', 'credits')""",
        [PUBLISH],
    )


def get_state(con: duckdb.DuckDBPyConnection, name: str) -> str | None:
    """A remembered value of the warehouse, None before the first."""
    row = con.execute("SELECT content FROM meta.state WHERE name = ?", [name]).fetchall()
    return str(row[0][0]) if row else None


def set_state(con: duckdb.DuckDBPyConnection, name: str, content: str) -> None:
    """Remember a value in the current transaction."""
    con.execute("DELETE FROM meta.state WHERE name = ?", [name])
    con.execute("INSERT INTO meta.state VALUES (?, ?)", [name, content])


def fingerprints(settings: Settings) -> dict[str, dict[str, str]]:
    """The settings that decide each layer's content, as text."""

    def told(value: object) -> str:
        return json.dumps(msgspec.to_builtins(value), sort_keys=True)

    return {
        "staging": {"layout": LAYOUT, "report_timezone": settings.report_timezone},
        "sessions": {
            "sessions.definition": settings.sessions.definition,
            "sessions.timeout_minutes": f"{settings.sessions.timeout_minutes:g}",
        },
        "conversions": {"conversions": told(settings.conversions)},
        "credits": {
            "attribution.windows": told(settings.attribution.windows),
            "attribution.half_life_hours": f"{settings.attribution.half_life_hours:g}",
        },
    }


_REBUILDS = {
    "sessions": ("sessions", "touchpoints", "credits"),
    "conversions": ("conversions", "touchpoints", "credits"),
    "credits": ("touchpoints", "credits"),
}


def check_settings(con: duckdb.DuckDBPyConnection, ctx: BuildContext, allow_rebuild: bool) -> list[str]:
    """Compare the settings with those the warehouse was built with.

    Returns a line for each difference it marked for rebuilding (none on a match). Raises SettingsChangedError when there
    is a difference and `allow_rebuild` is false.
    """
    create(con)
    if ctx.full:
        reset(con)
    new = fingerprints(ctx.settings)
    told = get_state(con, "fingerprints")
    old = json.loads(told) if told else new
    changes, layers = [], []
    for layer, keys in new.items():
        for key, value in keys.items():
            was = old.get(layer, {}).get(key)
            if was != value:
                changes.append(f"{key}: built with {was}, now {value}: rebuilding {layer} and what follows")
                layers.append(layer)
    if changes and not allow_rebuild:
        raise SettingsChangedError(
            "; ".join(changes) + ". Run `gtm refresh`, or launch the run with allow_rebuild: true, to rebuild."
        )
    if "staging" in layers:
        reset(con)
    with transaction(con):
        for layer in layers:
            mark_rebuild(con, _REBUILDS.get(layer, ()))
        set_state(con, "fingerprints", json.dumps(new))
    return changes
