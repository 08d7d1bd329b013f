"""The messages of a worker that was killed, and what a receiver read of them, beside one run in memory over the same log."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from gtm_dagster.chaos.outcome import Findings
from gtm_dagster.chaos.unreliable_mail import Mail
from gtm_dagster.chaos.unreliable_receiver import Request
from gtm_dagster.eventlog.tail_reader import TailReader
from gtm_dagster.taxonomy import Plan
from gtm_dagster.triggers.log_records import COLUMNS, trigger_events
from gtm_dagster.triggers.memory_runner import MemoryRunner
from gtm_dagster.triggers.outcomes import Action
from gtm_dagster.triggers.rules_file import load_rules
from gtm_dagster.triggers.trigger_db import reading_trigger_db
from gtm_dagster.triggers.trigger_event import TriggerEvent

Start = tuple[str, str]
"""A rule and the id of the event that started it: what a message is about, whatever its id."""
AT_MOST_ONCE = "mail_once"
"""The rule whose destination takes no message twice: what may have arrived is not sent again."""
_MESSAGES = (
    "SELECT action_id, rule, json_extract(payload, '$.event.id') AS start, status, attempts, last_error FROM outbox"
)
_LATE = "SELECT rule, trigger_event_id FROM occurrences WHERE reason = 'died_while_behind'"


def compare(
    rules_path: Path, plan: Plan, log_path: Path, path: Path, requests: Sequence[Request], mails: Sequence[Mail],
    findings: Findings,
) -> dict[str, int | float]:  # fmt: skip
    """Figures, and a finding for each broken promise: every action of the run in memory was read by its receiver at least
    once, under one id at all attempts, and nothing else was; all messages ended as delivered, or were tried twice and wait five
    minutes for the third time. A mail of AT_MOST_ONCE arrived once at most, and one that ended otherwise is a dead letter.

    A worker that was away may decide otherwise in rows it marks `died_while_behind`.
    """
    events = _events(log_path)
    runner = MemoryRunner(load_rules(rules_path, plan))
    for event in events:
        runner.receive(event)
    runner.finish()
    actions = [each.what for each in runner.outcomes if isinstance(each.what, Action)]
    expected = {(each.rule, each.trigger_event_id): each.action_id for each in actions}
    with reading_trigger_db(path) as con:
        messages = [tuple(row) for row in con.execute(_MESSAGES)]
        died = {(row[0], row[1]) for row in con.execute(_LATE)}
    starts: dict[str, Start] = {action_id: (rule, start) for action_id, rule, start, *_ in messages}
    arrived = [
        (starts.get(mail.action_id, ("no rule", mail.action_id)), mail.action_id) for mail in mails if mail.accepted
    ]
    ids: defaultdict[Start, set[str]] = defaultdict(set)
    for start, action_id in [*(((each.rule, each.start), each.webhook_id) for each in requests), *arrived]:
        ids[start].add(action_id)
    sent = {start: action_id for action_id, start in starts.items()}
    twice = len(messages) - len(sent)
    effects = sum(len(each) - 1 for each in ids.values())
    given_up = {start for action_id, start in starts.items() if start[0] == AT_MOST_ONCE and start not in ids}
    dead = {(rule, start) for _, rule, start, status, *_ in messages if status == "dead" and rule == AT_MOST_ONCE}
    waiting = {(rule, start) for _, rule, start, status, attempts, _ in messages if status == "due" and attempts >= 2}
    lost = expected.keys() - {*ids, *died, *given_up, *waiting}
    undelivered = [
        row[1:] for row in messages if row[3] != "delivered" and row[1:3] not in dead and row[1:3] not in waiting
    ]
    mailed = Counter(start for start, _ in arrived)
    mailed_twice = [start for start, n in mailed.items() if start[0] == AT_MOST_ONCE and n > 1]
    unaccounted = given_up - dead - waiting
    invented = [start for start in {*ids, *sent} if start not in expected]
    wrong = [start for start, found in ids.items() if start in expected and found != {expected[start]}]
    unsigned = sum(not request.signed for request in requests)
    findings.expect(not twice, f"{twice} starts led to two messages")
    findings.expect(not effects, f"{effects} starts reached the receiver under a second id")
    findings.expect(not lost, f"{len(lost)} messages never reached the receiver: {sorted(lost)[:3]}")
    findings.expect(not undelivered, f"{len(undelivered)} messages did not end as delivered: {undelivered[:3]}")
    findings.expect(not mailed_twice, f"{len(mailed_twice)} mails of at_most_once arrived twice: {mailed_twice[:3]}")
    findings.expect(
        not unaccounted, f"{len(unaccounted)} mails that never arrived are no dead letters: {sorted(unaccounted)[:3]}"
    )
    findings.expect(not invented, f"{len(invented)} messages that nothing led to: {invented[:3]}")
    findings.expect(not wrong, f"{len(wrong)} messages under another id than the run in memory gives: {wrong[:3]}")
    findings.expect(not unsigned, f"{unsigned} requests whose signature is wrong")
    behaviours = [each.behaviour for each in requests] + [each.behaviour for each in mails]
    slack = [each for each in requests if each.rule == "alert"]
    again = [start for start, n in mailed.items() if start[0] == "mail_again"]
    return {
        "events": len(events), "messages": len(messages), "requests": len(requests) + len(mails),
        "webhook_copies": _copies([each for each in requests if each.rule != "alert"]), "slack_copies": _copies(slack),
        "mail_copies": sum(mailed[start] - 1 for start in again), "mail_once_dead": len(dead),
        "mail_once_dead_and_arrived": len(dead & mailed.keys()), "mail_once_twice": len(mailed_twice),
        "failed": behaviours.count("fails"), "hung": behaviours.count("hangs"), "dropped": behaviours.count("drops"),
        "waiting": len(waiting), "lost": len(lost), "second_effects": twice + effects,
        "false_absences": sum(rule == "missing" for rule, _ in invented), "died_while_behind": len(died),
    }  # fmt: skip


def _copies(requests: Sequence[Request]) -> int:
    return len(requests) - len({each.webhook_id for each in requests})


def _events(log_path: Path) -> list[TriggerEvent]:
    found: list[TriggerEvent] = []
    with TailReader(log_path) as reader:
        after = 0
        while rows := reader.read(after, 10_000, COLUMNS).rows:
            found += [event for _, event in trigger_events(rows, ()) if event is not None]
            after = rows[-1][0]
    return found
