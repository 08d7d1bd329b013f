"""What the working file was built with, and what a change of it means.

A table's fingerprint is what decides its content: its columns, the settings it reads, the code and statements of its
step; for staging also the tracking plan, its rules, the channel rules with their lists and the public suffix list. A table whose fingerprint changed is built
whole, and so is everything that reads it; a change of staging reads all landing files again.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec

from gtm_dagster.channels.sites import suffixes_digest
from gtm_dagster.channels.window_channels import check_window_channels
from gtm_dagster.warehouse import source_code
from gtm_dagster.warehouse.affected import PUBLISH, check_step, rebuild
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.changed_values import changed_values
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.schema import Table, built, readers_of, tables
from gtm_dagster.warehouse.schema.ddl import create, drop_all, replace_table
from gtm_dagster.warehouse.state import get_state, set_state

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings
    from gtm_dagster.taxonomy import Plan

Fingerprints = dict[str, dict[str, str]]
"""Text by key, by table."""
STAGING = "staging.events"
_STAGING_CODE = ("gtm_dagster.warehouse.staging.stage", "gtm_dagster.channels.classify")
JUDGED_AGAIN = "judged again"
"""State: whether the rows of other plan versions were judged by this plan, as a full rebuild does."""
FORMAT = 4
"""Of the working file as a whole, and of this record; a file of another one is rebuilt from landing."""


class SettingsChangedError(Exception):
    """The warehouse was built with other settings, rules or statements; the message names key, old and new value, and
    the way out.
    """


def fingerprints(settings: Settings, plan: Plan) -> Fingerprints:
    """What decides the content of each table, as text."""
    found = {table.name: _fingerprint(table, settings) for table in tables() if table.step is not None}
    found[STAGING] = {
        "format": str(FORMAT),
        "columns": _layout(tuple(table for table in tables() if table.step is None and table.schema != "ops")),
        **{
            key: _text(value)
            for table in tables()
            if table.name == STAGING
            for key, value in table.settings(settings).items()
        },
        "plan": f"{plan.version} ({plan.fingerprint[:12]})",
        "staging rules": _digest(*_STAGING_CODE[:1]),
        "channels": _digest(*_STAGING_CODE[1:]),
        "public suffix list": suffixes_digest(),
    }
    return found


def _fingerprint(table: Table, settings: Settings) -> dict[str, str]:
    found = {"columns": _layout((table,)), **{key: _text(value) for key, value in table.settings(settings).items()}}
    if table.step is not None:
        found["statements"] = _digest(table.step.__module__)
    return found


def _text(value: object) -> str:
    """The value as people write it; every digit of a number counts."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return json.dumps(msgspec.to_builtins(value), sort_keys=True)


@cache
def _layout(declared: tuple[Table, ...]) -> str:
    return hashlib.sha256("\n".join(table.ddl for table in declared).encode()).hexdigest()[:12]


@cache
def _digest(*modules: str) -> str:
    return source_code.digest(modules)[:12]


def check_settings(con: duckdb.DuckDBPyConnection, ctx: BuildContext, allow_rebuild: bool) -> list[str]:
    """Compare with what the warehouse was built with, and make every table that is not there.

    Returns a line for each difference it marked for rebuilding (none on a match). Raises SettingsChangedError when there
    is a difference and `allow_rebuild` is false; then nothing was changed. Raises SettingsError for a window that names
    what is no channel.
    """
    check_window_channels(ctx.settings)
    create(con)
    if ctx.full:
        drop_all(con)
    new = fingerprints(ctx.settings, ctx.plan)
    stored = get_state(con, "fingerprints")
    old: Any = json.loads(stored) if stored else new
    changed: set[str] = set()
    found: dict[str, list[str]] = {}
    for name, key, before, now in differences(old, new):
        changed.add(name)
        was, becomes = changed_values(before, now)
        found.setdefault(f"{key}: built with {was}, now {becomes}", []).append(name)
    if found and not allow_rebuild:
        raise SettingsChangedError(
            "; ".join(
                f"{change}, so {', '.join(names)} and what follows must be rebuilt" for change, names in found.items()
            )
            + ". Run `gtm refresh`, or launch the job rebuild."
        )
    lines = [f"{change}: rebuilding {', '.join(names)} and what follows" for change, names in found.items()]
    if STAGING in changed:
        drop_all(con)
    with transaction(con):
        if ctx.full or STAGING in changed:
            set_state(con, JUDGED_AGAIN, "yes" if ctx.full else "")
        for name in changed - {STAGING}:
            if old.get(name, {}).get("columns") != new[name]["columns"]:
                replace_table(con, name)
        rebuild(con, *(table.table for table in built() if table.name in readers_of(changed)))
        _forget_unknown_steps(con)
        set_state(con, "fingerprints", json.dumps(new))
    return lines


def recorded(con: duckdb.DuckDBPyConnection) -> Any:
    """What the open warehouse was built with, as `differences` takes it; {} for one that was never built."""
    return json.loads(get_state(con, "fingerprints") or "{}")


def differences(old: Any, new: Fingerprints) -> list[tuple[str, str, str | None, str]]:
    """(table, key, before, now) of what changed; a table that was not there before is no change."""
    if STAGING not in old:  # written before tables had fingerprints of their own
        return [(STAGING, "format", str(old.get("staging", {}).get("layout")), str(FORMAT))]
    found = []
    for name, keys in new.items():
        for key, now in keys.items():
            before = old.get(name, keys).get(key)
            if before != now:
                found.append((name, key if "." in key or name == STAGING else f"{name}: {key}", before, now))
    return found


def _forget_unknown_steps(con: duckdb.DuckDBPyConnection) -> None:
    """Steps that are not declared any more follow nothing, and must not hold back what all others have followed."""
    steps = [table.table for table in built()]
    known = [*steps, *(check_step(table.table) for table in built() if table.checks), PUBLISH]
    con.execute("DELETE FROM meta.steps WHERE NOT list_contains($1::VARCHAR[], step)", [known])
