"""The landing zone: immutable Parquet files by ingest date, written by imports and by what follows the event log.

Here belongs what a file and its manifest say. Not here: what its rows mean (staging).
"""

from gtm_dagster.warehouse.landing.day_files import DAY_US
from gtm_dagster.warehouse.landing.files import Landing, LandingFile
from gtm_dagster.warehouse.landing.landing_columns import ARROW_SCHEMA, ROW_COLUMNS, complete, named_as_today
from gtm_dagster.warehouse.landing.manifests import Manifest, log_name
from gtm_dagster.warehouse.landing.withdrawals import WithdrawalError, Withdrawn

__all__ = [
    "ARROW_SCHEMA",
    "DAY_US",
    "ROW_COLUMNS",
    "Landing",
    "LandingFile",
    "Manifest",
    "WithdrawalError",
    "Withdrawn",
    "complete",
    "log_name",
    "named_as_today",
]
