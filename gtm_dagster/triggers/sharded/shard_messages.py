"""What the stages tell each other: the topic `events.by_person`, the topic `state.moved`. JSON, times in microseconds UTC.

Within a partition messages stand in the order of the event log; `seq` is the offset there of the record that led to one.
"""

from __future__ import annotations

from typing import Literal
from zlib import crc32

import msgspec
from msgspec import Struct

from gtm_dagster.triggers.admit import Ledger
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.message_payload import Started
from gtm_dagster.triggers.person_profile import Profile
from gtm_dagster.triggers.rule_state import RuleState
from gtm_dagster.triggers.trigger_event import TriggerEvent


class Happened(Struct, frozen=True, tag="event"):
    """An event of a person of this partition; it has one id, which is the person's."""

    seq: int
    event: TriggerEvent


class Linked(Struct, frozen=True, tag="linked"):
    """An anonymous id turned out to be a user; both are of this partition."""

    seq: int
    received_us: int
    anonymous: str
    user: str


class Leaves(Struct, frozen=True, tag="leaves"):
    """An anonymous id of this partition turned out to be a user of partition `to`, which waits for its state."""

    seq: int
    received_us: int
    anonymous: str
    user: str
    to: int


class Arrives(Struct, frozen=True, tag="arrives"):
    """A user of this partition is an anonymous id of another one, whose state is taken in before anything else."""

    seq: int
    received_us: int
    anonymous: str
    user: str


class Clock(Struct, frozen=True, tag="clock"):
    """The log's clock. `at_end`: the log was read to its end, where the machine's clock stands in."""

    at_us: int
    at_end: bool = False


class Heard(Struct, frozen=True, tag="heard"):
    """A write key has sent everything up to `at_us`. `anew`: nobody listened before, so its silence says nothing."""

    write_key: str
    at_us: int
    anew: bool = False


class Sends(Struct, frozen=True, tag="sends"):
    """A write key was seen for the first time to send an event that ends what is open."""

    received_us: int
    event: str
    write_key: str


class RuleSet(Struct, frozen=True, tag="rules"):
    """The rules from here on. `plain`: by event, the properties that are not about a person."""

    rules: tuple[Rule, ...]
    plain: dict[str, frozenset[str]] = {}


class Switched(Struct, frozen=True, tag="switched"):
    """A person paused a rule, or lets it run again, also one that was stopped after errors."""

    rule: str
    status: Literal["paused", "active"]


class Erase(Struct, frozen=True, tag="erase"):
    """All that is kept of a person of this partition goes."""

    person: str
    at_us: int


Message = Happened | Linked | Leaves | Arrives | Clock | Heard | Sends | RuleSet | Switched | Erase


class Moved(Struct, frozen=True):
    """The state of an anonymous id on its way to the partition of its user. `starts`: of its open starts, by (rule, event id)."""

    seq: int
    anonymous: str
    user: str
    profile: Profile
    ledger: Ledger
    states: dict[str, RuleState]
    starts: tuple[tuple[str, str, Started], ...] = ()


class ShardRecord(Struct, frozen=True):
    """A record of a shard's state, of those that its outbox reads: a message of `records`, which a job of Flink, whose state is
    in its checkpoints, writes in place of the changelog.
    """

    shard: int
    key: bytes
    value: bytes


encoded = msgspec.json.Encoder().encode
decoded_message = msgspec.json.Decoder(Message).decode
decoded_move = msgspec.json.Decoder(Moved).decode
decoded_record = msgspec.json.Decoder(ShardRecord).decode


def shard_of(person: str, shards: int) -> int:
    """The partition of a person, as the partitioner `consistent` of librdkafka has it for the key `person`."""
    return crc32(person.encode()) % shards
