"""`gtm deliver`, `gtm stream` as a sender, `gtm trigger check` of what stands behind `do`, dead letters and their replay."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_servers import Receiver, answering, in_turn
from message_cases import HOUR, SECRET, message, put, rows, statuses

from gtm_dagster.cli import run
from gtm_dagster.delivery.signatures import signing_keys
from gtm_dagster.tracking.feed_token import feed_user

Gtm = Callable[..., tuple[int, str, str]]
RULES = """
rules:
  nudge:
    on: trial_started
    purpose: service
    do: {webhook: crm}
  alert:
    on: pricing_viewed
    purpose: service
    do: {slack: alert.j2}
"""


@pytest.fixture
def gtm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gtm:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    monkeypatch.setenv("CRM_SECRET", SECRET)
    (tmp_path / "triggers.yaml").write_text(RULES)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "alert.j2").write_text("{{ person }} looked at prices")

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(list(arguments))
        return (code, *capsys.readouterr())

    return call


def settings(folder: Path, url: str, more: str = "") -> None:
    (folder / "gtm.toml").write_text(
        'triggers_file = "triggers.yaml"\nstate_dir = "state"\n[stream]\nmetrics_port = 0\n'
        f'[[destinations]]\nname = "crm"\nurl = "{url}"\nsecret_env = "CRM_SECRET"\nallow = ["127.0.0.0/8"]\n{more}'
    )


def now_us() -> int:
    return time.time_ns() // 1000


def fresh(action_id: str, **given):
    now = now_us()
    return message(action_id, decided_us=now, received_us=now, expires_us=now + HOUR, **given)


def database(folder: Path) -> Path:
    (folder / "state").mkdir(exist_ok=True)
    return folder / "state" / "triggers.db"


def test_check_names_a_destination_that_is_not_declared(gtm: Gtm, tmp_path: Path) -> None:
    settings(tmp_path, "http://127.0.0.1:1234/x")
    code, _, err = gtm("trigger", "check")
    assert code == 1
    assert (
        "rule alert, do.slack: there is no destination of kind slack; declare one under [[destinations]]"
        in " ".join(err.split())
    )
    settings(
        tmp_path, "http://127.0.0.1:1234/x", '[[destinations]]\nname = "sales"\nkind = "slack"\nurl_env = "SLACK"\n'
    )
    code, out, _ = gtm("trigger", "check")
    assert code == 0 and out.splitlines()[-1].endswith("2 rules, all fit the packaged plan")
    (tmp_path / "templates" / "alert.j2").write_text("{{ properties.plam }}")
    code, out, _ = gtm("trigger", "check", "--json")
    assert code == 1 and "properties.plam is not a property" in json.loads(out)["problems"][0]


def test_deliver_once_sends_what_is_due_signed(gtm: Gtm, tmp_path: Path) -> None:
    with Receiver(answering(200)) as receiver:
        settings(tmp_path, receiver.url)
        put(database(tmp_path), *(fresh(f"a{n:02}") for n in range(25)))
        assert gtm("deliver", "--once")[0] == 0
        assert sorted(receiver.ids) == [f"a{n:02}" for n in range(25)], "at ten a second, in two and a half"
        assert all("v1," in headers["webhook-signature"] for _, headers, _ in receiver.requests)
    assert {row[0] for row in statuses(database(tmp_path)).values()} == {"delivered"}


def test_deliver_without_rules_says_what_is_missing(gtm: Gtm, tmp_path: Path) -> None:
    (tmp_path / "gtm.toml").write_text('state_dir = "state"\n')
    code, _, err = gtm("deliver", "--once")
    assert code == 2 and "triggers_file is not set" in err
    code, _, err = gtm("trigger", "deadletters")
    assert code == 1 and "no rule has run yet; `gtm stream` runs them" in " ".join(err.split())


@pytest.mark.parametrize("command", ["deliver", "stream"])
def test_a_process_sends_what_another_one_adds(gtm: Gtm, tmp_path: Path, command: str) -> None:
    with Receiver(answering(200)) as receiver:
        settings(tmp_path, receiver.url)
        process = subprocess.Popen(
            [sys.executable, "-m", "gtm_dagster.cli", command], stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stderr is not None and process.stderr.readline().startswith(command)
            put(database(tmp_path), fresh("a1"))
            until = time.monotonic() + 30
            while not receiver.requests and time.monotonic() < until:
                time.sleep(0.01)
            assert receiver.ids == ["a1"]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            process.communicate()
    assert statuses(database(tmp_path))["a1"][0] == "delivered"


def test_a_destination_that_is_gone_alerts_people_and_comes_back_by_replay(gtm: Gtm, tmp_path: Path) -> None:
    with Receiver(in_turn(answering(410), answering(200))) as receiver:
        settings(tmp_path, receiver.url, 'in_flight = 1\n[[notify]]\nurl = "http://127.0.0.1:9/x"\n')
        put(database(tmp_path), fresh("a1"), fresh("a2"))
        gtm("deliver", "--once")
        alerts = rows(tmp_path / "state" / "ops.db", "SELECT payload FROM notifications")
        assert len(alerts) == 1 and "crm answered 410: it takes no more messages and is disabled" in alerts[0][0]
        code, out, _ = gtm("trigger", "deadletters", "--json")
        letters = json.loads(out)
        assert code == 1 and {each["action_id"] for each in letters} == {"a1", "a2"}
        assert {(each["destination"], each["rule"], each["status"]) for each in letters} == {("crm", "nudge", "dead")}
        assert gtm("trigger", "deadletters", "--rule", "other", "--json")[:2] == (0, "[]\n")
        code, out, _ = gtm("trigger", "replay", "--destination", "crm", "--dry-run")
        assert (code, out) == (0, "2 messages would be sent again\n  crm: 2\n")
        assert {row[0] for row in statuses(database(tmp_path)).values()} == {"dead"}
        code, out, _ = gtm("trigger", "replay", "--destination", "crm")
        assert (code, out) == (0, "2 messages are due again\n  crm: 2\ncrm is enabled again\n")
        gtm("deliver", "--once")
        assert receiver.ids == ["a1", "a1", "a2"]
    assert {row[0] for row in statuses(database(tmp_path)).values()} == {"delivered"}


def test_replay_gives_all_attempts_anew_and_keeps_what_may_have_arrived(gtm: Gtm, tmp_path: Path) -> None:
    with Receiver(answering(500)) as receiver:
        settings(tmp_path, receiver.url, 'repeat = "at_most_once"\n')
        path = database(tmp_path)
        put(path, fresh("a1"), fresh("a2"), fresh("a3"))
        end = "UPDATE outbox SET status = ?, attempts = 10, ended_us = ?, expires_us = decided_us + 60000000, decided_us = decided_us - 86400000000 WHERE action_id = ?"
        with sqlite3.connect(path) as con:
            con.execute(end, ("dead", now_us(), "a1"))
            con.execute(end, ("expired", now_us(), "a2"))
            con.execute(end, ("dead", now_us(), "a3"))
            con.execute("INSERT INTO attempts VALUES ('a3', 10, 0, 'unknown', NULL, 'lost', 1.0)")
        con.close()
        code, out, _ = gtm("trigger", "replay", "--since", "2026-01-01T00:00:00Z", "--json")
        assert (code, json.loads(out)) == (
            0, {"dry_run": False, "messages": 2, "by_destination": {"crm": 2}, "maybe_arrived": 1, "enabled": None},
        )  # fmt: skip
        gtm("deliver", "--once")
        assert {key: row[:2] for key, row in statuses(path).items()} == {
            "a1": ("due", 11), "a2": ("due", 11), "a3": ("dead", 10),
        }, "the eleventh attempt is the first of a new schedule"  # fmt: skip
        assert json.loads(gtm("trigger", "replay", "--rule", "nudge", "--maybe-arrived", "--json")[1])["messages"] == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "say what is sent again: --rule, --destination or --since"),
        (("--since", "yesterday"), "--since: 'yesterday' is not a time such as 2026-12-01T09:00:00Z"),
        (("--since", "2026-12-01"), "--since: '2026-12-01' has no offset"),
    ],
)
def test_a_replay_of_everything_by_mistake_is_refused(gtm: Gtm, tmp_path: Path, arguments, reason: str) -> None:
    settings(tmp_path, "http://127.0.0.1:9/x")
    put(database(tmp_path), fresh("a1"))
    code, _, err = gtm("trigger", "replay", *arguments)
    assert code == 2 and reason in " ".join(err.split())


def test_a_secret_and_a_token_can_be_used_as_they_are_printed(gtm: Gtm, tmp_path: Path) -> None:
    settings(tmp_path, "http://127.0.0.1:9/x")
    assert len(signing_keys(gtm("trigger", "secret")[1].strip())[0]) == 32
    token = gtm("trigger", "feed-token", "u1")[1].strip()
    key_file = tmp_path / "state" / "keys" / "feed.key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert feed_user(key_file.read_text().strip(), token) == "u1"
    os.environ["FEED_KEY"] = "short"
    try:
        (tmp_path / "gtm.toml").write_text('[feed]\nkey_env = "FEED_KEY"\n')
        code, _, err = gtm("trigger", "feed-token", "u1")
        assert code == 1 and "the variable FEED_KEY has 5 letters; a key has at least 32" in " ".join(err.split())
    finally:
        del os.environ["FEED_KEY"]


def test_a_collector_without_the_feed_key_it_names_does_not_start(
    gtm: Gtm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings(tmp_path, "http://127.0.0.1:9/x", '[feed]\nkey_env = "FEED_KEY"\n')
    monkeypatch.delenv("FEED_KEY", raising=False)
    code, _, err = gtm("collect", "--port", "0")
    assert code == 2 and "feed.key_env: the variable FEED_KEY has 0 letters" in " ".join(err.split())
