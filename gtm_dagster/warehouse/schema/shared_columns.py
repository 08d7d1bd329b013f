"""Columns that several tables have in common."""

from __future__ import annotations

from gtm_dagster.warehouse.schema.table import Column

SOURCE = Column("source", "VARCHAR", "Where the visit came from: utm_source, or the referring site")
MEDIUM = Column("medium", "VARCHAR", "Kind of source: organic, cpc, email, referral, (none), ...")
CAMPAIGN = Column("campaign", "VARCHAR", "Name of the campaign, NULL without one")
CHANNEL = Column("channel", "VARCHAR", "Default channel group of source, medium and campaign")
SOURCE_COLUMNS = (SOURCE, MEDIUM, CAMPAIGN, CHANNEL)
SOURCE_KEY = Column("source_key", "INTEGER", "Row of core.sources, within this file", local=True)
PERSON_ID = Column(
    "person_id",
    "VARCHAR",
    "The user's pseudonym, else the anonymous one; the smallest of several where an alias makes users one person",
)
PERSON_NO = Column(
    "person_no", "BIGINT", "Number of the person, for joins within this file; a rebuild gives others", local=True
)
CONVERSION_ID = Column(
    "conversion_id",
    "VARCHAR",
    "Write key and event id of the converting event, with a colon between; colons and backslashes of the write key have a backslash before them",
)
CONVERSION_US = Column("conversion_us", "BIGINT", "Time of the conversion, microseconds UTC")
CURRENCY = Column("currency", "VARCHAR", "ISO 4217, as sent")
CONVERSION_TYPE = Column("conversion_type", "VARCHAR", "Name of the converting event")
MODEL = Column("model", "VARCHAR", "Name of the attribution window, or its model where it has none")
WINDOW_HOURS = Column("window_hours", "DOUBLE", "Lookback of this result in hours")
SESSION_KEY = Column("session_key", "VARCHAR", "Person and start of the session")
CONVERSION_DAY = Column("day", "DATE", "Day of the conversion, report time zone")
