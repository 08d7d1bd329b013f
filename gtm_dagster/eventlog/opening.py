"""`open_log`: the log a deployment's settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.eventlog.log import EventLog

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings


def open_log(settings: Settings) -> EventLog:
    """The deployment's log, made when there is none; close it, or use it in a `with`.

    Raises EventLogError when it cannot be opened, NewerFormatError when a newer version wrote it.
    """
    from gtm_dagster.eventlog.sqlite import SqliteEventLog

    return SqliteEventLog(settings.log_path, dedup_days=settings.dedup_days)
