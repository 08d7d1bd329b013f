"""How the live rules stand, read from `triggers.db` by anybody beside the runner."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from pathlib import Path

from msgspec import Struct

from gtm_dagster.eventlog import EventLogError
from gtm_dagster.eventlog.log_file import newest_receipt
from gtm_dagster.triggers import runner_rows as rows
from gtm_dagster.triggers.heard_keys import watch_of
from gtm_dagster.triggers.sharded.shard_ledger import shard_metas
from gtm_dagster.triggers.trigger_db import reading_trigger_db

DAY_US = 86_400 * 1_000_000
SILENT_US = 30_000_000
"""A shard commits five times a second while a resolver and its worker run."""


class RuleStatus(Struct, frozen=True):
    """A rule. `status`: active, paused or degraded; `open`, `held`: starts that wait; `sent`, `not_sent` (by reason) are of
    the UTC day. `blind`: nobody is heard who would report its cancelling event; None where it needs nobody.
    """

    rule: str
    status: str
    faults: int
    open: int
    held: int
    sent: int
    not_sent: dict[str, int]
    blind: bool | None


class ShardStatus(Struct, frozen=True):
    """A shard of `gtm trigger run`, as `worker` committed it last, at `committed_us` (microseconds UTC). `offset`: of the message
    of `events.by_person` it takes next, which a job of Flink does not say; `lag_seconds`: how far its clock is behind now; `behind`: it decides nothing before it
    has read to the log's end. `timers` places wait for a time, the first for `next_us`; `open`, `held`: starts that wait.
    """

    number: int
    worker: str
    offset: int | None
    lag_seconds: float
    behind: bool
    open: int
    held: int
    timers: int
    next_us: int | None
    committed_us: int
    is_silent: bool


class TriggerStatus(Struct, frozen=True):
    """`outbox`: messages by status. `lag_events`: records the runner has not taken; None where the log cannot be read;
    `lag_seconds`: from the receipt of the record taken last to that of the newest. `rules_error`: why the file of rules is
    not what runs. `shards`: those of `gtm trigger run`; none where `gtm stream` runs the rules.
    """

    rules: tuple[RuleStatus, ...]
    outbox: dict[str, int]
    offset: int | None
    lag_events: int | None
    lag_seconds: float | None
    warming: bool
    rules_error: str | None
    shards: tuple[ShardStatus, ...] = ()

    @property
    def is_well(self) -> bool:
        """No rule is stopped, no message was given up, the file of rules is what runs, and every shard commits."""
        return (
            self.rules_error is None
            and not self.outbox.get("dead")
            and all(rule.status != "degraded" for rule in self.rules)
            and not any(shard.is_silent for shard in self.shards)
        )


def trigger_status(path: Path, log_path: Path, now_us: int) -> TriggerStatus:
    """How things stand at `now_us` (microseconds UTC). Raises TriggerDbError, NewerFormatError."""
    with reading_trigger_db(path) as con:
        notes = rows.notes(con)
        found = rows.stored_position(con)
        offset = None if found is None else found[0].seq
        events, seconds = _lag(log_path, offset, None if found is None else found[0].received_us)
        outbox = dict(con.execute("SELECT status, count(*) FROM outbox GROUP BY status").fetchall())
        return TriggerStatus(
            _rules(con, now_us), outbox, offset, events, seconds, notes.get("warming") == "1", notes.get("rules_error"),
            _shards(con, now_us),
        )  # fmt: skip


def open_starts(path: Path) -> dict[str, int]:
    """Starts of each rule that are open or wait. Raises TriggerDbError, NewerFormatError."""
    with reading_trigger_db(path) as con:
        return dict(
            con.execute("SELECT rule, count(*) FROM occurrences WHERE outcome IN ('open', 'held') GROUP BY rule").fetchall()
        )  # fmt: skip


def _rules(con: sqlite3.Connection, now_us: int) -> tuple[RuleStatus, ...]:
    pending: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for rule, outcome, n in con.execute(
        "SELECT rule, outcome, count(*) FROM occurrences WHERE outcome IN ('open', 'held') GROUP BY rule, outcome"
    ):
        pending[rule][outcome] = n
    sent: defaultdict[str, int] = defaultdict(int)
    not_sent: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for rule, outcome, reason, n in con.execute(
        "SELECT rule, outcome, reason, count(*) FROM occurrences WHERE decided_us >= ? AND outcome IN ('sent', 'not_sent') "
        "GROUP BY rule, outcome, reason ORDER BY count(*) DESC, reason",
        (now_us - now_us % DAY_US,),
    ):
        if outcome == "sent":
            sent[rule] += n
        else:
            not_sent[rule][reason] = n
    watches, senders = rows.stored_watches(con), rows.stored_senders(con)
    statuses = rows.rule_statuses(con)
    return tuple(
        RuleStatus(
            rule.name, *statuses[rule.name], pending[rule.name].get("open", 0), pending[rule.name].get("held", 0),
            sent[rule.name], not_sent[rule.name],
            watch_of(rule, watches, senders).is_blind(now_us) if rule.kind == "absent" else None,
        )
        for rule in rows.stored_rules(con)
    )  # fmt: skip


def _shards(con: sqlite3.Connection, now_us: int) -> tuple[ShardStatus, ...]:
    return tuple(
        ShardStatus(
            number, meta.worker, meta.position.get("events"), max(now_us - max(meta.clock_us, 0), 0) / 1e6, meta.behind,
            sum(meta.open.values()), sum(meta.held.values()), meta.timers, meta.next_us, meta.committed_us,
            now_us - meta.committed_us > SILENT_US,
        )
        for number, meta in shard_metas(con).items()
    )  # fmt: skip


def _lag(log_path: Path, offset: int | None, received_us: int | None) -> tuple[int | None, float | None]:
    try:
        end, newest_us = newest_receipt(log_path)
    except EventLogError:
        return None, None
    if offset is None or end <= offset:
        return (None if offset is None else 0), (None if offset is None else 0.0)
    behind = None if newest_us is None or received_us is None else max(newest_us - received_us, 0) / 1e6
    return end - offset, behind
