"""kill -9 of `gtm stream` while rules run under load: every message once, none lost, none for what did happen."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from gtm_dagster.admission.record import Record
from gtm_dagster.chaos.outcome import ChaosError, Findings, Report, Rounds
from gtm_dagster.chaos.processes import Child, until
from gtm_dagster.chaos.throwaway import ThrowAway
from gtm_dagster.eventlog import open_log
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.eventlog.tail_reader import TailReader
from gtm_dagster.triggers.log_records import COLUMNS, trigger_events
from gtm_dagster.triggers.memory_runner import MemoryRunner
from gtm_dagster.triggers.outcomes import Action
from gtm_dagster.triggers.rules_file import load_rules
from gtm_dagster.triggers.trigger_db import TriggerDbError, reading_trigger_db, trigger_db_path
from gtm_dagster.triggers.trigger_event import TriggerEvent

RULES = """
rules:
  counted: {on: pricing_viewed, count: {n: 3, within: 10m}, purpose: service, do: {webhook: w}}
  missing: {on: checkout_started, absent: {event: payment_completed, within: 3s, grace: 1s}, purpose: service, do: {webhook: w}}
  each: {on: demo_requested, purpose: service, do: {webhook: w}}
"""
_NAMES = ("pricing_viewed", "checkout_started", "payment_completed", "demo_requested", "page_viewed")
_PERSONS, _PER_APPEND, _EVERY_SECONDS = 400, 5, 0.05
_MESSAGES = "SELECT action_id, rule, json_extract(payload, '$.event.id') AS start FROM outbox"
_START_SECONDS, _SETTLE_SECONDS = 60.0, 120.0


def kill_triggers(
    deployment: ThrowAway, rounds: Rounds, seed: int, findings: Findings, report: Report
) -> dict[str, int | float]:
    """The worker is killed at random moments while events come; then its messages are compared with those of one run in
    memory over the same log. Rows that a stopped worker may decide otherwise are those marked `died_while_behind`."""
    rng = random.Random(seed)  # noqa: S311 - moments to kill at, not a secret
    rules_path = deployment.folder / "triggers.yaml"
    rules_path.write_text(RULES)
    path = trigger_db_path(deployment.state)
    stop = threading.Event()
    with open_log(deployment.settings) as log:
        assert isinstance(log, SqliteEventLog)  # noqa: S101 - the throw-away deployment's
        with _worker(deployment, rules_path) as first:
            _follows(first, path, 0)
            load = threading.Thread(target=_load, args=(log, stop, random.Random(seed)))  # noqa: S311
            load.start()
            time.sleep(1.0)
            first.kill()
        try:
            for number in rounds.numbers():
                with _worker(deployment, rules_path) as child:
                    _follows(child, path, _offset(path) + 1)
                    child.wait(rng.uniform(0.0, 1.0))
                    alive = child.kill()
                findings.expect(alive, f"round {number}: the worker ended by itself: {child.err.strip()[-300:]}")
                report(f"round {number} of {rounds.wanted}: killed at offset {_offset(path)}")
        finally:
            stop.set()
            load.join()
        with _worker(deployment, rules_path) as last:
            settled = until(lambda: _settled(path, log.last_seq()), _SETTLE_SECONDS, 0.2)
            findings.expect(settled, f"after the last kill the worker did not come to rest: {last.err.strip()[-300:]}")
            last.stop()
        return _compared(deployment, rules_path, log.path, path, findings)


def _worker(deployment: ThrowAway, rules_path: Path) -> Child:
    return deployment.start("stream", GTM_TRIGGERS_FILE=str(rules_path))


def _load(log: SqliteEventLog, stop: threading.Event, rng: random.Random) -> None:
    """The collector's part: records with the moment of their receipt, until `stop`."""
    number = 0
    while not stop.wait(_EVERY_SECONDS):
        now_us = time.time_ns() // 1000
        batch = [
            Record(
                write_key="drill", event_id=f"drill-{number}-{place}", event_name=rng.choice(_NAMES), event_us=now_us,
                received_us=now_us, user_id=f"person-{rng.randrange(_PERSONS)}", properties="{}", device_type="web",
            )
            for place in range(_PER_APPEND)
        ]  # fmt: skip
        log.append(batch)
        number += 1


def _offset(path: Path) -> int:
    if not path.exists():
        return -1
    try:
        with reading_trigger_db(path) as con:
            row = con.execute("SELECT seq FROM position").fetchone()
    except TriggerDbError:  # the worker makes its tables just now
        return -1
    return -1 if row is None else int(row[0])


def _follows(child: Child, path: Path, offset: int) -> None:
    if not until(lambda: _offset(path) >= offset or not child.running(), _START_SECONDS) or not child.running():
        raise ChaosError(f"the worker did not follow the log: {child.err.strip()[-300:]}")


def _settled(path: Path, end: int) -> bool:
    with reading_trigger_db(path) as con:
        (pending,) = con.execute("SELECT count(*) FROM occurrences WHERE outcome IN ('open', 'held')").fetchone()
    return pending == 0 and _offset(path) >= end


def _compared(
    deployment: ThrowAway, rules_path: Path, log_path: Path, path: Path, findings: Findings
) -> dict[str, int | float]:
    events = _events(log_path)
    runner = MemoryRunner(load_rules(rules_path, deployment.plan))
    for event in events:
        runner.receive(event)
    runner.finish()
    expected = {each.what.action_id: each.what for each in runner.outcomes if isinstance(each.what, Action)}
    with reading_trigger_db(path) as con:
        rows = con.execute(_MESSAGES).fetchall()
        sent = {row["action_id"]: row for row in rows}
        late = {
            (row["rule"], row["trigger_event_id"])
            for row in con.execute("SELECT * FROM occurrences WHERE reason = 'died_while_behind'")
        }
        starts = {
            row["action_id"]: row["trigger_event_id"]
            for row in con.execute("SELECT * FROM occurrences")
            if row["action_id"]
        }
    lost = [a for a in expected.values() if a.action_id not in sent and (a.rule, a.trigger_event_id) not in late]
    invented = [starts.get(each, each) for each in sent if each not in expected]
    false = [each for each in sent if sent[each]["rule"] == "missing" and each not in expected]
    twice = len(rows) - len({(row["rule"], row["start"]) for row in rows})
    findings.expect(not twice, f"{twice} starts led to two messages")
    findings.expect(not lost, f"{len(lost)} messages lost: {lost[:3]}")
    findings.expect(not invented, f"{len(invented)} messages that nothing led to: {invented[:3]}")
    return {
        "events": len(events), "messages": len(rows), "lost": len(lost), "twice": twice, "false_absences": len(false),
        "died_while_behind": len(late),
    }  # fmt: skip


def _events(log_path: Path) -> list[TriggerEvent]:
    found: list[TriggerEvent] = []
    with TailReader(log_path) as reader:
        after = 0
        while rows := reader.read(after, 10_000, COLUMNS).rows:
            found += [event for _, event in trigger_events(rows, ()) if event is not None]
            after = rows[-1][0]
    return found
