"""Operational state in SQLite (default) or PostgreSQL: positions of the stream worker, counts and states of guards,
rollbacks, notifications.

Here belongs what must be exact, small and transactional, and the migrations of its tables. Not here: events (eventlog,
warehouse), and what a state or a count means (rollout).
"""

from gtm_dagster.opsstore.database import OpsStoreError, OpsStoreReplacedError
from gtm_dagster.opsstore.rows import (
    FlagRow,
    FoldedRow,
    GuardProgress,
    GuardRow,
    HistoryRow,
    NotificationRow,
    ProducerRow,
    RampStepRow,
    RequestRow,
    RollbackRow,
    UnitRow,
)
from gtm_dagster.opsstore.store import OpsStore

__all__ = [
    "FlagRow",
    "FoldedRow",
    "GuardProgress",
    "GuardRow",
    "HistoryRow",
    "NotificationRow",
    "OpsStore",
    "OpsStoreError",
    "OpsStoreReplacedError",
    "ProducerRow",
    "RampStepRow",
    "RequestRow",
    "RollbackRow",
    "UnitRow",
]
