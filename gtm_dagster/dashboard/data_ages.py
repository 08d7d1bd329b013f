"""How far the data has come on its way, place by place: event log, landing, serving copy, and how old each is."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from gtm_dagster.dashboard.live_store import LiveStore
from gtm_dagster.dashboard.notices import UnavailableError
from gtm_dagster.eventlog import EventLogError, log_exists, open_log
from gtm_dagster.eventlog.log_file import newest_receipt
from gtm_dagster.eventlog.newest_events import newest_of
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.landing.listing import BATCHES

_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Age:
    """A place on the way of the data. `at`: when its newest came there, UTC; None: nothing is known, `why` says more."""

    name: str
    meaning: str
    at: datetime | None
    why: str = ""


class DataAges:
    """The ages of a deployment; looked at once a second at most."""

    def __init__(self, settings: Settings, live: LiveStore) -> None:
        self._settings = settings
        self._live = live
        self._lock = threading.Lock()
        self._looked = 0.0
        self._ages: tuple[Age, ...] = ()

    def ages(self, published: datetime | None) -> tuple[Age, ...]:
        """Log, stream worker, landing and the published copy."""
        with self._lock:
            if time.monotonic() - self._looked > _LOOK_SECONDS or not self._ages:
                self._ages = (self._log(), self._counted(), self._landed())
                self._looked = time.monotonic()
            found = self._ages
        why = "" if published else "run `gtm refresh`"
        return (*found, Age("published", "The serving copy was put in place", published, why))

    def _log(self) -> Age:
        name, meaning = "received", "The newest event was received"
        if not log_exists(self._settings):
            return Age(name, meaning, None, "no event log yet: `gtm dev` starts the collector")
        try:
            seq, received_us = _newest(self._settings)
        except EventLogError as error:
            return Age(name, meaning, None, str(error))
        if received_us is None:
            return Age(name, meaning, None, "it is no longer kept in the log" if seq else "the log is empty")
        return Age(name, meaning, datetime.fromtimestamp(received_us / 1e6, UTC))

    def _counted(self) -> Age:
        name, meaning = "counted", "The newest event that the stream worker has counted was received"
        try:
            at = self._live.counted_until()
        except UnavailableError as error:
            return Age(name, meaning, None, error.notice.what)
        return Age(name, meaning, at, "" if at else "the stream worker has counted nothing yet")

    def _landed(self) -> Age:
        name, meaning = "landed", "The newest batch was landed"
        try:
            changed = (self._settings.landing_dir / BATCHES).stat().st_mtime
        except OSError:
            return Age(name, meaning, None, "nothing has landed yet: run `gtm refresh`")
        return Age(name, meaning, datetime.fromtimestamp(changed, UTC))


def _newest(settings: Settings) -> tuple[int, int | None]:
    """The newest offset of the log, and when its record was received (microseconds UTC; None: it is not kept)."""
    if settings.event_log is None:
        return newest_receipt(settings.log_path)
    with open_log(settings) as log:
        rows = newest_of(log, 1)
        return (rows[0]["row_no"], rows[0]["received_us"]) if rows else (log.last_seq(), None)
