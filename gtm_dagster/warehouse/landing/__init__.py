"""The landing zone: immutable Parquet files by ingest date, written by imports and by what follows the event log."""

from gtm_dagster.warehouse.landing.files import ARROW_SCHEMA, DAY_US, Landing, LandingFile, log_name

__all__ = ["ARROW_SCHEMA", "DAY_US", "Landing", "LandingFile", "log_name"]
