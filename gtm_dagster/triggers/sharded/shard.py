"""One shard: an engine over the persons of one partition, fed with its messages in their order. Pure but for what it is given.

What it did since the last `flush` is changelog records and outputs, which whoever feeds it writes in one transaction with the
position; `restore` makes the shard of them again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.heartbeat_watch import Watch
from gtm_dagster.triggers.occurrence_journal import Decisions
from gtm_dagster.triggers.rule_engine import RuleEngine
from gtm_dagster.triggers.sharded.shard_journal import Output, ShardJournal
from gtm_dagster.triggers.sharded.shard_messages import (
    Arrives,
    Clock,
    Erase,
    Happened,
    Heard,
    Leaves,
    Linked,
    Message,
    Moved,
    RuleSet,
    Sends,
    Switched,
    encoded,
)
from gtm_dagster.triggers.sharded.shard_meta import FAULTS_UNTIL_STOPPED, Meta, decoded_meta
from gtm_dagster.triggers.sharded.shard_starts import ErasedThere, SwitchedThere
from gtm_dagster.triggers.sharded.shard_store import META, RULES, ShardStore

BEHIND_US = 10_000_000
_log = logging.getLogger("gtm_dagster.triggers")


class Flushed(NamedTuple):
    """`changelog`: records by key, None ends a key. `outputs`: what is published, in order."""

    changelog: dict[bytes, bytes | None]
    outputs: list[Output]


_rules = msgspec.json.Decoder(RuleSet).decode


class Shard:
    """`clock`: microseconds UTC of the machine, to see that the shard is behind. `position`: its feeder's own, kept with the rest."""

    def __init__(self, number: int, clock: Callable[[], int], worker: str = "") -> None:
        self.number, self._clock, self._worker = number, clock, worker
        self._store = ShardStore()
        self._journal = ShardJournal(self._store, number, clock)
        self._engine = RuleEngine((), self._store, self._journal)
        self._arrived_seq = 0
        self._faults: Counter[str] = Counter()
        self._moves: dict[int, Moved] = {}
        self._rules: bytes | None = None
        self._new_rules = False
        self.position: dict[str, int] = {}

    @property
    def clock_us(self) -> int:
        """The log's clock."""
        return self._engine.clock_us

    @property
    def is_behind(self) -> bool:
        """Whether it decides nothing until it has read to the log's end."""
        return self._engine.behind

    def restore(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Take the newest record of each key of the changelog."""
        for key, value in records:
            if key == RULES:
                self._set_rules(_rules(value))
            elif key == META:
                meta = decoded_meta(value)
                self._engine.clock_us, self._engine.behind = meta.clock_us, meta.behind
                self._engine.watches = dict(meta.watches)
                for event, keys in meta.senders.items():
                    self._engine.senders[event] |= set(keys)
                self._arrived_seq, self._faults = meta.arrived_seq, Counter(meta.faults)
                self._engine.paused = frozenset(meta.paused)
                self.position = dict(meta.position)
            else:
                self._store.restore(key, value)
        self._stop_faulty()
        self._store.changes()
        self._journal.take()
        self._journal.count()
        self._new_rules = False

    def take(self, message: Message) -> bool:
        """False, and nothing is changed: the message waits for a `Moved` that is not here yet."""
        engine = self._engine
        match message:
            case Happened():
                self._look_behind(message.event.received_us)
                engine.receive(message.event)
            case Linked():
                engine.advance(message.received_us)
                engine.join(message.anonymous, message.user, *self._store.take_person(message.anonymous))
            case Leaves():
                engine.advance(message.received_us)
                self._send(message)
            case Arrives():
                return self._arrive(message)
            case Clock():
                self._move_clock(message)
            case Heard():
                engine.advance(message.at_us)
                before = engine.watches.get(message.write_key, Watch())
                heard = Watch(message.at_us) if message.anew else before.heard(message.at_us)
                engine.watches[message.write_key] = heard
            case Sends():
                engine.advance(message.received_us)
                engine.senders[message.event].add(message.write_key)
            case RuleSet():
                self._set_rules(message)
            case Switched():
                self._switch(message)
            case Erase():
                self._erase(message)
        self._stop_faulty()
        return True

    def take_move(self, move: Moved) -> None:
        """A state that came from another shard; one that is taken in already is let pass."""
        if move.seq > self._arrived_seq:
            self._moves[move.seq] = move

    @property
    def waiting_moves(self) -> frozenset[int]:
        """`seq` of the moves that came and are not taken in."""
        return frozenset(self._moves)

    def flush(self) -> Flushed:
        """What changed, and what is to be published."""
        changelog = self._store.changes()
        changelog[META] = msgspec.msgpack.encode(self.standing())
        if self._new_rules:
            changelog[RULES] = self._rules
            self._new_rules = False
        return Flushed(changelog, self._journal.take())

    def count(self) -> Decisions:
        """What was decided since the last call."""
        return self._journal.count()

    def standing(self) -> Meta:
        """What the shard knows beside its persons, and how it stands."""
        engine, store = self._engine, self._store
        senders = {event: sorted(keys) for event, keys in sorted(engine.senders.items())}
        return Meta(
            engine.clock_us,
            self._arrived_seq,
            engine.behind,
            engine.watches,
            senders,
            dict(self._faults),
            self.position,
            sorted(engine.paused),
            self._worker,
            self._clock(),
            store.timers,
            store.next_wake(),
            dict(+store.open),
            dict(+store.held),
        )

    @property
    def rules(self) -> Mapping[str, Rule]:
        """Those that run, by name."""
        return self._engine.rules

    def _look_behind(self, received_us: int) -> None:
        if received_us < self._clock() - BEHIND_US:
            self._engine.behind = True

    def _move_clock(self, message: Clock) -> None:
        if self._engine.behind and message.at_end and message.at_us >= self._clock() - BEHIND_US:
            self._engine.caught_up(message.at_us)
        self._engine.advance(message.at_us)

    def _send(self, message: Leaves) -> None:
        profile, ledger, states = self._store.take_person(message.anonymous)
        starts = []
        for rule, state in states.items():
            for each in state.open:
                if (started := self._store.take_start((rule, each.trigger_event_id))) is not None:
                    starts.append((rule, each.trigger_event_id, started))
        move = Moved(message.seq, message.anonymous, message.user, profile, ledger, states, tuple(starts))
        self._journal.outputs.append(Output("moved", message.to, message.user, encoded(move)))

    def _arrive(self, message: Arrives) -> bool:
        move = self._moves.pop(message.seq, None)
        if move is None:
            return False
        self._engine.advance(message.received_us)
        for rule, event_id, started in move.starts:
            self._store.set_start((rule, event_id), started)
        self._engine.join(message.anonymous, message.user, move.profile, move.ledger, move.states)
        self._arrived_seq = message.seq
        self._stop_faulty()
        return True

    def _set_rules(self, message: RuleSet) -> None:
        before = self._engine.rules
        self._engine.change_rules(message.rules)
        self._journal.rules = {rule.name: rule for rule in message.rules}
        self._journal.plain = message.plain
        self._engine.paused &= self._engine.rules.keys()
        for name in [name for name in self._faults if _changed(name, before, self._engine.rules)]:
            del self._faults[name]
            self._engine.stopped -= {name}
        self._rules, self._new_rules = encoded(message), True

    def _switch(self, message: Switched) -> None:
        engine, name = self._engine, message.rule
        if message.status == "paused":
            engine.paused |= {name}
        else:
            engine.paused -= {name}
            engine.stopped -= {name}
            self._faults.pop(name, None)
        self._journal.starts(name, SwitchedThere(self.number, name, message.status))

    def _erase(self, message: Erase) -> None:
        _, _, states = self._store.take_person(message.person)
        for rule, state in states.items():
            for each in state.open:
                self._store.take_start((rule, each.trigger_event_id))
        self._journal.starts(message.person, ErasedThere(message.person, message.at_us))

    def _stop_faulty(self) -> None:
        """A rule that raised too often stops in this shard: what it did not see might have ended what is open."""
        self._faults.update(self._journal.faults)
        self._journal.faults.clear()
        for name, n in self._faults.items():
            if n >= FAULTS_UNTIL_STOPPED and name not in self._engine.stopped:
                _log.error("triggers: rule %s raised %d times in shard %d and is stopped there", name, n, self.number)
                self._engine.drop(name, "fault", "the rule is stopped")
                self._engine.stopped |= {name}


def _changed(name: str, before: Mapping[str, Rule], after: Mapping[str, Rule]) -> bool:
    return before.get(name) != after.get(name)
