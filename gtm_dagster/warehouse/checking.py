"""Runs the checks of a table over what changed since they last passed, and over everything where that is due.

A check is a follower of the affected ranges like any step: its place is kept in `meta.steps` (for staging, by the staged
files, in `meta.state`) and moves in one transaction with its result. What a killed run has not checked is still there
for the next one. Over everything: after a rebuild, when settings or checks changed, when it did not pass last time, and
by the first refresh of a UTC day. When nothing changed since it passed, nothing is looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from importlib import resources
from typing import Any

import duckdb
import msgspec

from gtm_dagster.warehouse.affected import (
    check_step,
    drop_tables,
    find_affected,
    follow_to_end,
    needs_rebuild,
    nothing_new,
)
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.results import CheckResult, count
from gtm_dagster.warehouse.schema import Table
from gtm_dagster.warehouse.schema.table import STAGED, Check
from gtm_dagster.warehouse.state import get_state, set_state


class Form(Enum):
    """What a check looks at."""

    EVERYTHING = "everything"
    CHANGED = "what changed"
    NOTHING = "nothing"


class News(Enum):
    """What is known of the changes since the checks of a table ran last."""

    UNKNOWN = "everything may have changed"
    SOME = "the changed part is known"
    NONE = "nothing changed"


@dataclass(frozen=True)
class LastTime:
    """How a check ended last time: where, when (UTC), under which rules, and when it last passed over everything."""

    passed: bool
    rules: str
    run: str
    at: datetime
    whole_at: datetime | None


def form_of(last: LastTime | None, news: News, rules: str, now: datetime, *, has_changed_form: bool) -> Form:
    """What a check has to look at now; `now` in UTC without a zone, as `last` has it."""
    if last is None or not last.passed or last.rules != rules or news is News.UNKNOWN:
        return Form.EVERYTHING
    if last.whole_at is None or last.whole_at.date() != now.date():
        return Form.EVERYTHING
    if news is News.NONE:
        return Form.NOTHING
    return Form.CHANGED if has_changed_form else Form.EVERYTHING


def run_checks(
    con: duckdb.DuckDBPyConnection, ctx: BuildContext, table: Table, run: str, now: datetime | None = None
) -> list[tuple[Check, CheckResult]]:
    """Run the checks of `table` now (UTC), in the form that is due; `run` names this run to the next one.

    The caller's connection is in no transaction. The result is written down before this returns.
    """
    if not table.checks:
        return []
    now = (now or datetime.now(UTC)).replace(tzinfo=None)
    rules = _rules(ctx)
    place = _staged_place(con) if table.news == (STAGED,) else None
    news = _news(con, table, place)
    times = _last_times(con, table)
    found: list[tuple[Check, CheckResult]] = []
    notes: list[list[object]] = []
    for check in table.checks:
        last = times.get(_name(table, check))
        form = form_of(last, news, rules, now, has_changed_form=check.changed is not None)
        whole_at = now if form is Form.EVERYTHING else last.whole_at if last else None
        if form is Form.NOTHING and last is not None:
            found.append((check, _nothing_changed(last)))
            continue
        run_form = check.changed if form is Form.CHANGED and check.changed is not None else check.run
        result = run_form(con, ctx)
        found.append((check, CheckResult(result.passed, result.description, {**result.metadata, "over": form.value})))
        notes.append([_name(table, check), result.passed, rules, run, now, whole_at])
    if news is not News.NONE:
        drop_tables(con, "changed_persons", "changed_files")
    if notes:
        with transaction(con):
            _note(con, notes)
            _move(con, table, place)
    return found


def run_alone(
    con: duckdb.DuckDBPyConnection,
    ctx: BuildContext,
    table: Table,
    names: Collection[str],
    run: str,
    now: datetime | None = None,
) -> list[tuple[Check, CheckResult]]:
    """Run the named checks of `table` over everything, whatever changed; `run` and `now` as `run_checks`.

    Their outcome is written down. The place up to which the table is checked stays: the other checks have not moved.
    """
    now = (now or datetime.now(UTC)).replace(tzinfo=None)
    wanted = [check for check in table.checks if check.name in names]
    found = [(check, check.run(con, ctx)) for check in wanted]
    notes = [[_name(table, check), result.passed, _rules(ctx), run, now, now] for check, result in found]
    with transaction(con):
        _note(con, notes)
    return [
        (check, CheckResult(result.passed, result.description, {**result.metadata, "over": Form.EVERYTHING.value}))
        for check, result in found
    ]


def _note(con: duckdb.DuckDBPyConnection, notes: list[list[object]]) -> None:
    """Write down how checks ended, in the current transaction."""
    if notes:
        con.execute("DELETE FROM meta.checks WHERE list_contains($1::VARCHAR[], name)", [[note[0] for note in notes]])
        con.executemany("INSERT INTO meta.checks VALUES (?, ?, ?, ?, ?, ?)", notes)


def _nothing_changed(last: LastTime) -> CheckResult:
    whole = f"{last.whole_at:%Y-%m-%d %H:%M}" if last.whole_at else "never"
    return CheckResult(
        True,
        f"nothing changed since run {last.run[:8]} at {last.at:%Y-%m-%d %H:%M} UTC, where it passed; over everything at {whole} UTC",
        {"over": Form.NOTHING.value},
    )


def _name(table: Table, check: Check) -> str:
    return f"{table.name}: {check.name}"


def _last_times(con: duckdb.DuckDBPyConnection, table: Table) -> dict[str, LastTime]:
    """How each check of the table ended when it ran last, by its name; without those that never ran."""
    rows = con.execute(
        "SELECT name, passed, rules, checked_in, checked_at, whole_at FROM meta.checks WHERE list_contains($1::VARCHAR[], name)",
        [[_name(table, check) for check in table.checks]],
    ).fetchall()
    return {name: LastTime(*row) for name, *row in rows}


def _news(con: duckdb.DuckDBPyConnection, table: Table, place: dict[str, int] | None) -> News:
    """What changed since the checks ran last; makes `changed_persons` or `changed_files` for the checks when it is known."""
    if place is not None:
        return _staged_news(con, table, place)
    step = check_step(table.table)
    if needs_rebuild(con, table.table) or needs_rebuild(con, step):
        return News.UNKNOWN
    if all(nothing_new(con, step, stage) for stage in table.news):
        return News.NONE
    find_affected(con, step, *table.news)
    con.execute("CREATE OR REPLACE TEMP TABLE changed_persons AS SELECT person_no FROM affected")
    drop_tables(con, "affected")
    return News.SOME if count(con, "changed_persons") else News.NONE


def _staged_place(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How far staging is: files, when the last was staged, and withdrawals followed."""
    files, staged_us = con.execute(
        "SELECT count(*), coalesce(max(epoch_us(staged_at)), 0) FROM meta.landing_files"
    ).fetchall()[0]
    return {"files": int(files), "staged_us": int(staged_us), "withdrawals": count(con, "meta.withdrawals")}


def _staged_news(con: duckdb.DuckDBPyConnection, table: Table, now: dict[str, int]) -> News:
    """After a withdrawal, and where the files staged since do not add up with those there, everything is looked at."""
    stored = get_state(con, check_step(table.name))
    before = json.loads(stored) if stored else None
    if before == now:
        return News.NONE
    if before is None or before["withdrawals"] != now["withdrawals"]:
        return News.UNKNOWN
    con.execute(
        "CREATE OR REPLACE TEMP TABLE changed_files AS SELECT file_key, ingest_date FROM meta.landing_files WHERE epoch_us(staged_at) > ?",
        [before["staged_us"]],
    )
    return News.SOME if before["files"] + count(con, "changed_files") == now["files"] else News.UNKNOWN


def _move(con: duckdb.DuckDBPyConnection, table: Table, place: dict[str, int] | None) -> None:
    """What was there when the checks began is checked; nothing else writes meanwhile."""
    if place is not None:
        set_state(con, check_step(table.name), json.dumps(place))
    else:
        follow_to_end(con, check_step(table.table), table.news[0])


def _rules(ctx: BuildContext) -> str:
    """Digest of the settings and of the checks: another one makes every check look at everything."""
    settings = json.dumps(_numbers_alike(msgspec.to_builtins(ctx.settings, enc_hook=str)), sort_keys=True)
    return hashlib.sha256(f"{settings}\n{_code()}".encode()).hexdigest()[:16]


def _numbers_alike(value: Any) -> Any:
    """30 and 30.0 are one setting: which of them it is depends on how the settings came to this process."""
    if isinstance(value, dict):
        return {str(key): _numbers_alike(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_numbers_alike(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@cache
def _code() -> str:
    found = hashlib.sha256()
    rooms = resources.files("gtm_dagster.warehouse")
    for room in (rooms / "schema", rooms / "staging", rooms / "sql" / "staging"):
        for file in sorted(room.iterdir(), key=lambda each: each.name):
            if file.name.endswith((".py", ".sql")):
                found.update(file.read_bytes())
    return found.hexdigest()
