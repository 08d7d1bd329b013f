"""`marts.trigger_effects`: persons with a message against those in the holdout, by the goal of the rule."""

from __future__ import annotations

import json
from dataclasses import dataclass

import duckdb

from gtm_dagster.attribution.share_intervals import difference_interval, share_interval
from gtm_dagster.warehouse.affected import SESSIONS, nothing_new, take_affected
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.marts.trigger_decisions import STATE
from gtm_dagster.warehouse.results import TableResult, count
from gtm_dagster.warehouse.state import get_state, set_state

_STEP = "trigger_effects"
_TABLE = "marts.trigger_effects"
_COUNTED = """WITH goals AS (
  SELECT unnest($1::VARCHAR[]) AS rule, unnest($2::VARCHAR[]) AS goal, unnest($3::BIGINT[]) AS within_us
), known AS (
  SELECT anonymous_id AS id, person_id FROM core.identities WHERE anonymous_id IS NOT NULL
  UNION SELECT user_id, person_id FROM core.identities WHERE user_id IS NOT NULL
), firsts AS (
  SELECT d.rule, coalesce(k.person_id, d.person) AS person,
    min(epoch_us(d.decided_at)) AS decided_us, coalesce(bool_or(d.reason = 'holdout'), false) AS is_holdout
  FROM marts.trigger_decisions d LEFT JOIN known k ON k.id = d.person
  WHERE d.outcome = 'sent' OR d.reason IN ('holdout', 'capped')
  GROUP BY 1, 2
), reached AS (
  SELECT e.event_name, e.event_us AS at_us, coalesce(u.person_id, e.user_id, a.person_id, e.anonymous_id) AS person
  FROM staging.events e LEFT JOIN known u ON u.id = e.user_id LEFT JOIN known a ON a.id = e.anonymous_id
  WHERE e.event_name IN (SELECT goal FROM goals)
), ends AS (SELECT coalesce(max(event_us), 0) AS until_us FROM staging.events), counted AS (
  SELECT f.rule, g.goal, g.within_us, f.is_holdout, f.decided_us + g.within_us <= ends.until_us AS is_over,
    EXISTS (SELECT 1 FROM reached r WHERE r.event_name = g.goal AND r.person = f.person
      AND r.at_us > f.decided_us AND r.at_us <= f.decided_us + g.within_us) AS has_converted
  FROM firsts f JOIN goals g USING (rule), ends
)
SELECT rule, goal, within_us, is_holdout, count(*) FILTER (is_over), count(*) FILTER (is_over AND has_converted),
  count(*) FILTER (NOT is_over)
FROM counted GROUP BY ALL ORDER BY ALL"""


@dataclass(frozen=True)
class _Arm:
    persons: int = 0
    converted: int = 0
    open: int = 0


def build_trigger_effects(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """Count both arms of every rule with a goal again, when a decision or an event is new."""
    seen = get_state(con, STATE)
    if get_state(con, _STEP) == seen and nothing_new(con, _STEP):
        return TableResult(count(con, _TABLE), changed=False)
    goals = [each for each in json.loads(seen or "{}").get("goals", []) if each[1] is not None]
    found = con.execute(_COUNTED, [list(column) for column in zip(*goals, strict=True)]).fetchall() if goals else []
    arms: dict[tuple[str, str, int], dict[bool, _Arm]] = {}
    for rule, goal, within_us, is_holdout, *counts in found:
        arms.setdefault((rule, goal, within_us), {})[is_holdout] = _Arm(*counts)
    with transaction(con):
        take_affected(con, _STEP, SESSIONS)
        set_state(con, _STEP, seen or "")
        con.execute("DELETE FROM marts.trigger_effects")
        for (rule, goal, within_us), pair in arms.items():
            for row in _rows(rule, goal, within_us / 3.6e9, pair.get(False, _Arm()), pair.get(True, _Arm())):
                con.execute("INSERT INTO marts.trigger_effects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    return TableResult(count(con, _TABLE))


def _rows(rule: str, goal: str, hours: float, message: _Arm, holdout: _Arm) -> list[list[object]]:
    effect: list[float | None] = [None, None, None]
    if message.persons and holdout.persons:
        difference = message.converted / message.persons - holdout.converted / holdout.persons
        ends = difference_interval(message.persons, message.converted, holdout.persons, holdout.converted)
        effect = [difference, *ends]
    return [
        [rule, goal, hours, name, arm.persons, arm.converted, *_rate(arm), *shown, arm.open]
        for name, arm, shown in (("message", message, effect), ("holdout", holdout, [None, None, None]))
    ]


def _rate(arm: _Arm) -> list[float | None]:
    if not arm.persons:
        return [None, None, None]
    return [arm.converted / arm.persons, *share_interval(arm.persons, arm.converted)]
