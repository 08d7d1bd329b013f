"""`staging.events`."""

from __future__ import annotations

from collections.abc import Mapping

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.schema.shared_columns import CAMPAIGN, MEDIUM, PERSON_ID, SOURCE, SOURCE_KEY
from gtm_dagster.warehouse.schema.table import STAGED, Check, Column, Table, none_of
from gtm_dagster.warehouse.staging.checks import (
    books_balance,
    changed_books_balance,
    changed_days_recount,
    copies_agree,
    days_recount,
)
from gtm_dagster.warehouse.statements import text


def _settings(settings: Settings) -> Mapping[str, object]:
    return {
        "report_timezone": settings.report_timezone,
        "own_hosts": sorted(set(settings.own_hosts)),
        "sessions.bots": settings.sessions.bots,
    }


TABLE = Table(
    name="staging.events",
    meaning="Clean events: each (write_key, event_id) once, judged by the tracking plan, identifiers as pseudonyms.",
    columns=(
        Column("write_key", "VARCHAR", "Name of the source; event ids are unique within it"),
        Column("event_id", "VARCHAR", "As sent when it is plainly random or a code, else its pseudonym"),
        Column("event_name", "VARCHAR", "Name in the tracking plan"),
        Column("event_time", "TIMESTAMP", "When it happened, UTC"),
        PERSON_ID,
        Column("user_id", "VARCHAR", "Pseudonym of the user, NULL when not logged in"),
        Column("anonymous_id", "VARCHAR", "Pseudonym of the browser or device"),
        Column("session_id", "VARCHAR", "Pseudonym; the session under the definition `tracker`"),
        Column("properties", "VARCHAR", "JSON object of the event's properties"),
        SOURCE,
        MEDIUM,
        CAMPAIGN,
        Column("term", "VARCHAR", "utm_term, NULL without one"),
        Column("content", "VARCHAR", "utm_content, NULL without one"),
        Column("device_type", "VARCHAR", "web, mobile or api"),
        Column("locale", "VARCHAR", "Language of the client, as sent"),
        Column("page_url", "VARCHAR", "Page without its query"),
        Column("referrer", "VARCHAR", "Referring page without its query"),
        Column("click_id", "VARCHAR", "Click id of an ad, as sent"),
        Column("country", "VARCHAR", "As sent"),
        Column("region", "VARCHAR", "As sent"),
        Column("timezone", "VARCHAR", "IANA name of the sender's time zone, as sent"),
        Column("consent", "VARCHAR", "JSON object of consents, NULL when none was sent"),
        Column("plan_version", "VARCHAR", "Version of the tracking plan it was judged by"),
        Column("received_at", "TIMESTAMP", "When the collector or the import took it, UTC; decides the ingest day"),
        Column("event_us", "BIGINT", "event_time in microseconds UTC"),
        Column("received_us", "BIGINT", "received_at in microseconds UTC"),
        Column(
            "browsing",
            "BOOLEAN",
            "False for server events, flag exposures and excluded bots, which never touch a session",
        ),
        Column("local_day", "DATE", "Day of the event in the report time zone"),
        SOURCE_KEY,
        Column("touch_rank", "INTEGER", "1: names its source, 2: was referred; NULL: neither"),
        Column("is_bot", "BOOLEAN", "Whether it came with the user agent of a program"),
        Column("bot_reason", "VARCHAR", "Name of that program; the agent itself is never kept"),
    ),
    reads=("ingestion.landing_events",),
    settings=_settings,
    view=text("events_view"),
    served=False,
    news=(STAGED,),
    checks=(
        Check(
            "books_balance",
            "Every ingest day: raw = clean + duplicates + quarantined + suppressed, and the landing zone agrees.",
            books_balance,
            changed=changed_books_balance,
        ),
        Check(
            "staged_days_recount",
            "Every ingest day, counted again from the Parquet files and the table.",
            days_recount,
            changed=changed_days_recount,
        ),
        Check(
            "unique_event_id",
            "One row for each (write_key, event_id).",
            none_of(text("repeated_event_ids"), "ids occur more than once"),
            changed=none_of(text("changed_event_ids"), "ids of the days staged occur more than once"),
        ),
        Check(
            "copies_of_an_id_agree",
            "Copies of one (write_key, event_id) have the same content.",
            copies_agree,
            blocking=False,
            severity="WARN",
        ),
    ),
)
