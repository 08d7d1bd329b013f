"""The planted truth of a month against what the runners decide: found, missed and false, by rule and word.

`python -m benchmarks.trigger_truth [--persons 10000] [--seed 1] [--runner memory|file|shards]`; exit code 1 where a runner decides
anything else than what was planted, at another time, or under another id than the runner in memory.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import msgspec

from benchmarks.planted_stories import RULES, Start, Word
from benchmarks.planted_trace import END, planted
from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.taxonomy.plan import Plan, PropertySpec
from gtm_dagster.triggers import live_runner
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.live_runner import LiveRunner
from gtm_dagster.triggers.memory_runner import MemoryRunner
from gtm_dagster.triggers.outcomes import Action, Hold
from gtm_dagster.triggers.rules_file import parse_rules
from gtm_dagster.triggers.sharded.person_resolver import PersonResolver
from gtm_dagster.triggers.sharded.shard import Shard
from gtm_dagster.triggers.sharded.shard_journal import Refused, ShardAction
from gtm_dagster.triggers.sharded.shard_ledger import ShardLedger
from gtm_dagster.triggers.sharded.shard_messages import Clock, Message, RuleSet, decoded_message, decoded_move, encoded
from gtm_dagster.triggers.sharded.shard_starts import decoded_start
from gtm_dagster.triggers.step import NEVER_US
from gtm_dagster.triggers.trigger_db import open_trigger_db
from gtm_dagster.triggers.trigger_event import TriggerEvent

SHARDS, MESSAGES_AT_ONCE, RECORDS_AT_ONCE = 4, 500, 2_000
END_US = int(END.timestamp()) * 1_000_000
_DECIDED = "SELECT rule, trigger_event_id, coalesce(reason, 'sent'), decided_us, action_id FROM occurrences"
_MOST_SHOWN = 5


class Decided(NamedTuple):
    """`word`: sent, a reason, or open and held where nothing is decided. `at_us`: by the log's clock."""

    word: str
    at_us: int
    action_id: str | None


Runner = Callable[[Sequence[TriggerEvent], Sequence[Rule], Plan, Path], dict[Start, Decided]]


class Difference(NamedTuple):
    """`missed`: planted, and not decided so; `false`: decided, and not planted so; by start."""

    found: Counter[tuple[str, str]]
    missed: dict[Start, str]
    false: dict[Start, str]


def compared(truth: dict[Start, Word], decided: dict[Start, Decided]) -> Difference:
    """A message is found when it was decided at the planted microsecond; another word when it is the planted one."""
    found: Counter[tuple[str, str]] = Counter()
    missed, false = {}, {}
    for start, word in truth.items():
        got = decided.get(start)
        if got is not None and got.word == word.word and word.at_us in (None, got.at_us):
            found[start[0], word.word] += 1
        else:
            missed[start] = f"{word.word} at {word.at_us}"
    for start, got in decided.items():
        if start not in truth or start in missed:
            false[start] = f"{got.word} at {got.at_us}"
    return Difference(found, missed, false)


def in_memory(events: Sequence[TriggerEvent], rules: Sequence[Rule], plan: Plan, folder: Path) -> dict[Start, Decided]:
    """The runner of the backtest."""
    runner = MemoryRunner(rules)
    for each in events:
        runner.receive(each)
    runner.advance(END_US)
    decided: dict[Start, Decided] = {}
    for outcome in runner.outcomes:
        what = outcome.what
        if isinstance(what, Action):
            assert decided.setdefault((what.rule, what.trigger_event_id), Decided("sent", outcome.at_us, what.action_id)).word == "sent"  # fmt: skip
        elif not isinstance(what, Hold):
            decided.setdefault((what.rule, what.trigger_event_id), Decided(what.reason, outcome.at_us, None))
    return decided


def in_a_file(events: Sequence[TriggerEvent], rules: Sequence[Rule], plan: Plan, folder: Path) -> dict[Start, Decided]:
    """The runner of `gtm stream`, over a real log and `triggers.db`, on a clock that is at the log's end."""

    class Rules:
        error = None

        def look(self) -> None:
            pass

    watch = Rules()
    watch.rules, watch.plan = tuple(rules), plan  # type: ignore[attr-defined]
    now_us = 0
    path = folder / "triggers.db"
    # A batch of the trace is hours, and nothing of what the log holds is old.
    with patch.object(live_runner, "BEHIND_US", NEVER_US), SqliteEventLog(folder / "events.db") as log:
        runner = LiveRunner(log, folder / "events.db", path, watch, clock=lambda: now_us, look_seconds=0)  # type: ignore[arg-type]
        with closing(runner):
            runner.drain()
            for begin in range(0, len(events), RECORDS_AT_ONCE):
                batch = events[begin : begin + RECORDS_AT_ONCE]
                log.append([_record(each) for each in batch])
                now_us = batch[-1].received_us
                runner.drain()
            while now_us < END_US:  # a worker that is awake, when nothing comes any more
                next_us = runner._store.next_wake()
                now_us = END_US if next_us is None else min(next_us, END_US)
                runner.drain()
    return _rows(path)


def in_shards(events: Sequence[TriggerEvent], rules: Sequence[Rule], plan: Plan, folder: Path) -> dict[Start, Decided]:
    """Four shards with their resolver, without a broker; what they publish goes into `triggers.db` as their outbox writes it."""
    resolver = PersonResolver(SHARDS)
    cancelling = {event for rule in rules for event in rule.cancelling}
    partitions: list[list[bytes]] = [[] for _ in range(SHARDS)]

    def add(addressed: list[tuple[int, Message]]) -> None:
        for shard, message in addressed:
            partitions[shard].append(encoded(message))

    add(resolver.to_all(RuleSet(tuple(rules))))
    for seq, event in enumerate(events, 1):
        add(resolver.take(seq, event, cancelling))
    add(resolver.to_all(Clock(END_US, at_end=True)))
    shards, at = [Shard(number, lambda: 0) for number in range(SHARDS)], [0] * SHARDS
    path = folder / "shards.db"
    with closing(open_trigger_db(path)) as con:
        ledger = ShardLedger(con)
        while any(at[number] < len(partitions[number]) for number in range(SHARDS)):
            con.execute("BEGIN")
            ledger.begin(END_US)
            for number, shard in enumerate(shards):
                for data in partitions[number][at[number] : at[number] + MESSAGES_AT_ONCE]:
                    if not shard.take(decoded_message(data)):
                        break  # a state is on its way from another shard
                    at[number] += 1
                for output in shard.flush().outputs:
                    if output.topic == "moved":
                        shards[output.partition].take_move(decoded_move(output.value))
                    elif output.topic == "actions":
                        ledger.action(msgspec.json.decode(output.value, type=ShardAction))
                    elif output.topic == "nonsends":
                        ledger.refused(msgspec.json.decode(output.value, type=Refused))
                    else:
                        ledger.start(decoded_start(output.value))
            con.execute("COMMIT")
    return _rows(path)


RUNNERS: dict[str, Runner] = {"memory": in_memory, "file": in_a_file, "shards": in_shards}


def run(persons: int, seed: int, runners: Sequence[str], say: Callable[[str], object], rules_text: str = RULES) -> bool:
    """Whether each of `runners` decides what is planted for so many persons, and all decide the same ids."""
    plan = load_plan()
    plan.events["payment_completed"].properties["cart_id"] = PropertySpec(type="string")
    rules = parse_rules(rules_text, plan)
    events, truth = planted(persons, seed)
    say(f"{persons:,} persons, {len(events):,} events received, {len(truth):,} starts planted, seed {seed}")
    ids: set[frozenset[str | None]] = set()
    shown: Counter[tuple[str, str]] = Counter()
    good = True
    for name in runners:
        with tempfile.TemporaryDirectory() as folder:
            wall, cpu = time.perf_counter(), time.process_time()
            decided = RUNNERS[name](events, rules, plan, Path(folder))
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        ids.add(frozenset(each.action_id for each in decided.values()))
        difference = compared(truth, decided)
        good = good and not difference.missed and not difference.false
        say(
            f"{name}: found {difference.found.total():,}, missed {len(difference.missed)}, false {len(difference.false)}; "
            f"{cpu:.1f} CPU s, {wall:.1f} s at load {os.getloadavg()[0]:.0f}"
        )
        if difference.found != shown:
            shown = difference.found
            for (rule, word), n in sorted(shown.items()):
                say(f"  {rule:12} {word:16} {n:6,}")
        for kind, those in (("missed", difference.missed), ("false", difference.false)):
            for start, words in list(those.items())[:_MOST_SHOWN]:
                say(f"  {kind} {' '.join(start)}: {words}")
    if len(ids) > 1:
        say("the runners gave different action ids")
    return good and len(ids) == 1


def _rows(path: Path) -> dict[Start, Decided]:
    with closing(open_trigger_db(path)) as con:
        return {(rule, start): Decided(*rest) for rule, start, *rest in con.execute(_DECIDED)}


def _record(event: TriggerEvent) -> Record:
    return Record(
        write_key=event.write_key or "web", event_id=event.event_id, event_name=event.name, event_us=event.at_us,
        received_us=event.received_us, user_id=event.user_id, anonymous_id=event.anonymous_id, timezone=event.timezone,
        properties=msgspec.json.encode(event.properties).decode(), bot_reason="curl" if event.bot else None,
        consent=msgspec.json.encode(event.consent).decode() if event.consent else None,
    )  # fmt: skip


def main() -> int:
    """Print the figures of docs/triggers.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runner", choices=RUNNERS, action="append")
    given = parser.parse_args()
    return 0 if run(given.persons, given.seed, given.runner or list(RUNNERS), print) else 1


if __name__ == "__main__":
    sys.exit(main())
