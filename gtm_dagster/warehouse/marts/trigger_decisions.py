"""`marts.trigger_decisions`: what the rules decided and what became of their messages, as `triggers.db` has it."""

from __future__ import annotations

import json

import duckdb

from gtm_dagster.warehouse import trigger_ledger as ledger
from gtm_dagster.warehouse.affected import (
    SESSIONS,
    check_step,
    follow_to_end,
    needs_rebuild,
    nothing_new,
    rebuild,
)
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.results import StepResult, count, number
from gtm_dagster.warehouse.state import get_state, set_state

STATE = "trigger_decisions"
TABLE = "marts.trigger_decisions"
_OVERLAP_US = 60_000_000
"""Read again: a commit that began earlier may have ended after the last look."""
_INSERT = """INSERT INTO marts.trigger_decisions
SELECT rule, trigger_event_id, person, outcome, reason, action_id, channel, target, status AS delivery, attempts,
  last_error, make_timestamp(started_us), make_timestamp(due_us), make_timestamp(received_us), make_timestamp(decided_us),
  make_timestamp(wall_us), CASE WHEN status = 'delivered' THEN make_timestamp(ended_us) END,
  (wall_us - greatest(coalesce(received_us, 0), coalesce(due_us, 0))) / 1e6,
  CASE WHEN status = 'delivered' THEN (ended_us - greatest(coalesce(received_us, 0), coalesce(due_us, 0))) / 1e6 END
FROM landed_decisions"""


def build_trigger_decisions(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """Take over what was decided, or ended, since the last time; everything when rows left or the table is new."""
    mark = ledger.file_mark(ctx.settings)
    known = json.loads(get_state(con, STATE) or "{}")
    whole = needs_rebuild(con, STATE)
    if known.get("mark") == mark and not whole:
        if not nothing_new(con, STATE):
            with transaction(con):  # what events changed changes nothing here; others wait for who has not seen it
                follow_to_end(con, STATE, SESSIONS)
        return StepResult(count(con, TABLE), 0, 0, False)
    goals: list[list[object]] = []
    if mark is None or not ledger.is_ready(ctx.settings):
        written = _written(con, ledger.SCHEMA.empty_table(), whole=True)
    else:
        with ledger.reading(ctx.settings) as source:
            since_us = None if whole else _since(con)
            goals = [[goal.rule, goal.event, goal.within_us] for goal in ledger.goals(source)]
            written = _written(con, ledger.decided(source, since_us, _waiting(con)), whole=since_us is None)
            if since_us is not None and written.rows != ledger.decided_count(source):
                # rows ended or were erased: none of theirs may stay
                written = _written(con, ledger.decided(source, None), whole=True)
    with transaction(con):
        follow_to_end(con, STATE, SESSIONS)
        rebuild(con, check_step(STATE))
        set_state(con, STATE, json.dumps({"mark": mark, "version": known.get("version", 0) + 1, "goals": goals}))
    return written


def _since(con: duckdb.DuckDBPyConnection) -> int | None:
    newest = number(con, "SELECT epoch_us(max(decided_wall_at)) FROM marts.trigger_decisions")
    return None if newest is None else int(newest) - _OVERLAP_US


def _waiting(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Messages that had not ended at the last look."""
    found = con.execute("SELECT action_id FROM marts.trigger_decisions WHERE delivery = 'due'").fetchall()
    return [action for (action,) in found]


def _written(con: duckdb.DuckDBPyConnection, rows: object, *, whole: bool) -> StepResult:
    con.register("landed_decisions", rows)
    try:
        with transaction(con):
            if whole:
                con.execute("DELETE FROM marts.trigger_decisions")
            else:
                con.execute(
                    """DELETE FROM marts.trigger_decisions USING landed_decisions d
                    WHERE trigger_decisions.rule = d.rule AND trigger_decisions.trigger_event_id = d.trigger_event_id"""
                )
            con.execute(_INSERT)
        written = int(number(con, "SELECT count(*) FROM landed_decisions"))
    finally:
        con.unregister("landed_decisions")
    return StepResult(count(con, TABLE), written, 0, whole)
