"""What people read about a run in the web UI's list: what asked for it, and what was new. And the plumbing, which is hidden."""

from __future__ import annotations

from collections.abc import Mapping

from dagster._core.storage.tags import SCHEDULE_NAME_TAG, SENSOR_NAME_TAG

from gtm_dagster.orchestration.dead_runs import process_tags

TRIGGER, EVENTS = "trigger", "events"
EVENT_LOG, SCHEDULE, BY_HAND, IMPORT = "event log", "schedule", "by hand", "import"
WRITES = {".dagster/gtm_writes": "warehouse"}
"""Of a run that writes the warehouse: dagster.yaml lets the queue start one at a time."""


def run_tags(run_id: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Tags of a run that writes the warehouse: its process, by which a dead run is found, the queue's limit, its trigger.

    `tags`: those it has; a sensor and a schedule leave their names there.
    """
    asked_by = EVENT_LOG if SENSOR_NAME_TAG in tags else SCHEDULE if SCHEDULE_NAME_TAG in tags else BY_HAND
    return {TRIGGER: tags.get(TRIGGER, asked_by), **WRITES, **process_tags(run_id)}


def news_tags(
    tags: Mapping[str, str], new: int, quarantined: int, suppressed: int = 0, *, only_imported: bool
) -> dict[str, str]:
    """Tags of a run that staged something; suppressed rows, such as a drill's, are named where they are all there was. One started by hand that found nothing but imported files is of the import."""
    events = f"{new:,} new" + (f", {quarantined:,} refused" if quarantined else "")
    if suppressed and not new:
        events += f", {suppressed:,} suppressed"
    by_import = only_imported and tags.get(TRIGGER) == BY_HAND
    return {EVENTS: events, **({TRIGGER: IMPORT} if by_import else {})}
