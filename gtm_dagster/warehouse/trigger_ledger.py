"""`triggers.db` as the warehouse reads it: decided starts with what became of their messages, and the goals of the rules.

The runner of the rules and the deliverer write that file while this reads it; nothing here writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

FILE_NAME = "triggers.db"
_BUSY_SECONDS = 10.0
_DECIDED = """SELECT o.rule, o.trigger_event_id, o.person, o.outcome, o.reason, o.action_id, m.channel, m.target,
  m.status, m.attempts, m.last_error, o.started_us, o.due_us, o.received_us, o.decided_us, o.wall_us, m.ended_us
FROM occurrences o LEFT JOIN outbox m ON m.action_id = o.action_id
WHERE o.outcome IN ('sent', 'not_sent')"""
_NEWS = " AND (o.wall_us >= ? OR o.action_id IN (SELECT value FROM json_each(?)))"
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in (
            "rule", "trigger_event_id", "person", "outcome", "reason", "action_id", "channel", "target", "status",
        )),
        ("attempts", pa.int64()),
        ("last_error", pa.string()),
        *((name, pa.int64()) for name in (
            "started_us", "due_us", "received_us", "decided_us", "wall_us", "ended_us",
        )),
    ]
)  # fmt: skip


class Goal(msgspec.Struct, frozen=True):
    """What the messages of a rule are meant to bring about; None where the rule does not say."""

    rule: str
    event: str | None
    within_us: int


def file_mark(settings: Settings) -> list[int] | None:
    """Tells one content of the file from another; None when there is no file."""
    path = settings.state_dir / FILE_NAME
    marks: list[int] = []
    for part in (path, path.with_name(f"{FILE_NAME}-wal")):
        try:
            found = part.stat()
        except FileNotFoundError:
            continue
        marks += [found.st_ino, found.st_size, found.st_mtime_ns]
    return marks if path.exists() else None


@contextmanager
def reading(settings: Settings) -> Iterator[sqlite3.Connection]:
    """A connection in one transaction, so that all statements see the same moment. Raises sqlite3.Error."""
    path = settings.state_dir / FILE_NAME
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS)) as con:
        con.execute("PRAGMA query_only = ON")
        con.execute("BEGIN")
        yield con


def is_ready(settings: Settings) -> bool:
    """Whether the file is there with its tables; a runner that starts this moment may not have made them."""
    if not Path(settings.state_dir / FILE_NAME).exists():
        return False
    with reading(settings) as con:
        names = {name for (name,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {"occurrences", "outbox", "rules"} <= names


def decided_count(con: sqlite3.Connection) -> int:
    """How many starts are decided."""
    return int(con.execute("SELECT count(*) FROM occurrences WHERE outcome IN ('sent', 'not_sent')").fetchone()[0])


def decided(con: sqlite3.Connection, since_us: int | None, waiting: Sequence[str] = ()) -> pa.Table:
    """Decided starts as SCHEMA has them: all, or those decided at `since_us` or later, and those of the actions `waiting`."""
    found = (
        con.execute(_DECIDED)
        if since_us is None
        else con.execute(_DECIDED + _NEWS, (since_us, msgspec.json.encode(waiting).decode()))
    )
    columns = list(zip(*found.fetchall(), strict=True)) or [()] * len(SCHEMA)
    return pa.table([pa.array(each, kind.type) for each, kind in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def goals(con: sqlite3.Connection) -> list[Goal]:
    """The goal of each rule that runs, by name."""
    found: list[Goal] = []
    for name, data in con.execute("SELECT name, rule FROM rules ORDER BY name"):
        rule = msgspec.msgpack.decode(data)
        found.append(Goal(name, rule.get("goal"), int(rule.get("goal_within_us", 0))))
    return found
