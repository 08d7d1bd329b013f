"""What shards publish becomes the rows of `triggers.db`, in any order of the partitions and twice; pausing and erasing in a shard."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from recorded_trace import END, RULES, in_memory, trace
from test_shards import Partitions, messages
from trigger_cases import event, us

from gtm_dagster.triggers.erased_persons import erase_person
from gtm_dagster.triggers.explained_starts import explained
from gtm_dagster.triggers.outcomes import Action, Hold
from gtm_dagster.triggers.sharded.person_resolver import PersonResolver
from gtm_dagster.triggers.sharded.shard import Shard
from gtm_dagster.triggers.sharded.shard_journal import Output, Refused, ShardAction
from gtm_dagster.triggers.sharded.shard_ledger import ShardLedger, shard_metas
from gtm_dagster.triggers.sharded.shard_messages import Clock, Erase, Happened, Message, RuleSet, Switched
from gtm_dagster.triggers.sharded.shard_starts import decoded_start
from gtm_dagster.triggers.sharded.shard_store import META, person_record
from gtm_dagster.triggers.trigger_db import open_trigger_db
from gtm_dagster.triggers.trigger_status import trigger_status

NOW = us("12-03 12:00")


def write(ledger: ShardLedger, output: Output) -> None:
    """One message, as the outbox process takes it."""
    match output.topic:
        case "actions":
            ledger.action(msgspec.json.decode(output.value, type=ShardAction))
        case "nonsends":
            ledger.refused(msgspec.json.decode(output.value, type=Refused))
        case "starts":
            ledger.start(decoded_start(output.value))


def shuffled(
    published: list[list[Output]], links: dict[str, str], rng: random.Random
) -> Iterator[Output | tuple[str, str]]:
    """Some messages of a partition at a time, now and then some again, and links in between."""
    at, waiting = [0] * len(published), list(links.items())
    while open_ones := [number for number, end in enumerate(at) if end < len(published[number])]:
        number = rng.choice(open_ones)
        again = rng.randrange(20) if rng.random() < 0.1 else 0
        to = at[number] + rng.randrange(1, 200)
        yield from published[number][max(at[number] - again, 0) : to]
        at[number] = to
        for _ in range(rng.randrange(8)):
            if waiting:
                yield waiting.pop()
    yield from waiting


def test_the_ledger_is_what_memory_decided_whatever_the_order_of_partitions(tmp_path: Path) -> None:
    entries = trace(6, 1_500, 60)
    memory = in_memory(entries)
    users = memory._store.users
    expected = {}
    for each in memory.outcomes:
        if not isinstance(each.what, Hold):
            what = each.what
            word = ("sent", what.action_id) if isinstance(what, Action) else ("not_sent", what.reason)
            expected.setdefault((what.rule, what.trigger_event_id), (*word, users.get(each.person, each.person)))
    parts = Partitions(messages(entries, 4), 0.1, 6)
    parts.run()
    path = tmp_path / "triggers.db"
    with closing(open_trigger_db(path)) as con:
        con.execute("PRAGMA synchronous = OFF")
        ledger = ShardLedger(con)
        con.execute("BEGIN")
        ledger.begin(NOW)
        ledger.rules(RuleSet(RULES))
        for each in shuffled(parts.published, users, random.Random(6)):
            if isinstance(each, Output):
                write(ledger, each)
            else:
                ledger.link(*each)
        for number, records in enumerate(parts.changelog):
            for key, value in records.items():
                if found := person_record(key, value):
                    ledger.person(*found)
            ledger.standing({number: parts.shards[number].standing()})
        con.execute("COMMIT")
        rows = con.execute(
            "SELECT rule, trigger_event_id, outcome, coalesce(action_id, reason), person FROM occurrences"
        )
        assert {(rule, start): tuple(rest) for rule, start, *rest in rows} == expected, "nothing is open at the end"
        sent = con.execute(
            "SELECT count(*) FROM occurrences JOIN outbox USING (action_id, rule, person) WHERE outcome = 'sent'"
        )
        assert sent.fetchone()[0] == sum(word[0] == "sent" for word in expected.values())
        assert (
            sum(
                con.execute(
                    "SELECT sum(due_us IS NULL), sum(wall_us != ?) FROM occurrences WHERE outcome = 'sent'", (NOW,)
                ).fetchone()
            )
            == 0
        )
        assert sorted(shard_metas(con)) == [0, 1, 2, 3]
    status = trigger_status(path, tmp_path / "events.db", NOW)
    assert [rule.status for rule in status.rules] == ["active"] * len(RULES)
    assert [shard.open + shard.held for shard in status.shards] == [0] * 4
    busiest = max(expected.values(), key=lambda word: [each[2] for each in expected.values()].count(word[2]))[2]
    story = explained(path, (busiest,), None, NOW)
    assert story.known and story.consents and len(story.starts) > 5, "explain works from the same rows"


def view(minute: int, person: str = "p1") -> Happened:
    at = us("10:00") + minute * 60_000_000
    return Happened(minute + 1, msgspec.structs.replace(event("pricing_viewed", "10:00", person, event_id=f"{person} {minute}"), at_us=at, received_us=at))  # fmt: skip


def after(*given: Message) -> tuple[Shard, dict[bytes, bytes], list[Output]]:
    """A shard that was restored from its changelog after each of the messages."""
    shard, changelog, outputs = Shard(0, lambda: 0), {}, []
    for message in given:
        assert shard.take(message)
        changed, published = shard.flush()
        outputs += published
        for key, value in changed.items():
            changelog[key] = value
        changelog = {key: value for key, value in changelog.items() if value is not None}
        shard = Shard(0, lambda: 0)
        shard.restore(changelog.items())
    return shard, changelog, outputs


@pytest.mark.parametrize(
    ("switches", "status", "words"),
    [
        pytest.param((), "active", ["actions"], id="a rule runs"),
        pytest.param((Switched("counted", "paused"),), "paused", ["paused"], id="a pause survives every restart"),
        pytest.param((Switched("counted", "paused"), Switched("counted", "active")), "active", ["actions"], id="and ends"),
        pytest.param((Switched("each", "paused"),), "active", ["actions"], id="of this rule alone"),
    ],
)  # fmt: skip
def test_a_rule_is_switched_at_its_place_in_the_log(
    switches: tuple[Switched, ...], status: str, words: list[str]
) -> None:
    shard, _, outputs = after(RuleSet(RULES), *switches, *map(view, (0, 1, 2)), Clock(us("10:03")))
    assert shard.standing().status("counted") == status
    decided = [
        msgspec.json.decode(each.value).get("reason", each.topic)
        for each in outputs
        if each.topic in ("actions", "nonsends")
    ]
    assert decided == words
    assert sum(each.topic == "starts" and b"switched" in each.value for each in outputs) == len(switches), "it says so"


def test_a_person_is_erased_from_the_shard_and_from_the_ledger(tmp_path: Path) -> None:
    trial = Happened(9, event("trial_started", "10:02", "gone", event_id="t1"))
    given = (RuleSet(RULES), view(0, "gone"), view(0, "stays"), view(1, "gone"), trial, Erase("gone", NOW))
    shard, changelog, outputs = after(*given)
    assert not any(b"gone" in key + value for key, value in changelog.items()), "every record of theirs is a tombstone"
    assert any(b"stays" in key for key in changelog) and META in changelog
    assert shard.standing().open == {} and shard.standing().timers == 0
    path = tmp_path / "triggers.db"
    with closing(open_trigger_db(path)) as con:
        ledger = ShardLedger(con)
        ledger.begin(NOW)
        for output in [*outputs, *outputs]:  # what is read again stays erased
            write(ledger, output)
        ledger.link("a1", "gone")
        assert ledger.erased
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert con.execute("SELECT count(*) FROM occurrences WHERE person = 'gone'").fetchone() == (0,)
    assert b"gone" not in path.read_bytes()
    erase_person(path, {"other"}, NOW)  # the key of the hashes is the file's own


def test_a_resolver_erases_a_user_with_the_anonymous_ids_that_are_theirs() -> None:
    resolver = PersonResolver(3)
    identified = event("user_identified", "10:00", "u1", event_id="i1")
    resolver.take(1, msgspec.structs.replace(identified, anonymous_id="a1"), ())
    addressed, names = resolver.erase({"u1", "x"}, END)
    assert names == ["a1", "u1", "x"]
    assert resolver.users == {} and resolver.new_users == []
    assert [message.person for _, message in addressed if isinstance(message, Erase)] == names
