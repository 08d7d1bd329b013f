"""The topic `starts`: what the shards know of starts beside the decisions in `actions` and `nonsends`, for `triggers.db`.

JSON, times in microseconds UTC. Within a partition the messages stand in the order in which the shard wrote them.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct


class Waits(Struct, frozen=True, tag="waits"):
    """A start that is open or held. `at_us`: since when, by the log's clock; `received_us`: of the record that was taken."""

    person: str
    rule: str
    trigger_event_id: str
    key: str
    outcome: Literal["open", "held"]
    reason: str | None
    at_us: int
    started_us: int
    due_us: int
    next_us: int | None
    received_us: int | None = None


class Ended(Struct, frozen=True, tag="ended"):
    """An event ended what starts of an in-app rule led to up to its own time; `key` None: of every key."""

    person: str
    rule: str
    key: str | None
    at_us: int


class Failed(Struct, frozen=True, tag="failed"):
    """A rule raised."""

    rule: str
    person: str
    event_id: str
    at_us: int
    error: str


class ErasedThere(Struct, frozen=True, tag="erased"):
    """The shard has nothing of a person any more."""

    person: str
    at_us: int


class SwitchedThere(Struct, frozen=True, tag="switched"):
    """The shard has taken it that a person paused a rule, or lets it run."""

    shard: int
    rule: str
    status: Literal["paused", "active"]


StartMessage = Waits | Ended | Failed | ErasedThere | SwitchedThere
encoded_start = msgspec.json.Encoder().encode
decoded_start = msgspec.json.Decoder(StartMessage).decode
