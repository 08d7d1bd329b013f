"""Shards against the memory runner, without a broker: any interleaving of the partitions, restores from the changelog anywhere."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import msgspec
import pytest
from recorded_trace import END, RULES, Entry, Word, in_memory, trace, words

from gtm_dagster.delivery.message_outbox import Message as OutboxMessage
from gtm_dagster.triggers.sharded.person_resolver import PersonResolver
from gtm_dagster.triggers.sharded.shard import Shard
from gtm_dagster.triggers.sharded.shard_journal import Output, Refused
from gtm_dagster.triggers.sharded.shard_loops import PartThread
from gtm_dagster.triggers.sharded.shard_messages import (
    Clock,
    Heard,
    Message,
    RuleSet,
    decoded_message,
    decoded_move,
    encoded,
)

CANCELLING = {event for rule in RULES for event in rule.cancelling}


def messages(entries: list[Entry], shards: int) -> list[list[bytes]]:
    """What each partition of `events.by_person` holds of a trace."""
    resolver = PersonResolver(shards)
    found: list[list[bytes]] = [[] for _ in range(shards)]

    def add(addressed: list[tuple[int, Message]]) -> None:
        for shard, message in addressed:
            found[shard].append(encoded(message))

    add(resolver.to_all(RuleSet(RULES)))
    for seq, entry in enumerate(entries, 1):
        if isinstance(entry, int):
            add(resolver.to_all(Heard("", entry)))
        else:
            add(resolver.take(seq, entry, CANCELLING))
    add(resolver.to_all(Clock(END, at_end=True)))
    return found


class Partitions:
    """Shards that are fed by turns; each is made again of its changelog with a probability at every turn."""

    def __init__(self, found: list[list[bytes]], restarts: float, seed: int) -> None:
        self.found, self.restarts, self.rng = found, restarts, random.Random(seed)
        self.shards = [self.new(number) for number in range(len(found))]
        self.at = [0] * len(found)
        self.changelog: list[dict[bytes, bytes]] = [{} for _ in found]
        self.moved: list[list[bytes]] = [[] for _ in found]
        self.words: Counter[Word] = Counter()
        self.payloads: list[dict[str, object]] = []
        self.published: list[list[Output]] = [[] for _ in found]
        self.stalls = 0

    def new(self, number: int) -> Shard:
        return Shard(number, lambda: 0)

    def run(self) -> None:
        while open_ones := [n for n, at in enumerate(self.at) if at < len(self.found[n])]:
            number = self.rng.choice(open_ones)
            if self.rng.random() < self.restarts:
                self.shards[number] = self.new(number)
                self.shards[number].restore(self.changelog[number].items())
                for move in self.moved[number]:
                    self.shards[number].take_move(decoded_move(move))
            self.turn(number, self.rng.randrange(1, 60))

    def turn(self, number: int, most: int) -> None:
        shard = self.shards[number]
        for data in self.found[number][self.at[number] : self.at[number] + most]:
            if not shard.take(decoded_message(data)):
                self.stalls += 1
                break
            self.at[number] += 1
        changed, outputs = shard.flush()
        for key, value in changed.items():
            self.changelog[number].pop(key, None)
            if value is not None:
                self.changelog[number][key] = value
        for output in outputs:
            self.publish(output)

    def publish(self, output: Output) -> None:
        self.published[output.partition].append(output)
        if output.topic == "moved":
            self.moved[output.partition].append(output.value)
            self.shards[output.partition].take_move(decoded_move(output.value))
        elif output.topic == "actions":
            action = msgspec.json.decode(output.value, type=OutboxMessage)
            self.words[action.rule, str(action.payload["event"]["id"]), action.action_id] += 1
            self.payloads.append(action.payload)
        elif output.topic == "nonsends":
            refused = msgspec.json.decode(output.value, type=Refused)
            self.words[refused.rule, refused.trigger_event_id, refused.reason] += 1


@pytest.mark.parametrize(
    ("seed", "shards", "restarts"),
    [
        pytest.param(1, 1, 0.0, id="one partition is the memory runner"),
        pytest.param(2, 4, 0.0, id="persons merge over partitions"),
        pytest.param(3, 4, 0.3, id="a shard is made again of its changelog"),
        pytest.param(4, 7, 0.1, id="more partitions than devices of a person"),
    ],
)
def test_any_sharding_decides_what_one_engine_decides(seed: int, shards: int, restarts: float) -> None:
    entries = trace(seed)
    memory = in_memory(entries)
    parts = Partitions(messages(entries, shards), restarts, seed)
    parts.run()
    expected = words(memory.outcomes)
    assert parts.words == expected
    assert (parts.stalls > 0) == (shards > 1), "moves between partitions are waited for"
    reasons = {reason for _, _, reason in expected}
    assert {
        "blind",
        "bot",
        "cancelled",
        "capped",
        "cooldown",
        "no_consent",
        "holdout",
        "once",
        "stale_start",
    } <= reasons
    assert {"died_while_held", "expired"} & reasons, "quiet hours decided something"
    named = [payload for payload in parts.payloads if "name" in payload["event"]]  # type: ignore[operator]
    assert len(named) > len(parts.payloads) * 0.9, "what started a message stands in it"


def test_a_part_that_fails_and_cannot_even_end_is_followed_by_another() -> None:
    works, errors, parts = threading.Event(), dict[str, str](), list["Part"]()

    class Part:
        def round(self) -> None:
            if parts[0] is self:
                raise RuntimeError("the broker is away")
            works.set()

        def close(self) -> None:
            if parts[0] is self:
                raise RuntimeError("a transaction is open")

    def make() -> Part:
        parts.append(Part())
        return parts[-1]

    with PartThread("worker", make, errors, 0.01):
        until = time.monotonic() + 30
        while not errors and time.monotonic() < until:
            time.sleep(0.001)
        assert errors == {"worker": "the broker is away"}, "what the metrics and the log say meanwhile"
        assert works.wait(30)
    assert errors == {} and len(parts) == 2


def test_a_shard_that_is_behind_decides_at_the_log_s_end() -> None:
    entries = [entry for entry in trace(5, 400, 20) if not isinstance(entry, int)]
    now = entries[-1].received_us + 60_000_000
    shard = Shard(0, lambda: now)
    found = messages(list(entries), 1)[0][:-1]
    for data in found:
        assert shard.take(decoded_message(data))
    assert shard.is_behind
    assert all(output.topic in ("nonsends", "starts") for output in shard.flush().outputs), (
        "nothing is sent before the log's end"
    )
    shard.take(Clock(now - 60_000_000, at_end=True))
    assert shard.is_behind, "an old end is not the log's end"
    shard.take(Clock(now, at_end=True))
    assert not shard.is_behind
    assert any(output.topic == "actions" for output in shard.flush().outputs)
