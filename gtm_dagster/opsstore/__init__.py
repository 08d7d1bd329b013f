"""Operational state: counts and states of guards, rollbacks, notifications, in SQLite (default) or PostgreSQL.

Here belongs what must be exact, small and transactional. Not here: events (log, warehouse), and what a state means.
"""

from gtm_dagster.opsstore.connection import OpsStoreError
from gtm_dagster.opsstore.rows import (
    FlagRow,
    GuardRow,
    HistoryRow,
    NotificationRow,
    ProducerRow,
    RollbackRow,
    UnitRow,
)
from gtm_dagster.opsstore.store import OpsStore

__all__ = [
    "FlagRow",
    "GuardRow",
    "HistoryRow",
    "NotificationRow",
    "OpsStore",
    "OpsStoreError",
    "ProducerRow",
    "RollbackRow",
    "UnitRow",
]
