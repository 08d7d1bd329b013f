"""kill -9 of `gtm stream`, its rules and its deliverer at once, under load and with a receiver that is not reliable."""

from __future__ import annotations

import base64
import random
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gtm_dagster.admission.record import Record
from gtm_dagster.chaos.message_books import compare
from gtm_dagster.chaos.outcome import ChaosError, Findings, Report, Rounds
from gtm_dagster.chaos.processes import Child, until
from gtm_dagster.chaos.throwaway import ThrowAway
from gtm_dagster.chaos.unreliable_mail import UnreliableMailServer
from gtm_dagster.chaos.unreliable_receiver import UnreliableReceiver
from gtm_dagster.delivery.signatures import PREFIX
from gtm_dagster.eventlog import open_log
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.triggers.trigger_db import TriggerDbError, reading_trigger_db, trigger_db_path

SETTINGS = """
[[destinations]]
name = "w"
url_env = "DRILL_RECEIVER"
secret_env = "DRILL_SECRET"
allow = ["127.0.0.0/8"]
per_second = 500.0
in_flight = 32
timeout_seconds = 5.0

[[destinations]]
name = "chat"
kind = "slack"
url_env = "DRILL_SLACK"
allow = ["127.0.0.0/8"]
per_second = 500.0
in_flight = 32
timeout_seconds = 5.0
collapse_seconds = 0
"""
MAIL = """
[[destinations]]
name = "{name}"
kind = "email"
url_env = "DRILL_MAIL"
sender = "Drill <drill@example.com>"
contact_url = "{contact}"
secret_env = "DRILL_SECRET"
allow = ["127.0.0.0/8"]
per_second = 500.0
in_flight = 32
timeout_seconds = 5.0
repeat = "{repeat}"
"""
TEMPLATES = {"alert.md.j2": "{{ rule }} {{ event.id }}", "note.md.j2": "Subject: {{ rule }}\n\n{{ event.id }}\n"}
RULES = """
rules:
  counted: {on: pricing_viewed, count: {n: 3, within: 10m}, purpose: service, do: {webhook: w}}
  missing: {on: checkout_started, absent: {event: payment_completed, within: 3s, grace: 1s}, purpose: service, do: {webhook: w}}
  each: {on: demo_requested, purpose: service, do: {webhook: w}}
  alert: {on: demo_requested, purpose: service, do: {slack: alert.md.j2@chat}}
  mail_once: {on: signup_completed, purpose: service, do: {email: note.md.j2@once}}
  mail_again: {on: signup_completed, purpose: service, do: {email: note.md.j2@again}}
"""
_OFTEN = ("pricing_viewed", "checkout_started", "payment_completed", "demo_requested", "page_viewed")
_NAMES = (*_OFTEN * 3, "signup_completed")
"""A mail costs a look-up and a TLS session: there are fewer of them."""
_PERSONS, _PER_APPEND, _EVERY_SECONDS = 400, 5, 0.05
_START_SECONDS, _SETTLE_SECONDS = 60.0, 180.0
_PENDING = """
SELECT (SELECT count(*) FROM occurrences WHERE outcome IN ('open', 'held'))
  + (SELECT count(*) FROM outbox WHERE status = 'due' AND next_us < ?)
"""
_SOON_US = 60_000_000
"""Whoever was killed twice with a message under way tries it again after five minutes, which nobody waits for."""


@dataclass(frozen=True)
class _Worker:
    """The worker of the experiment, started anew for every round."""

    deployment: ThrowAway
    rules_path: Path
    receiver: UnreliableReceiver
    mail: UnreliableMailServer
    secret: str

    def start(self) -> Child:
        origin = self.receiver.origin
        return self.deployment.start(
            "stream", GTM_TRIGGERS_FILE=str(self.rules_path), DRILL_SECRET=self.secret, DRILL_RECEIVER=f"{origin}/hook",
            DRILL_SLACK=f"{origin}/slack", DRILL_MAIL=self.mail.url, REQUESTS_CA_BUNDLE=str(self.mail.certificate),
        )  # fmt: skip


def kill_triggers(
    deployment: ThrowAway, rounds: Rounds, seed: int, findings: Findings, report: Report
) -> dict[str, int | float]:
    """The worker is killed at random moments while events come and receivers of webhooks, of Slack's and of mail hang, fail and
    drop connections; then its messages and what they read are compared with one run in memory over the same log."""
    rng = random.Random(seed)  # noqa: S311 - moments to kill at, not a secret
    rules_path = deployment.folder / "triggers.yaml"
    rules_path.write_text(RULES)
    path = trigger_db_path(deployment.state)
    secret = PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    under_way = 0
    with (
        open_log(deployment.settings) as log,
        UnreliableReceiver(secret, lambda name: _attempts(path, name), seed) as receiver,
        UnreliableMailServer(deployment.folder, lambda name: _attempts(path, name), seed) as mail,
    ):
        _write_settings(deployment, receiver.origin)
        assert isinstance(log, SqliteEventLog)  # noqa: S101 - the throw-away deployment's
        worker = _Worker(deployment, rules_path, receiver, mail, secret)
        with worker.start() as first:
            _follows(first, path, 0)
            with _load(log, random.Random(seed)):  # noqa: S311
                time.sleep(1.0)
                first.kill()
                for number in rounds.numbers():
                    with worker.start() as child:
                        _follows(child, path, _offset(path) + 1)
                        child.wait(rng.uniform(0.0, 1.0))
                        alive = child.kill()
                    leased = _count(path, "SELECT count(*) FROM outbox WHERE lease_until_us > ?", _now_us())
                    under_way += leased
                    findings.expect(alive, f"round {number}: the worker ended by itself: {child.err.strip()[-300:]}")
                    report(f"round {number} of {rounds.wanted}: killed at offset {_offset(path)}, {leased} under way")
        with worker.start() as last:
            settled = until(lambda: _settled(path, log.last_seq()), _SETTLE_SECONDS, 0.2)
            findings.expect(settled, f"after the last kill the worker did not come to rest: {last.err.strip()[-300:]}")
            last.stop()
        figures = compare(rules_path, deployment.plan, log.path, path, receiver.requests, mail.mails, findings)
    return {**figures, "under_way_when_killed": under_way}


def _write_settings(deployment: ThrowAway, origin: str) -> None:
    templates = deployment.folder / "templates"
    templates.mkdir()
    for name, text in TEMPLATES.items():
        (templates / name).write_text(text)
    with (deployment.folder / "gtm.toml").open("a") as config:
        for name, repeat in (("once", "at_most_once"), ("again", "at_least_once")):
            config.write(MAIL.format(name=name, repeat=repeat, contact=f"{origin}/contact"))


@contextmanager
def _load(log: SqliteEventLog, rng: random.Random) -> Iterator[None]:
    """The collector's part until the end of the block: records with the moment of their receipt."""
    stop = threading.Event()

    def append() -> None:
        number = 0
        while not stop.wait(_EVERY_SECONDS):
            with log.receiving():
                now_us = _now_us()
                batch = [
                    Record(
                        write_key="drill", event_id=f"drill-{number}-{place}", event_name=rng.choice(_NAMES), event_us=now_us,
                        received_us=now_us, user_id=f"person-{rng.randrange(_PERSONS)}", properties="{}", device_type="web",
                    )
                    for place in range(_PER_APPEND)
                ]  # fmt: skip
                log.append(batch)
            number += 1

    thread = threading.Thread(target=append)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _now_us() -> int:
    return time.time_ns() // 1000


def _count(path: Path, statement: str, *values: object) -> int:
    """The number a statement finds; -1 where there is none, or no table yet."""
    if not path.exists():
        return -1
    try:
        with reading_trigger_db(path) as con:
            row = con.execute(statement, values).fetchone()
    except TriggerDbError:  # the worker makes its tables just now
        return -1
    return -1 if row is None else int(row[0])


def _offset(path: Path) -> int:
    return _count(path, "SELECT seq FROM position")


def _attempts(path: Path, action_id: str) -> int:
    return _count(path, "SELECT attempts FROM outbox WHERE action_id = ?", action_id)


def _follows(child: Child, path: Path, offset: int) -> None:
    if not until(lambda: _offset(path) >= offset or not child.running(), _START_SECONDS) or not child.running():
        raise ChaosError(f"the worker did not follow the log: {child.err.strip()[-300:]}")


def _settled(path: Path, end: int) -> bool:
    return _count(path, _PENDING, _now_us() + _SOON_US) == 0 and _offset(path) >= end
