"""What the working file remembers for the next refresh; nobody reads these tables from outside."""

from __future__ import annotations

from gtm_dagster.warehouse.schema.shared_columns import SOURCE_COLUMNS
from gtm_dagster.warehouse.schema.table import Column, Table


def _internal(name: str, meaning: str, *columns: tuple[str, str, str], random: str = "") -> Table:
    declared = tuple(Column(*column, local=True, random=column[0] == random) for column in columns)
    return Table(f"meta.{name}", meaning, declared, served=False)


_PERSON = ("person_no", "BIGINT", "Number of the person")
_SOURCES = tuple((column.name, column.type, column.meaning) for column in SOURCE_COLUMNS)

TABLES = (
    _internal(
        "state",
        "Values by name: fingerprints, the file published last, settings that per-person marts were counted with.",
        ("name", "VARCHAR PRIMARY KEY", "What it is"),
        ("content", "VARCHAR", "Its value"),
    ),
    _internal(
        "landing_files",
        "Landed files that are staged.",
        ("file_key", "VARCHAR PRIMARY KEY", "Ingest date and batch"),
        ("ingest_date", "DATE", "UTC date of received_at"),
        ("rows", "BIGINT", "Rows the writer says it holds"),
        ("staged_at", "TIMESTAMP", "When it was staged, UTC"),
    ),
    _internal(
        "withdrawals",
        "Withdrawals that staging has followed.",
        ("withdrawal", "VARCHAR", "Batch, and which withdrawal of it"),
        ("ingest_date", "DATE", "UTC date of received_at"),
        ("rows", "BIGINT", "Rows the batch had that day"),
    ),
    _internal(
        "conflicts",
        "Ids whose landed copies differ in content.",
        ("write_key", "VARCHAR", "Name of the source"),
        ("event_id", "VARCHAR", "As sent"),
    ),
    _internal(
        "duplicates",
        "Rows that staging dropped as duplicates, by ingest day; one row a staging.",
        ("ingest_date", "DATE", "UTC date of received_at of the copy that was dropped"),
        ("n", "BIGINT", "How many"),
    ),
    _internal(
        "ids",
        "The numbers of user and anonymous ids within this file.",
        ("id_no", "BIGINT", "Number"),
        ("id", "VARCHAR", "Pseudonym"),
        random="id",
    ),
    _internal(
        "changed",
        "Events that staging added or replaced, until identities have followed.",
        ("person_no", "BIGINT", "Person of an event that went away"),
        ("user_no", "BIGINT", "User of an event that came"),
        ("anonymous_no", "BIGINT", "Anonymous id of the event"),
        ("event_us", "BIGINT", "When it happened, microseconds UTC"),
    ),
    _internal(
        "alias_events",
        "Events that may name another id of their user.",
        ("write_key", "VARCHAR", "Name of the source"),
        ("event_id", "VARCHAR", "As sent"),
    ),
    _internal(
        "user_persons",
        "Users who are one person by an alias, and that person.",
        ("user_no", "BIGINT", "Number of the user"),
        _PERSON,
    ),
    _internal(
        "claimed_ids",
        "Anonymous ids that an alias gives to a user where no event does.",
        ("anonymous_no", "BIGINT", "Number of the anonymous id"),
        ("user_no", "BIGINT", "Number of the user"),
    ),
    _internal(
        "conversion_events",
        "Events that can be a conversion, and refunds: one of a payment decides about the others of it.",
        ("conversion_type", "VARCHAR", "Name of the converting event; of a refund that of the payment"),
        ("is_refund", "BOOLEAN", "Takes value back"),
        ("payment", "VARCHAR", "What the settings' `unique`, or `of` of a refund, names; NULL: the event stands alone"),
        ("write_key", "VARCHAR", "Name of the source"),
        ("event_id", "VARCHAR", "As sent"),
        ("event_us", "BIGINT", "When it happened, microseconds UTC"),
        ("local_day", "DATE", "Day of the event in the report time zone"),
        _PERSON,
        ("amount", "DOUBLE", "Value; NULL where there is no finite number"),
        ("is_no_number", "BOOLEAN", "The event has a value that is no finite number"),
        ("currency", "VARCHAR", "As sent"),
    ),
    _internal(
        "spend_batches",
        "Imports of spend that core.spend has read.",
        ("batch", "VARCHAR", "Name of the import"),
        ("imported_us", "BIGINT", "When it was imported, microseconds UTC"),
        ("mark", "BIGINT", "Tells one landing of the batch from another"),
    ),
    _internal(
        "spend_rows",
        "The rows of these imports.",
        ("batch", "VARCHAR", "Name of the import"),
        ("write_key", "VARCHAR", "Name of the source of the import"),
        ("account_day", "DATE", "Day of the ad account, in its time zone"),
        ("timezone", "VARCHAR", "Of the ad account; NULL: the report time zone"),
        *((name, "VARCHAR", "As imported") for name in ("source", "medium", "campaign", "channel", "currency")),
        ("cost", "DOUBLE", "Amount in `currency`"),
        ("impressions", "BIGINT", "As imported"),
        ("clicks", "BIGINT", "As imported"),
        ("row_no", "BIGINT", "Row of the file"),
    ),
    _internal(
        "affected_ranges",
        "The log of affected persons and times (warehouse/affected.py).",
        ("batch", "BIGINT", "Number of the entry, from 1"),
        ("stage", "VARCHAR", "events, sessions, owners or spend"),
        _PERSON,
        ("lo_us", "BIGINT", "First affected moment, microseconds UTC"),
        ("hi_us", "BIGINT", "Last affected moment, microseconds UTC"),
    ),
    _internal(
        "steps",
        "How far each step has followed the affected ranges; a step without a row builds its table whole.",
        ("step", "VARCHAR", "Name of the step"),
        ("stage", "VARCHAR", "Stage of the ranges it follows"),
        ("followed", "BIGINT", "Last batch it has followed"),
    ),
    _internal(
        "checks",
        "How each check ended last time (warehouse/checking.py).",
        ("name", "VARCHAR", "Table and check"),
        ("passed", "BOOLEAN", "Whether it passed"),
        ("rules", "VARCHAR", "Digest of the settings and checks it ran with"),
        ("checked_in", "VARCHAR", "The Dagster run"),
        ("checked_at", "TIMESTAMP", "When, UTC"),
        ("whole_at", "TIMESTAMP", "When it last looked at everything, UTC"),
    ),
    _internal(
        "person_origin",
        "Start and source of each person's first session.",
        _PERSON,
        *_SOURCES,
        ("start_us", "BIGINT", "Start of the session, microseconds UTC"),
        ("first_day", "DATE", "Day of the start, report time zone"),
    ),
    _internal(
        "account_moments",
        "The moments at which events name an account of their person.",
        _PERSON,
        ("event_us", "BIGINT", "When it happened, microseconds UTC"),
        ("local_day", "DATE", "Its day in the report time zone"),
        ("account_id", "VARCHAR", "The account, by the last event of the moment"),
    ),
    _internal(
        "funnel_persons",
        "The funnel stages each person reached, and when.",
        _PERSON,
        ("stage_no", "INTEGER", "Number of the stage, from 1"),
        ("reached_us", "BIGINT", "When it was reached, microseconds UTC"),
        ("waited_us", "BIGINT", "Microseconds since the stage before; NULL for the first"),
    ),
    _internal(
        "funnel_by_model_persons",
        "Shares of each person's stages by the source of the sessions up to them.",
        _PERSON,
        ("stage_no", "INTEGER", "Number of the stage, from 1"),
        ("source_key", "INTEGER", "Row of core.sources"),
        ("first_share", "DOUBLE", "Share under first_touch"),
        ("last_share", "DOUBLE", "Share under last_touch"),
        ("named_share", "DOUBLE", "Share under last_non_direct"),
        ("linear_share", "DOUBLE", "Share under linear"),
    ),
    _internal(
        "retention_persons",
        "The periods in which each person was active.",
        _PERSON,
        ("first_no", "INTEGER", "Number of the first period"),
        ("later_no", "INTEGER", "Periods after the first"),
        ("first_channel", "VARCHAR", "Channel of the first session"),
    ),
    _internal(
        "person_paths",
        "The path of each conversion, and of each person of a month without one, by window; without a type: of none.",
        _PERSON,
        ("moment_us", "BIGINT", "The conversion, or the end of the month's last session, microseconds UTC"),
        *((name, kind, "As core.paths") for name, kind in (
            ("month", "DATE"), ("conversion_type", "VARCHAR"), ("currency", "VARCHAR"), ("model", "VARCHAR"),
            ("window_hours", "DOUBLE"), ("path", "VARCHAR"), ("touches", "BIGINT"),
        )),
        ("conversions", "BIGINT", "1: it converted"),
        ("value", "DOUBLE", "Value of the conversion"),
        ("nulls", "BIGINT", "1: it did not"),
    ),
    _internal(
        "events",
        "The clean events with ids as numbers; staging.events gives the ids back.",
        ("write_key", "VARCHAR", "Name of the source; event ids are unique within it"),
        ("event_id", "VARCHAR", "As sent"),
        ("event_name", "VARCHAR", "Name in the tracking plan"),
        _PERSON,
        ("user_no", "BIGINT", "Number of the user"),
        ("anonymous_no", "BIGINT", "Number of the anonymous id"),
        *((name, "VARCHAR", "As staging.events") for name in (
            "session_id", "properties", "source", "medium", "campaign", "term", "content", "device_type", "locale",
            "page_url", "referrer", "click_id", "country", "region", "timezone", "consent", "plan_version", "bot_reason",
        )),
        ("event_us", "BIGINT", "When it happened, microseconds UTC"),
        ("received_us", "BIGINT", "When it was taken, microseconds UTC"),
        ("browsing", "BOOLEAN", "False for server events, flag exposures and what is not counted"),
        ("counted", "BOOLEAN", "False for events of bots where the settings exclude them"),
        ("local_day", "DATE", "Day of the event in the report time zone"),
        ("source_key", "INTEGER", "Row of core.sources"),
        ("touch_rank", "INTEGER", "1: names its source, 2: was referred; NULL: neither"),
        random="event_id",
    ),
)  # fmt: skip
"""What is written is `meta.events`, whose ids are the numbers of `meta.ids`: a pseudonym of 64 characters costs some ten
times as much to write, to join and to sort by. The numbers are good within one working file; a rebuild gives others."""
