"""The journal of a shard: what it decides as messages for the topics `actions` and `nonsends`, what waits for `starts`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from gtm_dagster.delivery.message_outbox import Message
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.message_payload import payload_of, started_by
from gtm_dagster.triggers.occurrence_journal import Decisions, known_time
from gtm_dagster.triggers.outcomes import Action, Hold, NonSend
from gtm_dagster.triggers.person_profile import NOBODY, Profile
from gtm_dagster.triggers.rule_state import RuleState
from gtm_dagster.triggers.sharded.shard_starts import Ended, Failed, StartMessage, Waits, encoded_start
from gtm_dagster.triggers.sharded.shard_store import ShardStore
from gtm_dagster.triggers.trigger_event import TriggerEvent

_log = logging.getLogger("gtm_dagster.triggers")
_encode = msgspec.json.Encoder().encode


class Refused(Struct, frozen=True):
    """A start that led to nothing: a message of `nonsends`. Times are microseconds UTC; `received_us`: of the record that was
    being read, None for a timer.
    """

    person: str
    rule: str
    trigger_event_id: str
    key: str
    reason: str
    at_us: int
    started_us: int
    detail: str = ""
    next_us: int | None = None
    received_us: int | None = None


class ShardAction(Message, frozen=True, kw_only=True):
    """A message of `actions`: what the outbox takes, what was known of the person, for the consent that is asked again, and the
    start, of which messages of an older version say nothing. `record_us`: receipt of the record that was being read, None for a
    timer.
    """

    profile: Profile = NOBODY
    trigger_event_id: str = ""
    key: str = ""
    started_us: int = 0
    due_us: int = 0
    record_us: int | None = None


class Output(NamedTuple):
    """A message of a topic: its partition, key and JSON."""

    topic: Literal["actions", "nonsends", "starts", "moved"]
    partition: int
    key: str
    value: bytes


class ShardJournal:
    """A Journal. `plain`: by event, the properties that a message may name. `faults`: by rule, since they were looked at.
    `decisions`: since `count`. `clock`: microseconds UTC of the machine.
    """

    def __init__(self, store: ShardStore, shard: int, clock: Callable[[], int]) -> None:
        self._store, self._shard, self._clock = store, shard, clock
        self.rules: Mapping[str, Rule] = {}
        self.plain: Mapping[str, frozenset[str]] = {}
        self.outputs: list[Output] = []
        self.faults: Counter[str] = Counter()
        self.decisions = Decisions()
        self._event: TriggerEvent | None = None

    def count(self) -> Decisions:
        """What was decided since the last call."""
        decisions, self.decisions = self.decisions, Decisions()
        return decisions

    def take(self) -> list[Output]:
        """What is to be published since the last call."""
        outputs, self.outputs = self.outputs, []
        return outputs

    def reading(self, event: TriggerEvent | None) -> None:
        self._event = event

    def decided(self, at_us: int, person: str, what: Action | Hold | NonSend, started_us: int) -> None:
        match what:
            case Hold():
                want = what.want
                self._remember(want.rule.name, want.trigger_event_id)
                self.decisions.holds[what.reason] += 1
                self.starts(person, Waits(
                    person, want.rule.name, want.trigger_event_id, want.key, "held", what.reason, at_us, started_us,
                    want.due_us, known_time(what.until_us), self._received_us,
                ))  # fmt: skip
            case Action():
                self.decisions.actions[what.rule, what.channel] += 1
                if self._event is not None:
                    self.decisions.waits_us.append(self._clock() - self._event.received_us)
                self.outputs.append(Output("actions", self._shard, person, _encode(self._message(what, started_us))))
            case NonSend():
                self._store.take_start((what.rule, what.trigger_event_id))
                refused = Refused(
                    person, what.rule, what.trigger_event_id, what.key, what.reason, at_us, started_us, what.detail,
                    what.next_us, self._received_us,
                )  # fmt: skip
                self.decisions.non_sends[what.rule, what.reason] += 1
                self.outputs.append(Output("nonsends", self._shard, person, _encode(refused)))

    def moved(self, at_us: int, rule: Rule, person: str, before: RuleState, after: RuleState) -> None:
        known = set(before.open)
        for each in after.open:
            self._remember(rule.name, each.trigger_event_id)
            if each not in known and each.held not in ("quiet", "behind"):
                if each.held:
                    self.decisions.holds[each.held] += 1
                self.starts(person, Waits(
                    person, rule.name, each.trigger_event_id, each.key, "held" if each.held else "open", each.held or None,
                    at_us, each.at_us, each.due_us, each.until_us if each.held else each.due_us + rule.grace_us,
                    self._received_us,
                ))  # fmt: skip

    def ended(self, rule: Rule, person: str, event: TriggerEvent) -> None:
        if rule.channel == "in_app":
            self.starts(person, Ended(person, rule.name, event.key(rule.key), event.at_us))

    def linked(self, anonymous: str, user: str) -> None:
        pass

    def fault(self, rule: str, person: str, error: Exception) -> bool:
        self.faults[rule] += 1
        self.decisions.faults[rule] += 1
        event_id = "" if self._event is None else self._event.event_id
        self.starts(person, Failed(rule, person, event_id, self._clock(), repr(error)[:2000]))
        _log.error("triggers: rule %s raised for a person of shard %d: %r", rule, self._shard, error)
        return True

    def starts(self, key: str, message: StartMessage) -> None:
        """A message for the topic `starts`."""
        self.outputs.append(Output("starts", self._shard, key, encoded_start(message)))

    @property
    def _received_us(self) -> int | None:
        return None if self._event is None else self._event.received_us

    def _remember(self, rule: str, event_id: str) -> None:
        if self._event is not None and self._event.event_id == event_id:
            self._store.set_start((rule, event_id), started_by(self._event, self.plain))

    def _message(self, action: Action, started_us: int) -> ShardAction:
        started = self._store.take_start((action.rule, action.trigger_event_id))
        if started is None and self._event is not None and self._event.event_id == action.trigger_event_id:
            started = started_by(self._event, self.plain)
        return ShardAction(
            profile=self._store.profile(action.person),
            action_id=action.action_id,
            rule=action.rule,
            person=action.person,
            purpose=self.rules[action.rule].purpose,
            channel=action.channel,
            target=action.target,
            payload=payload_of(action, started),
            expires_us=action.expires_us,
            received_us=started.received_us if started else action.at_us,
            decided_us=action.at_us,
            collapse_key=action.rule if action.channel == "slack" else None,
            trigger_event_id=action.trigger_event_id,
            key=action.key,
            started_us=started_us,
            due_us=action.due_us,
            record_us=self._received_us,
        )
