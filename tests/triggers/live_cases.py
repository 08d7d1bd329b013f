"""The live runner behind the handles of the memory runner: a real log, a real `triggers.db`, a virtual clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace
from trigger_cases import SECOND, event, plan, us

from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.heartbeat_watch import Watch
from gtm_dagster.triggers.live_runner import LiveRunner
from gtm_dagster.triggers.rule_state import RuleState
from gtm_dagster.triggers.sqlite_store import all_states
from gtm_dagster.triggers.state_store import Outcome
from gtm_dagster.triggers.trigger_event import TriggerEvent


def record(event: TriggerEvent) -> Record:
    """The record by which the log has `event`."""
    return Record(
        write_key=event.write_key or "k",
        event_id=event.event_id,
        event_name=event.name,
        event_us=event.at_us,
        received_us=event.received_us,
        user_id=event.user_id,
        anonymous_id=event.anonymous_id,
        properties=msgspec.json.encode(event.properties).decode(),
        consent=msgspec.json.encode(event.consent).decode() if event.consent else None,
        timezone=event.timezone,
        bot_reason="curl" if event.bot else None,
        trace_id=event.trace_id,
        **event.context,
    )


class FixedRules:
    """What RulesWatch is to the runner."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules, self.plan, self.error = tuple(rules), plan(), None

    def look(self) -> None:
        pass


class LiveCase:
    """`restarts`: the runner is a new one at every call, as after a kill."""

    def __init__(self, folder: Path, rules: Sequence[Rule], restarts: bool = False, **options: Any) -> None:
        self.folder, self.restarts, self.options = folder, restarts, options
        self.log = SqliteEventLog(folder / "events.db")
        self.watched = FixedRules(rules)
        self.now_us = 0
        self.outcomes: list[Outcome] = []
        self.runner = self._new()
        self.runner.drain()

    def _new(self) -> LiveRunner:
        runner = LiveRunner(
            self.log, self.folder / "events.db", self.folder / "triggers.db", self.watched, clock=lambda: self.now_us,
            seen=self.outcomes.append, look_seconds=0, **self.options,
        )  # fmt: skip
        runner._con.execute("PRAGMA synchronous = OFF")  # no test cuts the power
        return runner

    def restart(self) -> None:
        self.runner.close()
        self.runner = self._new()

    def work(self) -> None:
        """Take what is there."""
        if self.restarts:
            self.restart()
        self.runner.drain()

    def receive(self, event: TriggerEvent) -> None:
        self.advance(event.received_us - 1)
        self.log.append([record(event)])
        self.now_us = event.received_us
        self.work()

    def advance(self, to_us: int) -> None:
        """The clock of a worker that is awake: it stops at each timer."""
        while (due_us := self.runner._store.next_wake()) is not None and due_us <= to_us:
            self.now_us = max(self.now_us, due_us)
            self.work()
        self.now_us = max(self.now_us, to_us)

    def finish(self) -> None:
        while (due_us := self.runner._store.next_wake()) is not None:
            self.advance(due_us)

    def heartbeat(self, at_us: int) -> None:
        self.advance(at_us)
        self.log.beat("collector", at_us, at_us)
        self.work()

    def resume(self, records: Iterable[TriggerEvent], wall_us: int) -> None:
        self.runner.close()
        for each in records:
            self.log.append([record(each)])
        self.now_us = wall_us
        self.runner = self._new()
        self.runner.drain()

    def change_rules(self, rules: Sequence[Rule]) -> None:
        self.watched.rules = tuple(rules)
        self.work()

    @property
    def states(self) -> dict[tuple[str, str], RuleState]:
        return {(rule, person): state for rule, person, state in all_states(self.runner._con)}

    @property
    def watch(self) -> Watch:
        return self.runner._engine.watches.get("", Watch())

    def rows(self) -> list[dict[str, Any]]:
        """The table `occurrences`."""
        cursor = self.runner._con.execute("SELECT * FROM occurrences ORDER BY rule, trigger_event_id")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def messages(self) -> list[dict[str, Any]]:
        """The outbox."""
        cursor = self.runner._con.execute("SELECT * FROM outbox ORDER BY action_id")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def close(self) -> None:
        self.runner.close()
        self.log.close()


def views(n: int, first: str = "10:00", person: str = "p1") -> list[TriggerEvent]:
    begin = us(first)
    return [
        replace(
            event("pricing_viewed", first, person, event_id=f"{person} {first} {number}"),
            at_us=begin + number * SECOND,
            received_us=begin + number * SECOND,
        )
        for number in range(n)
    ]
