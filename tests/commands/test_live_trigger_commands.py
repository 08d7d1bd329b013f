"""`gtm stream --once` with rules, and what `gtm trigger` says of them: list, status, explain, pause, resume, check."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gtm_dagster.admission.record import Record
from gtm_dagster.cli import run
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.triggers.runner_rows import set_status
from gtm_dagster.triggers.trigger_db import open_trigger_db

Gtm = Callable[..., tuple[int, str, str]]
RULES = """
rules:
  nudge:
    on: trial_started
    absent: {event: onboarding_completed, within: 24h}
    purpose: marketing
    quiet: {from: "21:00", to: "08:00", zone: Europe/Berlin}
    do: {email: nudge.md.j2}
  sales: {on: pricing_viewed, count: {n: 2, within: 10m}, purpose: service, do: {slack: sales}}
"""


@pytest.fixture
def gtm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gtm:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    (tmp_path / "triggers.yaml").write_text(RULES)
    (tmp_path / "templates").mkdir()
    for name in ("nudge.md.j2", "other.md.j2", "sales"):
        (tmp_path / "templates" / name).write_text("Subject: hello\n\nhello\n")
    (tmp_path / "gtm.toml").write_text('triggers_file = "triggers.yaml"\n')

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(list(arguments))
        return (code, *capsys.readouterr())

    return call


def happened(gtm: Gtm, *events: tuple[str, str]) -> str:
    """(name, user) of events that the log gets now, and the worker takes; returns the pseudonym of the last user."""
    pseudonym = ""
    rows = []
    for number, (name, user) in enumerate(events):
        pseudonym = json.loads(gtm("privacy", "pseudonym", user, "--json")[1])["pseudonym"]
        now = time.time_ns() // 1000
        rows.append(
            Record(
                write_key="k", event_id=f"e{number}", event_name=name, event_us=now, received_us=now,
                user_id=pseudonym, properties="{}", device_type="web",
            )
        )  # fmt: skip
    with SqliteEventLog(Path("state") / "events.db") as log:
        log.append(rows)
    assert gtm("stream", "--once")[0] == 0
    return pseudonym


def test_before_anything_ran(gtm: Gtm) -> None:
    assert json.loads(gtm("trigger", "status", "--json")[1]) == {"rules": [], "ran": False}
    assert gtm("trigger", "pause", "nudge")[0] == 1
    assert {row["status"] for row in json.loads(gtm("trigger", "list", "--json")[1])["rules"]} == {"not run yet"}
    assert gtm("stream", "--once", "--warm", "soon")[0] == 2


def test_status_says_what_is_open_what_was_sent_and_how_far_the_worker_is(gtm: Gtm) -> None:
    gtm("stream", "--once")
    happened(gtm, ("pricing_viewed", "ann"), ("pricing_viewed", "ann"), ("trial_started", "bob"))
    code, out, _ = gtm("trigger", "status", "--json")
    found = json.loads(out)
    assert code == 0
    assert {row["rule"]: (row["open"], row["sent"]) for row in found["rules"]} == {"nudge": (1, 0), "sales": (0, 1)}
    assert (found["offset"], found["lag_events"], found["outbox"]) == (3, 0, {"due": 1})
    code, out, _ = gtm("trigger", "status")
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    assert "offset 3, 0 records behind the log's end" in out


def test_explain_takes_an_id_or_its_pseudonym_and_says_why_and_when(gtm: Gtm) -> None:
    gtm("stream", "--once")
    pseudonym = happened(gtm, ("trial_started", "bob"), ("pricing_viewed", "bob"), ("pricing_viewed", "bob"))
    by_id, by_pseudonym = (json.loads(gtm("trigger", "explain", who, "--json")[1]) for who in ("bob", pseudonym))
    assert by_id["person"] == pseudonym and by_id["starts"] == by_pseudonym["starts"]
    assert {row["rule"]: (row["outcome"], row["delivery"]) for row in by_id["starts"]} == {
        "nudge": ("open", None), "sales": ("sent", "due"),
    }  # fmt: skip
    rules = {row["rule"]: row for row in by_id["rules"]}
    assert (rules["nudge"]["reason"], rules["nudge"]["zone"]) == ("no_consent", "Europe/Berlin")
    assert rules["sales"]["reason"] == "cooldown" and rules["sales"]["next_at"] is not None
    code, out, _ = gtm("trigger", "explain", "bob")
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    code, out, _ = gtm("trigger", "explain", "nobody")
    assert code == 1 and "no rule has seen this person" in out
    assert gtm("trigger", "explain", "bob", "nothing")[0] == 2


def test_pause_resume_and_a_stopped_rule(gtm: Gtm) -> None:
    gtm("stream", "--once")
    assert gtm("trigger", "pause", "sales")[1] == "sales: paused (it was active)\n"
    happened(gtm, ("pricing_viewed", "ann"), ("pricing_viewed", "ann"))
    (row,) = json.loads(gtm("trigger", "explain", "ann", "sales", "--json")[1])["starts"]
    assert (row["outcome"], row["reason"]) == ("not_sent", "paused")
    assert gtm("trigger", "resume", "sales")[0] == 0
    code, _, err = gtm("trigger", "pause", "sale")
    assert code == 2 and "did you mean sales?" in err
    con = open_trigger_db(Path("state") / "triggers.db")
    set_status(con, "sales", "degraded")
    con.close()
    assert gtm("trigger", "status")[0] == 1
    out = gtm("doctor")[1]
    assert "2 rules, 0 starts open" in out and "sales raised errors and is stopped" in out


def test_check_counts_what_an_edit_concerns(gtm: Gtm) -> None:
    gtm("stream", "--once")
    happened(gtm, ("trial_started", "ann"), ("trial_started", "bob"))
    Path("triggers.yaml").write_text(RULES.replace("nudge.md.j2", "other.md.j2"))
    assert "0 conditions changed, 2 pending kept" in gtm("trigger", "check")[1]
    Path("triggers.yaml").write_text(RULES.replace("24h", "48h"))
    out = gtm("trigger", "check")[1]
    assert "1 condition changed, 0 pending kept" in out and "due by the new one (2 open)" in out


def test_a_broken_file_is_said_and_the_rules_that_ran_go_on(gtm: Gtm) -> None:
    gtm("stream", "--once")
    Path("triggers.yaml").write_text("rules: [")
    happened(gtm, ("pricing_viewed", "ann"), ("pricing_viewed", "ann"))
    code, out, _ = gtm("trigger", "status", "--json")
    assert code == 1 and "triggers.yaml line 1" in json.loads(out)["rules_error"]
    assert sum(row["sent"] for row in json.loads(out)["rules"]) == 1


def test_the_log_knows_where_the_triggers_stand(gtm: Gtm) -> None:
    gtm("stream", "--once")
    happened(gtm, ("pricing_viewed", "ann"))
    readers = {row["reader"]: row["offset"] for row in json.loads(gtm("log", "status", "--json")[1])["readers"]}
    assert readers["triggers"] == 1
