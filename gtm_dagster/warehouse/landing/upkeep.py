"""What every refresh does to the landing zone beside landing: leftovers go, sealed originals end, closed days are compacted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gtm_dagster.warehouse.landing.compaction import tidy_closed_days
from gtm_dagster.warehouse.landing.files import Landing
from gtm_dagster.warehouse.landing.landed_spend import SpendLanding
from gtm_dagster.warehouse.landing.sealed_originals import end_sealed, first_kept_day
from gtm_dagster.warehouse.landing.writers import sweep

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings


@dataclass(frozen=True)
class Upkeep:
    """`compacted` batches of the log became `compacted_into`; `sealed_days_ended`: ingest days whose originals went;
    `unsealed`: files of earlier versions that hold no originals any more.
    """

    compacted: int
    compacted_into: int
    sealed_days_ended: int
    unsealed: int

    @property
    def metadata(self) -> dict[str, int]:
        """What was done; nothing where nothing was to do."""
        return {name: n for name, n in vars(self).items() if n}


def keep_up(settings: Settings, now: datetime | None = None) -> Upkeep:
    """Do what is due at `now` (default: this moment). The caller holds the warehouse's lock.

    Raises OSError when the disk refuses; what reads manifests raises as `Landing` says.
    """
    landing = Landing(settings.landing_dir)
    if not landing.folder.is_dir():
        return Upkeep(0, 0, 0, 0)
    moment = datetime.now(UTC) if now is None else now
    first_kept = first_kept_day(settings.quarantine.days, moment)
    sweep(landing.folder)
    sweep(SpendLanding(settings.landing_dir).folder)
    ended = end_sealed(landing.folder, first_kept)
    tidied = tidy_closed_days(landing.folder, first_kept, moment)
    landing.update_index()
    return Upkeep(tidied.batches, tidied.into, ended, tidied.unsealed)
