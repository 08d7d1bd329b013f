"""Rules over events in memory: for tests of rules, and for the past. The order of things is the engine's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.heard_keys import COLLECTOR
from gtm_dagster.triggers.heartbeat_watch import Watch
from gtm_dagster.triggers.rule_engine import RuleEngine
from gtm_dagster.triggers.rule_state import RuleState
from gtm_dagster.triggers.state_store import MemoryStore, Outcome, OutcomeList
from gtm_dagster.triggers.trigger_event import TriggerEvent

__all__ = ["MemoryRunner", "Outcome"]


class MemoryRunner:
    """`outcomes` grows in the order of decisions; take them and clear it when it is long."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._store, self._list = MemoryStore(), OutcomeList()
        self._engine = RuleEngine(rules, self._store, self._list)

    @property
    def outcomes(self) -> list[Outcome]:
        return self._list.outcomes

    @property
    def states(self) -> dict[tuple[str, str], RuleState]:
        """By rule and person."""
        return self._store.states

    @property
    def clock_us(self) -> int:
        return self._engine.clock_us

    @property
    def watch(self) -> Watch:
        """Who was heard."""
        return self._engine.watches.get(COLLECTOR, Watch())

    def receive(self, event: TriggerEvent) -> None:
        """Takes the next record of the log; first fires what is due by its receipt."""
        self._engine.receive(event)

    def advance(self, to_us: int) -> None:
        """Moves the clock, which never goes back, and fires what is due, each at its own moment."""
        self._engine.advance(to_us)

    def finish(self) -> None:
        """Moves the clock until nothing waits for it any more."""
        while (due_us := self._store.next_wake()) is not None:
            self._engine.advance(due_us)

    def heartbeat(self, at_us: int) -> None:
        """A sender of cancelling events was heard."""
        self._engine.advance(at_us)
        self._engine.watches[COLLECTOR] = self.watch.heard(at_us)

    def resume(self, records: Iterable[TriggerEvent], wall_us: int) -> None:
        """Reads what came while nobody read, then goes on at `wall_us`: nothing goes out before the log's end is reached."""
        self._engine.behind = True
        for record in records:
            self._engine.receive(record)
        self._engine.caught_up(wall_us)

    def change_rules(self, rules: Sequence[Rule]) -> None:
        """Other rules from now on: an edited one decides what its edit does to open starts; one that is gone drops its own."""
        self._engine.change_rules(rules)
