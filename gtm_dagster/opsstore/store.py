"""The ops store of a deployment."""

from __future__ import annotations

from typing import Self

from gtm_dagster.opsstore.counted import Counted
from gtm_dagster.opsstore.guards import Guards
from gtm_dagster.opsstore.notifications import Notifications
from gtm_dagster.opsstore.rollbacks import Rollbacks
from gtm_dagster.settings import Settings


class OpsStore(Guards, Counted, Rollbacks, Notifications):
    """`OpsStore("sqlite:////var/lib/gtm/ops.db")` or `OpsStore("postgresql+psycopg://...")`; also a context manager.

    Opening makes the tables when there are none. Every method raises OpsStoreError when the database does not answer.
    """

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The store the settings name."""
        return cls(settings.ops_address)
