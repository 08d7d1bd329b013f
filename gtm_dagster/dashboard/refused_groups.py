"""Groups of refused events as the page shows them: what would help by today's plan, and the line that replays them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gtm_dagster.dashboard.snapshots import Rows
from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy import Plan, PlanError, load_plan
from gtm_dagster.warehouse.quarantine_groups import QuarantineGroup
from gtm_dagster.warehouse.quarantine_suggestions import Suggestion, replay_command, suggestions

Group = tuple[str | None, str]
"""Event name and shape."""


def plan_today(settings: Settings) -> Plan | None:
    """The plan that judges now; None while its file cannot be read."""
    try:
        return load_plan(settings.plan_file)
    except (PlanError, OSError):
        return None


def help_for(row: Mapping[str, Any], values: Mapping[Group, list[Any]], plan: Plan | None) -> dict[str, Any]:
    """`group` (its id), `suggestions` and `replay` (the command line) of a row of the groups.

    `values`: rows of groups as `refused_documents` has them. Without a plan nothing is suggested.
    """
    group = QuarantineGroup(
        event_name=row["event_name"], shape=row["shape"], rows=row["alike"], accepted_since=0,
        last_7_days=row["last_7_days"], week_before=row["week_before"], first_us=0, newest_us=0,
        example_id=row["event_id"], write_keys=(row["write_key"],), plan_versions=(),
    )  # fmt: skip
    documents = values.get((group.event_name, group.shape), [])
    found: list[Suggestion] = [] if plan is None else suggestions(plan, group, _values_in(documents))
    return {"group": group.id, "suggestions": found, "replay": replay_command(group, found)}


def refused_documents(rows: Rows) -> dict[Group, list[Any]]:
    """The masked events of each group of the chart of values, decoded; those that are none are left out."""
    found: dict[Group, list[Any]] = {}
    for row in rows.records():
        documents = found.setdefault((row["event_name"], row["shape"]), [])
        for text in row["newest"] or ():
            try:
                documents.append(msgspec.json.decode(text))
            except (msgspec.DecodeError, TypeError, RecursionError):
                continue
    return found


def _values_in(documents: list[Any]) -> Callable[[str], list[Any] | None]:
    """The values at a field (`properties.amount`) of all documents; None where one has none, or there are no documents."""

    def values(path: str) -> list[Any] | None:
        found = []
        for document in documents:
            for part in path.split(".", 1):
                document = document.get(part) if isinstance(document, dict) else None
            if document is None:
                return None
            found.append(document)
        return found or None

    return values
