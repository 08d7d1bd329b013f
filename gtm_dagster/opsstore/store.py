"""The ops store of a deployment."""

from __future__ import annotations

from typing import Self

from gtm_dagster.opsstore.beats import Beats
from gtm_dagster.opsstore.flag_states import FlagStates
from gtm_dagster.opsstore.guard_links import GuardLinks
from gtm_dagster.opsstore.guard_records import GuardRecords
from gtm_dagster.opsstore.guards import Guards
from gtm_dagster.opsstore.metric_counts import MetricCounts
from gtm_dagster.opsstore.notifications import Notifications
from gtm_dagster.opsstore.ramp_steps import RampSteps
from gtm_dagster.opsstore.rollback_requests import RollbackRequests
from gtm_dagster.opsstore.rollbacks import Rollbacks
from gtm_dagster.opsstore.stream_positions import StreamPositions
from gtm_dagster.settings import Settings


class OpsStore(
    RampSteps,
    Guards,
    FlagStates,
    MetricCounts,
    GuardLinks,
    GuardRecords,
    StreamPositions,
    RollbackRequests,
    Rollbacks,
    Notifications,
    Beats,
):
    """`OpsStore("sqlite:////var/lib/gtm/ops.db")` or `OpsStore("postgresql+psycopg://...")`; also a context manager.

    Opening makes the tables when there are none and migrates those of an older version. Every method raises OpsStoreError
    when the database does not answer; opening also when a newer version wrote it.
    """

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The store the settings name."""
        return cls(settings.ops_address)
