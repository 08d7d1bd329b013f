"""The resolver as a process: follows the event log, and writes what each partition is told together with its own position.

One at a time: a second one of the same topics ends the first. The links of anonymous ids are kept in memory, and in the
compacted topic `resolver`, of which a restart takes them again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from gtm_dagster.eventlog import EventLog, Position
from gtm_dagster.eventlog.kafka_topic import client_of
from gtm_dagster.triggers.commit_lag import CommitLag
from gtm_dagster.triggers.erased_persons import Tombstones
from gtm_dagster.triggers.heard_keys import heard_keys
from gtm_dagster.triggers.heartbeat_watch import BLIND_AFTER_US
from gtm_dagster.triggers.live_figures import LiveFigures
from gtm_dagster.triggers.live_runner import machine_clock
from gtm_dagster.triggers.log_records import COLUMNS, trigger_events
from gtm_dagster.triggers.message_payload import plain_properties
from gtm_dagster.triggers.rules_watch import RulesWatch
from gtm_dagster.triggers.sharded.person_resolver import Addressed, PersonResolver
from gtm_dagster.triggers.sharded.shard_control import ErasePersons, SwitchRule, decoded_control
from gtm_dagster.triggers.sharded.shard_messages import Clock, Happened, Heard, RuleSet, Switched, encoded
from gtm_dagster.triggers.sharded.shard_topics import ShardTopics, whole

CONSUMER = "trigger_shards"
BATCH_RECORDS = 5_000
MOST_CONTROLS = 100
REQUEST_SECONDS = 30.0
CLOCK_SECONDS, LOOK_SECONDS, COMMIT_SECONDS = 0.2, 1.0, 60.0
STATE, RULES, LINK, _ERASED = b"state", b"rules", b"link:", b"erased:"
"""Keys of the topic `resolver`; behind LINK stands the anonymous id, behind _ERASED the hash of a person."""


class ResolverState(Struct):
    """Where the resolver stands. `heard`: by write key, up to when the partitions know that it was heard. `control`: the
    offset of what is read next of that topic. `erasure_key`: of the hashes of erased persons, hex. `rules_error`: why the file
    of rules is not what runs.
    """

    at: Position | None = None
    senders: list[tuple[str, str]] = []
    heard: dict[str, int] = {}
    looked_us: int = 0
    control: int = 0
    erasure_key: str = ""
    rules_error: str | None = None


decoded_state = msgspec.msgpack.Decoder(ResolverState).decode
decoded_rules = msgspec.json.Decoder(RuleSet).decode


class ResolverProcess:
    """Follows `log` for the rules of `watch`; the first time from its end, or from its start with `from_start`.

    After an error it is at an unknown place: make another one. Raises KafkaException, EventLogError.
    """

    def __init__(
        self, log: EventLog, topics: ShardTopics, watch: RulesWatch, shards: int, *,
        clock: Callable[[], int] = machine_clock, from_start: bool = False, figures: LiveFigures | None = None,
    ) -> None:  # fmt: skip
        self._figures = figures or LiveFigures()
        self._log, self._topics, self._watch, self._clock = log, topics, watch, clock
        self._resolver = PersonResolver(shards)
        self._lag = CommitLag()
        self._state = ResolverState()
        self._rules = RuleSet(())
        self._heard: dict[str, int] = {}
        self._unwatched: set[str] = set()
        self._tombstones = Tombstones()
        self._ended: dict[tuple[str, bytes], bytes | None] = {}
        """Records of the topics `resolver` and `control` that go out with the next messages, by topic and key."""
        self._was_at_end = False
        self._looked = self._clock_told = self._committed = float("-inf")
        self._producer = topics.producer(f"{topics.prefix}.resolver")
        self._producer.init_transactions(REQUEST_SECONDS)
        self._restore()
        self._resume(from_start)
        self._control = topics.client("Consumer", group_id=f"{topics.prefix}.resolver", enable_auto_commit=False, auto_offset_reset="earliest")  # fmt: skip
        place = client_of(topics.topic(topics.prefix), "TopicPartition")
        self._control.assign([place(topics.control, 0, self._state.control)])

    @property
    def position(self) -> Position:
        """Where it stands in the log."""
        assert self._state.at is not None  # noqa: S101 - _resume found one
        return self._state.at

    def round(self) -> bool:
        """One transaction, or none when there is nothing to tell. True when there is more to do at once."""
        wall_us = self._clock()
        messages = self._look(wall_us)
        at = self.position
        rows, end = _rows(self._log, at.seq)
        at_end = end >= self._log.last_seq()
        names = {name for rule in self._rules.rules for name in rule.events}
        cancelling = {name for rule in self._rules.rules for name in rule.cancelling}
        for offset, event in trigger_events(rows, names):
            if event is not None and not self._tombstones.cover(event):
                messages += self._resolver.take(offset, event, cancelling)
        if rows and self._was_at_end:
            self._lag.see(max(wall_us - rows[0][1], 0))
        self._was_at_end = at_end
        if at_end and time.monotonic() - self._clock_told >= CLOCK_SECONDS:
            messages += self._at_end(wall_us)
        if messages or end > at.seq:
            self.write(messages, Position(at.log_id, max(end, at.seq), rows[-1][1] if rows else at.received_us))
        if time.monotonic() - self._committed >= COMMIT_SECONDS:
            self._committed = time.monotonic()
            self._log.commit(CONSUMER, self.position.seq)
        return not at_end

    def close(self) -> None:
        """Close the log; what is not committed is done again by the next one."""
        self._control.close()
        self._log.close()

    def write(self, messages: list[Addressed], to: Position) -> None:
        """Send `messages` and move to `to`, both or neither."""
        self._producer.begin_transaction()
        for shard, message in messages:
            event = message.event if isinstance(message, Happened) else None
            person = (event.user_id or event.anonymous_id) if event else None
            self._produce(self._topics.events, person.encode() if person else None, encoded(message), shard)
            if isinstance(message, RuleSet) and shard == 0:
                self._produce(self._topics.resolver, RULES, encoded(message), 0)
        for anonymous in self._resolver.new_users:
            user = self._resolver.users[anonymous]
            self._produce(self._topics.resolver, LINK + anonymous.encode(), user.encode(), 0)
        for (topic, key), value in self._ended.items():
            self._produce(topic, key, value, 0)
        self._state = msgspec.structs.replace(self._state, at=to, senders=sorted(self._resolver.senders))
        self._produce(self._topics.resolver, STATE, msgspec.msgpack.encode(self._state), 0)
        self._producer.commit_transaction(REQUEST_SECONDS)
        self._resolver.new_users.clear()
        self._ended.clear()

    def _at_end(self, wall_us: int) -> list[Addressed]:
        """Who was heard, and the machine's clock in place of the log's."""
        self._clock_told = time.monotonic()
        limit = wall_us - self._lag.us
        messages: list[Addressed] = []
        for key, heard_us in sorted(self._heard.items(), key=lambda item: item[1]):
            if heard_us <= limit:
                # While nobody looked, silence says nothing: what the key sent up to this beat stands before the log's end.
                anew = key in self._unwatched and heard_us - self._state.heard.get(key, 0) > BLIND_AFTER_US
                messages += self._resolver.to_all(Heard(key, heard_us, anew))
                self._state.heard[key] = heard_us
                self._unwatched.discard(key)
                del self._heard[key]
        return messages + self._resolver.to_all(Clock(limit, at_end=True))

    def _look(self, wall_us: int) -> list[Addressed]:
        """Once a second: who was heard, and the rules when they are others."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return []
        self._looked = time.monotonic()
        was_away = wall_us - self._state.looked_us > BLIND_AFTER_US
        self._state.looked_us = wall_us
        for key, heard_us in heard_keys(self._log.heartbeats()).items():
            if heard_us > self._state.heard.get(key, 0):
                self._heard[key] = heard_us
                if was_away:
                    self._unwatched.add(key)
        self._watch.look()
        self._state.rules_error = self._figures.rules_error = self._watch.error
        messages = self._wanted()
        if self._watch.rules is None or self._watch.rules == self._rules.rules:
            return messages
        names = {name for rule in self._watch.rules for name in rule.events}
        plain = {name: found for name, found in plain_properties(self._watch.plan).items() if name in names}
        self._rules = RuleSet(self._watch.rules, plain)
        return messages + self._resolver.to_all(self._rules)

    def _wanted(self) -> list[Addressed]:
        """What persons ask of the rules, read up to now."""
        messages: list[Addressed] = []
        for message in self._control.consume(MOST_CONTROLS, timeout=0):
            if message.error() is not None:
                continue
            self._state.control = message.offset() + 1
            if message.value() is None:
                continue
            match decoded_control(message.value()):
                case SwitchRule(rule, status):
                    messages += self._resolver.to_all(Switched(rule, status))
                case ErasePersons(persons, at_us):
                    self._ended[self._topics.control, message.key()] = None
                    messages += self._erase(persons, at_us)
        return messages

    def _erase(self, persons: tuple[str, ...], at_us: int) -> list[Addressed]:
        messages, names = self._resolver.erase(persons, at_us)
        if not self._state.erasure_key:
            self._state.erasure_key = secrets.token_hex(32)
            self._tombstones = Tombstones(bytes.fromhex(self._state.erasure_key))
        for name in names:
            self._ended[self._topics.resolver, LINK + name.encode()] = None
            self._ended[self._topics.resolver, _ERASED + self._tombstones.add(name).hex().encode()] = b"1"
        return messages

    def _produce(self, topic: str, key: bytes | None, value: bytes | None, partition: int) -> None:
        while True:
            try:
                self._producer.produce(topic, value=value, key=key, partition=partition)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _restore(self) -> None:
        erased: list[bytes] = []
        for key, value in whole(self._topics, self._topics.resolver, 0):
            if key == STATE:
                self._state = decoded_state(value)
            elif key == RULES:
                self._rules = decoded_rules(value)
            elif key.startswith(_ERASED):
                erased.append(bytes.fromhex(key.removeprefix(_ERASED).decode()))
            else:
                self._resolver.users[key.removeprefix(LINK).decode()] = value.decode()
        self._resolver.senders = set(self._state.senders)
        self._tombstones = Tombstones(bytes.fromhex(self._state.erasure_key), erased)

    def _resume(self, from_start: bool) -> None:
        """Take up the log where it goes on from the position. Raises LogChangedError."""
        log_id = self._log.log_id
        if self._state.at is None:
            seq = self._log.first_seq() - 1 if from_start else self._log.last_seq()
            self._state.at = Position(log_id, seq)
        else:
            self._state.at = Position(log_id, self._log.resume(self._state.at))


def _rows(log: EventLog, after: int) -> tuple[list[tuple[Any, ...]], int]:
    """Records behind offset `after` as `trigger_events` takes them, and the last offset read."""
    table, end = log.read_arrow(after, BATCH_RECORDS)
    columns = [table.column(name).to_pylist() for name in ("row_no", *COLUMNS)]
    return list(zip(*columns, strict=True)), end
