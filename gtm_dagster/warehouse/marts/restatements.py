"""`marts.restatements`: what a refresh changed of the credit of days that were over, and why.

What the mart holds now is compared with what it held when the log followed last (`meta.compared_credit`), so a refresh
that was killed, or rebuilt everything, is one comparison like any other. Reasons are told apart by conversion: those of
the affected ranges, with their credit from before (`causes.py`). A change that no conversion accounts for goes to the
first reason of the refresh. Log, comparison and notes move in one transaction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from gtm_dagster.warehouse.affected import drop_tables, longest_window_us, nothing_new, take_affected, within
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.causes import (
    IDENTITY_MERGE,
    LATE_EVENT,
    REASONS,
    REFUND,
    RULE_CHANGE,
    SPEND_IMPORT,
    WITHDRAWN_IMPORT,
)
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.literals import literal
from gtm_dagster.warehouse.marts.money import NEWS
from gtm_dagster.warehouse.results import count
from gtm_dagster.warehouse.schema import readers_of
from gtm_dagster.warehouse.state import get_state
from gtm_dagster.warehouse.statements import fragment

KEPT_DAYS = 400
KEPT_ROWS = 1_000_000
_STEP = "restatements"
_MART = "marts.channel_attribution"
_LONGEST_DETAIL = 500
_DIGESTS = ("statements", "staging rules", "channels", "public suffix list")


@dataclass(frozen=True)
class RestatementResult:
    """Rows of the log now, rows that came by reason, and rows that left it for age or number in all."""

    rows: int
    came: dict[str, int]
    ended: int
    changed: bool = True

    @property
    def metadata(self) -> dict[str, int | float | str]:
        return {
            "dagster/row_count": self.rows,
            "restated": ", ".join(f"{n} {reason}" for reason, n in self.came.items()) or "nothing",
            "rows_ended": self.ended,
        }


def build_restatements(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> RestatementResult:
    """Append what changed of the days that were over at the refresh before; the first time, only remember what there is."""
    if all(nothing_new(con, _STEP, stage) for stage in NEWS):
        return RestatementResult(count(con, "marts.restatements"), {}, _ended(con), changed=False)
    now = datetime.now(UTC).replace(tzinfo=None)
    with transaction(con):
        whole = take_affected(con, _STEP)
        con.execute(f"CREATE OR REPLACE TEMP TABLE changed_cells AS {fragment('changed_cells')}")
        first = not count(con, "meta.restatement_state")
        came = {} if first else _append(con, ctx, now, whole)
        con.execute(
            """DELETE FROM meta.compared_credit b USING changed_cells d WHERE b.day = d.day AND b.model = d.model
            AND b.window_hours = d.window_hours AND b.channel = d.channel AND b.conversion_type = d.conversion_type
            AND b.currency IS NOT DISTINCT FROM d.currency"""
        )
        con.execute(
            """INSERT INTO meta.compared_credit
            SELECT day, conversion_type, currency, model, window_hours, channel, conversions_after, value_after, net_after, spend_after
            FROM changed_cells WHERE is_after"""
        )
        _end_old(con, now)
        _remember(con, now)
        con.execute("DELETE FROM meta.restatement_causes")
        con.execute("DELETE FROM meta.replaced_credit")
    drop_tables(
        con, "affected", "changed_cells", "restated_cells", "restated_ids", "restated_parts", "restatement_reasons"
    )
    return RestatementResult(count(con, "marts.restatements"), came, _ended(con))


def _append(con: duckdb.DuckDBPyConnection, ctx: BuildContext, now: datetime, whole: bool) -> dict[str, int]:
    """Write the rows of this refresh; returns how many by reason."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE restated_cells AS {fragment('restated_cells')}")
    if not count(con, "restated_cells"):
        return {}
    details = _details(con)
    con.execute("CREATE OR REPLACE TEMP TABLE restatement_reasons (reason_no INTEGER, reason VARCHAR, detail VARCHAR)")
    for number, reason in enumerate(REASONS):
        con.execute("INSERT INTO restatement_reasons VALUES (?, ?, ?)", [number, reason, details.get(reason)])
    apart = not whole and RULE_CHANGE not in details
    among = within("c", "conversion_us", longest_window_us(ctx.settings))
    ids = fragment("restated_ids", within=among, refund=literal(REFUND), late=literal(LATE_EVENT))
    con.execute(f"CREATE OR REPLACE TEMP TABLE restated_ids AS {ids}")
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE restated_parts AS {fragment('restated_parts', apart=str(apart).lower())}"
    )
    first = min(REASONS.index(reason) for reason in details)
    rows = fragment("restatement_rows", rest=str(first), spend=str(REASONS.index(SPEND_IMPORT)))
    con.execute(f"INSERT INTO marts.restatements {rows}", [now])
    came = con.execute(
        "SELECT reason, count(*) FROM marts.restatements WHERE refreshed_at = ? GROUP BY 1 ORDER BY 1", [now]
    ).fetchall()
    return {str(reason): int(n) for reason, n in came}


def _details(con: duckdb.DuckDBPyConnection) -> dict[str, str | None]:
    """The reasons there are in this refresh besides late events, and what is known of each."""
    found: dict[str, str | None] = {}
    before, withdrawals = con.execute("SELECT fingerprints, withdrawals FROM meta.restatement_state").fetchall()[0]
    rules = _changed_rules(json.loads(before), json.loads(_rules(con)))
    if rules:
        found[RULE_CHANGE] = _short("; ".join(rules))
    batches = con.execute(
        "SELECT string_agg(DISTINCT detail, ', ' ORDER BY detail) FROM meta.restatement_causes WHERE cause = ?",
        [WITHDRAWN_IMPORT],
    ).fetchall()[0][0]
    if batches or _withdrawals(con) > withdrawals:
        found[WITHDRAWN_IMPORT] = _short(batches) if batches else None
    if con.execute("SELECT 1 FROM meta.restatement_causes WHERE cause = ? LIMIT 1", [IDENTITY_MERGE]).fetchall():
        found[IDENTITY_MERGE] = None
    found.setdefault(LATE_EVENT, None)
    return found


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_DETAIL else f"{text[: _LONGEST_DETAIL - 4]} ..."


def _changed_rules(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """The settings, statements and lists that differ; a digest by its name alone."""
    found = []
    for key in sorted(now):
        if key in before and before[key] != now[key]:
            name = key.partition(": ")[2]
            found.append(key if name in _DIGESTS else f"{name}: {before[key]} -> {now[key]}")
    return found


def _rules(con: duckdb.DuckDBPyConnection) -> str:
    """What decides credit of what the working file was built with: the fingerprints of the mart and of all it is made from."""
    stored = json.loads(get_state(con, "fingerprints") or "{}")
    rules = {
        f"{table}: {key}": str(value)
        for table, keys in stored.items()
        if _MART in readers_of({table})
        for key, value in keys.items()
        if key not in ("format", "columns")  # a column more changes no figure
    }
    return json.dumps(rules, sort_keys=True)


def _withdrawals(con: duckdb.DuckDBPyConnection) -> int:
    return int(con.execute("SELECT count(DISTINCT withdrawal) FROM meta.withdrawals").fetchall()[0][0])


def _ended(con: duckdb.DuckDBPyConnection) -> int:
    return int(con.execute("SELECT coalesce(max(ended), 0) FROM meta.restatement_state").fetchall()[0][0])


def _end_old(con: duckdb.DuckDBPyConnection, now: datetime) -> None:
    """The oldest rows go by age and number; how many have gone is what is missing before the first number."""
    con.execute("DELETE FROM marts.restatements WHERE refreshed_at < ?", [now - timedelta(days=KEPT_DAYS)])
    con.execute(
        "DELETE FROM marts.restatements WHERE restatement_no <= (SELECT max(restatement_no) FROM marts.restatements) - ?",
        [KEPT_ROWS],
    )


def _remember(con: duckdb.DuckDBPyConnection, now: datetime) -> None:
    """What the next refresh compares with, beside the credit: the days known now, rules and withdrawals."""
    last = con.execute(
        """SELECT greatest(coalesce((SELECT max(restatement_no) FROM marts.restatements), 0),
          coalesce((SELECT max(last_no) FROM meta.restatement_state), 0))"""
    ).fetchall()[0][0]
    days = con.execute("SELECT min(local_day), max(local_day) FROM meta.events").fetchall()[0]
    ended = int(last) - count(con, "marts.restatements")
    con.execute("DELETE FROM meta.restatement_state")
    con.execute(
        "INSERT INTO meta.restatement_state VALUES (?, ?, ?, ?, ?, ?, ?)",
        [*days, now, _withdrawals(con), _rules(con), last, ended],
    )
