"""The journal of a shard: what it decides as messages for the topics `actions` and `nonsends`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from gtm_dagster.delivery.message_outbox import Message
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.message_payload import payload_of, started_by
from gtm_dagster.triggers.outcomes import Action, Hold, NonSend
from gtm_dagster.triggers.person_profile import NOBODY, Profile
from gtm_dagster.triggers.rule_state import RuleState
from gtm_dagster.triggers.sharded.shard_store import ShardStore
from gtm_dagster.triggers.trigger_event import TriggerEvent

_log = logging.getLogger("gtm_dagster.triggers")
_encode = msgspec.json.Encoder().encode


class Refused(Struct, frozen=True):
    """A start that led to nothing: a message of `nonsends`. Times are microseconds UTC."""

    person: str
    rule: str
    trigger_event_id: str
    key: str
    reason: str
    at_us: int
    started_us: int
    detail: str = ""
    next_us: int | None = None


class ShardAction(Message, frozen=True, kw_only=True):
    """A message of `actions`: what the outbox takes, and what was known of the person, for the consent that is asked again."""

    profile: Profile = NOBODY


class Output(NamedTuple):
    """A message of a topic: its partition, key and JSON."""

    topic: Literal["actions", "nonsends", "moved"]
    partition: int
    key: str
    value: bytes


class ShardJournal:
    """A Journal. `plain`: by event, the properties that a message may name. `faults`: by rule, since they were looked at."""

    def __init__(self, store: ShardStore, shard: int) -> None:
        self._store, self._shard = store, shard
        self.rules: Mapping[str, Rule] = {}
        self.plain: Mapping[str, frozenset[str]] = {}
        self.outputs: list[Output] = []
        self.faults: Counter[str] = Counter()
        self._event: TriggerEvent | None = None

    def take(self) -> list[Output]:
        """What is to be published since the last call."""
        outputs, self.outputs = self.outputs, []
        return outputs

    def reading(self, event: TriggerEvent | None) -> None:
        self._event = event

    def decided(self, at_us: int, person: str, what: Action | Hold | NonSend, started_us: int) -> None:
        match what:
            case Hold():
                self._remember(what.want.rule.name, what.want.trigger_event_id)
            case Action():
                self.outputs.append(Output("actions", self._shard, person, _encode(self._message(what))))
            case NonSend():
                self._store.take_start((what.rule, what.trigger_event_id))
                refused = Refused(
                    person, what.rule, what.trigger_event_id, what.key, what.reason, at_us, started_us, what.detail,
                    what.next_us,
                )  # fmt: skip
                self.outputs.append(Output("nonsends", self._shard, person, _encode(refused)))

    def moved(self, at_us: int, rule: Rule, person: str, before: RuleState, after: RuleState) -> None:
        for each in after.open:
            self._remember(rule.name, each.trigger_event_id)

    def ended(self, rule: Rule, person: str, event: TriggerEvent) -> None:
        pass  # the items of a feed are in the triggers.db of the outbox, which this is not told of

    def linked(self, anonymous: str, user: str) -> None:
        pass

    def fault(self, rule: str, person: str, error: Exception) -> bool:
        self.faults[rule] += 1
        _log.error("triggers: rule %s raised for a person of shard %d: %r", rule, self._shard, error)
        return True

    def _remember(self, rule: str, event_id: str) -> None:
        if self._event is not None and self._event.event_id == event_id:
            self._store.set_start((rule, event_id), started_by(self._event, self.plain))

    def _message(self, action: Action) -> ShardAction:
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
        )
